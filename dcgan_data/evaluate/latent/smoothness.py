"""How evenly images change along a walk (sec. 6.1).

The change of a step is the root mean square of the differences of pixels in [-1, 1]. The score of a segment,
the way from one point to the next, is its largest change against its mean one. A cross-fade of the two images
has a score of 1. A generator that memorised, which shows one stored image and then another, has all change in
one step of ``steps``: a score of ``steps``.

In between, finer steps tell: the score of whatever is continuous settles (DCGANs trained here: 1.3 to 2.1
at 8 steps as at 64), and that of a jump grows with the number of steps. So the limit is the square root of
the number of steps, midway between a cross-fade and a jump as factors go: a step is sharp if it has more than
a ``1 / sqrt(steps)``-th of all change of its segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np


@dataclass(frozen=True)
class Segment:
    """The way from one point to the next."""

    start: int
    """The sample that it begins with."""
    end: int
    """The sample that it ends with."""
    mean: float
    """Change of its mean step."""
    largest: float
    """Change of its largest step."""
    at: int
    """Which step that is, from 0."""
    score: float | None
    """Largest against mean; None if nothing changes."""
    cross_fade: float | None
    """The same of a cross-fade between the same two images: 1 but for the rounding to 8 bits."""


@dataclass(frozen=True)
class Smoothness:
    """How even a walk is, and what that is held against."""

    steps: int
    """Of each segment: the score of a jump."""
    limit: float
    """Segments with a higher score have a sharp transition."""
    segments: tuple[Segment, ...]
    """In the order walked."""
    worst: float | None
    """The highest score of a segment; None if nothing changes anywhere."""
    cross_fade: float | None
    """The highest score of a cross-fade between the same images."""
    whole: float | None
    """Largest change of all steps against the mean of all. Ways of unequal length raise it, too."""
    independent: float | None
    """Median difference between the images of two points, which have nothing to do with each other."""
    share: float | None
    """The largest change of all steps as a share of that: near 1 for a jump."""

    @property
    def sharp(self) -> tuple[Segment, ...]:
        """Segments with a sharp transition."""
        return tuple(part for part in self.segments if part.score and part.score > self.limit)

    @property
    def unchanging(self) -> tuple[Segment, ...]:
        """Segments in which nothing changes."""
        return tuple(part for part in self.segments if part.score is None)


def changes(images: np.ndarray) -> np.ndarray:
    """Change from each image to the next: uint8 (N, S, S, 3) to float64 (N - 1,), in pixels of [-1, 1]."""
    return np.array([_difference(before, after) for before, after in pairwise(images)])


def smoothness(frames: np.ndarray, points: int) -> Smoothness:
    """Judge a closed walk: uint8 (points * steps, S, S, 3), a point every ``steps`` frames."""
    steps = len(frames) // points
    closed = np.concatenate([frames, frames[:1]])
    moved = changes(closed).reshape(points, steps)
    shown = frames[::steps]
    segments = tuple(
        _segment(
            number, (number + 1) % points, moved[number], _cross_fade(closed[number * steps :][: steps + 1])
        )
        for number in range(points)
    )
    independent = float(np.median([_difference(a, b) for a, b in combinations(shown, 2)])) or None
    return Smoothness(
        steps=steps,
        limit=math.sqrt(steps),
        segments=segments,
        worst=max((part.score for part in segments if part.score), default=None),
        cross_fade=max((part.cross_fade for part in segments if part.cross_fade), default=None),
        whole=_score(moved.ravel()),
        independent=independent,
        share=float(moved.max()) / independent if independent else None,
    )


def _segment(start: int, end: int, moved: np.ndarray, faded: np.ndarray) -> Segment:
    return Segment(
        start, end, float(moved.mean()), float(moved.max()), int(moved.argmax()), _score(moved), _score(faded)
    )


def _cross_fade(images: np.ndarray) -> np.ndarray:
    """Changes of a cross-fade from the first image to the last, in as many steps, rounded like images."""
    shares = np.arange(len(images))[:, None, None, None] / (len(images) - 1)
    return changes(np.rint((1 - shares) * images[0] + shares * images[-1]).astype(np.uint8))


def _score(moved: np.ndarray) -> float | None:
    mean = float(moved.mean())
    return float(moved.max()) / mean if mean else None


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square((a.astype(np.float32) - b.astype(np.float32)) / 127.5))))
