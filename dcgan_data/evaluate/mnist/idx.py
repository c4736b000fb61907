"""MNIST's four files, as they are distributed: idx, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.train.conditional.labelled import CLASSES, SIDE, LabelledImages

_GZIP = b"\x1f\x8b"
_UINT8 = 8
"""The type of values, in the third byte of an idx file."""
_PIECE = 1 << 20
"""Bytes read at once."""


def read_training_digits(directory: Path) -> LabelledImages:
    """MNIST's 60,000 training images in their order; BadInput if a file is missing or damaged."""
    return _read_pair(directory, "train")


def read_test_digits(directory: Path) -> LabelledImages:
    """MNIST's 10,000 test images in their order; BadInput if a file is missing or damaged."""
    return _read_pair(directory, "t10k")


def _read_pair(directory: Path, part: str) -> LabelledImages:
    image_file = _find(directory, f"{part}-images", "idx3-ubyte")
    label_file = _find(directory, f"{part}-labels", "idx1-ubyte")
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if images.shape[1:] != (SIDE, SIDE):
        found = "x".join(map(str, images.shape[1:]))
        raise BadInput(f"{image_file}: images of {found} pixels; MNIST's have {SIDE}x{SIDE}")
    if len(images) != len(labels):
        raise BadInput(
            f"{label_file}: {len(labels):,} labels for the {len(images):,} images of {image_file.name}; "
            "they are not of one set: get both again"
        )
    if labels.max() >= CLASSES:
        place = int(labels.argmax())
        raise BadInput(
            f"{label_file}: label {labels[place]} at number {place}; MNIST's are 0 to {CLASSES - 1}"
        )
    return LabelledImages(images, labels)


def _find(directory: Path, name: str, kind: str) -> Path:
    """By either name in use: ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, also with .gz."""
    for separator in ("-", "."):
        for ending in ("", ".gz"):
            path = directory / f"{name}{separator}{kind}{ending}"
            if path.is_file():
                return path
    raise BadInput(
        f"{directory}: has no {name}-{kind}.gz (nor without .gz); give the directory of MNIST's four files "
        "as --data"
    )


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of bytes: uint8 of so many dimensions, never empty; BadInput unless it is whole."""
    try:
        with path.open("rb") as plain:
            zipped = plain.read(len(_GZIP)) == _GZIP  # browsers unpack, and leave the name as it is
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = file.read(4 * (1 + dimensions))
            shape = _shape_of(path, header, dimensions)
            expected = math.prod(shape)
            values = _read(file, expected + 1)  # one more: the end is reached, and gzip's checksum compared
    except EOFError:
        raise BadInput(f"{path}: is cut short; get it again") from None
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path}: cannot be read ({reason}); get it again") from None
    if len(values) != expected:
        found = f"{len(values):,}" if len(values) < expected else f"more than {expected:,}"
        raise BadInput(f"{path}: {found} values, its header says {expected:,}; get it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read(file: gzip.GzipFile | BufferedReader, count: int) -> bytearray:
    """At most so many bytes, in pieces: memory is taken for what is there, not for what a header claims."""
    values = bytearray()
    while piece := file.read(min(_PIECE, count - len(values))):
        values += piece
    return values


def _shape_of(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 * (1 + dimensions) or header[:3] != bytes((0, 0, _UINT8)):
        raise BadInput(f"{path}: not an idx file of bytes: it begins with {header[:4].hex(' ') or 'nothing'}")
    if header[3] != dimensions:
        raise BadInput(
            f"{path}: has {header[3]} dimensions, not {dimensions}; are images and labels mistaken for each "
            "other?"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in shape:
        raise BadInput(f"{path}: is empty, its header says {'x'.join(map(str, shape))}; get it again")
    return shape
