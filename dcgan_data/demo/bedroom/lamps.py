"""Lamps: on a table, on the floor, and hanging from the ceiling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dcgan_data.demo.bedroom.palette import Palette, hsv, mix, one_of
from dcgan_data.demo.bedroom.patterns import modulated, plain
from dcgan_data.demo.bedroom.render import UP, Light, Patch, Vector
from dcgan_data.demo.bedroom.room import Frame, Setting, Span
from dcgan_data.demo.bedroom.solids import Item, cut_out, facing

WARM = np.array([1.0, 0.72, 0.42])
"""RGB of lamp light."""


def table_lamp(rng: np.random.Generator, stand: Frame, palette: Palette) -> tuple[list[Patch], list[Light]]:
    """A lamp that stands at the origin of a frame facing the camera."""
    foot, shade, half = rng.uniform(0.14, 0.3), rng.uniform(0.16, 0.26), rng.uniform(0.1, 0.19)
    slim, size = rng.uniform(0.1, 0.4), (24, 24)
    left = [[0.5 - slim, 1.0], [0.5 - slim, 0.6], [0.46, 0.0]]
    right = [[1 - x, y] for x, y in reversed(left)]
    body = plain(size, one_of(rng, palette.wood, palette.accent, (40, 38, 36), (215, 210, 200)))
    base = replace(
        stand.upright((-0.07, 0.07), (0.0, foot), 0, body), alpha=cut_out(size, np.array(left + right))
    )
    cloth, lights = _shade(rng, stand, (foot - 0.02, foot + shade), half)
    return [base, cloth], lights


def floor_lamp(rng: np.random.Generator, at: Vector, setting: Setting) -> Item:
    """A standing lamp."""
    stand = facing(setting.camera, at)
    tall, shade, half = rng.uniform(1.1, 1.45), rng.uniform(0.2, 0.35), rng.uniform(0.14, 0.24)
    pole = stand.upright((-0.015, 0.015), (0.0, tall), 0, plain((8, 4), (45, 42, 40)))
    cloth, lights = _shade(rng, stand, (tall - 0.02, tall + shade), half)
    spread = np.array([half, 0.0, half])
    return Item((pole, cloth), at - spread, at + spread + (tall + shade) * UP, tuple(lights))


def pendant(rng: np.random.Generator, setting: Setting) -> Item:
    """A lamp that hangs from the middle of the ceiling."""
    room = setting.room
    at = np.array([room.width / 2, 0.0, room.depth * rng.uniform(0.5, 0.75)])
    stand, low = facing(setting.camera, at), room.height - rng.uniform(0.4, 0.7)
    cord = stand.upright((-0.008, 0.008), (low + 0.1, room.height), 0, plain((4, 4), (60, 58, 55)))
    cloth, lights = _shade(rng, stand, (low, low + rng.uniform(0.15, 0.3)), rng.uniform(0.12, 0.3))
    spread = np.array([0.3, 0.0, 0.3])
    return Item((cord, cloth), at - spread + low * UP, at + spread + (room.height - 1e-3) * UP, tuple(lights))


def _shade(rng: np.random.Generator, stand: Frame, up: Span, half: float) -> tuple[Patch, list[Light]]:
    """A lamp shade of ``half`` the width, and its light; two in three are switched on."""
    size, on = (24, 32), rng.uniform() < 0.65
    narrow = rng.uniform(0.0, 0.3)
    dull = mix((225, 215, 200), hsv(rng.uniform(), 0.5, 0.7), rng.choice([0.0, 0.5]))
    fade = (0.8 + 0.2 * np.sin(np.linspace(0.3, 2.6, size[0])))[:, None] * np.ones(size)
    cloth = modulated(plain(size, (255, 236, 190) if on else dull), fade.astype(np.float32))
    alpha = cut_out(size, np.array([[narrow, 0.0], [1 - narrow, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    patch = replace(stand.upright((-half, half), up, 0, cloth), alpha=alpha, glow=0.9 if on else 0.1)
    lit = Light(stand.point(0, up[1] - 0.05, 0.05), WARM * rng.uniform(0.35, 0.9))
    return patch, [lit] if on else []
