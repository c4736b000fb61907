"""Pictures without end from a few thousand photos: what the synthetic LSUN of ``bench scale`` is made of.

A picture is a window of one photo that fades into a window of another, each with its own tone, so that the
number of different pictures grows with the square of the number of photos, while detail, colours and sizes
stay those of photos. A hundredth is a small photo on white, as shops have them: their codes crowd together.
A two-hundredth is almost flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SHORT_SIDE = 256
_SHAPES = ((341, 256), (384, 256), (256, 256), (256, 341))  # width, height: 4:3, 3:2, 1:1, 3:4
_SHAPE_SHARES = (0.5, 0.25, 0.15, 0.1)
_FLAT, _ON_WHITE = 0.005, 0.015
"""Cumulated shares of the two odd kinds."""
_WEBP = 0.05


@dataclass(frozen=True)
class Composer:
    """Draws picture number n of a synthetic set; the same one for the same seed and photos."""

    photos: np.ndarray
    """uint8 (P, H, W, 3) RGB, perhaps memory-mapped."""
    seed: int
    """Of everything random."""

    def draw(self, number: int) -> np.ndarray:
        """Picture ``number``: uint8 (h, w, 3) RGB, short side 256."""
        rng = np.random.default_rng((self.seed, number))
        width, height = _SHAPES[rng.choice(len(_SHAPES), p=_SHAPE_SHARES)]
        kind = rng.random()
        if kind < _FLAT:
            return _flat(rng, width, height)
        picture = self._faded(rng, width, height)
        return _on_white(rng, picture) if kind < _ON_WHITE else picture

    def _faded(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        """Two windows, one fading into the other across a line."""
        first, second = (self._window(rng, width, height) for _ in range(2))
        share = _ramp(rng, width, height)
        tones = rng.uniform(0.8, 1.15, 2).astype(np.float32)
        faded: np.ndarray = cv2.blendLinear(first, second, share * tones[0], (1 - share) * tones[1])
        return faded

    def _window(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        photo = self.photos[rng.integers(len(self.photos))]
        there_h, there_w = photo.shape[:2]
        scale = min(there_w / width, there_h / height) * rng.uniform(0.55, 1)
        w, h = int(width * scale), int(height * scale)
        left, top = rng.integers(there_w - w + 1), rng.integers(there_h - h + 1)
        window = photo[top : top + h, left : left + w]
        window = window[:, ::-1] if rng.random() < 0.5 else window
        return cv2.resize(np.ascontiguousarray(window), (width, height), interpolation=cv2.INTER_LINEAR)


def encode(picture: np.ndarray, number: int) -> bytes:
    """A picture as LSUN has them: JPEG of quality 75, and one in twenty a WebP."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if number % round(1 / _WEBP) == 0:
        return bytes(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 75])[1])
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])[1])


def _ramp(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32 (h, w): from 0 to 1 across a line of any direction near the middle, soft or sharp."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle))
    y = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(angle))
    distance = x[None] + y[:, None] - np.float32(rng.uniform(-0.3, 0.3))
    share: np.ndarray = np.clip(0.5 + distance * np.float32(rng.uniform(1, 4)), 0, 1)
    return share


def _flat(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A wall: one colour, a little lighter towards one side."""
    colour = rng.uniform(30, 225, 3).astype(np.float32)
    light = (_ramp(rng, width, height) - 0.5) * np.float32(rng.uniform(2, 8))
    wall: np.ndarray = np.clip(colour + light[..., None], 0, 255).astype(np.uint8)
    return wall


def _on_white(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """The picture small, in the middle of a white one."""
    height, width = picture.shape[:2]
    scale = rng.uniform(0.3, 0.45)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    card = np.full_like(picture, 255)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    card[top : top + small.shape[0], left : left + small.shape[1]] = small
    return card
