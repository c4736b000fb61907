"""Products of pictures with the weights of views in mirrored pairs, at little over half the work.

A view and its mirror image see a picture and the flipped picture alike. So the picture is divided into the
sum and the difference of its halves: one product with each gives the sums of both views. What rounding to the
grid has made different in a mirrored view's weights, some numbers in a few rows, is added. All are sums of
integers that are exact in float64: the products are the same, bit for bit, as those with the whole weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.views import SIDE


@dataclass(frozen=True)
class MirroredProducts:
    """Weights of P views and their P mirror images, divided."""

    even: np.ndarray
    """float64 (inputs / 2, P * K): half the sum of the weights at a pixel and at its mirror image."""
    odd: np.ndarray
    """float64 (inputs / 2, P * K): half the difference."""
    rows: np.ndarray
    """int64 (R,): inputs where a mirrored view's weights are not quite its partner's."""
    rest: np.ndarray
    """float64 (R, P * K): what is to be added there."""
    mirrored: np.ndarray
    """int64 (P,): which of all 2 P views each of the first P is the mirror image of."""

    @classmethod
    def of(cls, weight: np.ndarray, views: np.ndarray) -> MirroredProducts | None:
        """Divide the float64 (inputs, V * K) weights of VIEW (V,); None unless these are mirrored pairs."""
        mirrored = _partners(views)
        if mirrored is None:
            return None
        inputs, pairs = len(weight), len(mirrored)
        by_view = weight.reshape(SIDE, SIDE, inputs // SIDE**2, len(views), -1)
        plain, there = by_view[..., :pairs, :], by_view[..., mirrored, :]
        flipped = plain[:, ::-1]
        rest = (there - flipped).reshape(inputs, -1)
        rows = np.flatnonzero(rest.any(axis=1))
        even, odd = (half[:, : SIDE // 2] / 2 for half in (plain + flipped, plain - flipped))
        return cls(even.reshape(inputs // 2, -1), odd.reshape(inputs // 2, -1), rows, rest[rows], mirrored)

    def products(self, inputs: np.ndarray) -> np.ndarray:
        """``inputs @ weight``: integers as float64 (N, inputs) -> float64 (N, V * K)."""
        images, pairs = len(inputs), len(self.mirrored)
        pictures = inputs.reshape(images, SIDE, SIDE, -1)
        left, right = pictures[:, :, : SIDE // 2], pictures[:, :, : SIDE // 2 - 1 : -1]
        even = (left + right).reshape(images, -1) @ self.even
        odd = (left - right).reshape(images, -1) @ self.odd
        result = np.empty((images, 2 * pairs, even.shape[1] // pairs))
        result[:, :pairs] = (even + odd).reshape(images, pairs, -1)
        even -= odd
        even += inputs[:, self.rows] @ self.rest
        result[:, self.mirrored] = even.reshape(images, pairs, -1)
        return result.reshape(images, -1)


def _partners(views: np.ndarray) -> np.ndarray | None:
    """int64 (P,): the mirror image of each of the first P of VIEW (2 P,); None if one has none."""
    pairs = len(views) // 2
    plain = views[:pairs].copy()
    # To see a picture's left from its mirror image, look to the right.
    plain["shift_x"] *= -1
    plain["mirror"] = True
    order = np.argsort(views)
    place = order[np.searchsorted(views, plain, sorter=order).clip(max=len(views) - 1)]
    found = pairs > 0 and not views[:pairs]["mirror"].any() and np.array_equal(views[place], plain)
    return place if found and np.array_equal(np.sort(place), np.arange(pairs, 2 * pairs)) else None
