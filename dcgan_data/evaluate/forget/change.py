"""How much an image changes, inside boxes and outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.evaluate.forget.boxes import Box


@dataclass(frozen=True)
class Change:
    """Mean absolute difference of two drawings of the same latent vectors, in grey levels of 0 to 255."""

    inside: float
    """Over the pixels in boxes."""
    outside: float
    """Over the other pixels of the same images."""


def pixels_inside(boxes: Sequence[Box], samples: Sequence[int], size: int) -> np.ndarray:
    """Which pixels of the images ``samples`` are in a box: bool (N, size, size)."""
    inside = np.zeros((len(samples), size, size), bool)
    place = {sample: number for number, sample in enumerate(samples)}
    for box in boxes:
        inside[place[box.sample], box.y : box.y + box.height, box.x : box.x + box.width] = True
    return inside


def change_between(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> Change:
    """Compare uint8 (N, S, S, 3) images; inside: bool (N, S, S), neither all True nor all False."""
    difference = np.abs(before.astype(np.int16) - after).mean(axis=3)
    return Change(float(difference[inside].mean()), float(difference[~inside].mean()))


def mean_change(changes: Sequence[Change]) -> Change:
    """The mean of several."""
    inside, outside = (
        float(np.mean([getattr(change, name) for change in changes])) for name in ("inside", "outside")
    )
    return Change(inside, outside)
