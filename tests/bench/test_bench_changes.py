"""Every kind of planted copy is what its description says."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from dcgan_data.bench.changes import KINDS, LARGEST_CUT, Kind, read_photo

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def photo(picture: Callable[..., np.ndarray]) -> Image.Image:
    return Image.fromarray(picture(200, 150, seed=3))


def made(name: str, photo: Image.Image, seed: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(BY_NAME[name].change(np.random.default_rng(seed), photo)))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float64)


def test_the_kinds_of_the_table() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) == 18
    assert all(kind.says for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_copy_is_changed_and_depends_on_its_random_numbers_only(kind: Kind, photo: Image.Image) -> None:
    before = photo.tobytes()
    first, again = (kind.change(np.random.default_rng(7), photo) for _ in range(2))
    assert first == again
    assert photo.tobytes() == before
    with Image.open(io.BytesIO(first)) as copy:
        assert copy.format == ("WEBP" if kind.name == "webp" else "JPEG")
        assert copy.convert("RGB").tobytes() != before
        assert min(copy.size) >= min(photo.size) * (1 - LARGEST_CUT) - 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_copy_is_still_the_same_picture(kind: Kind, photo: Image.Image) -> None:
    copy = made(kind.name, photo).convert("L")
    if kind.name in ("mirror", "combined"):
        copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    small = [
        np.asarray(image.resize((16, 12), Image.Resampling.BOX), float)
        for image in (photo.convert("L"), copy)
    ]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > (0.75 if kind.name == "frame" else 0.85)


def test_sizes(photo: Image.Image) -> None:
    for name in ("jpeg_75", "jpeg_30", "scale", "blur", "noise", "gamma", "grey", "mirror", "text", "webp"):
        assert made(name, photo).size == photo.size
    for seed in range(20):
        width, height = made("crop_2_4", photo, seed).size
        assert 192 <= width <= 196 and 144 <= height <= 147
        width, height = made("crop_4_6", photo, seed).size
        assert 188 <= width <= 192 and 141 <= height <= 144
        width, height = made("cut_edges", photo, seed).size
        assert 180 <= width <= 200 and 135 <= height <= 150
        width, height = made("frame", photo, seed).size
        assert width - 200 == height - 150 and 6 <= width - 200 <= 18


def test_light_and_colour(photo: Image.Image) -> None:
    plain = pixels(photo)
    for seed in range(4):
        ratio = pixels(made("brightness", photo, seed)).mean() / plain.mean()
        assert abs(ratio - 0.8) < 0.03 or abs(ratio - 1.2) < 0.06  # a little is clipped
        spread = pixels(made("contrast", photo, seed)).std() / plain.std()
        assert abs(spread - 0.75) < 0.03 or abs(spread - 1.3) < 0.1
    assert made("grey", photo).mode == "L"
    ratios = pixels(made("colour", photo, 5)).mean((0, 1)) / plain.mean((0, 1))
    assert np.ptp(ratios) > 0.05 and (abs(ratios - 1) < 0.17).all()


def test_mirror_and_noise(photo: Image.Image) -> None:
    assert abs(pixels(made("mirror", photo))[:, ::-1] - pixels(photo)).mean() < 5
    assert 3 < (pixels(made("noise", photo)) - pixels(made("jpeg_75", photo))).std() < 14
    assert len(BY_NAME["jpeg_30"].change(np.random.default_rng(0), photo)) < len(
        BY_NAME["jpeg_75"].change(np.random.default_rng(0), photo)
    )


def test_photos_are_read_upright_and_over_white(encoded: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert read_photo(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)).size == (20, 30)
    clear = read_photo(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))))
    assert (clear.mode, clear.getpixel((0, 0))) == ("RGB", (255, 255, 255))
