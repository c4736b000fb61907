"""Sharpness: an exact sum, the same however batched, and more for a sharper picture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from dcgan_data.ops import sharpness as module
from dcgan_data.ops.sharpness import sharpness


def slow_sharpness(image: np.ndarray) -> int:
    luma = [[(77 * r + 150 * g + 29 * b) // 256 for r, g, b in row] for row in image.tolist()]
    across = sum((b - a) ** 2 for row in luma for a, b in pairwise(row))
    down = sum((b - a) ** 2 for column in zip(*luma, strict=True) for a, b in pairwise(column))
    return across + down


@pytest.mark.parametrize("size", [1, 32, 64])
def test_sharpness_is_the_sum(size: int) -> None:
    images = np.random.default_rng(size).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    found = sharpness(images)
    assert found.dtype == np.int64
    assert found.tolist() == [slow_sharpness(image) for image in images]


def test_sharpness_does_not_overflow() -> None:
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255
    images = np.repeat(checks.astype(np.uint8)[None, ..., None], 3, axis=3)
    assert sharpness(images).tolist() == [2 * 256 * 255 * 255**2]  # more than 2^32


def test_sharpness_of_a_flat_image_and_of_none() -> None:
    assert sharpness(np.full((1, 32, 32, 3), 200, np.uint8)).tolist() == [0]
    assert sharpness(np.empty((0, 32, 32, 3), np.uint8)).shape == (0,)


def test_sharpness_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    whole = sharpness(images)
    monkeypatch.setattr(module, "_BLOCK", 4)
    assert np.array_equal(sharpness(images), whole)


def test_a_blurred_copy_is_less_sharp(picture: Callable[..., np.ndarray]) -> None:
    sharp = np.stack([picture(64, 64, seed=seed) for seed in range(8)])
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 0.8) for image in sharp])
    assert (sharpness(blurred) < 0.8 * sharpness(sharp)).all()
