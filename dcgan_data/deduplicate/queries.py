"""Who is looked up, and among whom: worked out shard by shard, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.staging import load_array
from dcgan_data.ops.codes import group_codes

GROUP_BYTES = 80
"""Of memory for each image whose hash of the pixels is held against others'."""
_MOST_PASSES = 256


@dataclass(frozen=True)
class Chosen:
    """Which images of a set are worth a search."""

    same: np.ndarray
    """int64 (E, 2): an image, and a later one with equal pixels, in the order of the later ones."""
    flat: int
    """Images whose contrast is too low for a code to mean anything."""


def choose_distinct(images: ImageSet, folder: Path, memory: int) -> Chosen:
    """Choose one of several images with equal pixels, and no flat ones; write their numbers and codes.

    memory: bytes that may be taken, 0 for no limit: hashes are then held against one another in parts.
    """
    passes = 1
    if memory:
        passes = min(_MOST_PASSES, -(-GROUP_BYTES * len(images) // memory))
    same = np.concatenate([_equal_pixels(images, number, passes) for number in range(passes)])
    same = same[np.argsort(same[:, 1])]
    wanted = np.ones(len(images), bool)
    wanted[same[:, 1]] = False
    flat = _without_flat(images, wanted)
    _write_numbers(images, wanted, folder)
    codes = (rows["code"][wanted[first : first + len(rows)]] for first, rows in _code_rows(images))
    _save_blocks(folder / "codes.npy", np.dtype(np.uint8), (int(wanted.sum()), 16), codes)
    return Chosen(same, flat)


def choose_all(images: ImageSet, folder: Path) -> Chosen:
    """Choose all images but flat ones; write their numbers."""
    wanted = np.ones(len(images), bool)
    flat = _without_flat(images, wanted)
    _write_numbers(images, wanted, folder)
    return Chosen(np.zeros((0, 2), np.int64), flat)


def _equal_pixels(images: ImageSet, number: int, passes: int) -> np.ndarray:
    """Pairs of an image and a later one with equal pixels, among one part of all hashes."""
    hashes, numbers = [], []
    for first, rows in _code_rows(images):
        here = np.flatnonzero(rows["pixels"][:, 0].astype(np.int64) * passes // 256 == number)
        hashes.append(rows["pixels"][here])
        numbers.append(here + first)
    image = np.concatenate(numbers)
    earliest = group_codes(np.concatenate(hashes))
    later = np.flatnonzero(earliest != np.arange(len(earliest)))
    return np.stack([image[earliest[later]], image[later]], axis=1)


def _without_flat(images: ImageSet, wanted: np.ndarray) -> int:
    """Clear bool (N,) ``wanted`` of all flat images; returns how many there are."""
    flat = 0
    for first, rows in _code_rows(images):
        wanted[first : first + len(rows)] &= ~rows["flat"]
        flat += int(rows["flat"].sum())
    return flat


def _write_numbers(images: ImageSet, wanted: np.ndarray, folder: Path) -> None:
    firsts = ((images.first(shard), rows) for shard, rows in enumerate(images.shard_rows))
    numbers = (first + np.flatnonzero(wanted[first : first + rows]) for first, rows in firsts)
    _save_blocks(folder / "queries.npy", np.dtype(np.int64), (int(wanted.sum()),), numbers)


def _code_rows(images: ImageSet) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each shard's first image, and its staged codes: CODE_ROW."""
    for shard in range(len(images.shard_rows)):
        yield images.first(shard), load_array(images.staging.codes(shard))


def _save_blocks(path: Path, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """Write an array that comes in blocks as ``.npy``, atomically."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).tobytes())
