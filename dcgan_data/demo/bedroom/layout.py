"""Where everything goes: the bed, the camera, what stands at the walls and hangs on them, the light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dcgan_data.demo.bedroom.bed import BedSize, bed
from dcgan_data.demo.bedroom.fittings import DOOR_METRES, Window, door, pictures, window
from dcgan_data.demo.bedroom.furniture import (
    TABLE_METRES,
    armchair,
    bedside_table,
    bookcase,
    chest,
    pot_plant,
    rug,
    wardrobe,
)
from dcgan_data.demo.bedroom.lamps import floor_lamp, pendant
from dcgan_data.demo.bedroom.palette import Palette
from dcgan_data.demo.bedroom.render import UP, Camera, Light, Patch, Sun, Vector
from dcgan_data.demo.bedroom.room import Frame, Room, Setting, Span
from dcgan_data.demo.bedroom.solids import Item

_CLEAR_METRES = 1.6  # of the side walls, from the camera on, where nothing large may block the view
_WALL_PIECES: tuple[Callable[[np.random.Generator, Frame, float, Setting], Item], ...] = (
    wardrobe,
    chest,
    bookcase,
    armchair,
)
_FREE_PIECES: tuple[Callable[[np.random.Generator, Vector, Setting], Item], ...] = (pot_plant, floor_lamp)


@dataclass(frozen=True)
class Scene:
    """Everything to be drawn."""

    setting: Setting
    """Room, colours, camera."""
    flat: tuple[Patch, ...]
    """What lies on the floor or hangs on a wall."""
    items: tuple[Item, ...]
    """What stands or hangs in the room."""
    lights: tuple[Light, ...]
    """Windows and lamps."""
    ambient: Vector
    """(3,) RGB light from everywhere."""
    sun: Sun | None
    """Direct sunlight."""


@dataclass(frozen=True)
class _Bedside:
    """Where the bed stands; everything else goes around it."""

    wall: int
    """0 back, 1 left, 2 right."""
    frame: Frame
    """Coordinates of that wall."""
    size: BedSize
    """The bed itself."""

    @classmethod
    def draw(cls, rng: np.random.Generator, room: Room) -> _Bedside:
        wall = int(rng.choice([0, 1, 2], p=[0.62, 0.19, 0.19]))
        frame = room.frames()[wall]
        single = rng.uniform() < 0.25
        width = min(rng.uniform(0.95, 1.3) if single else rng.uniform(1.4, 2.0), frame.length - 1.2)
        low, high = 0.1, frame.length - width - 0.1
        if wall == 1:
            low = min(high, _CLEAR_METRES)
        elif wall == 2:
            high = max(low, high - _CLEAR_METRES)
        size = BedSize(rng.uniform(low, high), width, rng.uniform(1.9, 2.15), rng.uniform(0.42, 0.66))
        return cls(wall, frame, size)

    def point(self, share: float) -> Vector:
        """A point on the floor under the bed's middle line, at a share of its length from the wall."""
        return self.frame.point(self.size.left + self.size.width / 2, 0.0, self.size.length * share)


def furnish(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Draw a room and everything in it, to be seen in a picture of (width, height) pixels."""
    room, palette = Room.draw(rng), Palette.draw(rng)
    place = _Bedside.draw(rng, room)
    camera = _camera(rng, room, place.point(0.5), (width, height))
    setting = Setting(room, palette, camera, night=rng.uniform() < 0.12)
    windows, flat = _dress_walls(rng, setting, place)
    items = _stand(rng, setting, place)
    if rng.uniform() < 0.5:
        centre = place.point(rng.uniform(0.6, 1.1)) + rng.normal(0, 0.2, 3) * (1, 0, 1)
        flat.append(rug(rng, centre, setting))
    lights = [found.light for found in windows] + [light for item in items for light in item.lights]
    tint = 1 + rng.uniform(-0.1, 0.1) * np.array([1.0, 0.1, -1.0])
    ambient = tint * (rng.uniform(0.1, 0.25) if setting.night else rng.uniform(0.22, 0.5))
    sun = _sun(rng, windows[0]) if windows and not setting.night and rng.uniform() < 0.5 else None
    return Scene(setting, tuple(flat), tuple(items), tuple(lights), ambient, sun)


def _camera(rng: np.random.Generator, room: Room, target: Vector, size: tuple[int, int]) -> Camera:
    """Somewhere at the front wall, looking roughly at ``target``."""
    position = np.array(
        [rng.uniform(0.18, 0.82) * room.width, rng.uniform(0.95, 1.75), rng.uniform(0.1, 0.5)]
    )
    sight = target - position
    yaw = float(np.clip(np.arctan2(sight[0], sight[2]) + rng.normal(0, 0.16), -0.7, 0.7))
    pitch = rng.normal(0, 0.04) - (position[1] - 1.0) * rng.uniform(0.15, 0.4)
    focal = rng.uniform(0.62, 0.95) * float(np.sqrt(size[0] * size[1]))
    return Camera.looking(position, (yaw, pitch, rng.normal(0, 0.012)), focal, size)


def _dress_walls(
    rng: np.random.Generator, setting: Setting, place: _Bedside
) -> tuple[list[Window], list[Patch]]:
    """Windows, pictures and doors on the three walls, and the patches of them all."""
    windows, hung = list[Window](), list[Patch]()
    for index, frame in enumerate(setting.room.frames()):
        for span, over_bed in _spans(rng, index, frame, place):
            wide = span[1] - span[0]
            choice = rng.uniform() if wide > 0.75 else 1.0
            if choice < (0.25 if over_bed else 0.55) and len(windows) < 3:
                middle, half = sum(span) / 2, min(wide, rng.uniform(1.1, 2.8)) / 2
                windows.append(window(rng, frame, (middle - half, middle + half), setting))
                hung.extend(windows[-1].patches)
            elif choice < 0.85:
                hung.extend(pictures(rng, frame, span, setting))
            elif choice < 0.95 and not over_bed and wide > DOOR_METRES + 0.1:
                hung.append(door(rng, frame, rng.uniform(span[0], span[1] - DOOR_METRES), setting))
    return windows, hung


def _spans(rng: np.random.Generator, wall: int, frame: Frame, place: _Bedside) -> list[tuple[Span, bool]]:
    """Stretches of a wall that can each hold one thing, and whether it would hang over the bed."""
    end = frame.length - 0.15
    if wall == place.wall:
        left, right = place.size.left, place.size.right
        return [((0.1, left - 0.1), False), ((left, right), True), ((right + 0.1, end), False)]
    if wall == 1:
        return [((1.0, end), False)]
    if wall == 2:
        return [((0.15, frame.length - 1.0), False)]
    middle = rng.uniform(0.35, 0.65) * frame.length
    return (
        [((0.15, middle), False), ((middle, end), False)] if rng.uniform() < 0.6 else [((0.15, end), False)]
    )


def _stand(rng: np.random.Generator, setting: Setting, place: _Bedside) -> list[Item]:
    """The bed, tables beside it, and pieces along the walls wherever they fit."""
    items, size = [bed(rng, place.frame, place.size, setting)], place.size
    gaps = rng.uniform(0.06, 0.2, 2)
    for left in (size.left - TABLE_METRES - gaps[0], size.right + gaps[1]):
        if rng.uniform() < 0.75:
            _add(items, bedside_table(rng, place.frame, left, setting), setting.room)
    for _ in range(int(rng.integers(1, 5))):
        wall = int(rng.integers(3))
        frame = setting.room.frames()[wall]
        low, high = 0.05, frame.length - 0.9
        if wall == 1:
            low = min(high, _CLEAR_METRES)
        elif wall == 2:
            high = max(low, high - _CLEAR_METRES)
        left = rng.uniform(low, high)
        if rng.uniform() < 0.66:
            piece = _WALL_PIECES[int(rng.integers(len(_WALL_PIECES)))](rng, frame, left, setting)
        else:
            at = frame.point(left, 0, rng.uniform(0.25, 0.4))
            piece = _FREE_PIECES[int(rng.integers(len(_FREE_PIECES)))](rng, at, setting)
        _add(items, piece, setting.room)
    if rng.uniform() < (0.8 if setting.night else 0.35):
        _add(items, pendant(rng, setting), setting.room)
    return items


def _add(items: list[Item], item: Item, room: Room) -> None:
    if item.fits(room, items):
        items.append(item)


def _sun(rng: np.random.Generator, through: Window) -> Sun:
    """Sun through a window, low enough to reach some way into the room."""
    out = through.facing
    sideways = np.array([out[2], 0.0, -out[0]]) * rng.uniform(-1.1, 1.1)
    direction = out + sideways - UP * rng.uniform(0.5, 1.6)
    direction /= np.linalg.norm(direction)
    return Sun(direction, np.array([1.0, 0.93, 0.8]) * rng.uniform(0.8, 2.2), through.panes)
