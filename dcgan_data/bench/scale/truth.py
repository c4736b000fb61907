"""Which records of a synthetic set are copies of which, and how a de-duplication did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from dcgan_data.formats.manifest import DUPLICATE
from dcgan_data.formats.prepared import PreparedSet

_COPIES = 0.1
"""Share of the records that are planted copies: of 3,033,042 bedrooms the paper removed 275,000."""
_OF_FAVOURITES = 0.2
"""Share of the copies that show one of a few pictures ..."""
_FAVOURITES = 0.001
"""... which are this share of all: some pictures occur a dozen times, a few hundreds of times."""


@dataclass(frozen=True)
class Truth:
    """Who shows the same picture as whom."""

    original: np.ndarray
    """int64 (N,): number of the picture that each record shows; its own number for originals."""

    @property
    def removable(self) -> int:
        """Records that should go: all but one of each picture."""
        return len(self.original) - len(np.unique(self.original))


@dataclass(frozen=True)
class TruthScore:
    """What was removed, held against the truth."""

    planted: int
    """Records that should go."""
    found: int
    """Of those, how many went."""
    wrong: int
    """Records that went for a picture that they do not show."""


def draw_truth(records: int, seed: int) -> Truth:
    """Plant copies among N records: of any original, and more often of a few favourites."""
    rng = np.random.default_rng((seed, records))
    original = np.arange(records)
    is_copy = rng.random(records) < _COPIES
    is_copy[0] = False
    originals = np.flatnonzero(~is_copy)
    copies = np.flatnonzero(is_copy)
    original[copies] = originals[rng.integers(0, len(originals), len(copies))]
    favourites = rng.permutation(originals)[: max(1, round(_FAVOURITES * records))]
    popular = copies[rng.random(len(copies)) < _OF_FAVOURITES]
    rank = (len(favourites) ** rng.random(len(popular))).astype(np.int64) - 1  # a few are far ahead
    original[popular] = favourites[rank]
    return Truth(original)


def record_keys(records: int, seed: int) -> np.ndarray:
    """Keys in ascending order, 40 hex digits as LSUN's: bytes (N,)."""
    rng = np.random.default_rng((seed, records, 1))
    prefix = (np.arange(records, dtype=np.uint64) << np.uint64(32)) // np.uint64(records)
    tail = rng.bytes(16 * records)
    return np.array(
        [f"{int(head):08x}{tail[16 * n : 16 * n + 16].hex()}".encode() for n, head in enumerate(prefix)]
    )


def score_set(prepared: Path, truth: Truth, keys: np.ndarray) -> TruthScore:
    """Hold the removals of a prepared set against the truth; keys: bytes (N,), of all records in order."""
    table = PreparedSet.open(prepared).manifest(["status", "duplicate_of"])
    removed = np.flatnonzero(pc.equal(table["status"], DUPLICATE).to_numpy())
    names = table["duplicate_of"].take(removed).to_numpy(zero_copy_only=False)
    kept_by = np.searchsorted(keys, names.astype(keys.dtype))
    right = truth.original[kept_by] == truth.original[removed]
    return TruthScore(truth.removable, int(right.sum()), int((~right).sum()))
