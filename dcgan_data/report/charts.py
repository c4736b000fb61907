"""Charts as inline SVG, without a script: they take the page's colours, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dcgan_data.formats.html_page import text

WIDTH, HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 22, 44
_LOG_FROM = 30.0
"""Ratio of the largest to the smallest positive value from which an axis is logarithmic."""


@dataclass(frozen=True)
class _Axis:
    """Maps values to pixels, linearly or by their logarithm."""

    low: float
    high: float
    first: float
    """Pixel of ``low``."""
    last: float
    """Pixel of ``high``."""
    log: bool = False
    whole: bool = False
    """Whether values are whole numbers: no tick is between two."""

    def at(self, value: float) -> float:
        """The pixel of a value; on a logarithmic axis, all that is below ``low`` lies at ``low``."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return round(self.first + (value - low) / (high - low) * (self.last - self.first), 2)

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            every = -(-len(powers) // 6)
            return [10.0**power for power in powers][::every]
        raw = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
        step = max(step, 1.0) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _across(low: float, high: float) -> _Axis:
    return _Axis(low, high if high > low else low + 1, _LEFT, WIDTH - _RIGHT)


def _upward(values: Sequence[float]) -> _Axis:
    """A vertical axis for counts: from 0, or logarithmic from below 1 when they differ much."""
    positive = [value for value in values if value > 0] or [1.0]
    high = max(positive)
    log = high / min(positive) >= _LOG_FROM
    whole = all(float(value).is_integer() for value in values)
    return _Axis(0.7 if log else 0.0, high * (1.6 if log else 1.08), HEIGHT - _BOTTOM, _TOP, log, whole)


def histogram(edges: Sequence[float], counts: Sequence[int], threshold: float | None, label: str) -> str:
    """Bars of ``counts`` between ``edges``; those from the threshold on in the accent colour."""
    x, y = _across(edges[0], edges[-1]), _upward(counts)
    boxes = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            above = threshold is not None and (low + high) / 2 >= threshold
            box = (x.at(low) + 0.5, y.at(count), max(x.at(high) - x.at(low) - 1, 0.5))
            boxes.append(_bar(*box, f"{low:.3g} to {high:.3g}: {count:,}", "on" if above else "off"))
    return _chart(label, _frame(x, y, label), *boxes, _marker(x, threshold))


def curve(points: Sequence[Sequence[float]], threshold: float | None, label: str) -> str:
    """Removals against the threshold that would lead to them."""
    points = sorted((float(at), float(count)) for at, count in points)
    x, y = _across(points[0][0], points[-1][0]), _upward([count for _, count in points])
    path = " ".join(f"{x.at(at)},{y.at(count)}" for at, count in points)
    dots = (
        f'<circle class="dot" cx="{x.at(at)}" cy="{y.at(count)}" r="2.5">'
        f"<title>{at:.3g}: {count:,.0f}</title></circle>"
        for at, count in points
    )
    line = f'<polyline class="line" points="{path}"/>'
    return _chart(label, _frame(x, y, label), line, *dots, _marker(x, threshold))


def bars(values: Sequence[float], label: str, first: int = 0) -> str:
    """One bar for each value, numbered from ``first``."""
    x, y = _across(first - 0.5, first + len(values) - 0.5), _upward(values)
    gap = 0.15 if len(values) <= 20 else 0.05
    shapes = []
    for number, value in enumerate(values, first):
        left, right = x.at(number - 0.5 + gap), x.at(number + 0.5 - gap)
        shapes.append(_bar(left, y.at(value), right - left, f"{number}: {value:,.4g}", "on"))
    return _chart(label, _frame(x, y, label), *shapes)


def _chart(label: str, *parts: str) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">'
    return f"{head}{''.join(parts)}</svg>"


def _bar(left: float, top: float, width: float, title: str, kind: str) -> str:
    height = HEIGHT - _BOTTOM - top
    shape = f'x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="bar {kind}" {shape}><title>{text(title)}</title></rect>'


def _frame(x: _Axis, y: _Axis, label: str) -> str:
    base = HEIGHT - _BOTTOM
    parts = []
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.2f}" text-anchor="end">{value:,.6g}</text>')
    for value in x.ticks():
        parts.append(f'<text x="{x.at(value)}" y="{base + 18}" text-anchor="middle">{value:.6g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="name" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{text(label)}</text>'
    )
    return "".join(parts)


def _marker(x: _Axis, threshold: float | None) -> str:
    """A dashed line at the threshold in force."""
    if threshold is None or not x.low <= threshold <= x.high:
        return ""
    at = x.at(threshold)
    anchor = "end" if at > WIDTH * 0.7 else "start"
    text = f'<text class="mark" x="{at + (5 if anchor == "start" else -5)}" y="14" text-anchor="{anchor}">'
    line = f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP - 18}" y2="{HEIGHT - _BOTTOM}"/>'
    return f"{line}{text}threshold {threshold:.4g}</text>"
