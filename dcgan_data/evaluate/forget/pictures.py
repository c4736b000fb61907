"""Samples with and without some of G's feature maps, one above the other (DCGAN paper, figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.evaluate.forget.boxes import Box
from dcgan_data.evaluate.outlined import enlarged, outlined
from dcgan_data.evaluate.sheet import Cell, write_sheet

_WHITE = 255


@dataclass(frozen=True)
class ThreeWays:
    """The same samples, drawn three times: uint8 (N, S, S, 3) each."""

    numbers: Sequence[int]
    """Which samples they are."""
    before: np.ndarray
    """As the model draws them."""
    without: np.ndarray
    """Without the maps that speak for what is in the boxes."""
    control: np.ndarray
    """Without as many maps chosen at random."""

    def part(self, start: int, end: int) -> ThreeWays:
        """Some of them."""
        images = (all_of[start:end] for all_of in (self.before, self.without, self.control))
        return ThreeWays(self.numbers[start:end], *images)


def write_picture(path: Path, title: Sequence[str], parts: Sequence[ThreeWays], boxes: Sequence[Box]) -> None:
    """Write three rows for each part: with all maps, and boxes outlined; without some; and the control."""
    rows = [row for part in parts for row in _rows(part, boxes)]
    columns = max(len(row) for row in rows)
    blank = Cell(np.full_like(rows[0][0].pixels, _WHITE), "")
    filled = [[*row, *[blank] * (columns - len(row))] for row in rows]
    write_sheet(path, title, [""] * columns, filled)


def _rows(part: ThreeWays, boxes: Sequence[Box]) -> list[list[Cell]]:
    first = [
        Cell(outlined(image, _on(number, boxes)), f"sample {number}")
        for number, image in zip(part.numbers, part.before, strict=True)
    ]
    others = [
        [Cell(enlarged(image), said) for image in images]
        for said, images in (("dropped", part.without), ("control", part.control))
    ]
    return [first, *others]


def _on(sample: int, boxes: Sequence[Box]) -> list[tuple[int, int, int, int]]:
    return [(box.x, box.y, box.width, box.height) for box in boxes if box.sample == sample]
