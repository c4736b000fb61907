"""MNIST's files in little, and a run trained on them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan_data.evaluate.mnist.idx import read_training_digits
from dcgan_data.train.conditional.loop import train_conditional
from dcgan_data.train.conditional.settings import ConditionalSettings

TRAINING, TEST = 60, 20


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slowed down by a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def as_idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{values.ndim + 1}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def write_part(directory: Path, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    (directory / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(as_idx(images)))
    (directory / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(as_idx(labels)))


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with a bright bar for each class, and noise."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = rng.integers(0, 90, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 + 2 * int(label)] = 255
    return images, labels


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mnist") / "data"
    directory.mkdir()
    write_part(directory, "train", *drawn(TRAINING, 0))
    write_part(directory, "t10k", *drawn(TEST, 1))
    return directory


@pytest.fixture
def mnist(_written: Path, tmp_path: Path) -> Path:
    """The four files, gzipped: 60 training images and 20 to test; a copy to spoil."""
    directory = tmp_path / "data"
    directory.mkdir()
    for path in _written.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, _written: Path) -> Path:
    """A run on them: 50 images in 7 steps an epoch. Tests only read it, or write elsewhere."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    tiny = {"z_dim": 3, "filters": 2, "units": 4, "batch_size": 8, "held_out": 10, "device": "cpu"}
    settings = ConditionalSettings(run_dir=run_dir, epochs=2, decay_epochs=0, **tiny)  # type: ignore[arg-type]
    train_conditional(settings, read_training_digits(_written))
    return run_dir
