"""The page of a run: how far it is, its curves and its grids, in one file that a browser opens from disk.

Pictures, styles and the script are in it, and its own policy forbids the browser to load anything else
or to run any script but this one, whatever paths and messages may contain.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.train import page_parts
from dcgan_data.train.history import read_events, read_history
from dcgan_data.train.pictures import grids_in, pictures_of
from dcgan_data.train.rundir import RunDirectory, RunRecord


def write_page(run: RunDirectory) -> Path:
    """Write ``index.html`` of a run from its files alone; returns the page's path.

    Raises BadInput if config.json is absent or damaged; whatever else is missing is left out.

    Takes some 0.1 s; to this, a second at most is added when grids have to be made JPEGs (about the 25th
    at 64 px, the 7th at 128 px), and another for a log of a million lines. The page is under 20 MB.
    """
    record = run.read()
    history = read_history(run.metrics)
    events = read_events(run.events)
    grids = grids_in(run.samples)
    pictures = pictures_of(grids)
    parts = {
        "progress": page_parts.progress(record, history),
        "warnings": page_parts.warnings(events),
        "tiles": page_parts.tiles(record, history),
        "samples": page_parts.samples(record, pictures, len(grids)),
        "charts": page_parts.charts(record, history, events),
        "settings": page_parts.settings(record),
        "grids_json": _json(page_parts.grids_data(record, pictures)),
    }
    with atomic_path(run.page) as temporary:
        # backslashreplace: a path may be no text
        temporary.write_text(_fill(run, record, parts), "utf-8", errors="backslashreplace")
    return run.page


def _json(value: Any) -> str:
    """JSON that is safe inside a script element: no character of it can end the element or start a tag."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fill(run: RunDirectory, record: RunRecord, parts: dict[str, str]) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash_of(style)}; script-src {_hash_of(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        parts,
        title=page_parts.text(run.path.resolve().name),
        source=page_parts.text(record.config.get("prepared", "")),
        policy=policy,
        style=style,
        script=script,
    )


def _asset(name: str) -> str:
    return resources.files("dcgan_data.train").joinpath(name).read_text("utf-8")


def _hash_of(inline: str) -> str:
    """As a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
