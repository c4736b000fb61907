"""Images enlarged, with rectangles drawn on them, as cells of a sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIDE = 128
"""Images are enlarged to this at least, so that the lines are thin beside their pixels."""
_WHITE, _BLACK = 255, 0


def outlined(image: np.ndarray, rectangles: Sequence[tuple[int, int, int, int]]) -> np.ndarray:
    """Enlarge uint8 (S, S, 3), and draw each rectangle, in its pixels, as a white line within a black one.

    rectangles: left, top, width, height.
    """
    drawn = enlarged(image)
    factor = len(drawn) // len(image)
    for left, top, width, height in rectangles:
        view = drawn[factor * top : factor * (top + height), factor * left : factor * (left + width)]
        _frame(view, _BLACK)
        _frame(view[1:-1, 1:-1], _WHITE)
    return drawn


def enlarged(image: np.ndarray) -> np.ndarray:
    """Enlarge uint8 (S, S, 3) by a whole factor, to 128 pixels for those sizes that divide it."""
    factor = max(1, _SIDE // len(image))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _frame(view: np.ndarray, grey: int) -> None:
    for line in (view[:1], view[-1:], view[:, :1], view[:, -1:]):
        line[...] = grey
