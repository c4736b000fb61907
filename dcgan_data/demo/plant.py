"""Near-duplicates to be planted: how a bedroom is encoded, and how a copy of it is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dcgan_data.demo.bedroom import draw_bedroom

Image = npt.NDArray[np.uint8]

JPEG_QUALITY = 75
"""Of originals and of copies that are not about quality; LSUN's own."""
SHORT_SIDE = 256
"""Pixels, as in LSUN."""
KINDS = ("bytes", "recompressed", "resized", "blurred", "brighter", "cropped", "mirrored", "webp")
"""What was done to a copy:

    bytes         nothing, the same file
    recompressed  JPEG again, quality 50 to 90
    resized       half the size and back, or a short side of 192 or 384 pixels
    blurred       Gaussian, sigma 0.8 to 1.6 pixels
    brighter      times 1.1
    cropped       2 to 4 % of each side cut off
    mirrored      left and right exchanged
    webp          WebP, quality 65 to 85
"""


@dataclass(frozen=True)
class PlantedCopy:
    """The truth about one copy."""

    original: str
    """Key of the image that it is a copy of."""
    kind: str
    """What was done to it, one of KINDS."""


def encode_bedroom(rng: np.random.Generator, size: tuple[int, int], suffix: str) -> bytes:
    """Draw a bedroom of (width, height) pixels and encode it; suffix is '.jpg' or '.webp'."""
    image_bgr = np.asarray(cv2.cvtColor(draw_bedroom(rng, *size), cv2.COLOR_RGB2BGR), np.uint8)
    return _encoded(image_bgr, suffix, JPEG_QUALITY)


def encode_copy(rng: np.random.Generator, kind: str, original: bytes) -> bytes:
    """Change an encoded image as ``kind`` says; see KINDS."""
    if kind == "bytes":
        return original
    image = cv2.imdecode(np.frombuffer(original, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "the original was encoded by this module"
    changed = np.asarray(image, np.uint8)
    if kind == "webp":
        return _encoded(changed, ".webp", int(rng.integers(65, 86)))
    if kind == "recompressed":
        return _encoded(changed, ".jpg", int(rng.integers(50, 91)))
    return _encoded(_CHANGES[kind](rng, changed), ".jpg", JPEG_QUALITY)


def _encoded(image_bgr: Image, suffix: str, quality: int) -> bytes:
    setting = cv2.IMWRITE_WEBP_QUALITY if suffix == ".webp" else cv2.IMWRITE_JPEG_QUALITY
    done, encoded = cv2.imencode(suffix, image_bgr, [setting, quality])
    assert done, f"this build of OpenCV writes no {suffix}"
    return encoded.tobytes()


def _resized(rng: np.random.Generator, image: Image) -> Image:
    height, width = image.shape[:2]
    kind = int(rng.integers(3))
    if kind == 0:
        half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(half, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    scale = (192, 384)[kind - 1] / min(width, height)
    filtered = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=filtered), np.uint8
    )


def _blurred(rng: np.random.Generator, image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 1.6)), np.uint8)


def _brighter(rng: np.random.Generator, image: Image) -> Image:
    return np.asarray(cv2.convertScaleAbs(image, alpha=1.1), np.uint8)


def _cropped(rng: np.random.Generator, image: Image) -> Image:
    height, width = image.shape[:2]
    share = rng.uniform(0.02, 0.04)
    cut_y, cut_x = round(height * share), round(width * share)
    top, left = int(rng.integers(cut_y + 1)), int(rng.integers(cut_x + 1))
    return image[top : top + height - cut_y, left : left + width - cut_x]


def _mirrored(rng: np.random.Generator, image: Image) -> Image:
    return np.asarray(cv2.flip(image, 1), np.uint8)


_CHANGES: dict[str, Callable[[np.random.Generator, Image], Image]] = {
    "resized": _resized,
    "blurred": _blurred,
    "brighter": _brighter,
    "cropped": _cropped,
    "mirrored": _mirrored,
}
