"""``open_prepared``: two lines to a set's images, for numpy and for torch."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan_data import open_prepared
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.prepared import PreparedSet


@pytest.fixture(scope="module")
def labelled(
    tmp_path_factory: pytest.TempPathFactory,
    encoded: Callable[..., bytes],
    picture: Callable[..., np.ndarray],
    make: Callable[..., object],
    recipe: Callable[..., object],
) -> Path:
    """12 pictures in folders "dog" and "cat", and one more without a folder."""
    root = tmp_path_factory.mktemp("labelled")
    for number in range(12):
        folder = root / "photos" / ("dog" if number % 3 else "cat")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02d}.png").write_bytes(encoded(picture(seed=number)))
    make(root / "photos", root / "all", recipe("none"))
    (root / "photos" / "zz.png").write_bytes(encoded(picture(seed=99)))
    make(root / "photos", root / "one more", recipe("none"))
    return root


def test_images_are_the_kept_rows(finished_set: Path) -> None:
    images = open_prepared(str(finished_set))
    rows = PreparedSet.open(finished_set).rows()
    assert len(images) == len(rows) == 15
    everything = rows.gather(np.arange(15))
    assert np.array_equal(images[:], everything)
    assert np.array_equal(images[3], everything[3]) and images[3].shape == (32, 32, 3)
    assert np.array_equal(images[-1], everything[14])
    assert np.array_equal(images[[4, -2, 0]], everything[[4, 13, 0]])
    assert np.array_equal(images[1:9:3], everything[1:9:3])
    assert images.keys[:2] == ["00", "01"] and len(images.keys) == 15
    assert images.labels == [None] * 15 and images.classes == []
    for outside in (15, -16, [0, 99]):
        with pytest.raises(IndexError, match="of 15 images"):
            images[outside]


def test_torch_items_are_scaled_as_the_trainer_scales_them(finished_set: Path) -> None:
    images = open_prepared(finished_set)
    dataset = images.torch()
    assert len(dataset) == 15
    first = dataset[0]
    assert isinstance(first, torch.Tensor)
    assert first.dtype == torch.float32 and first.shape == (3, 32, 32)
    expected = images[0].astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(first.numpy() - expected).max() < 1e-6
    assert first.min() >= -1 and first.max() <= 1


def test_a_loader_with_workers(finished_set: Path) -> None:
    dataset = open_prepared(finished_set).torch()
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context="spawn"
    )
    batches = list(loader)
    assert [len(batch) for batch in batches] == [4, 4, 4, 3]
    assert torch.equal(torch.cat(batches), torch.stack([dataset[n] for n in range(15)]))


def test_no_pixels_travel_to_workers(finished_set: Path) -> None:
    images = open_prepared(finished_set)
    dataset = images.torch()
    before = len(pickle.dumps(dataset))
    assert images.keys and images.labels and images.classes == []
    sent = pickle.dumps(dataset)
    assert len(sent) == before, "nor keys or labels that were looked at"
    assert len(sent) < 15 * 32 * 32 * 3 / 2
    received = pickle.loads(sent).images
    assert np.array_equal(received[:], images[:])
    assert received.keys == images.keys


def test_labels(labelled: Path) -> None:
    images = open_prepared(labelled / "all")
    assert images.classes == ["cat", "dog"]
    assert images.labels == ["cat"] * 4 + ["dog"] * 8
    image, number = images.torch(labels=True)[5]
    assert number == 1 and image.shape == (3, 32, 32)
    with pytest.raises(BadRequest, match=r"zz\.png has no label; labels=False"):
        open_prepared(labelled / "one more").torch(labels=True)


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a prepared set"):
        open_prepared(tmp_path)


def test_arrays_need_neither_torch_nor_opencv(finished_set: Path) -> None:
    script = (
        "import sys, dcgan_data; assert 'numpy' not in sys.modules; "
        f"dcgan_data.open_prepared({str(finished_set)!r})[0]; "
        "assert not {'torch', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
