"""Pictures as PNG files."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB = (8, 2, 0, 0, 0)
_SETTINGS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
"""On 64x64 bedrooms 3 % smaller than zlib's default strategy, in three quarters of its time; level 6 takes
twice as long for 1 % less."""


def encode_png(pixels: np.ndarray) -> bytes:
    """Compress uint8 (S, S, 3) RGB."""
    encoded: np.ndarray = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _SETTINGS)[1]
    return encoded.tobytes()


def stored_png(pixels: np.ndarray) -> bytes:
    """uint8 (S, S, 3) RGB as a PNG without compression, which loaders read fastest.

    Put together here: libraries look for the best filter of every line first, and take five times as long.
    """
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # before each line its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, *_EIGHT_BIT_RGB)
    data = zlib.compress(lines.data, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
    )
