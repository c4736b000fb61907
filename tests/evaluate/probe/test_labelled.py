"""Labelled images: three layouts of one set are read alike, and what is missing or wrong is said."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.probe.labelled import Labelled, find_splits, read_labelled

LABELS = {"train": [3, 10, 0, 3, 0, 10, 10, 0, 3, 0], "test": [10, 3, 0]}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Encode = Callable[..., bytes]


def pictures(split: str, size: int = 32) -> np.ndarray:
    shape = (len(LABELS[split]), size, size, 3)
    return np.random.default_rng(len(split)).integers(0, 256, shape, dtype=np.uint8)


def as_parquet(path: Path, split: str, encoded: Encode, **columns: Any) -> Path:
    rows = [{"bytes": encoded(each), "path": None} for each in pictures(split)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": pa.array(rows, STRUCT), "label": LABELS[split], **columns}), path)
    return path


def hugging_face(root: Path, encoded: Encode) -> Path:
    for split in LABELS:
        as_parquet(root / "plain_text" / f"{split}-00000-of-00001.parquet", split, encoded)
    return root


def batches(root: Path, encoded: Encode) -> Path:
    planes = {split: pictures(split).transpose(0, 3, 1, 2).reshape(-1, 3072) for split in LABELS}
    parts = [
        (f"data_batch_{n + 1}", planes["train"][2 * n :][:2], LABELS["train"][2 * n :][:2]) for n in range(5)
    ]
    for name, data, labels in [*parts, ("test_batch", planes["test"], LABELS["test"])]:
        path = root / "cifar-10-batches-py" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=2))
    return root


def folders(root: Path, encoded: Encode) -> Path:
    for split, labels in LABELS.items():
        for number, (label, image) in enumerate(zip(labels, pictures(split), strict=True)):
            path = root / split / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(image))
    return root


def read(directory: Path, reporter: Any, size: int = 32) -> tuple[Labelled, Labelled]:
    splits = find_splits(directory)
    train = read_labelled(splits.train, size, reporter)
    return train, read_labelled(splits.test, size, reporter, train.classes)


def as_set(labelled: Labelled) -> set[tuple[bytes, str]]:
    names = (labelled.classes[label] for label in labelled.labels)
    return {(image.tobytes(), name) for image, name in zip(labelled.images, names, strict=True)}


@pytest.mark.parametrize("layout", [hugging_face, batches, folders])
def test_layouts_of_one_set_are_read_alike(
    layout: Callable[[Path, Encode], Path], tmp_path: Path, encoded: Encode, reporter: Any
) -> None:
    train, test = read(layout(tmp_path, encoded), reporter)
    for split, found in (("train", train), ("test", test)):
        expected = zip(pictures(split), map(str, LABELS[split]), strict=True)
        assert as_set(found) == {(image.tobytes(), label) for image, label in expected}
        assert found.classes == ("0", "3", "10"), "sorted as numbers, and the same for both"
        assert found.images.dtype == np.uint8 and found.labels.dtype == np.int64
    assert reporter.stages == {"read": 3}


def test_the_order_is_that_of_the_files(tmp_path: Path, encoded: Encode, reporter: Any) -> None:
    train, _ = read(batches(tmp_path, encoded), reporter)
    assert np.array_equal(train.images, pictures("train"))
    assert train.labels.tolist() == [1, 2, 0, 1, 0, 2, 2, 0, 1, 0]
    some = train.some(np.array([4, 0]))
    assert np.array_equal(some.images, pictures("train")[[4, 0]]) and some.labels.tolist() == [0, 1]


def test_labels_that_are_no_numbers_are_sorted_as_text(
    tmp_path: Path, encoded: Encode, reporter: Any
) -> None:
    for name in ("truck", "cat"):
        path = tmp_path / "train" / name / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(pictures("test")[0]))
    assert read_labelled([tmp_path / "train"], 32, reporter).classes == ("cat", "truck")


@pytest.mark.parametrize(
    ("layout", "removed", "message"),
    [
        (
            hugging_face,
            "plain_text/test*",
            r"plain_text: has train\*.parquet, but no test\*.parquet: the test",
        ),
        (
            hugging_face,
            "plain_text/train*",
            r"plain_text: has test\*.parquet, but no train\*.parquet: the train",
        ),
        (
            batches,
            "*/test_batch",
            r"-py: has data_batch_\[1-5\], but no test_batch: the test images; put them",
        ),
        (batches, "*/data_batch_2", r"has only data_batch_1, data_batch_3, .* of 5 batches; fetch it again"),
        (
            batches,
            "*/*_batch*",
            r": holds no labelled images in a layout that is known; expected train\*.parq",
        ),
        (folders, "test", r"has train, but no test: the test images; put them there too"),
    ],
)
def test_a_missing_part_is_said(
    layout: Callable[[Path, Encode], Path], removed: str, message: str, tmp_path: Path, encoded: Encode
) -> None:
    layout(tmp_path, encoded)
    for path in list(tmp_path.glob(removed)):
        path.rename(path.with_name(f"away {path.name}"))
    with pytest.raises(BadInput, match=message):
        find_splits(tmp_path)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none: no such directory; expected train\*.parquet"):
        find_splits(tmp_path / "none")


def test_images_of_another_size_are_not_resized(tmp_path: Path, encoded: Encode, reporter: Any) -> None:
    folders(tmp_path, encoded)
    message = r"train: image 0/2.png has 32 x 32 pixels, those of the model have 64 x 64; probe a model of"
    with pytest.raises(BadInput, match=message):
        read(tmp_path, reporter, size=64)
    (tmp_path / "train" / "3" / "0.png").write_bytes(encoded(np.zeros((32, 48, 3), np.uint8)))
    with pytest.raises(BadInput, match=r"image 3/0.png has 48 x 32 pixels, those of the model have 32 x 32"):
        read(tmp_path, reporter)


def test_a_damaged_image_is_named(tmp_path: Path, encoded: Encode, reporter: Any) -> None:
    folders(tmp_path, encoded)
    (tmp_path / "train" / "10" / "1.png").write_bytes(b"text")
    with pytest.raises(
        BadInput, match=r"train: image 10/1.png cannot be read \(not_an_image.*; fetch the data"
    ):
        read(tmp_path, reporter)


def test_images_without_labels_are_refused(tmp_path: Path, encoded: Encode, reporter: Any) -> None:
    path = as_parquet(tmp_path / "train.parquet", "train", encoded, label=[None, *LABELS["train"][1:]])
    with pytest.raises(
        BadInput, match=r"train.parquet: image 00000000 has no label; expected train\*.parquet"
    ):
        read_labelled([path], 32, reporter)


def test_classes_must_be_the_same_in_both_parts(tmp_path: Path, encoded: Encode, reporter: Any) -> None:
    path = as_parquet(tmp_path / "test.parquet", "test", encoded)
    with pytest.raises(BadInput, match=r"test.parquet: has no image of class 7, 9; put some there"):
        read_labelled([path], 32, reporter, ("0", "3", "7", "9", "10"))
    with pytest.raises(BadInput, match=r"has images of class 3, expected only 0, 10; take them away"):
        read_labelled([path], 32, reporter, ("0", "10"))
    alone = as_parquet(tmp_path / "one.parquet", "test", encoded, label=[5, 5, 5])
    with pytest.raises(BadInput, match=r"all images are of one class, 5; two are needed"):
        read_labelled([alone], 32, reporter)
