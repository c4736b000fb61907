"""Colours, and the choice of those that stand together in one room."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
"""RGB, 0..255 each."""
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Palette:
    """The colours of one bedroom."""

    wall: Colour
    """Most of the walls."""
    accent: Colour
    """Blanket, curtains, perhaps one of the walls."""
    second: Colour
    """What goes with the accent colour."""
    linen: Colour
    """Sheets, pillows, trim: nearly white."""
    wood: Colour
    """Furniture."""
    floor: Colour
    """Boards or carpet."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Palette:
        """Draw the colours: most walls are cream, grey or pale, few are strongly coloured."""
        hue = rng.uniform()
        partner = hue + rng.choice([0.0, 0.08, -0.08, 0.33, 0.5]) + rng.normal(0, 0.02)
        wall_hue = rng.choice([rng.normal(0.1, 0.06), rng.uniform()], p=[0.55, 0.45])
        wall_saturation = rng.choice([rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.5)], p=[0.75, 0.25])
        if rng.uniform() < 0.75:
            wood = hsv(rng.uniform(0.03, 0.11), rng.uniform(0.25, 0.7), rng.uniform(0.22, 0.9))
        else:  # painted
            wood = hsv(rng.uniform(), rng.uniform(0, 0.12), rng.choice([0.15, 0.6, 0.9, 0.97]))
        return cls(
            wall=hsv(wall_hue, wall_saturation, rng.uniform(0.6, 0.98)),
            accent=hsv(hue, 0.85 * rng.uniform() ** 0.7, rng.uniform(0.2, 0.95)),
            second=hsv(partner, rng.uniform(0.05, 0.7), rng.uniform(0.3, 0.98)),
            linen=hsv(rng.uniform(0.05, 0.65), rng.uniform(0.0, 0.1), rng.uniform(0.85, 1.0)),
            wood=wood,
            floor=hsv(rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.65), rng.uniform(0.25, 0.85)),
        )


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB from hue (any real number, period 1), saturation and value in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))
    return round(255 * red), round(255 * green), round(255 * blue)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with a share (0..1) of ``b``."""
    keep = 1.0 - share
    return (
        int(a[0] * keep + b[0] * share),
        int(a[1] * keep + b[1] * share),
        int(a[2] * keep + b[2] * share),
    )


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour made darker (< 1) or lighter (> 1)."""
    red, green, blue = colour
    return min(255, int(red * factor)), min(255, int(green * factor)), min(255, int(blue * factor))


def one_of(rng: np.random.Generator, *colours: Colour) -> Colour:
    """Choose a colour."""
    return colours[int(rng.integers(len(colours)))]
