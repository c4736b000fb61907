"""How near images are to the training images, held against how near training images are to one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUANTILES = (0.5, 0.05, 0.01)
_SINGLED_OUT = 3


@dataclass(frozen=True)
class Closeness:
    """How near some images are to the training images nearest to them."""

    images: int
    """How many there are."""
    median: float
    """Of their distances to the nearest."""
    below: tuple[float, ...]
    """Shares of them that are nearer to a training image than the ``thresholds``."""
    singled_out: float
    """Share with one training image less than a third as far away as the next: the mark of a memorised image
    (Yoon et al., 2023), which does not depend on how blurred or plain it is."""


@dataclass(frozen=True)
class Space:
    """One way to measure distances, and what was measured."""

    unit: str
    """Of the distances."""
    thresholds: tuple[float, ...]
    """Median, 5 % and 1 % quantile of each training image's distance to its nearest OTHER training image."""
    training: Closeness
    """The training images themselves, each one left out: the yardstick."""
    held_out: Closeness | None
    """Real images that training never saw: what samples that copy nothing should look like."""
    samples: Closeness
    """Generated images."""


def compare(unit: str, samples: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> Space:
    """Hold distances to the nearest training images against each other.

    Each is (N, 2) or wider, nearest first; ``held_out`` may be empty. "Below" means strictly: bits are
    whole numbers, so that also of the training images fewer than 5 % may be below their 5 % quantile.
    """
    thresholds = tuple(float(value) for value in np.quantile(training[:, 0], QUANTILES))
    return Space(
        unit,
        thresholds,
        _closeness(training, thresholds),
        _closeness(held_out, thresholds) if len(held_out) else None,
        _closeness(samples, thresholds),
    )


def _closeness(distances: np.ndarray, thresholds: tuple[float, ...]) -> Closeness:
    first, second = distances[:, 0], distances[:, 1]
    return Closeness(
        images=len(distances),
        median=float(np.median(first)),
        below=tuple(float((first < threshold).mean()) for threshold in thresholds),
        singled_out=float((_SINGLED_OUT * first < second).mean()),
    )
