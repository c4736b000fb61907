"""How close the decoded square is to the ideal resize of the fully decoded picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from dcgan_data.ops.crop import Box
from dcgan_data.ops.decode import DecodeSettings, decode_square

Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]

REAL_PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "lsun_bedroom"


def box_average(picture: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The exact area average of the box, uint8 (H, W, 3) -> float (size, size, 3)."""
    edges = np.arange(size + 1) * box.side / size
    pixels = np.arange(box.side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, 1) * size / box.side
    crop = picture[box.y : box.y + box.side, box.x : box.x + box.side].astype(float)
    return np.einsum("iy,yxc,jx->ijc", weights, crop, weights, optimize=True)


def lanczos(picture: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Pillow's Lanczos resize of the box, cut out at full size."""
    crop = Image.fromarray(picture).crop((box.x, box.y, box.x + box.side, box.y + box.side))
    return np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS)).astype(float)


def psnr(
    files: list[bytes], settings: DecodeSettings, reference: Callable[[np.ndarray, Box, int], np.ndarray]
) -> float:
    """Peak signal to noise in dB, from the mean squared error over all images."""
    errors = []
    for data in files:
        found = decode_square(data, settings)
        with Image.open(io.BytesIO(data)) as image:
            whole = np.asarray(image.convert("RGB"))
        wanted = reference(whole, found.box, settings.image_size)
        errors.append(np.mean((found.pixels - wanted) ** 2))
    return float(10 * np.log10(255**2 / max(np.mean(errors), 1e-12)))


@pytest.fixture(scope="module")
def pictures(picture: Picture) -> list[np.ndarray]:
    """24 pictures of LSUN's size."""
    return [picture(341, 256, seed=seed) for seed in range(24)]


@pytest.mark.parametrize(
    ("subsampling", "target", "decibels"),
    [
        (0, 128, 55),  # the decoder reduces by 2
        (0, 64, 55),  # by 4: the paper's size
        (0, 32, 55),  # by 8
        (2, 64, 45),
        (2, 32, 45),
        # Chroma is stored at this very size and taken as it is; a full decode smooths it while enlarging.
        # The test's colour edges are sharper than those of photographs.
        (2, 128, 44),
    ],
)
def test_fast_is_the_box_filter(
    pictures: list[np.ndarray], encoded: Encoded, subsampling: int, target: int, decibels: float
) -> None:
    """45 dB are an error of 1.4 grey levels; rounding to 8 bits alone makes 59 dB."""
    files = [encoded(pixels, "JPEG", quality=85, subsampling=subsampling) for pixels in pictures]
    assert psnr(files, DecodeSettings(target), box_average) >= decibels


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_fast_is_the_box_filter_without_a_scaled_decode(
    pictures: list[np.ndarray], encoded: Encoded, kind: str
) -> None:
    files = [encoded(pixels[:200, :203], kind) for pixels in pictures[:8]]
    assert psnr(files, DecodeSettings(64), box_average) >= 58


def test_fast_on_a_size_that_is_no_multiple(picture: Picture, encoded: Encoded) -> None:
    """263 // 4 = 65 would have to be averaged again to 64 (38.6 dB); the decoder reduces by 2 only."""
    files = [encoded(picture(300, 263, seed=seed), "JPEG", quality=85, subsampling=0) for seed in range(12)]
    assert psnr(files, DecodeSettings(64), box_average) >= 45


@pytest.mark.parametrize(("target", "decibels"), [(64, 49), (32, 47)])
def test_quality_is_lanczos(
    pictures: list[np.ndarray], encoded: Encoded, target: int, decibels: float
) -> None:
    """Against Lanczos from the full picture: 50.2 and 49.3 dB, as a box reduced it to twice the size first.

    The ``fast`` filter is another filter: 43.4 and 41.1 dB from Lanczos.
    """
    files = [encoded(pixels, "JPEG", quality=85) for pixels in pictures]
    assert psnr(files, DecodeSettings(target, quality=True), lanczos) >= decibels
    assert psnr(files, DecodeSettings(target), lanczos) < decibels - 3


def test_quality_is_exactly_lanczos_under_four_times_the_size(
    pictures: list[np.ndarray], encoded: Encoded
) -> None:
    files = [encoded(pixels, "JPEG", quality=85) for pixels in pictures[:4]]
    assert psnr(files, DecodeSettings(128, quality=True), lanczos) > 100


def test_filters_on_real_photos() -> None:
    """200 LSUN bedrooms: measured 50.6 dB (fast), 48.5 dB (quality)."""
    if not (REAL_PHOTOS / "data.mdb").exists():
        pytest.skip(f"needs real photos in {REAL_PHOTOS}")
    with lmdb.open(str(REAL_PHOTOS), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            files = list(islice(transaction.cursor().iternext(keys=False), 200))
    assert len(files) == 200
    assert psnr(files, DecodeSettings(64), box_average) >= 49
    assert psnr(files, DecodeSettings(64, quality=True), lanczos) >= 47
