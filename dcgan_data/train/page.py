"""The page of a run: how far it is, its curves and its grids, in one file that a browser opens from disk.

See ``formats.html_page``.
"""

from __future__ import annotations

from pathlib import Path

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.html_page import asset, fill_page, script_json, text
from dcgan_data.train import page_parts
from dcgan_data.train.history import read_events, read_history
from dcgan_data.train.pictures import grids_in, pictures_of
from dcgan_data.train.rundir import RunDirectory


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
        "title": text(run.path.resolve().name),
        "source": text(record.config.get("prepared", "")),
        "progress": page_parts.progress(record, history),
        "warnings": page_parts.warnings(events),
        "tiles": page_parts.tiles(record, history),
        "samples": page_parts.samples(record, pictures, len(grids)),
        "charts": page_parts.charts(record, history, events),
        "settings": page_parts.settings(record),
        "grids_json": script_json(page_parts.grids_data(record, pictures)),
    }
    template, style, script = (asset("dcgan_data.train", f"page.{kind}") for kind in ("html", "css", "js"))
    with atomic_path(run.page) as temporary:
        # backslashreplace: a path may be no text
        temporary.write_text(fill_page(template, style, script, parts), "utf-8", errors="backslashreplace")
    return run.page
