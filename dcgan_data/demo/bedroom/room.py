"""The empty room, coordinates of what stands at its walls, and what everything in one picture shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.demo.bedroom.palette import Palette
from dcgan_data.demo.bedroom.render import UP, Camera, Image, Patch, Vector

Span = tuple[float, float]
"""From and to, metres."""


@dataclass(frozen=True)
class Frame:
    """Coordinates of what stands at a wall: along it, up, and out of it into the room."""

    origin: Vector
    """Where the wall, facing it, has its lower left corner."""
    along: Vector
    """Unit vector to the right, facing the wall."""
    out: Vector
    """Unit vector into the room."""
    length: float
    """Metres along the wall."""

    def point(self, along: float, up: float, out: float) -> Vector:
        """Room coordinates of a point."""
        return self.origin + along * self.along + up * UP + out * self.out

    def upright(self, along: Span, up: Span, out: float, texture: Image) -> Patch:
        """A patch parallel to the wall."""
        edge_u, edge_v = (along[1] - along[0]) * self.along, (up[0] - up[1]) * UP
        return Patch(self.point(along[0], up[1], out), edge_u, edge_v, texture)


@dataclass(frozen=True)
class Room:
    """A box with one corner at the origin; its front wall, at z = 0, is behind the camera."""

    width: float
    """Metres along x."""
    height: float
    """Metres along y."""
    depth: float
    """Metres along z."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Room:
        """Draw the size of a bedroom."""
        return cls(rng.uniform(3.0, 5.2), rng.uniform(2.4, 3.0), rng.uniform(3.6, 5.2))

    def frames(self) -> tuple[Frame, Frame, Frame]:
        """The back, left and right walls."""
        x, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
        return (
            Frame(self.depth * z, x, -z, self.width),
            Frame(0 * x, z, x, self.depth),
            Frame(self.width * x + self.depth * z, -z, -x, self.depth),
        )

    def texture_sizes(self, metre: float) -> list[tuple[int, int]]:
        """(h, w) in texels of the textures: back, left and right wall, floor, ceiling."""
        tall, across, deep = (max(8, round(side * metre)) for side in (self.height, self.width, self.depth))
        return [(tall, across), (tall, deep), (tall, deep), (deep, across), (deep // 3, across // 3)]

    def patches(self, textures: Sequence[Image]) -> list[Patch]:
        """The sides of the room with their textures, in the order of ``texture_sizes``."""
        x, z = np.array([self.width, 0.0, 0.0]), np.array([0.0, 0.0, self.depth])
        walls = [
            frame.upright((0, frame.length), (0, self.height), 0, texture)
            for frame, texture in zip(self.frames(), textures[:3], strict=True)
        ]
        return [*walls, Patch(z, x, -z, textures[3]), Patch(self.height * UP, x, z, textures[4])]


@dataclass(frozen=True)
class Setting:
    """What everything in one picture shares."""

    room: Room
    """The walls around it."""
    palette: Palette
    """The colours in it."""
    camera: Camera
    """Who looks at it."""
    night: bool
    """Whether it is dark outside."""

    @property
    def metre(self) -> float:
        """Texels in a metre of furniture, about as many as pixels in the middle of the room."""
        return self.camera.focal / 2.8
