"""The sample grids of a run as base64 text, within a budget: for a page that holds its pictures in itself."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_data.formats.html_page import data_address

MOST_GRIDS = 60
BUDGET = 14_000_000
"""Characters for all pictures together: the page must stay under 20 MB."""
_LARGEST_SIDE = 1536
_QUALITY = 90


@dataclass(frozen=True)
class GridPicture:
    """One grid, as a browser takes it."""

    step: int
    """Drawn after so many minibatches."""
    width: int
    """Of the PNG, in pixels; the picture here may be smaller."""
    address: str
    """``data:`` with the picture in it."""


def grids_in(samples: Path) -> list[tuple[int, Path]]:
    """Steps and files of all grids in a run's ``samples``, by step; none if it does not exist."""
    return sorted((int(path.stem), path) for path in samples.glob("*.png") if path.stem.isdecimal())


def pictures_of(grids: list[tuple[int, Path]], budget: int = BUDGET) -> list[GridPicture]:
    """As many of ``grids`` as fit, evenly spread, always with the first and the last.

    The PNG files themselves if they fit, else JPEGs. A grid that cannot be read is passed over.
    """
    chosen = _spread(grids, MOST_GRIDS)
    if _characters(sum(path.stat().st_size for _, path in chosen)) <= budget:
        pictures = [_as_it_is(step, path) for step, path in chosen]
        return [picture for picture in pictures if picture]
    return _jpegs_within(budget, grids)


def _jpegs_within(budget: int, grids: list[tuple[int, Path]]) -> list[GridPicture]:
    known = {grid: _as_jpeg(*grid) for grid in _spread(grids, 2)}
    largest = max((len(picture.address) for picture in known.values() if picture), default=1)
    count = min(MOST_GRIDS, budget // largest)
    while True:
        count = max(2, count)
        chosen = _spread(grids, count)
        known |= {grid: _as_jpeg(*grid) for grid in chosen if grid not in known}
        pictures = [picture for grid in chosen if (picture := known[grid])]
        if count == 2 or sum(len(picture.address) for picture in pictures) <= budget:
            return pictures
        count = count * 4 // 5


def _spread(grids: list[tuple[int, Path]], most: int) -> list[tuple[int, Path]]:
    places = np.linspace(0, max(len(grids) - 1, 0), min(len(grids), most)).round().astype(int)
    return [grids[place] for place in places]


def _characters(size: int) -> int:
    """Of that many bytes as base64."""
    return -(-size // 3) * 4


def _as_it_is(step: int, path: Path) -> GridPicture | None:
    try:
        with Image.open(path) as image:  # reads no more than the header
            width = image.width
    except OSError:
        return None
    return GridPicture(step, width, data_address("image/png", path.read_bytes()))


def _as_jpeg(step: int, path: Path) -> GridPicture | None:
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError:
        return None
    width = picture.width
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=_QUALITY, subsampling=0)  # colour is half of what is judged
    return GridPicture(step, width, data_address("image/jpeg", buffer.getvalue()))
