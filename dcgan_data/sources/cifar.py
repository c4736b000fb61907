"""CIFAR-10's and CIFAR-100's python version: files of 32x32 pictures (Krizhevsky, 2009).

A file is a pickled dict: ``data``, uint8 (N, 3072), each row a picture's red, green and blue plane; and
``labels`` (CIFAR-10) or ``fine_labels`` (CIFAR-100), N numbers. It is never unpickled (``array_pickle``).
The numbers are kept as the labels: their names are in another file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from typing import Any

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.array_file import (
    ArrayFileSource,
    ArrayFormat,
    FileIdentity,
    OpenFile,
    Picture,
    open_same,
)
from dcgan_data.sources.array_pickle import RefusedError, bytes_array, read_pickle

_SIDE = 32
_LABELS = ("labels", "fine_labels")
_MOST_BYTES = 1 << 29
"""Over three times CIFAR-100's larger file. What is larger is none, and is not taken into memory."""


@dataclass(frozen=True)
class Batch:
    """What a file holds."""

    pixels: np.ndarray
    """uint8 (N, 32, 32, 3), RGB; a view of the planes."""
    labels: list[int]
    """N class numbers."""


def read_batch(file: BufferedReader, path: str) -> Batch:
    """The pictures of one file, and their labels; BadInput unless it is such a file and undamaged."""
    try:
        data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise RefusedError(f"larger than {_MOST_BYTES:,} bytes")
        return _checked(read_pickle(data))
    except RefusedError as error:
        raise BadInput(
            f"{path}: {error}; expected a file of CIFAR's python version: fetch it again"
        ) from None


def _checked(batch: Any) -> Batch:
    if not isinstance(batch, dict) or "data" not in batch:
        raise RefusedError("holds no pictures under the name 'data'")
    planes = bytes_array(batch["data"])
    if planes.ndim != 2 or planes.shape[1] != 3 * _SIDE * _SIDE or not len(planes):
        raise RefusedError(
            f"holds an array of shape {planes.shape}, expected (pictures, {3 * _SIDE * _SIDE})"
        )
    name = next((name for name in _LABELS if name in batch), None)
    if name is None:
        raise RefusedError(f"holds no labels under the name {' or '.join(map(repr, _LABELS))}")
    labels = batch[name]
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise RefusedError(f"holds other {name!r} than a list of numbers")
    if len(labels) != len(planes):
        raise RefusedError(f"holds {len(planes):,} pictures, but {len(labels):,} labels")
    return Batch(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), labels)


@lru_cache(maxsize=1)
def _kept_batch(file: FileIdentity) -> Batch:
    """A file's pictures, kept in memory: a process reads its shards one after another."""
    with open_same(file) as opened:
        return read_batch(opened.file, file.path)


def _count(opened: OpenFile) -> int:
    return len(read_batch(opened.file, opened.identity.path).labels)


def _read(opened: OpenFile, start: int, count: int) -> Iterator[Picture]:
    batch = _kept_batch(opened.identity)
    return zip(batch.pixels[start : start + count], batch.labels[start : start + count], strict=True)


class CifarSource(ArrayFileSource):
    """The pictures of CIFAR's batches, in the order of the files' names."""

    kind = "cifar"
    format = ArrayFormat(5, _count, _read)
