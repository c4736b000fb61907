"""Faces as they were cropped, with what the detector saw drawn over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_data.formats.manifest import RECORD_SCHEMA
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.ops.face_crop import aligned_square
from dcgan_data.report.pictures import contact_sheet, spread_evenly
from dcgan_data.report.rows import SetRows, read_words

COLUMNS, ROWS = 10, 6
_SIDE = 144
_COLUMNS = tuple(RECORD_SCHEMA.names[RECORD_SCHEMA.get_field_index("box_x") :])
_BOX_COLOUR, _EYE_COLOUR, _OTHER_COLOUR = (255, 210, 0), (0, 230, 255), (255, 90, 200)


def face_sheet(prepared: PreparedSet, rows: SetRows) -> np.ndarray | None:
    """uint8 (H, W, 3): kept faces spread evenly over the set, each with its detected box and landmarks.

    None if the set holds no detected faces.
    """
    crop = prepared.info.recipe.get("faces", {}).get("crop", "none")
    if crop not in ("box", "aligned") or not len(rows.kept):
        return None
    chosen = spread_evenly(rows.kept, COLUMNS * ROWS)
    facts = read_words(prepared, chosen, _COLUMNS)
    pictures = rows.images.gather(chosen)
    drawn = [_draw(picture, facts[int(row)], crop) for row, picture in zip(chosen, pictures, strict=True)]
    return contact_sheet(np.stack(drawn), COLUMNS)


def face_facts(prepared: PreparedSet) -> list[tuple[str, str]]:
    """What was looked for and how much was found, for a table."""
    info = prepared.info
    settings = info.recipe["faces"]
    photos = info.source["records"]
    without = info.rejected.get("no_face", 0)
    return [
        ("photos", f"{photos:,}"),
        ("photos without a face", f"{without:,}"),
        ("crop", settings["crop"]),
        ("detector", settings["detector"]),
        ("smallest face", f"{settings['min_face']} px"),
    ]


def _draw(picture: np.ndarray, facts: Mapping[str, Any], crop: str) -> np.ndarray:
    """One crop, enlarged, with box, landmarks and confidence."""
    image = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    square = _square(facts, crop)
    x, y, w, h = (facts[f"face_{name}"] for name in "xywh")
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float64)
    draw.polygon(_in_crop(corners, square), outline=_BOX_COLOUR)
    if facts["landmarks"]:
        points = np.array(facts["landmarks"], np.float64).reshape(5, 2)
        for number, (across, down) in enumerate(_in_crop(points, square)):
            colour = _EYE_COLOUR if number < 2 else _OTHER_COLOUR
            draw.ellipse((across - 2, down - 2, across + 2, down + 2), fill=colour)
    caption = f"{facts['confidence']:.2f}  {max(w, h)} px"
    draw.text(
        (3, 1), caption, fill="white", font=ImageFont.load_default(11), stroke_width=1, stroke_fill="black"
    )
    return np.asarray(image)


def _square(facts: Mapping[str, Any], crop: str) -> np.ndarray:
    """float64 (3, 2): top left, top right and bottom left corner of the crop, in pixels of the photo."""
    if crop == "aligned":
        return aligned_square(np.array(facts["landmarks"], np.float64).reshape(5, 2))[[0, 1, 3]]
    x, y, w, h = (facts[f"box_{name}"] for name in "xywh")
    return np.array([(x, y), (x + w, y), (x, y + h)], np.float64)


def _in_crop(points: np.ndarray, square: np.ndarray) -> list[tuple[float, float]]:
    """Points of the photo, float64 (N, 2), as pixels of the enlarged crop."""
    axes = np.stack([square[1] - square[0], square[2] - square[0]])
    inside = (points - square[0]) @ np.linalg.inv(axes) * _SIDE
    return [(float(across), float(down)) for across, down in inside]
