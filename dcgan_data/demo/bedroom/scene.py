"""From a furnished room to a photograph: light, painting, and a camera that is not perfect."""

from __future__ import annotations

import cv2
import numpy as np

from dcgan_data.demo.bedroom.fittings import trim
from dcgan_data.demo.bedroom.layout import Scene, furnish
from dcgan_data.demo.bedroom.palette import mix
from dcgan_data.demo.bedroom.patterns import floor, mottle, plain, wallpaper
from dcgan_data.demo.bedroom.render import Field, Image, Patch, irradiance, paint, sunlight
from dcgan_data.demo.bedroom.solids import Item, back_to_front

_SHADE_TEXELS = 4  # texels of a wall for one of its light
_SHADOW_METRES = 0.09  # blur of shadows at the feet of furniture


def draw_bedroom(rng: np.random.Generator, width: int, height: int) -> Image:
    """Draw one random bedroom: uint8 (height, width, 3) RGB.

    The same generator state and size give the same picture; any size of at least 32 pixels a side will do.
    """
    scene = furnish(rng, width, height)
    return _develop(rng, _paint_all(rng, scene))


def _paint_all(rng: np.random.Generator, scene: Scene) -> Image:
    """Paint the room, what hangs on its walls, and the furniture from back to front."""
    camera = scene.setting.camera
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    sides = scene.setting.room.patches(_surfaces(rng, scene))
    for side, light in zip(sides, irradiance(sides, 16, scene.lights, scene.ambient), strict=True):
        paint(image, camera, side, _film(_side_light(rng, scene, side, light)))
    ordered = back_to_front(scene.items, camera.position)
    patches = scene.flat + tuple(patch for item in ordered for patch in item.patches)
    seen = [patch for patch in patches if patch.normal @ (camera.position - patch.origin) > 0]
    if seen:
        for patch, light in zip(seen, irradiance(seen, 6, scene.lights, scene.ambient), strict=True):
            paint(image, camera, patch, _film(_patch_light(scene, patch, light)))
    return image


def _surfaces(rng: np.random.Generator, scene: Scene) -> list[Image]:
    """Textures of the walls, the floor and the ceiling; one wall may differ from the others."""
    room, palette = scene.setting.room, scene.setting.palette
    metre = scene.setting.camera.focal / 3.8
    back, side, _, below, above = room.texture_sizes(metre)
    odd = int(rng.integers(3)) if rng.uniform() < 0.3 else -1
    roll = wallpaper(rng, (back[0], max(back[1], side[1])), palette.wall, metre)
    wainscot = palette.linen if rng.uniform() < 0.2 else None
    walls = []
    for index, size in enumerate((back, side, side)):
        wall = wallpaper(rng, size, palette.accent, metre) if index == odd else roll[:, : size[1]].copy()
        trim(wall, room.height, (palette.linen, wainscot))
        walls.append(wall)
    ceiling = plain(above, mix(palette.wall, (250, 250, 248), rng.uniform(0.5, 1.0)))
    return [*walls, floor(rng, below, palette, metre), ceiling]


def _side_light(rng: np.random.Generator, scene: Scene, side: Patch, light: Field) -> Field:
    """Light on a side of the room, with the sun, dark corners, and shadows of what stands at it."""
    height, width = (extent // _SHADE_TEXELS for extent in side.texture.shape[:2])
    wide, tall = float(np.linalg.norm(side.edge_u)), float(np.linalg.norm(side.edge_v))
    light = np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    if scene.sun is not None and side.normal[1] > 0.9:
        light += sunlight(side, scene.sun, (height, width))[..., None] * scene.sun.colour.astype(np.float32)
    shadow = np.zeros((height, width), np.uint8)
    for item in scene.items:
        _mark_contact(shadow, side, item)
    blurred = cv2.GaussianBlur(shadow, (0, 0), max(0.8, _SHADOW_METRES * width / wide)).astype(np.float32)
    shade = _corners(height, tall)[:, None] * _corners(width, wide)[None, :] * (1 - 0.55 / 255 * blurred)
    shade *= mottle(rng, (height, width), (4, 4), 0.04)
    return np.asarray(light * shade[..., None], np.float32)


def _patch_light(scene: Scene, patch: Patch, light: Field) -> Field:
    """Light on a patch, with the sun where it is horizontal and large enough to show (bed and rug)."""
    height, width = patch.texture.shape[0] // 3, patch.texture.shape[1] // 3
    if scene.sun is None or patch.normal[1] < 0.9 or height < 12:
        return light
    lit = sunlight(patch, scene.sun, (height, width))[..., None] * scene.sun.colour.astype(np.float32)
    return np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR) + lit, np.float32)


def _corners(count: int, metres: float) -> Field:
    """Light that reaches into the corners at both ends of a side: float32 (count,) up to 1."""
    at = np.linspace(0, metres, count, dtype=np.float32)
    return np.asarray(1 - 0.28 * (np.exp(-at / 0.35) + np.exp((at - metres) / 0.35)), np.float32)


def _mark_contact(shadow: Image, side: Patch, item: Item) -> None:
    """Mark, in place, where an item stands on or touches a side of the room."""
    ends = np.stack([item.low, item.high]) - side.origin
    if np.abs(ends @ side.normal).min() > 0.12:
        return
    across = ends @ side.edge_u / (side.edge_u @ side.edge_u) * shadow.shape[1]
    down = ends @ side.edge_v / (side.edge_v @ side.edge_v) * shadow.shape[0]
    (x0, y0), (x1, y1) = np.stack([across, down], axis=1).round().astype(int).tolist()
    cv2.rectangle(shadow, (x0, y0), (x1, y1), 255, -1)


def _film(light: Field) -> Field:
    """Squeeze bright light as film does, so that near lamps and the sun do not burn out."""
    return light * np.float32(1.6) / (1 + light)


def _develop(rng: np.random.Generator, image: Image) -> Image:
    """Glare of bright places, lens blur, exposure and white balance, sensor noise."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    bright = cv2.GaussianBlur(np.maximum(small, 175) - 175, (0, 0), max(1.0, width / 110))
    glare = cv2.resize(bright, (width, height), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.75))
    mixed = cv2.addWeighted(blurred, 1.0, glare, rng.uniform(0.2, 0.8), 0)
    gain = np.clip(rng.normal(0.5, 0.07) * 255 / max(float(small.mean()), 12.0), 0.6, 2.6)
    exposed = np.linspace(0, gain, 256)[:, None] * (1 + rng.normal(0, 0.035, 3))
    table = 255 / (1 - np.exp(-2.4)) * (1 - np.exp(-1.6 * exposed ** rng.uniform(1.1, 1.3)))
    toned = cv2.LUT(mixed, np.minimum(table, 255).astype(np.uint8)[None])
    return _with_noise(rng, np.asarray(toned, np.uint8))


def _with_noise(rng: np.random.Generator, image: Image) -> Image:
    """Add brightness noise, the same to all channels, of a standard deviation of about 1.6 or 3.3."""
    height, width = image.shape[:2]
    even = np.frombuffer(rng.bytes(2 * height * width), np.int8).reshape(2, height, width)
    shift = int(rng.integers(5, 7))
    noise = (even[0] >> shift) + (even[1] >> shift)  # a sum of two is near enough to a bell
    return np.asarray(cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U), np.uint8)
