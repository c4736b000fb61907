"""Checked pairs of images, by their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.views import VIEW

PIXELS, CODE, GROUP = "pixels", "code", "group"
"""How two images met: equal pixels, near codes, or a third image that connects them."""

PAIR = np.dtype(
    [
        ("a", np.int64),
        ("b", np.int64),
        ("view", VIEW),
        ("distance", np.uint8),
        ("score", np.float32),
        ("found", "U6"),
    ]
)
"""Image ``b``, seen through ``view``, is laid over image ``a``. ``distance``: bits that their codes differ
in, under the nearest view; ``score`` is NaN with the exact rule."""


def make_pairs(a: np.ndarray, b: np.ndarray, found: str) -> np.ndarray:
    """PAIR (P,) of images without any difference, to be filled in."""
    pairs = np.zeros(len(a), PAIR)
    pairs["a"], pairs["b"], pairs["found"] = a, b, found
    pairs["view"]["zoom_x"] = pairs["view"]["zoom_y"] = 100
    return pairs


def merge_pairs(parts: list[np.ndarray]) -> np.ndarray:
    """Every two images once, in order of numbers: the way round and the view that scores higher."""
    pairs = np.concatenate(parts) if parts else np.zeros(0, PAIR)
    low, high = np.minimum(pairs["a"], pairs["b"]), np.maximum(pairs["a"], pairs["b"])
    # What was asked while choosing is kept apart: another choice may not ask it.
    asked = pairs["found"] == GROUP
    order = np.lexsort((pairs["b"], pairs["distance"], -pairs["score"], asked, high, low))
    first = np.ones(len(order), bool)
    for part in (low, high, asked):
        first[1:] &= part[order][1:] == part[order][:-1]
    first[1:] = ~first[1:]
    return pairs[order[first]]


@dataclass(frozen=True)
class Pairs:
    """What the search found, before any decision."""

    checked: np.ndarray
    """PAIR (P,): pairs that score at least the floor."""
    findings: dict[str, object]
    """Counts of the search, for ``dataset.json``."""
