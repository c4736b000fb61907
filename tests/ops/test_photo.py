"""Whole photos: upright, at a reduction, and where their pixels lie in the source."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from dcgan_data.ops.photo import Photo, decode_photo
from dcgan_data.ops.stored import BadImage

Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]

STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}
"""What has to be stored so that the orientation turns it into the photo."""


def stored_as(upright: np.ndarray, orientation: int, encoded: Encoded, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    stored = np.ascontiguousarray(STORED[orientation](upright))
    return encoded(stored, kind, exif=exif.tobytes(), **options)


def decoded(data: bytes, reduction: int = 1, max_pixels: int = 10**6) -> Photo:
    return decode_photo(data, max_pixels, lambda width, height: reduction)


def block_means(pixels: np.ndarray, step: int) -> np.ndarray:
    height, width = (length // step * step for length in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // step, step, width // step, step, 3)
    return blocks.mean(axis=(1, 3))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_photos_are_upright(picture: Picture, encoded: Encoded, kind: str, orientation: int) -> None:
    upright = picture(83, 66)
    photo = decoded(stored_as(upright, orientation, encoded, kind))
    assert (photo.width, photo.height, photo.reduction) == (83, 66, 1)
    assert photo.pixels.shape == (66, 83, 3) and photo.pixels.flags.c_contiguous
    assert (photo.left, photo.top) == (0, 0)
    assert abs(photo.pixels.astype(int) - upright).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_every_pixel_of_a_reduced_jpeg_is_the_block_that_it_says(
    picture: Picture, encoded: Encoded, reduction: int, orientation: int
) -> None:
    """83 and 66 are no multiples: a photo that is stored turned begins in the middle of a block."""
    upright = picture(83, 66)
    photo = decoded(stored_as(upright, orientation, encoded, "JPEG"), reduction)
    assert photo.reduction == reduction
    assert photo.pixels.shape == (66 // reduction, 83 // reduction, 3)
    assert photo.left in (0, 83 % reduction) and photo.top in (0, 66 % reduction)
    wanted = block_means(upright[photo.top :, photo.left :], reduction)[: 66 // reduction, : 83 // reduction]
    assert abs(photo.pixels - wanted).mean() < 1.5
    assert abs(photo.pixels - np.roll(wanted, 1, axis=1)).mean() > 2  # the test would see one block


def test_orientations_that_mirror_move_the_first_block(picture: Picture, encoded: Encoded) -> None:
    places = {}
    for orientation in range(1, 9):
        photo = decoded(stored_as(picture(83, 66), orientation, encoded, "JPEG"), 8)
        places[orientation] = (photo.left, photo.top)
    right, below = 83 % 8, 66 % 8
    assert places == {
        1: (0, 0),
        2: (right, 0),
        3: (right, below),
        4: (0, below),
        5: (0, 0),
        6: (right, 0),
        7: (right, below),
        8: (0, below),
    }


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_grid_is_the_same_for_all_formats(picture: Picture, encoded: Encoded, orientation: int) -> None:
    as_png, as_jpeg = (
        decoded(stored_as(picture(83, 66), orientation, encoded, kind), 4) for kind in ("PNG", "JPEG")
    )
    assert (as_png.reduction, as_jpeg.reduction) == (1, 4)
    assert [as_png.grid(step) for step in (1, 2, 4, 8)] == [as_jpeg.grid(step) for step in (1, 2, 4, 8)]
    assert (as_jpeg.left, as_jpeg.top) == as_png.grid(4)


def test_the_reduction_is_asked_for_with_the_size(picture: Picture, encoded: Encoded) -> None:
    asked = []

    def reduction(width: int, height: int) -> int:
        asked.append({width, height})
        return 2

    decode_photo(encoded(picture(83, 66), "JPEG"), 10**6, reduction)
    assert asked == [{83, 66}]


@pytest.mark.parametrize(("size", "reduction"), [((300, 1), 1), ((300, 3), 2), ((5, 300), 4), ((9, 8), 8)])
def test_a_strip_keeps_a_pixel(
    picture: Picture, encoded: Encoded, size: tuple[int, int], reduction: int
) -> None:
    photo = decoded(encoded(picture(*size), "JPEG"), 8)
    assert photo.reduction == reduction
    assert photo.pixels.shape == (size[1] // reduction, size[0] // reduction, 3)


def test_policies_are_those_of_decode_square(encoded: Encoded) -> None:
    clear = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    assert (decoded(encoded(clear)).pixels == 255).all()
    with pytest.raises(BadImage, match=r"^too_many_pixels: over 80$") as caught:
        decoded(encoded(clear), max_pixels=80)
    assert (caught.value.width, caught.value.height) == (9, 9)
    with pytest.raises(BadImage, match=r"^empty$"):
        decoded(b"")
    whole = encoded(Image.new("RGB", (64, 64)), "JPEG")
    with pytest.raises(BadImage, match=r"^truncated: "):
        decoded(whole[:-20])


def test_one_pixel_is_a_photo() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(buffer, "PNG")
    photo = decoded(buffer.getvalue())
    assert photo.pixels.tolist() == [[[1, 2, 3]]] and (photo.width, photo.height) == (1, 1)
