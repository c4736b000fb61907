"""Surface patterns: paint, wallpaper, boards, tiles, carpet, brick, and relief that light makes visible.

Patterns are uint8 (h, w, 3) RGB of a size (h, w) in texels; ``metre`` is the number of texels in a metre.
"""

from __future__ import annotations

import cv2
import numpy as np

from dcgan_data.demo.bedroom.palette import WHITE, Colour, Palette, hsv, mix, one_of, shaded
from dcgan_data.demo.bedroom.render import Field, Image

Size = tuple[int, int]


def texels(metres: float, metre: float) -> int:
    """Texels for a length, enough to draw something on."""
    return max(8, round(metres * metre))


def plain(size: Size, colour: Colour) -> Image:
    """One colour."""
    canvas = np.empty((*size, 3), np.uint8)
    cv2.rectangle(canvas, (0, 0), size[::-1], colour, -1)  # ten times as fast as assigning rows of three
    return canvas


def mottle(rng: np.random.Generator, size: Size, cells: tuple[int, int], strength: float) -> Field:
    """Smooth random factors around 1, float32 (h, w), from (rows, columns) of random values."""
    coarse = rng.random((max(1, cells[0]), max(1, cells[1])), dtype=np.float32)
    coarse = 1 + (coarse - 0.5) * np.float32(2 * strength)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def modulated(canvas: Image, factor: Field) -> Image:
    """The texture times a float32 (h, w) factor."""
    return np.asarray(cv2.multiply(canvas, cv2.merge([factor] * 3), dtype=cv2.CV_8U), np.uint8)


def wrinkles(rng: np.random.Generator, size: Size, strength: float) -> Field:
    """Relief of cloth that is not ironed: float32 (h, w) around 1."""
    coarse, fine = rng.integers(3, 7, 2), rng.integers(8, 16, 2)
    wide = mottle(rng, size, (int(coarse[0]), int(coarse[1])), strength)
    return wide * mottle(rng, size, (int(fine[0]), int(fine[1])), strength * 0.6)


def folds(rng: np.random.Generator, size: Size, count: float, depth: float) -> Field:
    """Relief of hanging cloth: uneven vertical folds, float32 (h, w) up to 1."""
    height, width = size
    phase = np.linspace(0, count * 2 * np.pi, width) + np.cumsum(rng.normal(0, 0.4 * count / width, width))
    sway = np.linspace(0, rng.normal(0, 1.0), height)[:, None]
    return (1 - depth * (0.5 + 0.5 * np.sin(phase[None] + sway))).astype(np.float32)


def boards(rng: np.random.Generator, size: Size, colour: Colour, board: float) -> Image:
    """Upright boards of ``board`` texels, with grain and joints."""
    height, width = size
    canvas, gap = plain(size, colour), shaded(colour, 0.55)
    lefts = np.arange(-board * rng.uniform(), width, board)
    joints = np.sort(rng.uniform(0, height, (len(lefts), 3)), axis=1).tolist()
    tones = rng.uniform(0.8, 1.15, (len(lefts), 4)).tolist()
    for left, cuts, shades in zip(lefts.tolist(), joints, tones, strict=True):
        for top, bottom, tone in zip([0, *cuts], [*cuts, height], shades, strict=True):
            corners = (round(left), round(top)), (round(left + board), round(bottom))
            cv2.rectangle(canvas, *corners, shaded(colour, tone), -1)
            cv2.rectangle(canvas, *corners, gap, 1)
    return modulated(canvas, mottle(rng, size, (height // 24, width // 2), 0.06))


def courses(
    rng: np.random.Generator,
    size: Size,
    colours: tuple[Colour, ...],
    block: tuple[float, float],
    shift: float,
) -> Image:
    """Tiles or bricks of (height, width) texels.

    Their colours take turns, the last one is that of the joints; every other row is shifted by a share.
    """
    *stones, joint = colours
    canvas = plain(size, joint)
    tall, wide = block
    tops, lefts = np.arange(0, size[0], tall).tolist(), np.arange(-wide * shift, size[1], wide).tolist()
    tones = rng.uniform(0.88, 1.1, (len(tops), len(lefts))).tolist()
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            start = left + wide * shift * (row % 2)
            colour = shaded(stones[(row + column) % len(stones)], tones[row][column])
            corner = round(start + wide) - 2, round(top + tall) - 2
            cv2.rectangle(canvas, (round(start), round(top)), corner, colour, -1)
    return canvas


def floor(rng: np.random.Generator, size: Size, palette: Palette, metre: float) -> Image:
    """Boards along or across, tiles, or carpet."""
    kind, board = rng.uniform(), rng.uniform(0.1, 0.28) * metre
    if kind < 0.3:
        return boards(rng, size, palette.floor, board)
    if kind < 0.55:
        return np.asarray(cv2.transpose(boards(rng, size[::-1], palette.floor, board)), np.uint8)
    if kind < 0.7:
        light = mix(palette.floor, WHITE, rng.uniform(0.4, 0.9))
        dark, side = mix(light, palette.floor, rng.uniform(0.1, 1)), rng.uniform(0.3, 0.7) * metre
        return courses(rng, size, (light, dark, shaded(light, 0.8)), (side, side), 0.0)
    wool = mix(one_of(rng, palette.second, palette.floor), (200, 195, 185), rng.uniform(0.1, 0.8))
    return modulated(
        plain(size, wool), mottle(rng, size, (size[0] // 3, size[1] // 3), rng.uniform(0.05, 0.16))
    )


def wallpaper(rng: np.random.Generator, size: Size, colour: Colour, metre: float) -> Image:
    """Paint, stripes, a printed lattice, brick, or boards."""
    canvas, kind, step = plain(size, colour), rng.uniform(), rng.uniform(0.12, 0.5) * metre
    print_colour = mix(colour, one_of(rng, WHITE, WHITE, (60, 50, 40)), rng.uniform(0.12, 0.5))
    if 0.6 < kind < 0.75:
        for left in np.arange(0, size[1], step).tolist():
            cv2.rectangle(canvas, (round(left), 0), (round(left + step * 0.45), size[0]), print_colour, -1)
    elif 0.75 <= kind < 0.86:
        lattice(rng, canvas, print_colour, step)
    elif 0.86 <= kind < 0.93:
        bare = hsv(rng.uniform(0.0, 0.06), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.75))
        stone = one_of(rng, bare, colour)
        block = max(3.0, 0.1 * metre), max(6.0, 0.28 * metre)
        return courses(rng, size, (stone, mix(stone, (225, 220, 210), 0.45)), block, 0.5)
    elif kind >= 0.93:
        return boards(rng, size, colour, rng.uniform(0.12, 0.25) * metre)
    return canvas


def lattice(rng: np.random.Generator, canvas: Image, colour: Colour, step: float) -> None:
    """Draw dots, diamonds or flowers ``step`` texels apart, in place."""
    radius = max(1, round(step * rng.uniform(0.15, 0.35)))
    kind = int(rng.integers(3))
    for row, y in enumerate(np.arange(0, canvas.shape[0] + step, step).tolist()):
        for x in np.arange((row % 2) * step / 2, canvas.shape[1] + step, step).tolist():
            at = round(x), round(y)
            if kind == 0:
                cv2.circle(canvas, at, radius, colour, -1, cv2.LINE_AA)
            elif kind == 1:
                diamond = np.array([[x - radius, y], [x, y - radius], [x + radius, y], [x, y + radius]])
                cv2.fillConvexPoly(canvas, np.round(diamond * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
            else:
                for angle in (45, 135):
                    petals = at, (radius, max(1, radius // 3)), angle, 0, 360
                    cv2.ellipse(canvas, *petals, colour, -1, cv2.LINE_AA)
