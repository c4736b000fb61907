"""What stands on the floor beside the bed: tables, cabinets, chairs, plants, rugs."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from dcgan_data.demo.bedroom.cloth import fabric
from dcgan_data.demo.bedroom.lamps import table_lamp
from dcgan_data.demo.bedroom.palette import Colour, hsv, mix, one_of, shaded
from dcgan_data.demo.bedroom.patterns import Size, modulated, mottle, plain, texels, wrinkles
from dcgan_data.demo.bedroom.render import UP, Image, Light, Patch, Vector
from dcgan_data.demo.bedroom.room import Frame, Setting
from dcgan_data.demo.bedroom.solids import Block, Item, cut_out, facing, rounded

TABLE_METRES = 0.45
"""Width of a bedside table."""


def bedside_table(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Item:
    """A small table with drawers, mostly with a lamp on it."""
    block = Block((left, left + TABLE_METRES), (0.0, rng.uniform(0.42, 0.62)), (0.03, 0.45))
    front = _fronts(rng, (40, 40), setting.palette.wood, (int(rng.integers(1, 4)), 1))
    patches, lights = block.sides(frame, setting.palette.wood, front), list[Light]()
    if rng.uniform() < 0.8:
        stand = facing(setting.camera, frame.point(left + TABLE_METRES / 2, block.up[1], 0.24))
        lamp, lights = table_lamp(rng, stand, setting.palette)
        patches += lamp
    return block.item(frame, patches, lights)


def wardrobe(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Item:
    """A wardrobe with two to four doors."""
    block = Block((left, left + rng.uniform(0.9, 1.7)), (0.0, rng.uniform(1.8, 2.2)), (0.02, 0.58))
    front = _fronts(rng, _front_size(block, setting), setting.palette.wood, (1, int(rng.integers(2, 5))))
    return block.item(frame, block.sides(frame, setting.palette.wood, front))


def chest(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Item:
    """A chest of drawers, perhaps with a screen on it."""
    wide, tall = rng.uniform(0.8, 1.5), rng.uniform(0.7, 1.1)
    block = Block((left, left + wide), (0.0, tall), (0.02, 0.48))
    drawers = int(rng.integers(3, 6)), int(rng.integers(1, 3))
    patches = block.sides(
        frame, setting.palette.wood, _fronts(rng, _front_size(block, setting), setting.palette.wood, drawers)
    )
    if rng.uniform() < 0.5:
        screen = plain((20, 32), (22, 23, 26))
        screen[2:8] = (38, 40, 44)
        patches.append(
            frame.upright((left + 0.1, left + wide - 0.1), (tall + 0.05, tall + 0.62), 0.25, screen)
        )
    return block.item(frame, patches)


def bookcase(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Item:
    """Shelves with books."""
    wood = setting.palette.wood
    block = Block((left, left + rng.uniform(0.7, 1.6)), (0.0, rng.uniform(1.1, 2.1)), (0.02, 0.32))
    height, width = size = _front_size(block, setting)
    canvas, rows = plain(size, shaded(wood, 0.45)), int(rng.integers(3, 6))
    for row in range(rows):
        base, at = round((row + 1) * height / rows) - 2, 2.0
        while at < width - 4:
            wide, tall = rng.uniform(0.02, 0.06) * width + 1, height / rows * rng.uniform(0.45, 0.85)
            if rng.uniform() < 0.82:
                colour = hsv(rng.uniform(), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.9))
                cv2.rectangle(
                    canvas, (round(at), round(base - tall)), (round(at + wide) - 1, base), colour, -1
                )
            at += wide
        cv2.rectangle(canvas, (0, base), (width, base + 2), wood, -1)
    cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), wood, 3)
    return block.item(frame, block.sides(frame, wood, canvas))


def armchair(rng: np.random.Generator, frame: Frame, left: float, setting: Setting) -> Item:
    """An armchair of 0.8 m with its back to the wall."""
    palette, right, out = setting.palette, left + 0.8, rng.uniform(0.05, 0.25)
    arm, back, front = rng.uniform(0.5, 0.62), rng.uniform(0.8, 1.05), out + 0.75
    colour = one_of(rng, palette.accent, palette.second, palette.linen)
    cloth = modulated(plain((24, 24), colour), wrinkles(rng, (24, 24), 0.1))
    parts = (
        Block((left, right), (0.05, back), (out, out + 0.2)),
        Block((left + 0.12, right - 0.12), (0.05, 0.42), (out + 0.2, front)),
        Block((left, left + 0.13), (0.05, arm), (out + 0.18, front)),
        Block((right - 0.13, right), (0.05, arm), (out + 0.18, front)),
    )
    patches = [patch for part in parts for patch in part.sides(frame, colour, cloth)]
    return Block((left, right), (0.0, back), (out, front)).item(frame, patches)


def pot_plant(rng: np.random.Generator, at: Vector, setting: Setting) -> Item:
    """Leaves on stalks, in a pot."""
    stand, size = facing(setting.camera, at), (72, 56)
    tall, half = rng.uniform(0.7, 1.5), rng.uniform(0.25, 0.4)
    pot = np.array([[0.36, 0.78], [0.64, 0.78], [0.6, 0.99], [0.4, 0.99]])
    canvas = plain(size, hsv(rng.uniform(0, 0.1), rng.uniform(0, 0.6), rng.uniform(0.4, 0.95)))
    alpha = cut_out(size, pot)
    hue, leaf = rng.uniform(0.2, 0.4), rng.uniform(5.5, 12.0)
    for _ in range(int(rng.integers(12, 26))):
        angle, reach = rng.normal(0, 0.7), rng.uniform(16, 40)
        tip = round(28 + np.sin(angle) * reach * 0.7), round(54 - np.cos(angle) * reach)
        green = hsv(hue + rng.normal(0, 0.02), rng.uniform(0.35, 0.75), rng.uniform(0.25, 0.7))
        axes = round(leaf), max(1, round(leaf * rng.uniform(0.2, 0.5)))
        for layer, value in ((canvas, green), (alpha, (255,))):
            cv2.line(layer, (28, 56), tip, value, 1, cv2.LINE_AA)
            cv2.ellipse(layer, tip, axes, float(np.degrees(angle)) - 90, 0, 360, value, -1, cv2.LINE_AA)
    spread = np.array([0.15, 0.0, 0.15])
    patch = replace(stand.upright((-half, half), (0.0, tall), 0, canvas), alpha=alpha)
    return Item((patch,), at - spread, at + spread + tall * UP)


def rug(rng: np.random.Generator, centre: Vector, setting: Setting) -> Patch:
    """A rectangular or oval rug on the floor."""
    palette, metre = setting.palette, setting.metre
    wide, deep = rng.uniform(1.2, 2.6), rng.uniform(1.0, 1.9)
    size = texels(deep, metre), texels(wide, metre)
    colours = palette.second, mix(palette.accent, palette.linen, rng.uniform(0, 0.8))
    canvas = modulated(
        fabric(rng, size, colours, metre), mottle(rng, size, (size[0] // 3, size[1] // 3), 0.1)
    )
    oval = rng.uniform() < 0.3
    if not oval:
        edge = max(2, round(rng.uniform(0.02, 0.12) * metre))
        cv2.rectangle(canvas, (0, 0), (size[1] - 1, size[0] - 1), palette.linen, edge)
    corner = centre + np.array([-wide / 2, 0.012, deep / 2])
    edges = np.array([wide, 0.0, 0.0]), np.array([0.0, 0.0, -deep])
    return Patch(corner, *edges, canvas, rounded(size, 2.0) if oval else None)


def _front_size(block: Block, setting: Setting) -> Size:
    return texels(block.up[1] - block.up[0], setting.metre), texels(
        block.along[1] - block.along[0], setting.metre
    )


def _fronts(rng: np.random.Generator, size: Size, colour: Colour, grid: tuple[int, int]) -> Image:
    """Doors or drawers in (rows, columns), with knobs."""
    height, width = size
    canvas = modulated(plain(size, colour), mottle(rng, size, (height // 3, 3), 0.08))
    gap, knob = shaded(colour, 0.5), shaded(colour, 0.35) if sum(colour) > 300 else (200, 195, 185)
    tall, wide = height / grid[0], width / grid[1]
    inset = max(2, round(min(tall, wide) * 0.12))
    for row in range(grid[0]):
        for column in range(grid[1]):
            left, top = round(column * wide), round(row * tall)
            right, bottom = round((column + 1) * wide), round((row + 1) * tall)
            cv2.rectangle(canvas, (left, top), (right, bottom), gap, 1)
            if min(tall, wide) > 14:
                corners = (left + inset, top + inset), (right - inset, bottom - inset)
                cv2.rectangle(canvas, *corners, shaded(colour, 0.85), 1)
            hinge = (0.85, 0.15)[column % 2] if tall > wide * 1.3 else 0.5  # doors open in pairs
            at = round((column + hinge) * wide), round((row + 0.5) * tall)
            cv2.circle(canvas, at, max(1, round(min(size) * 0.02)), knob, -1, cv2.LINE_AA)
    return canvas
