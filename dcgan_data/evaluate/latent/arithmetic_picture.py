"""The picture of vector arithmetic: three columns of exemplars, the block of results, the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.evaluate.latent.drawing import GAP, LINE, MUTED, Sheet, shown_side

_SIGN = 24
"""Pixels for a plus, a minus or an equals sign."""


@dataclass(frozen=True)
class Column:
    """A concept."""

    name: str
    """What it is called."""
    numbers: tuple[int, ...]
    """Of its exemplars."""
    exemplars: np.ndarray
    """uint8 (n, S, S, 3)."""
    mean: np.ndarray
    """uint8 (S, S, 3): the image of the mean latent vector."""
    blend: np.ndarray
    """float64 (S, S, 3): the mean of the exemplars' pixels, in grey levels."""


def write_arithmetic(
    path: Path, title: Sequence[str], columns: Sequence[Column], block: np.ndarray, control: np.ndarray
) -> None:
    """Write the concepts' columns, uint8 (9, S, S, 3) results and the uint8 (S, S, 3) control as PNG.

    Rows from the top: the exemplars, the images of the mean latent vectors, the means of the pixels. The
    block stands beside the first, the control beside the last.
    """
    side = shown_side(len(control))
    wide, tall = side + GAP + _SIGN, side + LINE + GAP
    most = max(3, *(len(column.numbers) for column in columns))
    means, blends = LINE + most * tall, LINE + (most + 1) * tall
    right = len(columns) * wide
    sheet = Sheet(right + 3 * side, blends + tall, title)
    for place, (column, sign) in enumerate(zip(columns, "-+=", strict=True)):
        x = place * wide
        sheet.text(x, 0, column.name, side)
        for row, (number, pixels) in enumerate(zip(column.numbers, column.exemplars, strict=True)):
            sheet.image(x, LINE + row * tall, pixels, side)
            sheet.text(x, LINE + row * tall + side, str(number), colour=MUTED)
        sheet.image(x, means, column.mean, side)
        sheet.text(x, means + side, "mean z", colour=MUTED)
        sheet.image(x, blends, np.rint(column.blend).astype(np.uint8), side)
        sheet.text(x, blends + side, "mean of pixels", side + _SIGN, MUTED)
        for y in (means, blends):
            sheet.sign(x + side + (wide - side) // 2, y + side // 2, sign)
    for number, pixels in enumerate(block):
        sheet.image(right + number % 3 * side, means - (3 - number // 3) * side + side, pixels, side)
    sheet.text(right, means + side, "A - B + C in the centre, noise added round it", 3 * side, MUTED)
    sheet.image(right, blends, control, side)
    sheet.text(right, blends + side, "the same with pixels", 3 * side, MUTED)
    sheet.save(path)
