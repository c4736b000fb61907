"""A contact sheet of photos and what was found for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.manifest import shown_name
from dcgan_data.query.answers import Answer

SHEET_LINES = 200
"""Photos on a contact sheet: what viewers still open."""
_SIDE, _LINE_PIXELS, _GAP = 128, 14, 8


def draw_line(answer: Answer, pictures: np.ndarray, top: int) -> Image.Image:
    """A line of the sheet: the photo and its verdict, then the matches with score and the end of the key."""
    wide = (1 + top) * (_SIDE + _GAP)
    line = Image.new("RGB", (wide, _SIDE + 2 * _LINE_PIXELS + _GAP), "white")
    draw = ImageDraw.Draw(line)
    font = ImageFont.load_default(_LINE_PIXELS - 3)
    captions = [(f"{answer.verdict}{', flat' if answer.flat else ''}", shown_name(answer.photo, answer.part))]
    captions += [
        (f"{match.score:.3f} {match.status}", shown_name(match.key, match.part)) for match in answer.matches
    ]
    for place, (said, name) in enumerate(captions):
        left = place * (_SIDE + _GAP)
        if place < len(pictures):
            picture = Image.fromarray(pictures[place])
            line.paste(picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), (left, 0))
        draw.text((left, _SIDE), said, fill="black", font=font)
        draw.text((left, _SIDE + _LINE_PIXELS), _end_of(name, font), fill="black", font=font)
    if answer.reason:
        draw.text((0, _SIDE // 2), answer.reason, fill="black", font=font)
    return line


def _end_of(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """So much of the end as fits below a picture: keys and paths often begin alike."""
    if font.getlength(text) <= _SIDE:
        return text
    while font.getlength(f"...{text}") > _SIDE:
        text = text[1:]
    return f"...{text}"


def write_sheet(path: Path, lines: Sequence[Image.Image]) -> None:
    """Write lines of equal width below one another, as PNG."""
    sheet = Image.new("RGB", (lines[0].width, sum(line.height for line in lines)), "white")
    below = 0
    for line in lines:
        sheet.paste(line, (0, below))
        below += line.height
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")
