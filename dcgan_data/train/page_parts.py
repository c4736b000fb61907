"""The parts of a run's page, as HTML: all that is read from files is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dcgan_data.formats.html_page import text
from dcgan_data.train.curves import Chart, Curve, Timeline, draw_chart
from dcgan_data.train.history import Event, History
from dcgan_data.train.pictures import GridPicture
from dcgan_data.train.rundir import RESUMED, RunRecord

_USUAL = frozenset((RESUMED,))
_NEWEST_EVENTS, _LISTED_EVENTS, _MARKED_EVENTS = 5, 200, 20
_LATE_LINES = 20
_PICTURE_WIDTH = 540
"""Pixels of the place for a grid; smaller ones are enlarged, by a whole number."""
_MEASURES = (
    ("Losses", "nats", {"loss_d": "discriminator", "loss_g": "generator"}, (0.0, None)),
    ("Taken for real", "mean probability", {"p_real": "real", "p_fake": "generated"}, (0.0, 1.0)),
    (
        "Held-out images to nearest sample",
        "mean Euclidean distance",
        {"nnd_1000": "of 1,000", "nnd_10000": "of 10,000", "nnd_100000": "of 100,000"},
        (None, None),
    ),
    (
        "Told apart by the nearest neighbour",
        "share, ideally one half",
        {"told_real": "held-out images", "told_fake": "samples"},
        (0.0, 1.0),
    ),
    ("Spread", "share of the real images'", {"spread": "samples"}, (0.0, 1.0)),
)
"""Charts: title, unit, curves by name in metrics.jsonl, ends of the vertical axis."""


def progress(record: RunRecord, history: History) -> str:
    """How far the run is; and while it goes on, a switch to follow it."""
    bar = f'<progress value="{history.step}" max="{record.total_steps}"></progress>'
    if history.step >= record.total_steps:
        return f'<div class="progress">{bar}<span>finished</span></div>'
    share = f"<span>{history.step / record.total_steps:.0%}</span>"
    follow = (
        '<span id="written"></span><label id="follow-words" hidden>'
        '<input type="checkbox" id="follow" autocomplete="off"> reload every 15 s</label>'
    )
    return f'<div class="progress">{bar}{share}{follow}</div>'


def warnings(events: Sequence[Event]) -> str:
    """What went wrong, the newest first."""
    lines = [
        f"<li><b>step {event.step:,}, {text(event.kind)}:</b> {text(event.message)}</li>"
        for event in reversed(_alarming(events))
    ]
    if not lines:
        return ""
    newest, older = lines[:_NEWEST_EVENTS], lines[_NEWEST_EVENTS:_LISTED_EVENTS]
    more = f"<details><summary>{len(older)} earlier warnings</summary><ul>{''.join(older)}</ul></details>"
    shown = f"<ul>{''.join(newest)}</ul>{more if older else ''}"
    return f'<section class="warnings" aria-label="warnings">{shown}</section>'


def tiles(record: RunRecord, history: History) -> str:
    """Where the run stands, and what is trained; a figure that is not known has no tile."""
    per_epoch, step, size = _steps_per_epoch(record), history.step, record.image_size
    found = {
        "discriminator's loss": _shown(history.latest("loss_d"), ".3g"),
        "generator's loss": _shown(history.latest("loss_g"), ".3g"),
        "images a second": _shown(_usual_rate(history), ",.0f"),
        "time": _duration(history.latest("seconds")),
        "preset": record.config.get("preset"),
        "width": record.config.get("width"),
    }
    cells = [
        _tile(f"of {record.total_steps:,} steps", f"{step:,}"),
        _tile(f"of {_epochs(record.total_steps / per_epoch)} epochs", _epochs(step / per_epoch)),
        *(_tile(name, str(value)) for name, value in found.items() if value is not None),
        _tile("image size", f"{size}x{size} px"),
        _tile(f"images, {record.held_out:,} held out", f"{record.images:,}"),
    ]
    return f'<div class="tiles">{"".join(cells)}</div>'


def samples(record: RunRecord, pictures: Sequence[GridPicture], drawn: int) -> str:
    """The newest grid; the script shows the others in its place. drawn: grids that there are."""
    head = '<figure class="card samples"><figcaption><b>Samples</b>'
    if not pictures:
        return f'{head}</figcaption><p class="note">No grid yet.</p></figure>'
    last = pictures[-1]
    enlarged = max(1, _PICTURE_WIDTH // last.width)
    kind = ' class="enlarged"' if enlarged > 1 else ""
    few = f" {len(pictures)} of {drawn:,} grids; all are in samples/." if len(pictures) < drawn else ""
    return (
        f'{head} <span class="unit" id="grid-words" aria-live="polite">{_when(record, last.step)}</span>'
        f'</figcaption><img id="grid"{kind} width="{last.width * enlarged}" alt="grid of samples" '
        f'src="{last.address}">'
        '<div class="controls" id="controls" hidden><button type="button" id="play">Play</button>'
        f'<input type="range" id="slider" min="0" max="{len(pictures) - 1}" value="{len(pictures) - 1}" '
        'aria-label="grid" autocomplete="off"></div>'
        f'<p class="note">The same latent vectors every time.{few}</p></figure>'
    )


def grids_data(record: RunRecord, pictures: Sequence[GridPicture]) -> list[dict[str, str]]:
    """For the script; the address of the last picture is in the page already."""
    found = [{"words": _when(record, grid.step), "address": grid.address} for grid in pictures]
    return [*found[:-1], *({**last, "address": ""} for last in found[-1:])]


def charts(record: RunRecord, history: History, events: Sequence[Event]) -> str:
    """Curves of all that was measured."""
    marks = [(event.step, event.kind) for event in _alarming(events) if event.step <= history.step]
    timeline = Timeline(history.step, _steps_per_epoch(record), tuple(marks[-_MARKED_EVENTS:]))
    drawn = []
    for title, unit, names, bounds in _MEASURES:
        curves = (Curve(words, *history.series(name)) for name, words in names.items())
        known = tuple(curve for curve in curves if len(curve))
        if known:
            drawn.append(draw_chart(Chart(title, unit, known, bounds), timeline))
    return "\n".join(drawn)


def settings(record: RunRecord) -> str:
    """All that config.json says, as tables."""
    config = list(record.config.items())
    half = (len(config) + 1) // 2
    others = [("set_sha256", record.set_sha256), *record.machine.items(), *record.libraries.items()]
    return "".join(_table(rows) for rows in (config[:half], config[half:], others))


def _alarming(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.kind not in _USUAL]


def _steps_per_epoch(record: RunRecord) -> int:
    return max(1, record.images // record.batch_size)


def _tile(name: str, value: str) -> str:
    return f'<div class="tile"><b>{text(value)}</b><span>{text(name)}</span></div>'


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    lines = "".join(f"<tr><th>{text(name)}</th><td>{text(_value(value))}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"


def _value(value: Any) -> str:
    """A setting, as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _usual_rate(history: History) -> float | None:
    """Images a second of late: the median, as some lines count the time of drawing and scoring too."""
    _, rates = history.series("images_per_s")
    return float(np.median(rates[-_LATE_LINES:])) if len(rates) else None


def _shown(value: float | None, how: str) -> str | None:
    return None if value is None else format(value, how)


def _when(record: RunRecord, step: int) -> str:
    count = _epochs(step / _steps_per_epoch(record))
    return f"step {step:,}, {count} epoch{'' if count == '1' else 's'}"


def _epochs(count: float) -> str:
    """A number of epochs, with decimals only if it is not whole."""
    return f"{count:,.0f}" if abs(count - round(count)) < 5e-3 else f"{count:,.2f}"


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
