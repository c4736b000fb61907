"""Encoded bytes -> a whole photo, upright, by the policies of ``decode``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.crop import Rect, orient_image, orient_rect, orient_size
from dcgan_data.ops.decode import decode_stored
from dcgan_data.ops.stored import Part, Wanted


@dataclass(frozen=True)
class Photo:
    """An upright photo, at full size or as a scaled decode."""

    pixels: np.ndarray
    """uint8 (H, W, 3), RGB. A JPEG's last blocks are left out where the edge of the photo cuts them."""
    reduction: int
    """Source pixels of a pixel, across and down."""
    width: int
    """Of the upright source, pixels."""
    height: int
    """Of the upright source, pixels."""
    orientation: int
    """EXIF orientation of what is stored, 1 to 8."""

    @property
    def left(self) -> int:
        """Source pixels left of ``pixels``."""
        return self.grid(self.reduction)[0]

    @property
    def top(self) -> int:
        """Source pixels above ``pixels``."""
        return self.grid(self.reduction)[1]

    def grid(self, reduction: int) -> tuple[int, int]:
        """Where a decoder's blocks of ``reduction`` source pixels begin: 0, 0 unless it is stored turned.

        Whatever the format: the same photo as JPEG and as PNG is cropped alike.
        """
        width, height = orient_size(self.width, self.height, self.orientation)  # as stored
        whole = Rect(0, 0, width // reduction * reduction, height // reduction * reduction)
        rect = orient_rect(whole, width, height, self.orientation)
        return rect.x, rect.y


def decode_photo(data: bytes, max_pixels: int, reduction: Callable[[int, int], int]) -> Photo:
    """Decode a whole photo and turn it upright; BadImage says why it cannot be done.

    reduction: of width and height, the largest of ``crop.REDUCTIONS`` that leaves enough pixels. The photo
    comes at this or a smaller one.
    """

    def whole(width: int, height: int) -> Part:
        return Part(Rect(0, 0, width, height), min(reduction(width, height), _largest(width, height)))

    found = decode_stored(data, Wanted(whole, 1, max_pixels))
    size = orient_size(found.width, found.height, found.orientation)
    return Photo(orient_image(found.pixels, found.orientation), found.reduction, *size, found.orientation)


def _largest(width: int, height: int) -> int:
    """The largest reduction that leaves a pixel."""
    return 1 << min(3, min(width, height).bit_length() - 1)
