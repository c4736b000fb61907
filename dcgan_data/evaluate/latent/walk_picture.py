"""The picture of a walk: rows of images, and beside each how much every step changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcgan_data.evaluate.latent.drawing import ALARMING, GAP, LINE, MUTED, Sheet, shown_side
from dcgan_data.evaluate.latent.smoothness import Segment, Smoothness, changes

_COLUMNS = 9
_CHART = 256
"""Pixels across."""
_LABEL = 52
"""Pixels for the numbers of the samples."""


def write_walk(path: Path, title: str, frames: np.ndarray, found: Smoothness) -> None:
    """Write a row of at most 9 of the frames of each segment, ends included, as PNG.

    frames: uint8 (points * steps, S, S, 3), a point every ``steps``, the last leading back to the first.
    """
    points, steps = len(found.segments), found.steps
    side = shown_side(frames.shape[1])
    places = np.linspace(0, steps, min(_COLUMNS, steps + 1)).round().astype(int)
    chart = _LABEL + len(places) * side + GAP
    tall = side + GAP
    sheet = Sheet(chart + _CHART, points * tall + LINE, [title, _read_me(found)])
    closed = np.concatenate([frames, frames[:1]])
    moved = changes(closed).reshape(points, steps)
    top = 1.05 * max(found.limit, found.worst or 0)
    for row, part in enumerate(found.segments):
        y = row * tall
        sheet.text(0, y + (side - LINE) // 2, f"{part.start} to {part.end}")
        for column, place in enumerate(places):
            sheet.image(_LABEL + column * side, y, closed[row * steps + place], side)
        _draw_chart(sheet, (chart, y + LINE), side - LINE, moved[row], (found.limit / top, top))
        alarming = part in found.sharp
        sheet.text(chart, y, _scored(part), _CHART, ALARMING if alarming else MUTED)
    sheet.save(path)


def _read_me(found: Smoothness) -> str:
    return (
        f"right: change of each of {found.steps} steps against the mean one of its row; "
        f"red: above {found.limit:.1f} a transition is sharp (cross-fade 1, jump {found.steps})"
    )


def _scored(part: Segment) -> str:
    return "nothing changes" if part.score is None else f"largest {part.score:.2f} x mean"


def _draw_chart(
    sheet: Sheet, corner: tuple[int, int], height: int, moved: np.ndarray, scale: tuple[float, float]
) -> None:
    """Bars from the bottom up; ``scale``: where the limit lies, 0 to 1, and what the top stands for."""
    x, y = corner
    limit, top = scale
    wide = _CHART / len(moved)
    heights = moved / moved.mean() / top if moved.any() else moved
    for number, share in enumerate(heights):
        left, right = x + int(number * wide), x + int((number + 1) * wide) - (1 if wide > 2 else 0)
        above = y + height - max(1, round(share * height))
        colour = ALARMING if share > limit else "#7a93b8"
        sheet.draw.rectangle([sheet.at(left, above), sheet.at(max(left, right - 1), y + height)], colour)
    level = y + round((1 - limit) * height)
    sheet.draw.line([sheet.at(x, level), sheet.at(x + _CHART, level)], ALARMING)
