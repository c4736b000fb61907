"""Score bands: the removals from hardly to surely the same, in steps that a person can look through."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

UNSCORED = "no score"
_STEPS = (0.1, 0.05, 0.02, 0.01)
_FEWEST_BANDS = 4


@dataclass(frozen=True)
class Bands:
    """Bands of scores between edges; images removed without a score are a band of their own, the last."""

    edges: tuple[float, ...]
    """Ascending: from the lowest score that removes to 1; empty if there are no scores."""
    labels: tuple[str, ...]
    """One a band, for example ``0.72-0.75``."""

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, score: np.ndarray) -> np.ndarray:
        """The band of each float score, int64 (N,); scores outside the edges are in the nearest band."""
        scored = max(len(self.edges) - 1, 0)
        place = np.searchsorted(np.asarray(self.edges[1:-1], np.float32), score, side="right")
        return np.where(np.isnan(score), scored, place)


def score_bands(score: np.ndarray, threshold: float | None) -> Bands:
    """Bands for the scores of all removals, float32 (R,), NaN for none; threshold: of the rule."""
    unscored = np.isnan(score)
    labels: list[str] = []
    edges: list[float] = []
    if not unscored.all():
        edges = _edges(_lowest_edge(float(np.nanmin(score)), threshold))
        first = f"{edges[0]:.4f}".rstrip("0").ljust(4, "0")
        texts = [first, *(f"{edge:.2f}" for edge in edges[1:])]
        labels = [f"{low}-{high}" for low, high in pairwise(texts)]
    if unscored.any():
        labels.append(UNSCORED)
    return Bands(tuple(edges), tuple(labels))


def _lowest_edge(lowest_score: float, threshold: float | None) -> float:
    """The threshold; or, if something was removed below it by another rule, that score rounded down."""
    if threshold is not None and threshold <= lowest_score + 1e-6:  # scores are float32
        return threshold
    return float(np.clip(np.floor(lowest_score * 100 + 1e-4) / 100, 0, 0.99))


def _edges(lowest: float) -> list[float]:
    """Round numbers above ``lowest`` in the largest step that gives enough bands."""
    for step in _STEPS:
        first = int(np.floor(lowest / step + 1e-6)) + 1
        inner = [round(number * step, 2) for number in range(first, round(1 / step))]
        if len(inner) + 1 >= _FEWEST_BANDS:
            break
    return [lowest, *inner, 1.0]
