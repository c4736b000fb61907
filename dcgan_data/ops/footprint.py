"""How much memory decoding a picture takes, as far as its header tells: it bounds what a worker takes.

Measured at 49 megapixels, as the growth of a process's peak. What grows with the pixels is counted, and the
encoded bytes themselves, which an uncompressed picture makes as large as the pixels.
"""

from __future__ import annotations

import re
from types import MappingProxyType

ALLOWED = 7
"""Bytes for each pixel of the limit ``max_pixels``: 350 MB at the default of 50 million. With these, and the
150 MB that a worker takes for itself, it stays under 500 MB."""
PLAIN_WEBP, LOSSLESS_WEBP = "plain WebP", "lossless WebP"
_PILLOW = 4.2
"""Pillow keeps four bytes for a pixel of three or four samples."""
_BYTES = MappingProxyType(
    {
        PLAIN_WEBP: 6.1,
        LOSSLESS_WEBP: 7.0,
        "WEBP": 16.2,  # three canvases of the animation's decoder, whether it moves or not
        "AVIF": 12.0,  # three planes of 16 bits, at most, and a copy
        "JPEG2000": 17.0,  # the samples as 32-bit numbers
    }
)
"""A pixel's, by Pillow's name of the format."""
_COEFFICIENTS = 2.0
"""Bytes of a sample of a progressive JPEG: all of it is in memory before the first pixel is made."""

_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
"""As libjpeg looks for the next one: whatever else is before it is passed over."""
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a length."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame, and say by their number how it is coded: the second bit is progressive."""


def decoding_bytes(kind: str, pixels: int, data_bytes: int) -> int:
    """What Pillow or OpenCV take for ``pixels`` of a format that is coded in ``data_bytes``."""
    return data_bytes + int(pixels * _BYTES.get(kind, _PILLOW))


def coefficient_bytes(data: bytes, samples: int) -> int:
    """What libjpeg takes for ``samples`` (pixels x channels) beside the pixels it makes: 0 unless the JPEG in
    ``data`` is progressive."""
    return int(samples * _COEFFICIENTS) if _is_progressive(data) else 0


def _is_progressive(data: bytes) -> bool:
    place = 2
    while found := _MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker in _FRAMES:
            return bool(marker & 2)
        if marker not in _ALONE:
            place += int.from_bytes(data[place : place + 2])
    return False
