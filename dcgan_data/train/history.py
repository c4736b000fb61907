"""How a run went so far, read back from metrics.jsonl and events.jsonl in bounded time.

A long run logs millions of lines, and its page is written again and again. So lines are picked evenly
from a memory map, without reading what lies between; only the rare lines with a score are searched for.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.formats.plain import parse_json

MOST_LINES = 8_000
"""Lines of metrics.jsonl that are read; evenly spread if there are more."""
_EVERY, _RARE = b'"step"', (b'"nnd_', b'"spread"')
_EVENTS_BYTES = 1 << 18


@dataclass(frozen=True)
class History:
    """Measures by step, in the order of training."""

    steps: np.ndarray
    """int64 (N,), rising."""
    values: dict[str, np.ndarray]
    """Each measure as float64 (N,), NaN where it is not known."""

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps int64 (M,) and values float64 (M,) where the measure is known; M may be 0."""
        values = self.values.get(name, np.full(len(self.steps), np.nan))
        known = np.isfinite(values)
        return self.steps[known], values[known]

    def latest(self, name: str) -> float | None:
        """The last known value."""
        _, values = self.series(name)
        return float(values[-1]) if len(values) else None

    @property
    def step(self) -> int:
        """The last step logged; 0 before the first."""
        return int(self.steps[-1]) if len(self.steps) else 0


@dataclass(frozen=True)
class Event:
    """One line of events.jsonl."""

    step: int
    """After so many minibatches."""
    kind: str
    """What it was, in a word."""
    message: str
    """What it means, for a person."""


def read_history(path: Path) -> History:
    """Read metrics.jsonl; a file that is absent or empty, and damaged lines, count as nothing logged.

    Up to MOST_LINES lines are read, and the last one always is. Where steps go back, training was
    taken up again at an earlier step: what came of the steps given up is left out.
    """
    rows = [row for row in map(_row, _chosen_lines(path)) if row is not None]
    steps = np.array([row["step"] for row in rows], np.int64)
    later = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.iinfo(np.int64).max)
    valid = np.flatnonzero(steps < later[: len(steps)])
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: np.array([_number(rows[place].get(name)) for place in valid]) for name in names}
    return History(steps[valid], columns)


def read_events(path: Path) -> list[Event]:
    """The newest events of events.jsonl, the oldest first; an absent file and damaged lines count as none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _EVENTS_BYTES))
            rows = [_row(line) for line in file]
    except FileNotFoundError:
        return []
    return [
        Event(row["step"], str(row.get("kind", "event")), str(row.get("message", "")))
        for row in rows
        if row is not None
    ]


def _chosen_lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            chosen = {start: line for needle in (_EVERY, *_RARE) for start, line in _lines_with(data, needle)}
            end = len(data)
            for _ in range(2):  # the very last line may be cut short
                found = data.rfind(_EVERY, 0, end)
                if found >= 0:
                    end, line = _line_at(data, found)
                    chosen[end] = line
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return []
    return [chosen[start] for start in sorted(chosen)]


def _lines_with(data: mmap.mmap, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """Places and texts of lines with ``needle``: all, or about MOST_LINES of them, evenly spread."""
    apart = len(data) // MOST_LINES
    at = 0
    while (found := data.find(needle, at)) >= 0:
        start, line = _line_at(data, found)
        yield start, line
        at = start + max(len(line), apart)


def _line_at(data: mmap.mmap, place: int) -> tuple[int, bytes]:
    """Where the line that covers ``place`` begins, and its text."""
    start = data.rfind(b"\n", 0, place) + 1
    end = data.find(b"\n", place)
    return start, data[start : end if end >= 0 else len(data)]


def _row(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None if it is damaged, for example cut short when the run was killed."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and isinstance(row.get("step"), int) and row["step"] >= 0
    return row if whole else None


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
