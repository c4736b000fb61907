"""The picture of turning faces: the two groups, and random samples that turn from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.evaluate.latent.drawing import GAP, LINE, MUTED, Sheet, shown_side

_LABEL = 52
"""Pixels for what stands left of the images."""


@dataclass(frozen=True)
class Strip:
    """A group of samples that face the same way."""

    name: str
    """left or right."""
    images: np.ndarray
    """uint8 (n, S, S, 3)."""
    said: tuple[str, ...]
    """Below each: its number, and its yaw if it was measured."""
    mean: np.ndarray
    """uint8 (S, S, 3): the image of their mean latent vector."""


def write_turn(
    path: Path,
    title: Sequence[str],
    strips: Sequence[Strip],
    turned: np.ndarray,
    labels: tuple[Sequence[str], Sequence[str]],
) -> None:
    """Write the groups above uint8 (rows, columns, S, S, 3) images as PNG; labels: of rows, of columns."""
    rows, columns, size = turned.shape[:3]
    side = shown_side(size)
    most = max(len(strip.images) for strip in strips)
    tall = side + LINE + GAP
    wide = _LABEL + max(columns * side, (most + 1) * (side + GAP))
    grid = len(strips) * tall + LINE + GAP
    sheet = Sheet(wide, grid + rows * side, title)
    for line, strip in enumerate(strips):
        y = line * tall
        sheet.text(0, y + (side - LINE) // 2, strip.name)
        for place, (pixels, said) in enumerate(zip(strip.images, strip.said, strict=True)):
            sheet.image(_LABEL + place * (side + GAP), y, pixels, side)
            sheet.text(_LABEL + place * (side + GAP), y + side, said, side, MUTED)
        x = _LABEL + len(strip.images) * (side + GAP)
        sheet.image(x, y, strip.mean, side)
        sheet.text(x, y + side, "mean z")
    for column, label in enumerate(labels[1]):
        sheet.text(_LABEL + column * side, grid - LINE - 2, label, side, MUTED)
    for row, label in enumerate(labels[0]):
        sheet.text(0, grid + row * side + (side - LINE) // 2, label)
        for column in range(columns):
            sheet.image(_LABEL + column * side, grid + row * side, turned[row, column], side)
    sheet.save(path)
