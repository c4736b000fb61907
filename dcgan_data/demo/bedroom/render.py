"""A very small renderer: textured flat patches in a room, lit by a few lights, seen by a pinhole camera.

Space is in metres: x to the right, y up, z away from the viewer. Images are uint8 (H, W, 3) RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

NEAREST_METRES = 0.05
"""Patches are cut off where they come closer to the camera than this."""
UP = np.array([0.0, 1.0, 0.0])
_SHARP_PIXELS = 30_000  # larger patches are walls: soft edges would cost half as much again as the warp
_HALF_TEXEL = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Patch:
    """A flat parallelogram that shows a texture; from its front, ``edge_u`` goes right, ``edge_v`` down."""

    origin: Vector
    """Top left corner, metres."""
    edge_u: Vector
    """From the top left to the top right corner."""
    edge_v: Vector
    """From the top left to the bottom left corner."""
    texture: Image
    """uint8 (h, w, 3) RGB, the colour under white light."""
    alpha: Image | None = None
    """uint8 (h, w) opacity, or None for a patch that is opaque everywhere."""
    glow: float = 0.0
    """0: visible by the light that falls on it, 1: shines by itself (a window, a lamp shade)."""

    @cached_property
    def normal(self) -> Vector:
        """Unit vector out of the front."""
        normal = _cross(self.edge_u, self.edge_v)
        return normal / np.sqrt(normal @ normal)


@dataclass(frozen=True)
class Light:
    """A small light; without a direction it shines everywhere, with one like a window."""

    position: Vector
    """Metres."""
    colour: Vector
    """(3,) RGB strength at a distance of about one metre."""
    direction: Vector | None = None
    """Unit vector that a window faces; light falls off with the cosine to it."""


@dataclass(frozen=True)
class Sun:
    """Direct sunlight through the panes of a window."""

    direction: Vector
    """Unit vector along which the light travels, downwards."""
    colour: Vector
    """(3,) RGB strength."""
    panes: Vector
    """float64 (P, 4, 3): corners of the panes, metres."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    position: Vector
    """Metres."""
    axes: Vector
    """(3, 3): the camera's right, down and forward directions in rows."""
    focal: float
    """Focal length in pixels."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""

    @classmethod
    def looking(
        cls, position: Vector, angles: tuple[float, float, float], focal: float, size: tuple[int, int]
    ) -> Camera:
        """Build a camera from (yaw, pitch, roll): radians, positive right, up and clockwise; size (W, H)."""
        yaw, pitch, roll = angles
        forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        down = _cross(level, forward)
        right = np.cos(roll) * level + np.sin(roll) * down
        return cls(position, np.stack([right, _cross(right, forward), forward]), focal, *size)

    @cached_property
    def matrix(self) -> Vector:
        """(3, 3): a direction from the camera, in metres, to homogeneous pixel coordinates."""
        intrinsic = np.array(
            [
                [self.focal, 0.0, self.width / 2 - 0.5],
                [0.0, self.focal, self.height / 2 - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        return intrinsic @ self.axes


def irradiance(patches: Sequence[Patch], cells: int, lights: Sequence[Light], ambient: Vector) -> Field:
    """Light that falls on each patch, without shadows: float32 (patches, cells, cells, 3)."""
    steps = ((np.arange(cells) + 0.5) / cells).astype(np.float32)
    origin, edge_u, edge_v, normal = (
        np.stack([getattr(patch, name) for patch in patches]).astype(np.float32)[:, None, None]
        for name in ("origin", "edge_u", "edge_v", "normal")
    )
    points = origin + edge_u * steps[None, None, :, None] + edge_v * steps[None, :, None, None]
    facing_up = 0.85 + 0.15 * normal[..., 1:2]
    total: Field = np.broadcast_to(ambient.astype(np.float32) * facing_up, points.shape).copy()
    for light in lights:
        towards = light.position.astype(np.float32) - points
        square = np.einsum("...i,...i->...", towards, towards)
        towards /= np.sqrt(square)[..., None] + 1e-3
        falling = np.einsum("...i,...i->...", towards, np.broadcast_to(normal, points.shape))
        strength = np.maximum(0.8 * falling + 0.2, 0.0) / (0.6 + 0.4 * square)
        if light.direction is not None:
            strength *= np.maximum(-(towards @ light.direction.astype(np.float32)), 0.0) * 0.85 + 0.15
        total += strength[..., None] * light.colour.astype(np.float32)
    return total


def sunlight(patch: Patch, sun: Sun, size: tuple[int, int]) -> Field:
    """Where the sun falls on a horizontal patch: float32 (h, w) in 0..1; size is (h, w)."""
    height, width = size
    drop = (sun.panes[..., 1] - patch.origin[1]) / -sun.direction[1]
    hits = sun.panes + drop[..., None] * sun.direction - patch.origin
    columns = hits @ patch.edge_u / (patch.edge_u @ patch.edge_u) * width
    rows = hits @ patch.edge_v / (patch.edge_v @ patch.edge_v) * height
    corners = np.clip(np.stack([columns, rows], axis=-1), -4 * max(size), 4 * max(size))
    lit = np.zeros(size, np.uint8)
    for polygon in np.round(corners * 16).astype(np.int32):
        cv2.fillConvexPoly(lit, polygon, 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(lit, (3, 3), 0), np.float32) / np.float32(255)


def paint(image: Image, camera: Camera, patch: Patch, light: Field) -> None:
    """Draw a patch over ``image`` in place; ``light`` is float32 (any, any, 3), stretched over the patch."""
    height, width = patch.texture.shape[:2]
    columns = np.array([patch.edge_u / width, patch.edge_v / height, patch.origin - camera.position])
    to_pixels = camera.matrix @ columns.T
    corners = _before_camera(
        np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ to_pixels.T
    )
    if len(corners) == 0:
        return
    outline = np.clip(corners[:, :2] / corners[:, 2:], -8000, 8000)  # cv2's fixed point numbers end at 32767
    left, top = np.maximum(np.floor(outline.min(axis=0)) - 1, 0).astype(int).tolist()
    right, bottom = (
        np.minimum(np.ceil(outline.max(axis=0)) + 2, (camera.width, camera.height)).astype(int).tolist()
    )
    if right - left < 1 or bottom - top < 1:
        return
    # texel (0, 0) has its centre at half a texel, and a pixel likewise
    centred = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]]) @ to_pixels @ _HALF_TEXEL
    opacity = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(opacity, np.round((outline - (left, top)) * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    _blend(image[top:bottom, left:right], _lit(patch, light), centred, opacity, patch.alpha)


def _before_camera(corners: Vector) -> Vector:
    """The part of a polygon before the camera: homogeneous pixel coordinates (N, 3), N may be 0."""
    if corners[:, 2].min() >= NEAREST_METRES:
        return corners
    kept = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        inside = here[2] >= NEAREST_METRES
        if inside:
            kept.append(here)
        if inside != (there[2] >= NEAREST_METRES):
            kept.append(here + (there - here) * (NEAREST_METRES - here[2]) / (there[2] - here[2]))
    return np.array(kept)


def _lit(patch: Patch, light: Field) -> Image:
    """The texture under the light, uint8 (h, w, 3)."""
    if patch.glow == 1:
        return patch.texture
    height, width = patch.texture.shape[:2]
    shade = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    if patch.glow > 0:
        shade = shade * np.float32(1 - patch.glow) + np.float32(patch.glow)
    return np.asarray(cv2.multiply(patch.texture, shade, dtype=cv2.CV_8U), np.uint8)


def _blend(region: Image, colour: Image, to_pixels: Vector, opacity: Image, alpha: Image | None) -> None:
    """Warp a texture over ``region`` in place where ``opacity`` and its own ``alpha`` let it."""
    size = (region.shape[1], region.shape[0])
    warped = cv2.warpPerspective(colour, to_pixels, size, borderMode=cv2.BORDER_REPLICATE)
    if alpha is not None:
        own = cv2.warpPerspective(alpha, to_pixels, size, borderMode=cv2.BORDER_REPLICATE)
        opacity = np.asarray(cv2.multiply(opacity, own, scale=1 / 255), np.uint8)
    if opacity.size > _SHARP_PIXELS:
        cv2.copyTo(warped, opacity & 128, region)
        return
    over = opacity.astype(np.float32)
    region[...] = cv2.blendLinear(warped, region, over, 255 - over)


def _cross(a: Vector, b: Vector) -> Vector:
    """The cross product; numpy's own takes ten times as long for one pair."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
