"""Which removed pairs a person is asked to judge: a stratified random sample, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcgan_data.report.bands import Bands
from dcgan_data.report.rows import Removals

SAMPLE_SIZE, SAMPLE_SEED = 300, 0
"""Not options: whoever could choose the sample could choose the outcome. 300 is the smallest round number
at which no false pair at all proves a rate under 1 in 100 (95 %, one-sided: 0.994 %)."""
_SIZE_CLASSES = ("2", "3-5", "6+")
_SIZE_LIMITS = (3, 6)


@dataclass(frozen=True)
class Strata:
    """The removals divided by score band and by size of the group."""

    stratum: np.ndarray
    """int64 (R,): number of each removal's stratum."""
    bands: Bands
    """The score bands."""

    def label(self, stratum: int) -> str:
        """For example ``score 0.72-0.75, group of 3-5``."""
        band, size = divmod(stratum, len(_SIZE_CLASSES))
        return f"score {self.bands.labels[band]}, group of {_SIZE_CLASSES[size]}"

    @property
    def band(self) -> np.ndarray:
        """int64 (R,): number of each removal's score band."""
        return self.stratum // len(_SIZE_CLASSES)


def stratify(removals: Removals, bands: Bands) -> Strata:
    """Give every removal its stratum."""
    sizes = np.searchsorted(_SIZE_LIMITS, removals.group_sizes[removals.group], side="right")
    return Strata(bands.of(removals.score) * len(_SIZE_CLASSES) + sizes, bands)


def draw_sample(strata: Strata, size: int = SAMPLE_SIZE, seed: int = SAMPLE_SEED) -> np.ndarray:
    """Draw removals in proportion to their strata: int64 (min(size, R),), in the order of judging.

    The order mixes the strata evenly, so that the first n of the sample are again a stratified random
    sample: who stops early has judged fewer pairs, not other ones.
    """
    numbers, counts = np.unique(strata.stratum, return_counts=True)
    chosen, turn = [], []
    for number, share in zip(numbers, allocate(counts, size), strict=True):
        rng = np.random.default_rng([seed, int(number)])
        members = np.flatnonzero(strata.stratum == number)
        chosen.append(rng.choice(members, share, replace=False))
        turn.append((np.arange(share) + rng.random(share)) / max(share, 1))
    if not chosen:
        return np.empty(0, np.int64)
    return np.concatenate(chosen)[np.argsort(np.concatenate(turn), kind="stable")]


def allocate(counts: np.ndarray, size: int) -> np.ndarray:
    """Divide ``size`` in proportion to int64 ``counts`` by largest remainders; never more than a count."""
    total = int(counts.sum())
    if total <= size:
        return counts
    share, remainder = np.divmod(counts * size, total)
    left = size - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:left]] += 1
    return share
