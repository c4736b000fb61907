"""The codes of a set, sorted by parts of bands, in a directory: written once, mapped by every worker.

codes.npy                       uint8 (N, 16)
words-003-0-33554432.npy        ``BandIndex.words`` of band 3, buckets 0 to 33554432; so rest, order, starts
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.staging import load_array
from dcgan_data.ops.bands import Bands, Part
from dcgan_data.ops.search import BandIndex
from dcgan_data.parallel import run_tasks

_FIELDS = ("words", "rest", "order", "starts")  # of a BandIndex, in its order
_AT_ONCE = 1 << 16
"""Codes: their words of one permutation take some 15 MB."""


def build_index(
    folder: Path, bands: Bands, parts: Sequence[Part], workers: int, hold: Path | None = None
) -> None:
    """Sort ``codes.npy`` of the directory by parts of bands; what a killed run finished is not done again."""
    todo = [(folder, bands, part) for part in parts if not _path(folder, part, _FIELDS[-1]).exists()]
    for _ in run_tasks(index_band, todo, workers, hold=hold):
        pass


def index_band(folder: Path, bands: Bands, part: Part) -> None:
    """Sort the codes of one part of a band, and write that."""
    index = BandIndex.build(_codes_of(folder, bands, part), bands, part)
    for field in _FIELDS:  # the last one's presence means that all are there
        save_array(_path(folder, part, field), getattr(index, field))


def open_index(folder: Path, parts: Sequence[Part]) -> list[tuple[Part, BandIndex]]:
    """Parts of bands, memory-mapped."""
    opened = []
    for part in parts:
        arrays = (load_array(_path(folder, part, field), mapped=True) for field in _FIELDS)
        opened.append((part, BandIndex(*map(np.asarray, arrays))))  # a memmap's own methods are slow
    return opened


def remove_index(folder: Path, parts: Sequence[Part]) -> None:
    """Delete parts of bands."""
    for part in parts:
        for field in reversed(_FIELDS):
            _path(folder, part, field).unlink(missing_ok=True)


def read_in_blocks(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The codes of a file, some at a time, with the number of the first.

    Each block is mapped anew, so that what was read does not stay in memory.
    """
    for start in range(0, len(load_array(path, mapped=True)), _AT_ONCE):
        yield start, np.array(load_array(path, mapped=True)[start : start + _AT_ONCE])


def _codes_of(folder: Path, bands: Bands, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The codes in a part of a band: words and rests, uint64, and numbers, uint32, ascending."""
    words, rests = np.empty(part.codes, np.uint64), np.empty(part.codes, np.uint64)
    numbers = np.empty(part.codes, np.uint32)
    filled = 0
    for start, codes in read_in_blocks(folder / "codes.npy"):
        ((word, rest),) = bands.cut(codes, [part.band])
        bucket = bands.bucket(word)
        here = np.flatnonzero((bucket >= part.first) & (bucket < part.end))
        into = slice(filled, filled + len(here))
        words[into], rests[into], numbers[into] = word[here], rest[here], here + start
        filled += len(here)
    return words, rests, numbers


def _path(folder: Path, part: Part, field: str) -> Path:
    return folder / f"{field}-{part.band:03d}-{part.first}-{part.end}.npy"
