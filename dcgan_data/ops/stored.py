"""Pictures as they are stored: what decoders are asked for and give, and why they cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dcgan_data.ops.crop import Rect
from dcgan_data.ops.footprint import ALLOWED

_NO_MEMORY = re.compile(
    "insufficient memory|out of memory|memory allocation|failed to allocate", re.IGNORECASE
)


class BadImage(Exception):
    """This record cannot become pixels. ``reason`` starts with one word: the class of the failure."""

    def __init__(self, reason: str, width: int | None = None, height: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.width = width
        self.height = height


class Part(NamedTuple):
    """What of a stored picture is wanted, and how fine."""

    rect: Rect
    """In stored pixels. What does not fill a block of ``reduction`` is left out of what is reduced."""
    reduction: int
    """A JPEG is decoded at 1/reduction of its size; of other formats, a part of over 16 million pixels is
    averaged to it."""


@dataclass(frozen=True)
class StoredImage:
    """Part of a picture as it is stored: not yet turned upright."""

    pixels: np.ndarray
    """uint8 (H, W, 3), RGB: the wanted part."""
    reduction: int
    """Source pixels of a pixel, across and down: what was asked for, or 1."""
    width: int
    """Of the whole stored picture, pixels."""
    height: int
    """Of the whole stored picture, pixels."""
    orientation: int
    """EXIF orientation, 1 to 8."""


@dataclass(frozen=True)
class Wanted:
    """What ``decode_stored`` is to do with a picture once it knows how large it is."""

    part: Callable[[int, int], Part]
    """Of stored width and height."""
    short_side: int
    """Less than this, and the picture is not decoded."""
    max_pixels: int
    """More than this, and the picture is not decoded; nor if that takes more memory than
    ``footprint.ALLOWED`` bytes for each of them."""


def check_size(width: int, height: int, wanted: Wanted) -> None:
    """BadImage if there are no pixels, too many, or too few."""
    if width < 1 or height < 1:
        raise BadImage(f"no_pixels: {width}x{height}", width, height)
    if width * height > wanted.max_pixels:
        raise BadImage(f"too_many_pixels: over {wanted.max_pixels}", width, height)
    if min(width, height) < wanted.short_side:
        raise BadImage(f"too_small: short side under {wanted.short_side}", width, height)


def check_bytes(kind: str, needed: int, size: tuple[int, int], wanted: Wanted) -> None:
    """BadImage if decoding takes more bytes of memory than are allowed."""
    allowed = ALLOWED * wanted.max_pixels
    if needed > allowed:
        raise BadImage(
            f"too_many_pixels: as {kind} takes {needed / 1e6:.0f} MB of memory, over {allowed / 1e6:.0f}",
            *size,
        )


def require_memory(error: Exception) -> None:
    """Raise MemoryError if that is what a decoder's error means: it says nothing about the picture.

    AVIF's decoder does not tell one from the other: its pictures are then taken for corrupt.
    """
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        raise MemoryError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """What an error says, short enough for a table."""
    return " ".join(str(error).split())[:120] or type(error).__name__
