"""Printed and woven cloth for blankets, curtains, cushions and rugs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dcgan_data.demo.bedroom.palette import Colour, mix
from dcgan_data.demo.bedroom.patterns import Size, lattice, plain
from dcgan_data.demo.bedroom.render import Image


def fabric(rng: np.random.Generator, size: Size, colours: tuple[Colour, Colour], metre: float) -> Image:
    """Cloth in two colours: plain in every fourth case, else one of the prints below."""
    base, other = colours if rng.uniform() < 0.5 else colours[::-1]
    canvas = plain(size, base)
    kind = int(rng.integers(-2, len(_PRINTS)))
    if kind >= 0:
        _PRINTS[kind](rng, canvas, other, rng.uniform(0.08, 0.4) * metre)
    return canvas


def _stripes(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """Stripes along either side."""
    along, share = rng.uniform() < 0.5, rng.uniform(0.2, 0.7)
    view = canvas if along else canvas.swapaxes(0, 1)
    for at in np.arange(0, len(view), step).tolist():
        view[round(at) : round(at + step * share)] = colour


def _plaid(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """Stripes both ways, darker where they cross."""
    height, width = canvas.shape[:2]
    crossed = np.zeros((height, width), np.uint8)
    for at in np.arange(0, max(height, width), 2 * step).tolist():
        crossed[round(at) : round(at + step)] += 1
        crossed[:, round(at) : round(at + step)] += 1
    base: Colour = (int(canvas[0, 0, 0]), int(canvas[0, 0, 1]), int(canvas[0, 0, 2]))
    tones = np.array([base, mix(base, colour, rng.uniform(0.3, 0.6)), colour], np.uint8)
    canvas[...] = tones[crossed]


def _zigzag(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """Zigzag lines across."""
    height, width = canvas.shape[:2]
    teeth = np.arange(-1, width // max(1, round(step)) + 3)
    thick = max(1, round(step * rng.uniform(0.2, 0.45)))
    for at in np.arange(-step, height + step, step * 1.4).tolist():
        line = np.stack([teeth * step, at + (teeth % 2) * step], axis=1)
        cv2.polylines(canvas, [np.round(line).astype(np.int32)], False, colour, thick, cv2.LINE_AA)


def _patchwork(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """Squares between both colours."""
    base: Colour = (int(canvas[0, 0, 0]), int(canvas[0, 0, 1]), int(canvas[0, 0, 2]))
    side = max(4.0, step)
    for top in np.arange(0, canvas.shape[0], side).tolist():
        for left in np.arange(0, canvas.shape[1], side).tolist():
            corners = (round(left), round(top)), (round(left + side), round(top + side))
            cv2.rectangle(canvas, *corners, mix(base, colour, rng.uniform()), -1)


def _fading(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """One colour fades into the other, from a random place on."""
    start = rng.uniform(-0.3, 0.5)
    ramp = np.clip(np.linspace(-start, 1, canvas.shape[0]), 0, 1)[:, None, None]
    canvas[...] = canvas[0, 0] * (1 - ramp) + np.array(colour) * ramp


_PRINTS: tuple[Callable[[np.random.Generator, Image, Colour, float], None], ...] = (
    _stripes,
    _plaid,
    lattice,
    _zigzag,
    _patchwork,
    _fading,
)
