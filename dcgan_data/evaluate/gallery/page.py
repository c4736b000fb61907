"""A page of figures, as one file: what it says is escaped, what it shows is in it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.figure import Figure
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.html_page import asset, data_address, fill_page, text

_PACKAGE = "dcgan_data.evaluate.gallery"
_KINDS = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4", ".webm": "video/webm"}
_LARGEST_PNG = 3_000_000
"""Bytes; larger ones become JPEGs, so that the page stays quick to open."""
_SMALL = 400
"""Pixels of width below which a picture is enlarged."""


@dataclass(frozen=True)
class Missing:
    """A figure that is not on the page."""

    title: str
    """What it would be."""
    why: str
    """Why it is not here."""
    command: str
    """What to do about it; empty if nothing can be done."""


def write_gallery(
    path: Path, title: str, source: str, figures: Sequence[Figure], missing: Sequence[Missing] = ()
) -> None:
    """Write a page of figures; BadInput if one of their pictures is gone or damaged."""
    parts = {
        "title": text(title),
        "source": text(source),
        "contents": _contents(figures) if len(figures) > 1 else "",
        "sections": "\n".join(_section(number, figure) for number, figure in enumerate(figures)),
        "missing": _missing(missing),
    }
    page = fill_page(asset(_PACKAGE, "page.html"), asset(_PACKAGE, "page.css"), "", parts)
    with atomic_path(path) as temporary:
        # backslashreplace: a path may be no text
        temporary.write_text(page, "utf-8", errors="backslashreplace")


def _contents(figures: Sequence[Figure]) -> str:
    links = (
        f'<li><a href="#f{number}">{text(figure.title)}</a></li>' for number, figure in enumerate(figures)
    )
    return f'<nav aria-label="figures"><ol>{"".join(links)}</ol></nav>'


def _section(number: int, figure: Figure) -> str:
    warnings = "".join(f"<p>{text(line)}</p>" for line in figure.warnings)
    return (
        f'<section id="f{number}"><div class="head"><h2>{text(figure.title)}</h2>'
        f'<span class="paper">{text(figure.paper)}</span></div>'
        f'<p class="caption">{text(figure.caption)}</p>'
        + (f'<div class="warnings" role="note">{warnings}</div>' if warnings else "")
        + _numbers(figure.numbers)
        + "".join(_picture(path, figure.title) for path in _shown(figure.pictures))
        + "</section>"
    )


def _numbers(numbers: Sequence[tuple[str, ...]]) -> str:
    rows = "".join(
        f"<tr><th>{text(name)}</th>{''.join(f'<td>{text(value)}</td>' for value in values)}</tr>"
        for name, *values in numbers
    )
    return f'<div class="wide"><table>{rows}</table></div>' if rows else ""


def _shown(pictures: Sequence[Path]) -> list[Path]:
    """A film that is there as a video too is shown as that alone."""
    films = {path.stem for path in pictures if _kind(path).startswith("video/")}
    return [path for path in pictures if path.suffix != ".gif" or path.stem not in films]


def _picture(path: Path, title: str) -> str:
    try:
        content = path.read_bytes()
        if _kind(path).startswith("video/"):
            film = (
                f'<video controls loop muted playsinline src="{data_address(_kind(path), content)}"></video>'
            )
            return f"<figure>{film}<figcaption>{text(path.name)}</figcaption></figure>"
        with Image.open(io.BytesIO(content)) as image:
            width = image.width
            if image.format == "PNG" and len(content) > _LARGEST_PNG:
                address = data_address("image/jpeg", _as_jpeg(image))
            else:
                address = data_address(_kind(path), content)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be shown ({error}); give its command again") from None
    small = ' class="small"' if width < _SMALL else ""
    image_tag = (
        f'<img{small} width="{max(width, _SMALL) if small else width}" alt="{text(title)}" src="{address}">'
    )
    return f"<figure>{image_tag}<figcaption>{text(path.name)}</figcaption></figure>"


def _as_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "jpeg", quality=90, subsampling=0)
    return buffer.getvalue()


def _kind(path: Path) -> str:
    return _KINDS.get(path.suffix, "application/octet-stream")


def _missing(missing: Sequence[Missing]) -> str:
    if not missing:
        return ""
    rows = "".join(
        f"<tr><th>{text(one.title)}</th><td>{text(one.why)}</td><td><code>{text(one.command)}</code></td></tr>"
        for one in missing
    )
    head = '<div class="head"><h2>Not shown</h2></div>'
    return f'<section>{head}<div class="wide"><table>{rows}</table></div></section>'
