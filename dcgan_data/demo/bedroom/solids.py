"""Things that stand in the room: boxes, cut-outs, and the order in which to draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dcgan_data.demo.bedroom.palette import Colour, shaded
from dcgan_data.demo.bedroom.patterns import Size, plain
from dcgan_data.demo.bedroom.render import UP, Camera, Image, Light, Patch, Vector
from dcgan_data.demo.bedroom.room import Frame, Room, Span


@dataclass(frozen=True)
class Item:
    """A piece of furniture."""

    patches: tuple[Patch, ...]
    """In the order in which to draw them."""
    low: Vector
    """Lowest x, y, z of the space it takes, metres."""
    high: Vector
    """Highest x, y, z."""
    lights: tuple[Light, ...] = ()
    """Lamps that are switched on."""

    def fits(self, room: Room, others: Sequence[Item]) -> bool:
        """Whether it is inside the room and stands in no other item."""
        slack = 1e-6
        inside = bool(np.all(self.low > -slack) and np.all(self.high < (room.width, room.height, room.depth)))
        return inside and not any(np.all(self.low < o.high) and np.all(o.low < self.high) for o in others)


@dataclass(frozen=True)
class Block:
    """A box in a wall's frame, metres."""

    along: Span
    """Left and right end."""
    up: Span
    """Bottom and top."""
    out: Span
    """Back and front."""

    def sides(self, frame: Frame, colour: Colour, front: Image | None = None) -> list[Patch]:
        """Top, both sides and front as patches; the front may have a texture of its own."""
        (left, right), (bottom, top), (back, face) = self.along, self.up, self.out
        wide, fall, deep = (right - left) * frame.along, (bottom - top) * UP, (face - back) * frame.out
        skin = plain((4, 4), colour)
        return [
            Patch(frame.point(left, top, back), wide, deep, plain((4, 4), shaded(colour, 1.04))),
            Patch(frame.point(left, top, back), deep, fall, skin),
            Patch(frame.point(right, top, face), -deep, fall, skin),
            Patch(frame.point(left, top, face), wide, fall, skin if front is None else front),
        ]

    def item(self, frame: Frame, patches: Sequence[Patch], lights: Sequence[Light] = ()) -> Item:
        """An item that takes the space of this box."""
        ends = np.stack([frame.point(self.along[k], self.up[k], self.out[k]) for k in (0, 1)])
        return Item(tuple(patches), ends.min(axis=0), ends.max(axis=0), tuple(lights))


def facing(camera: Camera, at: Vector) -> Frame:
    """A frame for cut-outs that turn to the camera; ``along`` 0 is in their middle."""
    level = camera.axes[0] * (1.0, 0.0, 1.0)
    level /= np.sqrt(level @ level)
    return Frame(at, level, np.array([level[2], 0.0, -level[0]]), 1.0)


def cut_out(size: Size, outline: Vector) -> Image:
    """Opacity of a polygon, (N, 2) in shares of the width and height: uint8 (h, w)."""
    alpha = np.zeros(size, np.uint8)
    cv2.fillPoly(
        alpha, [np.round(outline * (size[1], size[0]) * 16 - 8).astype(np.int32)], 255, cv2.LINE_AA, 4
    )
    return alpha


def rounded(size: Size, power: float) -> Image:
    """Opacity of a superellipse: power 2 is an ellipse, a larger one closer to a rectangle."""
    angles = np.linspace(0, 2 * np.pi, 33)[:-1]
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return cut_out(size, 0.5 + 0.49 * np.sign(unit) * np.abs(unit) ** (2 / power))


def back_to_front(items: Sequence[Item], eye: Vector) -> list[Item]:
    """An order in which later items may hide earlier ones; the items must not overlap."""
    left, ordered = list(items), []
    while left:
        first = next((a for a in left if not any(_may_hide(a, b, eye) for b in left if b is not a)), left[0])
        left = [a for a in left if a is not first]
        ordered.append(first)
    return ordered


def _may_hide(a: Item, b: Item, eye: Vector) -> bool:
    """False if a plane between the two has the eye on the side of ``b``."""
    slack = 1e-6
    beyond = (a.low >= b.high - slack) & (eye <= a.low + slack)
    before = (a.high <= b.low + slack) & (eye >= a.high - slack)
    return not bool(np.any(beyond | before))
