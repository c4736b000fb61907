"""The page that a person looks at: ``report/index.html``, self-contained, and a contact sheet beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.manifest import KEPT, REJECTED
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.formats.staging import REPORT

SHEET_COLUMNS, SHEET_ROWS = 16, 10
MAX_GROUPS, MAX_IN_GROUP, MAX_REJECTED = 60, 12, 200


def write_report(path: Path) -> Path:
    """Write the report of a prepared set; returns the page's path. BadInput if it is not a prepared set.

    Large sets are sampled: the page stays under some megabytes at any number of images.
    """
    prepared = PreparedSet.open(path)
    table = prepared.manifest(["key", "status", "reason", "shard", "row", "group", "duplicate_of"])
    images = prepared.rows(include_duplicates=True)
    with_pixels = table.filter(table["row"].is_valid())
    sheet = _png(contact_sheet(_sample(images, with_pixels)))
    sections = (
        _summary(prepared),
        _contact_section(sheet),
        _groups_section(images, with_pixels),
        _rejected_section(table),
        _codes_section(prepared),
    )
    page = path / REPORT / "index.html"
    with atomic_path(page.with_name("contact_sheet.png")) as temporary:
        temporary.write_bytes(sheet)
    text = _PAGE.format(title=_text(path.resolve().name), body="\n".join(sections))
    with atomic_path(page) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")  # of a path that is no text
    return page


def contact_sheet(images: np.ndarray, columns: int = SHEET_COLUMNS, gap: int = 2) -> np.ndarray:
    """Lay uint8 (N, S, S, 3) images out on white, row by row: uint8 (H, W, 3)."""
    count, size = images.shape[:2]
    rows = max(1, -(-count // columns))
    sheet = np.full((rows * (size + gap) + gap, columns * (size + gap) + gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = (gap + place * (size + gap) for place in divmod(index, columns))
        sheet[y : y + size, x : x + size] = image
    return sheet


def _sample(images: ImageRows, table: pa.Table) -> np.ndarray:
    """Kept images for the contact sheet, spread evenly over the set."""
    kept = np.flatnonzero(pc.equal(table["status"], KEPT).to_numpy())
    wanted = min(len(kept), SHEET_COLUMNS * SHEET_ROWS)
    places = np.linspace(0, max(len(kept) - 1, 0), wanted).round().astype(np.int64)
    return images.gather(kept[places])


def _summary(prepared: PreparedSet) -> str:
    info, counts = prepared.info, prepared.info.counts
    share = f"{counts.duplicate / counts.read:.2%}"
    cells = (
        ("read", f"{counts.read:,}"),
        ("kept", f"{counts.kept:,}"),
        ("duplicates", f"{counts.duplicate:,} ({share})"),
        ("rejected", f"{counts.rejected:,}"),
        ("size", f"{info.image_size}x{info.image_size} px"),
        ("rule", str(info.deduplication.get("rule", "none"))),
    )
    tiles = "".join(f"<div><b>{_text(value)}</b><span>{_text(name)}</span></div>" for name, value in cells)
    source = f"{info.source['kind']} {info.source['path']}"
    return f"<div class=tiles>{tiles}</div><p>Source: {_text(source)}</p>"


def _contact_section(sheet: bytes) -> str:
    caption = "Kept images, spread evenly over the set. Crops should be upright, centred and undistorted."
    return f"<h2>Kept</h2><p>{caption}</p><img class=sheet alt='contact sheet' src='{_data_uri(sheet)}'>"


def _groups_section(images: ImageRows, table: pa.Table) -> str:
    group = pc.fill_null(table["group"], -1).to_numpy()
    numbers, sizes = np.unique(group[group >= 0], return_counts=True)
    if not len(numbers):
        return "<h2>Duplicates</h2><p>None.</p>"
    biggest = np.lexsort((numbers, -sizes))[:MAX_GROUPS]
    note = f"{len(numbers):,} groups; the {len(biggest)} biggest, the kept image of each first and framed."
    blocks = []
    for place in biggest:
        members = np.flatnonzero(group == numbers[place])
        blocks.append(_group(images, table, members))
    return f"<h2>Duplicates</h2><p>{note}</p>{''.join(blocks)}"


def _group(images: ImageRows, table: pa.Table, members: np.ndarray) -> str:
    rows = table.take(members)
    kept_first = np.argsort([status != KEPT for status in rows["status"].to_pylist()], kind="stable")
    shown = kept_first[:MAX_IN_GROUP]
    figures = []
    for place, pixels in zip(shown, images.gather(members[shown]), strict=True):
        status, key = rows["status"][int(place)].as_py(), rows["key"][int(place)].as_py()
        figures.append(
            f"<figure class={status}><img alt='' src='{_data_uri(_png(pixels))}'>"
            f"<figcaption title='{_text(key)}'>{_text(key[-24:])}</figcaption></figure>"
        )
    more = f"<span>and {len(members) - len(shown):,} more</span>" if len(members) > len(shown) else ""
    return f"<div class=group>{''.join(figures)}{more}</div>"


def _rejected_section(table: pa.Table) -> str:
    rejected = table.filter(pc.equal(table["status"], REJECTED)).select(["key", "reason"])
    if not len(rejected):
        return "<h2>Rejected</h2><p>None.</p>"
    rows = rejected.slice(0, MAX_REJECTED).to_pylist()
    note = f"{len(rejected):,} records" + (f"; the first {len(rows)}" if len(rows) < len(rejected) else "")
    return (
        f"<h2>Rejected</h2><p>{note}</p>{_table(('key', 'reason'), [(r['key'], r['reason']) for r in rows])}"
    )


def _codes_section(prepared: PreparedSet) -> str:
    health = prepared.info.deduplication.get("code_health")
    if not health:
        return ""
    rows = [(name.replace("_", " "), str(value)) for name, value in health.items()]
    return f"<h2>Codes</h2>{_table(('figure', 'value'), rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        [f"<th>{_text(cell)}" for cell in head],
        *([f"<td>{_text(cell)}" for cell in row] for row in rows),
    ]
    return f"<table>{''.join('<tr>' + ''.join(line) for line in lines)}</table>"


def _text(value: str) -> str:
    """Escaped for HTML: keys and reasons come from the data."""
    return html.escape(str(value), quote=True)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


_PAGE = """<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>{title} - dcgan_data</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem;
color: #222 }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .6rem }}
.tiles div {{ background: #f1f3f5; border-radius: 6px; padding: .6rem 1rem }}
.tiles b {{ display: block; font-size: 1.3rem }} .tiles span {{ color: #666 }}
.sheet {{ width: 100%; image-rendering: auto }}
.group {{ display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; padding: .5rem 0;
border-top: 1px solid #ddd }}
figure {{ margin: 0; width: 130px }} figure img {{ width: 124px; border: 3px solid transparent }}
figure.kept img {{ border-color: #2b8a3e }}
figcaption {{ font-size: .7rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: #666 }}
table {{ border-collapse: collapse }}
th, td {{ text-align: left; padding: .2rem 1rem .2rem 0; word-break: break-all;
border-bottom: 1px solid #ddd }}
</style>
<h1>{title}</h1>
{body}
</html>
"""
