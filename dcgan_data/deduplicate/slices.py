"""Into what slices a search is cut, so that what all processes have in memory stays within a limit.

A slice is some bands, or some parts of bands if not even one band fits. One slice after another is indexed,
and all images are looked up in it; what is found is put on disk, and merged at the end. Without a limit there
is one slice, and nothing needs to be put on disk. What is found does not depend on the slices.

Counted is what is resident: a process before it does anything, its arrays, and the index, which all processes
map and is therefore in memory once.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.deduplicate.index import read_in_blocks
from dcgan_data.errors import BadRequest
from dcgan_data.ops.bands import Bands, Part
from dcgan_data.ops.search import BUILD_BYTES, KEY_BYTES, LOT

Slice = tuple[Part, ...]
Counts = Callable[[], np.ndarray]
"""int64 (bands, cells): how many codes are in each cell, a range of buckets that is not cut."""

PROCESS_BYTES = 200_000_000
"""Of a worker before its arrays: the interpreter, numpy, pyarrow, and what the stages before have left."""
_BLOCK_BYTES = 20_000_000
"""Of the block of codes that is read while an index is built."""
_VIEW_BYTES = 130
"""Of arrays for each view of a query while it is looked up in one band."""
_MEGABYTE = 1_000_000
_STEP = 50 * _MEGABYTE
"""What is advised is a multiple of this: what the main process has differs a little from run to run."""
_MOST_PARTS = 32
"""Of one band: with more, the search would do little but read the codes again and again."""
_CELL_BITS = 12


@dataclass(frozen=True)
class Room:
    """What a search has to do with, and the memory it may take."""

    bands: Bands
    """How the codes are cut."""
    codes: int
    """Codes that are indexed."""
    views: int
    """Views of every query."""
    window: int
    """Codes of a crowded bucket that a code is compared with."""
    workers: int
    """Processes that search at the same time."""
    memory: int
    """Bytes that all processes may use together; 0: no limit."""
    main: int = 0
    """Bytes of them that the main process has."""

    def bytes_of(self, parts: Sequence[Part]) -> int:
        """Memory that a search of one slice needs."""
        found = LOT * self.views * len(parts) * self.window * KEY_BYTES  # at most: a crowd
        own = PROCESS_BYTES + LOT * self.views * _VIEW_BYTES + found
        return self.workers * own + sum(part.index_bytes for part in parts)

    def build_bytes(self, part: Part) -> int:
        """Memory that a process needs, beside what any worker does, to build one part's index."""
        return _BLOCK_BYTES + BUILD_BYTES * part.codes + part.index_bytes

    def builders(self, parts: Sequence[Part]) -> int:
        """How many processes may build parts at the same time."""
        if not self.memory:
            return self.workers
        left = self.memory - self.main - self.workers * PROCESS_BYTES
        return max(1, min(self.workers, left // max(map(self.build_bytes, parts))))

    def fits(self, parts: Sequence[Part]) -> bool:
        """Whether a slice can be built and searched."""
        return not self.memory or self.memory >= self._least(parts)

    def _least(self, parts: Sequence[Part]) -> int:
        building = self.workers * PROCESS_BYTES + max(map(self.build_bytes, parts))
        return self.main + max(self.bytes_of(parts), building)

    def slices(self, counts: Counts) -> list[Slice]:
        """The slices, in order; counts: how many codes are where, worked out only if bands must be cut.

        BadRequest if the memory is too little; it says what is not.
        """
        parts = self.bands.whole(self.codes)
        if not self.fits(parts[:1]):
            parts = self._cut(counts)
        slices: list[Slice] = []
        for part in parts:
            if slices and self.fits((*slices[-1], part)):
                slices[-1] = (*slices[-1], part)
            else:
                slices.append((part,))
        return slices

    def check(self, *smallest: Part) -> None:
        """BadRequest, which says what is needed, if the memory is too little for the smallest of parts."""
        share = Part(0, 0, self.bands.buckets // _MOST_PARTS, -(-self.codes // _MOST_PARTS))
        if not all(self.fits([part]) for part in (share, *smallest)):
            least = max(self._least([part]) for part in (share, *smallest))
            workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
            raise BadRequest(
                f"--memory: {self.memory // _MEGABYTE}MB are too little to search among {self.codes:,} codes "
                f"with {workers}; give at least {-(-least // _STEP) * _STEP // _MEGABYTE}MB, "
                "or fewer --workers"
            )

    def _cut(self, counts: Counts) -> list[Part]:
        """Parts of all bands, each as large as fits."""
        cells = counts()
        wide = self.bands.buckets // cells.shape[1]
        self.check(Part(0, 0, wide, int(cells.max())))
        parts = []
        for band, row in enumerate(cells.tolist()):
            part = Part(band, 0, 0, 0)
            for cell, codes in enumerate(row):
                more = Part(band, part.first, (cell + 1) * wide, part.codes + codes)
                if not self.fits([more]):
                    parts.append(part)
                    more = Part(band, cell * wide, (cell + 1) * wide, codes)
                part = more
            parts.append(part)
        return parts


def resident_bytes() -> int:
    """Memory of this process: what is resident now, or where that is not told, the most that was."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def count_cells(codes: Path, bands: Bands) -> np.ndarray:
    """How many codes are in each cell of each band: int64 (bands, cells)."""
    bits = min(bands.bits, _CELL_BITS)
    counts = np.zeros((bands.count, 1 << bits), np.int64)
    for _, block in read_in_blocks(codes):
        for band, (words, _rest) in enumerate(bands.cut(block, range(bands.count))):
            counts[band] += np.bincount((words >> np.uint64(64 - bits)).view(np.int64), minlength=1 << bits)
    return counts
