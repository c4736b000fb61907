"""Pages of pairs side by side, numbered, for a person to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from dcgan_data.formats.atomic import atomic_path

_LINE_PIXELS = 14
_GAP = 8


@dataclass(frozen=True)
class PairPicture:
    """Two images and what is said below them."""

    left: Image.Image
    """RGB, any size."""
    right: Image.Image
    """RGB, any size."""
    caption: tuple[str, ...]
    """Lines under the pair; its number goes before the first."""


@dataclass(frozen=True)
class PageLayout:
    """How a page looks."""

    side: int = 192
    """Each image is fitted into a square of so many pixels."""
    columns: int = 4
    """Pairs side by side."""
    rows: int = 6
    """Pairs below one another."""


def write_pair_pages(
    pairs: Sequence[PairPicture], directory: Path, stem: str, layout: PageLayout
) -> list[Path]:
    """Write ``stem-00.png``, ``stem-01.png``, ...; returns their paths, none if there are no pairs."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob(f"{stem}-[0-9][0-9].png"):  # a page of an earlier, longer run
        stale.unlink()
    paths = []
    on_a_page = layout.columns * layout.rows
    for page, start in enumerate(range(0, len(pairs), on_a_page)):
        paths.append(directory / f"{stem}-{page:02d}.png")
        with atomic_path(paths[-1]) as temporary:
            _draw_page(pairs[start : start + on_a_page], start, layout).save(temporary, "PNG")
    return paths


def _draw_page(pairs: Sequence[PairPicture], first: int, layout: PageLayout) -> Image.Image:
    lines = max(len(pair.caption) for pair in pairs)
    wide, tall = 2 * layout.side + 2 * _GAP, layout.side + lines * _LINE_PIXELS + _GAP
    rows = -(-len(pairs) // layout.columns)
    page = Image.new("RGB", (wide * layout.columns, tall * rows), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(_LINE_PIXELS - 3)
    for place, pair in enumerate(pairs):
        x, y = place % layout.columns * wide, place // layout.columns * tall
        for image, left in ((pair.left, x), (pair.right, x + layout.side + 2)):
            page.paste(
                ImageOps.contain(image, (layout.side, layout.side), Image.Resampling.BICUBIC), (left, y)
            )
        numbered = (f"{first + place}  {pair.caption[0]}", *pair.caption[1:])
        for line, text in enumerate(numbered):
            below = y + layout.side + line * _LINE_PIXELS
            draw.text((x, below), _shortened(text, font, 2 * layout.side), fill="black", font=font)
    return page


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """So much of the text as fits."""
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text
