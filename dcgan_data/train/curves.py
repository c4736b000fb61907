"""Curves over training as inline SVG, of bounded size however long the run was.

A script is not needed to see them. ``page.js`` reads the values under the pointer back from the
drawn lines, by the ranges that each drawing carries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.formats.html_page import text

WIDTH, HEIGHT = 500, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 30, 24
_MOST_POINTS, _MOST_VERTICES = 800, 400
"""Of a curve: faint points, and corners of the line. More cannot be told apart at this width."""
_FEW_POINTS = 100
"""Up to here every point is a dot on the line; a curve of more is smoothed, its points faint behind it."""
_SMOOTH_SHARE = 0.02
"""Of the points of a curve: width of the window that a smoothed line is the mean over."""


@dataclass(frozen=True)
class Curve:
    """One measure over training."""

    name: str
    """As the legend calls it."""
    steps: np.ndarray
    """int64 (N,), rising."""
    values: np.ndarray
    """float64 (N,), finite."""

    def __len__(self) -> int:
        return len(self.steps)

    def line(self) -> np.ndarray:
        """Heights of its line, float64 (N,): the values, or if they are many, means over a centred window.

        In a mean, the most extreme hundredth of all values counts for less: one must not set the scale.
        """
        if len(self) <= _FEW_POINTS:
            return self.values
        reach = max(1, round(len(self) * _SMOOTH_SHARE / 2))
        sums = np.concatenate([[0.0], np.cumsum(np.clip(self.values, *_usual(self.values)))])
        places = np.arange(len(self))
        first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(self))
        means: np.ndarray = (sums[last] - sums[first]) / (last - first)
        return means


@dataclass(frozen=True)
class Timeline:
    """What all charts of a run share: their horizontal axis."""

    last_step: int
    """Where the axis ends; it begins at 0."""
    steps_per_epoch: int
    """Marked along the top."""
    warnings: tuple[tuple[int, str], ...] = ()
    """Steps at which something went wrong, and what."""


@dataclass(frozen=True)
class Chart:
    """Curves with one vertical axis."""

    title: str
    """What is measured."""
    unit: str
    """In what."""
    curves: tuple[Curve, ...]
    """At least one; up to three can be told apart."""
    bounds: tuple[float | None, float | None] = (None, None)
    """Ends of the vertical axis, lower and upper; None: as the values ask."""


def draw_chart(chart: Chart, timeline: Timeline) -> str:
    """A chart with its caption, legend and last values, as an HTML figure."""
    lines = [curve.line() for curve in chart.curves]
    low, high = _range(chart, lines)
    x = _Axis(0, max(timeline.last_step, 1), _LEFT, WIDTH - _RIGHT)
    y = _Axis(low, high, HEIGHT - _BOTTOM, _TOP)
    outside = any(((curve.values < low) | (curve.values > high)).any() for curve in chart.curves)
    drawn = "".join(
        _curve(curve, line, (x, y), f"curve-{number}")
        for number, (curve, line) in enumerate(zip(chart.curves, lines, strict=True))
    )
    legend = "".join(
        f'<span class="entry"><i class="swatch curve-{number}"></i>{text(curve.name)} '
        f"<output>{line[-1]:.4g}</output></span>"
        for number, (curve, line) in enumerate(zip(chart.curves, lines, strict=True))
    )
    label = text(f"{chart.title}, {chart.unit}, by step")
    ranges = f'data-x="{x.ranges()}" data-y="{y.ranges()}"'
    beyond = '<p class="note">Some extreme points are outside.</p>' if outside else ""
    return (
        f'<figure class="card"><figcaption><b>{text(chart.title)}</b> '
        f'<span class="unit">{text(chart.unit)}<span class="at"></span></span>'
        f'<span class="legend">{legend}</span></figcaption>'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" {ranges}>'
        f"{_frame(x, y, timeline)}{drawn}</svg>{beyond}</figure>"
    )


@dataclass(frozen=True)
class _Axis:
    """Maps values to pixels."""

    low: float
    high: float
    first: float
    """Pixel of ``low``."""
    last: float
    """Pixel of ``high``."""

    def at(self, values: np.ndarray) -> np.ndarray:
        """Pixels float64 (N,) of values (N,)."""
        pixels: np.ndarray = self.first + (values - self.low) / (self.high - self.low) * (
            self.last - self.first
        )
        return pixels

    def ticks(self, whole: bool = False) -> list[float]:
        """Up to seven round values on the axis; whole: none lies between two whole numbers."""
        raw = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(raw))
        apart = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
        apart = max(apart, 1.0) if whole else apart
        first, last = math.ceil(self.low / apart - 1e-9), math.floor(self.high / apart + 1e-9)
        return [number * apart for number in range(first, last + 1)]

    def ranges(self) -> str:
        return f"{self.low:.6g} {self.high:.6g} {self.first:g} {self.last:g}"


def _range(chart: Chart, lines: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of the vertical axis: all of the lines, and all points but the most extreme hundredth."""
    values = np.concatenate([curve.values for curve in chart.curves])
    ends = np.concatenate([*lines, _usual(values)])
    low, high = float(ends.min()), float(ends.max())
    room = max((high - low) * 0.06, abs(high) * 0.02, 1e-6)
    lower, upper = chart.bounds
    low = low - room if lower is None else min(lower, low)
    return low, high + room if upper is None else max(upper, high)


def _usual(values: np.ndarray) -> np.ndarray:
    """Between which float64 (2,) all values lie but the most extreme hundredth."""
    ends: np.ndarray = np.quantile(values, [0.005, 0.995])
    return ends


def _curve(curve: Curve, line: np.ndarray, axes: tuple[_Axis, _Axis], kind: str) -> str:
    x, y = axes
    shown = np.flatnonzero((curve.values >= y.low) & (curve.values <= y.high))
    shown = shown[_spread(len(shown), _MOST_POINTS)]
    points = _pixels(x.at(curve.steps[shown]), y.at(curve.values[shown]))
    corners = _spread(len(line), _MOST_VERTICES)
    path = " ".join(_pixels(x.at(curve.steps[corners]), y.at(line[corners])))
    dots = "".join(f"M{point}h0" for point in points)
    few = " few" if len(curve) <= _FEW_POINTS else ""
    return f'<path class="points {kind}{few}" d="{dots}"/><polyline class="line {kind}" points="{path}"/>'


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` places, int64, evenly from the first to the last."""
    return np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64)


def _pixels(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{left:.1f},{top:.1f}" for left, top in zip(x.tolist(), y.tolist(), strict=True)]


def _frame(x: _Axis, y: _Axis, timeline: Timeline) -> str:
    """Grid lines and numbers: values on the left, steps below, epochs above; and what went wrong."""
    base, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [
        f'<text x="{_LEFT - 8}" y="{base + 17}" text-anchor="end">step</text>',
        f'<text x="{_LEFT - 8}" y="{_TOP - 16}" text-anchor="end">epoch</text>',
        f'<line class="cursor" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{base}"/>',
    ]
    for value, at in _placed(y, y.ticks()):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    for step, at in _placed(x, x.ticks(whole=True)[1:]):
        parts.append(f'<text x="{at}" y="{base + 17}" text-anchor="middle">{_short(step)}</text>')
    epochs = _Axis(0, x.high / timeline.steps_per_epoch, x.first, x.last)
    for epoch, at in _placed(epochs, epochs.ticks(whole=True)[1:]):
        parts.append(f'<line class="epoch" x1="{at}" x2="{at}" y1="{_TOP}" y2="{base}"/>')
        parts.append(f'<text x="{at}" y="{_TOP - 16}" text-anchor="middle">{_short(epoch)}</text>')
    for step, words in timeline.warnings:
        at = float(x.at(np.array([float(step)]))[0])
        title = text(f"step {step:,}: {words}")
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{base}"'
        parts.append(f'<line class="warning" {ends}><title>{title}</title></line>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{base}" y2="{base}"/>')
    return "".join(parts)


def _placed(axis: _Axis, values: Sequence[float]) -> list[tuple[float, float]]:
    """Values, each with its pixel."""
    return [(value, round(float(axis.at(np.array([value]))[0]), 1)) for value in values]


def _short(count: float) -> str:
    """A whole number in few characters: 950, 20k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= 10 * size or (count >= size and count % (size / 10) == 0):
            return f"{count / size:g}{letter}"
    return f"{count:.0f}"
