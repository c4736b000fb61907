"""Pictures within the picture: what a window shows and what hangs in a frame."""

from __future__ import annotations

import cv2
import numpy as np

from dcgan_data.demo.bedroom.palette import Colour, Palette, hsv, one_of, shaded
from dcgan_data.demo.bedroom.patterns import Size, modulated, mottle, plain
from dcgan_data.demo.bedroom.render import Image


def outdoors(rng: np.random.Generator, size: Size, night: bool) -> Image:
    """Sky, clouds, and hills, houses or trees; a little out of focus."""
    canvas, dim = _sky(rng, size, night), 0.2 if night else 1.0
    height, width = size
    green = hsv(rng.uniform(0.15, 0.42), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.75) * dim)
    horizon = rng.uniform(0.45, 1.0) * height
    kind = int(rng.integers(3))
    if kind == 0:
        ridge = horizon - (mottle(rng, (1, width), (1, 5), 0.2)[0] - 1) * height
        outline = np.concatenate(
            [np.stack([np.arange(width), ridge], axis=1), [[width, height], [0, height]]]
        )
        cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], green)
    elif kind == 1:
        for _ in range(7):
            wall = hsv(rng.uniform(0, 0.12), rng.uniform(0, 0.5), rng.uniform(0.4, 0.9) * dim)
            left, wide = rng.uniform(-0.1, 1) * width, rng.uniform(0.1, 0.35) * width
            top = round(rng.uniform(0.3, 0.8) * height)
            cv2.rectangle(canvas, (round(left), top), (round(left + wide), height), wall, -1)
    else:
        for _ in range(12):
            at = round(rng.uniform(0, width)), round(horizon + rng.uniform(-0.1, 0.5) * height)
            radius = max(2, round(rng.uniform(0.08, 0.22) * width))
            cv2.circle(canvas, at, radius, shaded(green, rng.uniform(0.7, 1.25)), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(canvas, (3, 3), 0), np.uint8)


def _sky(rng: np.random.Generator, size: Size, night: bool) -> Image:
    """A sky that is paler towards the horizon, with clouds by day."""
    high = hsv(rng.uniform(0.54, 0.64), rng.uniform(0.1, 0.65), 0.12 if night else rng.uniform(0.8, 1))
    low = hsv(rng.uniform(0.05, 0.6), rng.uniform(0, 0.3), 0.25 if night else 1.0)
    ramp = np.linspace(0, 1, size[0])[:, None, None] ** 0.8
    column = np.array(high) * (1 - ramp) + np.array(low) * ramp
    sky: Image = np.repeat(column.astype(np.uint8), size[1], axis=1)
    if night:
        return sky
    clouds = np.clip(mottle(rng, size, (5, 4), 1.6) - 1, 0, 1) * np.float32(rng.uniform(0.2, 1))
    return np.asarray(cv2.blendLinear(plain(size, (250, 250, 250)), sky, clouds, 1 - clouds), np.uint8)


def painting(rng: np.random.Generator, size: Size, palette: Palette) -> Image:
    """A landscape, circles, strokes, or the light and shade of a photograph."""
    height, width = size
    kind = int(rng.integers(4))
    if kind == 0:
        return outdoors(rng, size, night=False)
    if kind == 1:
        return modulated(plain(size, (150, 148, 145)), np.clip(mottle(rng, size, (5, 5), 0.9), 0.1, 1.7))
    colours: tuple[Colour, ...] = (
        palette.accent,
        palette.second,
        palette.linen,
        palette.wood,
        hsv(rng.uniform(), 0.6, 0.7),
    )
    canvas = plain(size, one_of(rng, *colours))
    for _ in range(int(rng.integers(3, 9))):
        colour = one_of(rng, *colours)
        (x, y), (u, v) = (rng.uniform(0, 1, (2, 2)) * (width, height)).round().astype(int).tolist()
        if kind == 2:
            radius = max(1, round(rng.uniform(0.1, 0.35) * width))
            cv2.circle(canvas, (x, y), radius, colour, -1, cv2.LINE_AA)
        else:
            cv2.line(canvas, (x, y), (u, v), colour, max(1, width // 7), cv2.LINE_AA)
    return canvas
