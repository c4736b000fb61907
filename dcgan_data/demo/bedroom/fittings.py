"""What belongs to walls: windows with curtains, pictures, mirrors, doors, trim."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dcgan_data.demo.bedroom.cloth import fabric
from dcgan_data.demo.bedroom.palette import Colour, Palette, mix, one_of, shaded
from dcgan_data.demo.bedroom.patterns import folds, modulated, mottle, plain, texels
from dcgan_data.demo.bedroom.render import Image, Light, Patch, Vector
from dcgan_data.demo.bedroom.room import Frame, Setting, Span
from dcgan_data.demo.bedroom.solids import rounded
from dcgan_data.demo.bedroom.views import outdoors, painting

DOOR_METRES = 0.85
"""Width of a door."""


@dataclass(frozen=True)
class Opening:
    """The glass of a window, metres in its wall's frame."""

    along: Span
    """Left and right."""
    up: Span
    """Sill and top."""
    grid: tuple[int, int]
    """Rows and columns of panes."""

    def panes(self, frame: Frame) -> Vector:
        """Corners of the panes between the bars, float64 (rows * columns, 4, 3)."""
        xs, ys = np.linspace(*self.along, self.grid[1] + 1), np.linspace(*self.up, self.grid[0] + 1)
        bar = 0.04
        return np.array(
            [
                [frame.point(x, y, 0) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
                for x0, x1 in zip(xs[:-1] + bar, xs[1:] - bar, strict=True)
                for y0, y1 in zip(ys[:-1] + bar, ys[1:] - bar, strict=True)
            ]
        )


@dataclass(frozen=True)
class Window:
    """A window in a wall."""

    patches: tuple[Patch, ...]
    """Frame, view and curtains, in the order in which to draw them."""
    light: Light
    """What comes in."""
    facing: Vector
    """Unit vector into the room."""
    panes: Vector
    """float64 (P, 4, 3): corners of the panes, metres."""


def window(rng: np.random.Generator, frame: Frame, span: Span, setting: Setting) -> Window:
    """A window that takes, with its curtains, ``span`` of the wall."""
    margin = 0.16 * (span[1] - span[0])
    sill = 0.1 if rng.uniform() < 0.2 else rng.uniform(0.7, 1.1)
    grid = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    opening = Opening((span[0] + margin, span[1] - margin), (sill, rng.uniform(1.9, 2.3)), grid)
    (left, right), (sill, top) = opening.along, opening.up
    trim_colour = setting.palette.wood if rng.uniform() < 0.25 else setting.palette.linen
    casing = frame.upright(
        (left - 0.07, right + 0.07), (sill - 0.09, top + 0.07), 0.01, plain((4, 4), trim_colour)
    )
    glass = replace(frame.upright(opening.along, opening.up, 0.02, _glazed(rng, opening, setting)), glow=1.0)
    strength = (0.05 if setting.night else rng.uniform(0.9, 2.2)) * ((right - left) * (top - sill)) ** 0.7
    daylight = strength * (1 + rng.uniform(-0.12, 0.12) * np.array([1.0, 0.2, -1.2]))
    light = Light(frame.point((left + right) / 2, (sill + top) / 2, 0.3), daylight, frame.out)
    curtains = _curtains(rng, frame, span, opening, setting) if rng.uniform() < 0.8 else []
    return Window((casing, glass, *curtains), light, frame.out, opening.panes(frame))


def _glazed(rng: np.random.Generator, opening: Opening, setting: Setting) -> Image:
    """The view with bars before it, perhaps behind a blind."""
    height = texels(opening.up[1] - opening.up[0], setting.metre)
    width = texels(opening.along[1] - opening.along[0], setting.metre)
    far = outdoors(rng, (height // 2, width // 2), setting.night)  # half the texels: it is out of focus
    if not setting.night:
        far = np.asarray(
            cv2.convertScaleAbs(far, alpha=rng.uniform(0.6, 1.0), beta=rng.uniform(20, 90)), np.uint8
        )
    view = np.asarray(cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    colour = (70, 66, 60) if rng.uniform() < 0.2 else (215, 215, 212)
    thick, (rows, columns) = max(1, round(height * 0.025)), opening.grid
    for column in range(columns + 1):
        at = round(column / columns * (width - 1))
        cv2.line(view, (at, 0), (at, height), colour, thick)
    for row in range(rows + 1):
        at = round(row / rows * (height - 1))
        cv2.line(view, (0, at), (width, at), colour, thick)
    if rng.uniform() < 0.15:
        slats = plain((round(height * rng.uniform(0.2, 1.0)), width), (235, 232, 225))
        slats[:: max(3, height // 24)] = (150, 148, 145)
        view[: len(slats)] = cv2.addWeighted(slats, 0.8, view[: len(slats)], 0.2, 0)
    return view


def _curtains(
    rng: np.random.Generator, frame: Frame, span: Span, opening: Opening, setting: Setting
) -> list[Patch]:
    """A rod and two curtains, to the floor or just below the sill."""
    palette = setting.palette
    (left, right), (sill, top) = opening.along, opening.up
    bottom = 0.03 if rng.uniform() < 0.6 else max(0.03, sill - 0.15)
    drawn = rng.uniform(0.15, 0.42) * (right - left)
    size = texels(0.7 * (top + 0.15 - bottom), setting.metre), texels(drawn + left - span[0], setting.metre)
    colours = one_of(rng, palette.accent, palette.linen), palette.second
    cloth = fabric(rng, size, colours, setting.metre) if rng.uniform() < 0.4 else plain(size, colours[0])
    glow = 0.0 if setting.night else rng.uniform(0.0, 0.35)  # daylight shines through
    rod = frame.upright(
        (span[0] - 0.03, span[1] + 0.03), (top + 0.12, top + 0.16), 0.1, plain((4, 4), palette.wood)
    )
    hanging = [rod]
    for sides in ((span[0], left + drawn), (right - drawn, span[1])):
        pleats = folds(rng, size, rng.uniform(4, 9), rng.uniform(0.25, 0.5))
        hanging.append(
            replace(frame.upright(sides, (bottom, top + 0.15), 0.09, modulated(cloth, pleats)), glow=glow)
        )
    return hanging


def pictures(rng: np.random.Generator, frame: Frame, span: Span, setting: Setting) -> list[Patch]:
    """A mirror, or one to six framed pictures, in the middle of ``span``."""
    palette, metre = setting.palette, setting.metre
    room, x, y = span[1] - span[0], sum(span) / 2, rng.uniform(1.5, 1.75)
    count = int(rng.choice([0, 1, 2, 3, 6], p=[0.12, 0.38, 0.2, 0.2, 0.1]))
    if count == 0:
        return [_mirror(rng, frame, (x, y, min(0.35, room / 2.2)), palette)]
    rows, columns = (2, 3) if count == 6 else (1, count)
    wide = min(rng.uniform(0.25, 0.5) * (2.2 if count == 1 else 1), 0.85 * room / columns)
    tall = min(wide * rng.uniform(0.6, 1.5), 0.95 / rows)
    rim = one_of(rng, palette.wood, (25, 24, 23), (240, 238, 232), (190, 160, 90))
    edge, matted, hung = max(2, round(0.06 * metre)), rng.uniform() < 0.5, []
    for row in range(rows):
        for column in range(columns):
            left, low = (
                x + (1.18 * (column - columns / 2) + 0.09) * wide,
                y + (1.15 * (row - rows / 2) + 0.07) * tall,
            )
            canvas = painting(rng, (texels(tall, metre), texels(wide, metre)), palette)
            corner = canvas.shape[1] - 1, canvas.shape[0] - 1
            if matted:
                cv2.rectangle(canvas, (0, 0), corner, (240, 238, 235), min(3 * edge, min(corner) // 2))
            cv2.rectangle(canvas, (0, 0), corner, rim, edge)
            hung.append(frame.upright((left, left + wide), (low, low + tall), 0.02, canvas))
    return hung


def _mirror(
    rng: np.random.Generator, frame: Frame, at: tuple[float, float, float], palette: Palette
) -> Patch:
    """A mirror around (along, up) of half the width ``at[2]``: the blurred light of a room, in a rim."""
    (x, y, half), size, power = at, (48, 48), 2.0 if rng.uniform() < 0.5 else 8.0
    glass = modulated(plain(size, mix(palette.wall, (205, 212, 215), 0.6)), mottle(rng, size, (4, 3), 0.35))
    canvas = plain(size, shaded(palette.wood, rng.uniform(0.6, 1.2)))
    inside = np.pad(rounded((42, 42), power), 3)
    cv2.copyTo(glass, inside & 128, canvas)
    tall = half * rng.uniform(0.9, 1.4)
    return replace(
        frame.upright((x - half, x + half), (y - tall, y + tall), 0.02, canvas), alpha=rounded(size, power)
    )


def door(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Patch:
    """A panelled door."""
    palette, metre = setting.palette, setting.metre
    tall, wide = texels(2.05, metre), texels(DOOR_METRES, metre)
    colour = palette.wood if rng.uniform() < 0.4 else palette.linen
    canvas, line = plain((tall, wide), colour), max(1, round(0.02 * metre))
    cv2.rectangle(canvas, (0, 0), (wide - 1, tall - 1), shaded(colour, 0.8), 3 * line)
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    for row in range(rows):
        for column in range(columns):
            low = round(wide * (0.12 + 0.8 * column / columns)), round(tall * (0.06 + 0.9 * row / rows))
            high = round(wide * (0.06 + 0.8 * (column + 1) / columns)), round(tall * 0.9 * (row + 1) / rows)
            cv2.rectangle(canvas, low, high, shaded(colour, 0.82), line)
    cv2.circle(canvas, (round(wide * 0.9), round(tall * 0.52)), 2 * line, (150, 135, 100), -1, cv2.LINE_AA)
    return frame.upright((left, left + DOOR_METRES), (0.0, 2.05), 0.015, canvas)


def trim(wall: Image, height: float, colours: tuple[Colour, Colour | None]) -> None:
    """Draw skirting, cornice and, unless its colour is None, wainscot on a wall ``height`` metres high."""
    metre = wall.shape[0] / height
    board, wainscot = colours
    if wainscot is not None:
        top = round((height - 0.95) * metre)
        wall[top:] = wainscot
        wall[top : top + 2] = shaded(wainscot, 0.8)
    wall[round((height - 0.1) * metre) :] = shaded(board, 0.95)
    wall[: max(1, round(0.05 * metre))] = board
