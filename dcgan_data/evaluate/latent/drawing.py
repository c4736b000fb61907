"""A white sheet with images, labels and a title."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_data.formats.atomic import atomic_path

LINE = 16
"""Pixels from one line of text to the next."""
GAP = 10
"""Pixels between things."""
_SIDE = 128
"""Pixels that images are brought to, if a whole factor does it."""
MUTED, ALARMING = "#666666", "#b00020"


def shown_side(image_size: int) -> int:
    """Side in pixels of an image on a sheet: enlarged by a whole factor, so that every pixel is seen."""
    return image_size * max(1, _SIDE // image_size)


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """uint8 (S, S, 3) at ``side`` x ``side`` pixels; whole factors leave every pixel as it is."""
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)


class Sheet:
    """Places are pixels from the left edge, and from below the title."""

    def __init__(self, width: int, height: int, title: Sequence[str]) -> None:
        """``width`` and ``height`` are of what comes below the title; a long title makes it wider."""
        self._font, self._large = ImageFont.load_default(LINE - 3), ImageFont.load_default(2 * LINE - 6)
        self._top = GAP + LINE * len(title) + GAP // 2
        needed = max((int(self._font.getlength(line)) + 1 for line in title), default=0)
        self._image = Image.new("RGB", (max(width, needed) + 2 * GAP, self._top + height + GAP), "white")
        self.draw = ImageDraw.Draw(self._image)
        for number, line in enumerate(title):
            self.draw.text((GAP, GAP // 2 + number * LINE), line, "black", self._font)

    def image(self, x: int, y: int, pixels: np.ndarray, side: int) -> None:
        """Put uint8 (S, S, 3) with its left upper corner at x, y."""
        self._image.paste(enlarged(pixels, side), self.at(x, y))

    def text(self, x: int, y: int, text: str, width: int = 0, colour: str = "black") -> None:
        """Write one line; its end is left out where it is wider than ``width`` (0: any)."""
        if width and self._font.getlength(text) > width:
            while text and self._font.getlength(f"{text}...") > width:
                text = text[:-1]
            text = f"{text}..."
        self.draw.text(self.at(x, y), text, colour, self._font)

    def sign(self, x: int, y: int, sign: str) -> None:
        """Write a large sign with its middle at x, y."""
        self.draw.text(self.at(x, y), sign, "black", self._large, "mm")

    def at(self, x: int, y: int) -> tuple[int, int]:
        """A place in pixels of the whole picture, for ``draw``."""
        return GAP + x, self._top + y

    def save(self, path: Path) -> None:
        """Write it as PNG, atomically."""
        with atomic_path(path) as temporary:
            self._image.save(temporary, "PNG")
