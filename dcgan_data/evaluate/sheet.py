"""A sheet of samples beside the training images nearest to them, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_data.formats.atomic import atomic_path

_SIDE, _LINE, _GAP = 128, 15, 10
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Cell:
    """An image and what is said below it."""

    pixels: np.ndarray
    """uint8 (S, S, 3)."""
    said: str
    """The first line."""
    name: str = ""
    """The second line; its end is shown if it is too long."""


def write_sheet(
    path: Path, title: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Write rows of cells below a title and the names of their columns, as PNG. All images have one size.

    Small images are enlarged by a whole factor, so that every pixel is seen as it is.
    """
    size = len(rows[0][0].pixels)
    side = size * max(1, _SIDE // size)
    wide, tall, top = side + _GAP, side + 2 * _LINE + _GAP, (len(title) + 1) * _LINE + _GAP
    sheet = Image.new("RGB", (_GAP + wide * len(columns), top + tall * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LINE - 3)
    for line, text in enumerate(title):
        draw.text((_GAP, _GAP // 2 + line * _LINE), text, fill="black", font=font)
    for place, name in enumerate(columns):
        draw.text((_GAP + place * wide, top - _GAP // 2 - _LINE), name, fill="black", font=font)
    for line, row in enumerate(rows):
        for place, cell in enumerate(row):
            x, y = _GAP + place * wide, top + line * tall
            sheet.paste(Image.fromarray(cell.pixels).resize((side, side), Image.Resampling.NEAREST), (x, y))
            draw.text((x, y + side), cell.said, fill="black", font=font)
            draw.text((x, y + side + _LINE), _end_of(cell.name, font, side), fill="black", font=font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _end_of(text: str, font: _Font, width: int) -> str:
    """So much of the end as fits: keys and paths often begin alike."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"
