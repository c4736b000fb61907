"""Pictures in a page of bounded size: the contact sheet, and thumbnails as base64 text."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dcgan_data.formats.prepared import ImageRows

SHEET_COLUMNS, SHEET_ROWS = 16, 10
_SHEET_WIDTH_IN_PAGE = 1600
_CHUNK = 256


def contact_sheet(images: np.ndarray, columns: int = SHEET_COLUMNS, gap: int = 2) -> np.ndarray:
    """Lay uint8 (N, S, S, 3) images out on white, row by row: uint8 (H, W, 3)."""
    count, size = images.shape[:2]
    rows = max(1, -(-count // columns))
    sheet = np.full((rows * (size + gap) + gap, columns * (size + gap) + gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = (gap + place * (size + gap) for place in divmod(index, columns))
        sheet[y : y + size, x : x + size] = image
    return sheet


def spread_evenly(rows: np.ndarray, count: int = SHEET_COLUMNS * SHEET_ROWS) -> np.ndarray:
    """At most ``count`` of int64 (N,) rows, evenly from the first to the last."""
    places = np.linspace(0, max(len(rows) - 1, 0), min(len(rows), count)).round().astype(np.int64)
    return rows[places]


def png(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def jpeg(image: np.ndarray, width: int = _SHEET_WIDTH_IN_PAGE, quality: int = 88) -> bytes:
    """uint8 (H, W, 3) as a JPEG file, made smaller if it is wider than ``width``."""
    picture = Image.fromarray(image)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.HAMMING)
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=quality, subsampling=0)  # colour is evidence here
    return buffer.getvalue()


def base64_text(data: bytes) -> str:
    """For a ``data:`` address."""
    return base64.b64encode(data).decode("ascii")


def thumbnails(
    images: ImageRows, rows: Sequence[int], sides: Sequence[int], budget: int, quality: int = 86
) -> dict[int, str]:
    """JPEGs as base64 text by row, as large as ``budget`` characters allow for all of them together.

    sides: pixels, the largest first; an image is never enlarged. If even the last side is too large for
    all, the rows that come last have no picture.
    """
    unique = list(dict.fromkeys(rows))
    for side in sides:
        found = _within(images, unique, (side, quality), budget)
        if len(found) == len(unique):
            break
    return found


def _within(
    images: ImageRows, rows: Sequence[int], side_quality: tuple[int, int], budget: int
) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for row, pixels in zip(chunk, images.gather(np.asarray(chunk, np.int64)), strict=True):
            text = base64_text(jpeg(pixels, *side_quality))
            budget -= len(text)
            if budget < 0:
                return found
            found[row] = text
    return found
