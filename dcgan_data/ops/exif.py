"""The one EXIF tag that matters here, read without trusting a byte of it."""

from __future__ import annotations

import struct

_ORIENTATION = 0x0112
_SHORT = 3
_HEADER = b"Exif\0\0"
_METADATA = frozenset(bytes([marker]) for marker in (*range(0xE0, 0xF0), 0xFE))
"""Markers of JPEG segments APP0 to APP15, and of comments."""


def jpeg_orientation(data: bytes) -> int:
    """EXIF orientation (1 to 8) of a JPEG; 1 when there is none or it makes no sense."""
    position = 2
    # Metadata comes first: the walk ends at the first segment that is neither APPn nor a comment.
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] in _METADATA:
        start, end = position + 4, position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == 0xE1 and data.startswith(_HEADER, start):
            return exif_orientation(data[start:end])
        position = end
    return 1


def exif_orientation(exif: bytes) -> int:
    """Orientation from an EXIF block, with or without its ``Exif`` header; 1 when damaged or absent."""
    tiff = exif.removeprefix(_HEADER)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == _SHORT:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # an offset points out of the block
        pass
    return 1
