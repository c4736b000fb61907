"""The codes of a set, sorted by every band, in a directory: written once, mapped by every worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dcgan_data.formats.atomic import save_array
from dcgan_data.ops.search import BandIndex, Bands
from dcgan_data.parallel import run_tasks

_PARTS = ("words", "order", "starts")  # of a BandIndex, in its order


def build_index(folder: Path, bands: Bands, workers: int, hold: Path | None = None) -> None:
    """Sort ``codes.npy`` of the directory by every band; what a killed run finished is not done again."""
    todo = [(folder, bands, band) for band in range(bands.count)]
    todo = [task for task in todo if not (folder / f"starts-{task[2]:03d}.npy").exists()]
    for _ in run_tasks(index_band, todo, workers, hold=hold):
        pass


def index_band(folder: Path, bands: Bands, band: int) -> None:
    """Sort the codes by one band, and write that."""
    codes = np.load(folder / "codes.npy", mmap_mode="r")
    index = BandIndex.build(bands.word(codes, band), bands.bits)
    for part in _PARTS:  # ``starts`` last: its presence means that all are there
        save_array(folder / f"{part}-{band:03d}.npy", getattr(index, part))


def open_index(folder: Path, bands: Bands) -> Iterator[BandIndex]:
    """The bands in order, each memory-mapped."""
    for band in range(bands.count):
        paths = (folder / f"{part}-{band:03d}.npy" for part in _PARTS)
        yield BandIndex(*(np.load(path, mmap_mode="r") for path in paths))
