"""The bed: frame, headboard, bedding, pillows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dcgan_data.demo.bedroom.cloth import fabric
from dcgan_data.demo.bedroom.palette import Colour, Palette, mix, one_of, shaded
from dcgan_data.demo.bedroom.patterns import Size, modulated, mottle, plain, texels, wrinkles
from dcgan_data.demo.bedroom.render import UP, Field, Image, Patch
from dcgan_data.demo.bedroom.room import Frame, Setting
from dcgan_data.demo.bedroom.solids import Block, Item, cut_out, rounded

_HEAD = 0.08  # metres between the wall and the mattress


@dataclass(frozen=True)
class BedSize:
    """Where a bed stands at its wall, metres."""

    left: float
    """Along the wall to its left edge."""
    width: float
    """Along the wall."""
    length: float
    """Out into the room."""
    top: float
    """Height of the bedding."""

    @property
    def right(self) -> float:
        """Along the wall to its right edge."""
        return self.left + self.width


def bed(rng: np.random.Generator, frame: Frame, size: BedSize, setting: Setting) -> Item:
    """A made bed with its head at the wall."""
    wood, base_top = setting.palette.wood, rng.uniform(0.12, 0.3)
    base = Block((size.left - 0.02, size.right + 0.02), (0.0, base_top), (0.05, size.length))
    patches = _headboard(rng, frame, size, setting) + base.sides(frame, wood)
    patches += _bedding(rng, frame, size, setting, base_top - rng.uniform(0, 0.1))
    patches += _pillows(rng, frame, size, setting.palette)
    end = size.length + 0.06
    if rng.uniform() < 0.2:
        tall = size.top + rng.uniform(-0.05, 0.25)
        patches += Block((size.left - 0.03, size.right + 0.03), (0.0, tall), (size.length, end)).sides(
            frame, wood
        )
    return Block((size.left, size.right), (0.0, 1.0), (0.0, end)).item(frame, patches)


def _headboard(rng: np.random.Generator, frame: Frame, size: BedSize, setting: Setting) -> list[Patch]:
    """A board, upholstered, arched, barred, or none."""
    palette, metre = setting.palette, setting.metre
    along = size.left - rng.uniform(0, 0.15), size.right + rng.uniform(0, 0.15)
    up = 0.2, size.top + rng.uniform(0.35, 0.85)
    area = texels(up[1] - up[0], metre), texels(along[1] - along[0], metre)
    kind = int(rng.integers(5))
    if kind == 0:
        board = modulated(plain(area, palette.wood), mottle(rng, area, (area[0] // 2, 3), 0.1))
        cv2.rectangle(board, (3, 3), (area[1] - 4, area[0] - 4), shaded(palette.wood, 0.8), 2)
        return Block(along, up, (0.0, 0.07)).sides(frame, palette.wood, board)
    if kind == 1:
        cloth = one_of(rng, palette.second, palette.accent, palette.linen)
        return Block(along, up, (0.0, 0.1)).sides(frame, cloth, _tufted(rng, area, cloth, metre))
    patch = frame.upright(along, up, 0.05, plain(area, shaded(palette.wood, 0.95)))
    if kind == 2:
        across = np.linspace(0, 1, 21)
        arch = rng.uniform(0.15, 0.4) * np.abs(2 * across - 1) ** rng.uniform(1.6, 4)
        outline = np.concatenate([np.stack([across, arch], axis=1), [[1.0, 1.0], [0.0, 1.0]]])
        return [replace(patch, alpha=cut_out(area, outline))]
    return [replace(patch, alpha=_bars(rng, area, metre))] if kind == 3 else []


def _bars(rng: np.random.Generator, size: Size, metre: float) -> Image:
    """Opacity of upright or level bars in a frame: uint8 (h, w)."""
    alpha = np.zeros(size, np.uint8)
    step = max(4, round(rng.uniform(0.08, 0.2) * metre))
    thick = max(1, round(step * rng.uniform(0.15, 0.5)))
    view = alpha if rng.uniform() < 0.4 else alpha.T
    for at in range(0, len(view), step):
        view[at : at + thick] = 255
    cv2.rectangle(alpha, (0, 0), (size[1] - 1, size[0] - 1), 255, 2 * max(2, thick // 2))
    return alpha


def _tufted(rng: np.random.Generator, size: Size, colour: Colour, metre: float) -> Image:
    """Upholstery with buttons and the seams between them."""
    canvas, step = plain(size, colour), max(5.0, rng.uniform(0.12, 0.3) * metre)
    seam, button = shaded(colour, 0.8), shaded(colour, 0.6)
    for row, y in enumerate(np.arange(step / 2, size[0], step).tolist()):
        for x in np.arange(step / 2 * (1 + row % 2), size[1], step).tolist():
            for aside in (-step / 2, step / 2):
                cv2.line(
                    canvas, (round(x), round(y)), (round(x + aside), round(y + step)), seam, 1, cv2.LINE_AA
                )
            cv2.circle(canvas, (round(x), round(y)), 1, button, -1)
    return modulated(canvas, mottle(rng, size, (4, 6), 0.08))


def _bedding(
    rng: np.random.Generator, frame: Frame, size: BedSize, setting: Setting, hem: float
) -> list[Patch]:
    """One cloth over the mattress that hangs down at three sides to ``hem`` metres above the floor."""
    drop = size.top - hem
    wide, long, down = (texels(metres, setting.metre) for metres in (size.width, size.length, drop))
    cloth = _cloth(rng, (long + down, wide + 2 * down), long, setting)
    left, top, right = cloth[:long, :down], cloth[:long, down:-down], cloth[:long, -down:]
    foot = cloth[long:, down:-down]
    hang = np.linspace(1.08, 1.08 - rng.uniform(0.25, 0.5), down, dtype=np.float32)[:, None]
    side, end = np.repeat(hang, long, axis=1), np.repeat(hang, wide, axis=1)
    along, out, fall = size.width * frame.along, (size.length - _HEAD) * frame.out, -drop * UP
    head_left = frame.point(size.left, size.top, _HEAD)
    foot_left, foot_right = head_left + out, head_left + out + along
    return [
        Patch(head_left, along, out, modulated(top.copy(), _bulge((long, wide), 0.12 * setting.metre))),
        Patch(head_left, out, fall, modulated(left[:, ::-1].swapaxes(0, 1).copy(), side)),
        Patch(foot_right, -out, fall, modulated(right[::-1].swapaxes(0, 1).copy(), side)),
        Patch(foot_left, along, fall, modulated(foot.copy(), end)),
    ]


def _cloth(rng: np.random.Generator, size: Size, long: int, setting: Setting) -> Image:
    """Sheet, turned-down edge, blanket, perhaps a throw; rows from the head of the bed to beyond its foot."""
    palette, metre = setting.palette, setting.metre
    second = mix(palette.second, palette.linen, rng.uniform(0, 1))
    cloth = (
        plain(size, palette.linen)
        if rng.uniform() < 0.2
        else fabric(rng, size, (palette.accent, second), metre)
    )
    if rng.uniform() < 0.35:
        start, rows = round(long * rng.uniform(0.55, 0.75)), round(long * rng.uniform(0.18, 0.3))
        cloth[start : start + rows] = fabric(rng, (rows, size[1]), (palette.second, palette.accent), metre)
    sheet = round(long * rng.uniform(0.22, 0.36))
    cloth[:sheet] = palette.linen
    turned = mix(palette.linen, palette.accent, rng.choice([0.0, 0.25, 0.6]))
    cloth[sheet : sheet + max(2, round(0.2 * metre))] = turned
    return modulated(cloth, wrinkles(rng, size, rng.uniform(0.05, 0.16)))


def _bulge(size: Size, reach: float) -> Field:
    """Brightness of the top, darker where it bends down at three edges: float32 (h, w)."""
    height, width = size
    from_side = np.minimum(np.arange(width), np.arange(width)[::-1])[None, :]
    from_foot = np.arange(height)[::-1, None]
    return (1 - 0.16 * np.exp(-np.minimum(from_side, from_foot) / reach)).astype(np.float32)


def _pillows(rng: np.random.Generator, frame: Frame, size: BedSize, palette: Palette) -> list[Patch]:
    """One or two rows of pillows leaning on the headboard, perhaps cushions before them."""
    rows, number = int(rng.integers(1, 3)), 1 if size.width < 1.2 else 2
    slant, laid = rng.uniform(0.35, 1.1), list[Patch]()
    colour = palette.accent if rng.uniform() < 0.25 else palette.linen
    shape = min(0.78, size.width / number * 0.93), rng.uniform(0.42, 0.52), slant
    for row in range(rows):
        laid += _row(rng, frame, size, 0.34 + 0.17 * row, (number, *shape), plain((40, 56), colour))
    if rng.uniform() < 0.4:
        cloth = fabric(rng, (40, 56), (palette.accent, palette.second), 80)
        cushions = int(rng.integers(1, 3)), rng.uniform(0.35, 0.45), 0.36, slant
        laid += _row(rng, frame, size, 0.34 + 0.17 * rows, cushions, cloth)
    return laid


def _row(
    rng: np.random.Generator,
    frame: Frame,
    size: BedSize,
    foot: float,
    shape: tuple[int, float, float, float],
    cloth: Image,
) -> list[Patch]:
    """Pillows side by side, ``foot`` from the wall; shape is number, width, height, slant from upright."""
    number, wide, tall, slant = shape
    lean = tall * (np.cos(slant) * UP - np.sin(slant) * frame.out)
    rows, columns = cloth.shape[:2]
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    bulge = (1.06 - 0.3 * np.maximum(np.abs(x), np.abs(y)) ** 4 - 0.1 * y).astype(np.float32)
    laid = []
    for k in range(number):
        middle = size.left + size.width * (k + 0.5) / number + rng.normal(0, 0.02)
        corner = frame.point(middle - wide / 2, size.top - 0.02, foot + 0.1 + rng.normal(0, 0.015))
        texture = modulated(cloth, bulge * wrinkles(rng, (rows, columns), 0.05))
        alpha = rounded((rows, columns), rng.uniform(3.0, 6.0))
        laid.append(Patch(corner + lean, wide * frame.along, -lean, texture, alpha))
    return laid
