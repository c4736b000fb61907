"""MNIST's files: read whole by any of their names, or refused by name."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.mnist.idx import read_idx, read_test_digits, read_training_digits

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{values.ndim + 1}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def test_both_parts(mnist: Path) -> None:
    training, test = read_training_digits(mnist), read_test_digits(mnist)
    assert (len(training), len(test)) == (60, 20)
    assert training.labels[:12].tolist() == [*range(10), 0, 1]
    assert (training.images[13, 2 + 2 * 3] == 255).all()
    assert training.images.flags.writeable  # torch warns of others


@pytest.mark.parametrize(
    "name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"]
)
@pytest.mark.parametrize("unpacked", [False, True])
def test_any_name_whatever_is_in_it(mnist: Path, name: str, unpacked: bool) -> None:
    """Browsers unpack files and leave their names."""
    before = read_training_digits(mnist)
    packed = (mnist / IMAGES).read_bytes()
    (mnist / IMAGES).unlink()
    (mnist / name).write_bytes(gzip.decompress(packed) if unpacked else packed)
    assert read_training_digits(mnist).sha256 == before.sha256


def repacked(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(change(gzip.decompress(data)))


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (IMAGES, lambda data: data[:-900], r"is cut short; get it again"),
        (IMAGES, lambda data: data[:-8] + bytes(8), r"cannot be read \(CRC check failed"),
        (
            IMAGES,
            lambda data: data[:3000] + bytes(99) + data[3099:],
            r"cannot be read|CRC check failed|values",
        ),
        (IMAGES, repacked(lambda data: data[:-1]), r"47,039 values, its header says 47,040; get it again"),
        (IMAGES, repacked(lambda data: data + b"x"), r"more than 47,040 values, its header says 47,040"),
        (IMAGES, lambda data: b"", "not an idx file of bytes: it begins with nothing"),
        (
            IMAGES,
            lambda data: b"<html>no such file</html>",
            "not an idx file of bytes: it begins with 3c 68 74",
        ),
        (IMAGES, repacked(lambda data: data[:2] + b"\x0d" + data[3:]), "it begins with 00 00 0d 03"),
        (
            IMAGES,
            lambda data: gzip.compress(idx(np.zeros(60, np.uint8))),
            "has 1 dimensions, not 3; are images",
        ),
        (IMAGES, lambda data: gzip.compress(idx(np.zeros((60, 32, 32), np.uint8))), "images of 32x32 pixels"),
        (
            IMAGES,
            lambda data: gzip.compress(idx(np.zeros((0, 28, 28), np.uint8))),
            "is empty, its header says 0x28",
        ),
        (
            LABELS,
            lambda data: gzip.compress(idx(np.zeros(61, np.uint8))),
            "61 labels for the 60 images of train-im",
        ),
        (LABELS, repacked(lambda data: data[:-1] + b"\x0a"), "label 10 at number 59; MNIST's are 0 to 9"),
        (
            LABELS,
            repacked(lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:]),
            "its header says 4,294,967,295",
        ),
    ],
)
def test_damaged_files_are_named(mnist: Path, name: str, damage: Callable[[bytes], bytes], told: str) -> None:
    (mnist / name).write_bytes(damage((mnist / name).read_bytes()))
    with pytest.raises(BadInput, match=f"{name}: .*({told})"):
        read_training_digits(mnist)


def test_a_file_that_is_missing(mnist: Path, tmp_path: Path) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    told = r"has no t10k-labels-idx1-ubyte\.gz \(nor without \.gz\); give the directory of MNIST's four files"
    with pytest.raises(BadInput, match=f"{mnist}: {told} as --data"):
        read_test_digits(mnist)
    with pytest.raises(BadInput, match=r"nowhere: has no train-images-idx3-ubyte\.gz"):
        read_training_digits(tmp_path / "nowhere")


def test_labels_are_one_dimension(mnist: Path) -> None:
    assert read_idx(mnist / LABELS, 1).shape == (60,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_header_that_claims_too_much_takes_no_memory(mnist: Path, zipped: bool) -> None:
    data = gzip.decompress((mnist / IMAGES).read_bytes())
    claiming = data[:4] + b"\xff\xff\xff\xff" + data[8:]
    (mnist / IMAGES).write_bytes(gzip.compress(claiming) if zipped else claiming)
    told = "47,040 values, its header says 3,367,254,359,280; get it again"
    with pytest.raises(BadInput, match=f"{IMAGES}: {told}"):
        read_training_digits(mnist)
