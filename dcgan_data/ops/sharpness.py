"""How much fine detail a picture has: to choose the sharper of two copies."""

from __future__ import annotations

import numpy as np

_BLOCK = 256


def sharpness(images: np.ndarray) -> np.ndarray:
    """Sum of squared luminance differences between neighbours: int64 (N,) of uint8 (N, S, S, 3), exact."""
    result = np.empty(len(images), np.int64)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.int32)
        luma = (77 * block[..., 0] + 150 * block[..., 1] + 29 * block[..., 2]) >> 8
        across, down = np.diff(luma, axis=2), np.diff(luma, axis=1)
        energy = (across * across).sum(axis=(1, 2), dtype=np.int64)
        result[start : start + _BLOCK] = energy + (down * down).sum(axis=(1, 2), dtype=np.int64)
    return result
