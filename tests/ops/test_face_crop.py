"""Crops of faces: their geometry, and pixels held against plain averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcgan_data.ops.crop import Box, Rect
from dcgan_data.ops.face_crop import (
    StraightCrop,
    TurnedCrop,
    aligned_square,
    crop_by_landmarks,
    crop_centre,
    crop_round_box,
    square_at,
    turned_square,
    upright_direction,
)
from dcgan_data.ops.photo import Photo, decode_photo

Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]

FRONTAL = np.array([(-30, -20), (30, -20), (0, 10), (-25, 45), (25, 45)], np.float64)
"""Landmarks of an upright face: 60 between the eyes, 65 from there to the mouth."""


def photo_of(pixels: np.ndarray) -> Photo:
    height, width = pixels.shape[:2]
    return Photo(pixels, 1, width, height, 1)


def empty(width: int, height: int, orientation: int = 1) -> Photo:
    """For geometry alone."""
    return Photo(np.zeros((height, width, 3), np.uint8), 1, width, height, orientation)


def averaged(square: np.ndarray, size: int) -> np.ndarray:
    """float64 (size, size, 3): exact box averages of a square whose side is a multiple of size."""
    step = len(square) // size
    return square.reshape(size, step, size, step, 3).mean(axis=(1, 3))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean(np.square(a.astype(float) - b)))))


def turned(points: np.ndarray, degrees: float, centre: Any = (300, 200), scale: float = 1) -> np.ndarray:
    """Points about (0, 0), turned clockwise as the picture shows it."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * points @ np.array([[c, s], [-s, c]]) + np.array(centre)


# Boxes


def test_the_box_crop_is_the_average_of_just_its_square(picture: Picture) -> None:
    pixels = picture(400, 300)
    crop = crop_round_box(Rect(141, 77, 100, 120), 0.3, 64, False, photo_of(pixels))
    assert crop.bounds == Rect(95, 41, 192, 192)  # 120 and 60 % of it; the centre is (191, 137)
    found = crop.cut(photo_of(pixels), 64, False)
    assert found.dtype == np.uint8 and found.shape == (64, 64, 3)
    assert abs(found - averaged(pixels[41:233, 95:287], 64)).max() <= 0.5 + 1e-6


def test_any_side_is_an_area_average(picture: Picture) -> None:
    pixels = picture(400, 300)
    crop = crop_round_box(Rect(100, 60, 80, 111), 0, 64, False, photo_of(pixels))
    x, y, side = crop.box
    wanted = cv2.resize(pixels[y : y + side, x : x + side], (64, 64), interpolation=cv2.INTER_AREA)
    assert side == 111 and np.array_equal(crop.cut(photo_of(pixels), 64, False), wanted)


def test_quality_is_lanczos(picture: Picture) -> None:
    pixels = picture(400, 300)
    crop = crop_round_box(Rect(100, 60, 150, 150), 0, 64, True, photo_of(pixels))
    x, y, side = crop.box
    square = Image.fromarray(pixels[y : y + side, x : x + side])
    wanted = np.asarray(square.resize((64, 64), Image.Resampling.LANCZOS))
    assert np.array_equal(crop.cut(photo_of(pixels), 64, True), wanted)


@given(
    st.integers(-50, 700),
    st.integers(-50, 700),
    st.integers(20, 900),
    st.integers(20, 900),
    st.sampled_from((0.0, 0.1, 0.37, 1.0)),
    st.integers(1, 8),
)
def test_the_square_is_where_the_box_is(
    x: int, y: int, width: int, height: int, margin: float, orientation: int
) -> None:
    photo = empty(701, 555, orientation)
    crop = crop_round_box(Rect(x, y, width, height), margin, 64, False, photo)
    wanted = max(width, height) * (1 + 2 * margin)
    step = crop.reduction
    assert wanted - step - 0.5 <= crop.side <= wanted + 0.5
    for centre, free in ((2 * x + width, crop.box.x), (2 * y + height, crop.box.y)):
        assert abs(2 * free + crop.side - centre) <= max(step, 1)  # twice the distance
    left, top = photo.grid(step)
    assert (crop.box.x - left) % step == (crop.box.y - top) % step == crop.side % step == 0
    assert step == 1 or crop.side // step >= 128 or crop.side // step == 64


def test_pixels_of_a_scaled_decode_are_those_of_the_whole_one(picture: Picture, encoded: Encoded) -> None:
    """Also where the photo is stored turned, and its edges cut the decoder's blocks."""
    exif = Image.Exif()
    exif[0x0112] = 3
    stored = np.ascontiguousarray(picture(803, 666)[::-1, ::-1])
    data = encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    whole, reduced = (decode_photo(data, 10**6, lambda w, h, step=step: step) for step in (1, 4))
    for box in (Rect(200, 100, 520, 520), Rect(520, 400, 256, 256), Rect(-90, -60, 530, 530)):
        crop = crop_round_box(box, 0, 64, False, reduced)
        assert crop == crop_round_box(box, 0, 64, False, whole) and crop.reduction >= 4
        fine, scaled = crop.cut(whole, 64, False), crop.cut(reduced, 64, False)
        # A mirror image is mirrored at a larger pixel: only what shows the photo is the same.
        beyond = -(min(0, crop.box.x, crop.box.y) * 64 // crop.side)
        assert psnr(fine[beyond + 1 :, beyond + 1 :], scaled[beyond + 1 :, beyond + 1 :]) > 45
        assert psnr(fine, scaled) > 30


@pytest.mark.parametrize(
    ("box", "padding"),
    [
        (Box(0, 0, 100), 0.0),
        (Box(-50, 0, 100), 0.5),
        (Box(150, 100, 100), 0.75),
        (Box(-100, -100, 400), 1 - 200 * 150 / 400**2),
        (Box(500, 0, 100), 1.0),
    ],
)
def test_padding_of_a_straight_crop(box: Box, padding: float) -> None:
    assert StraightCrop(box, 1).padding(200, 150) == pytest.approx(padding)


@pytest.mark.parametrize("box", [Box(-20, -30, 96), Box(70, 40, 96), Box(-150, -200, 320), Box(-40, 0, 64)])
def test_borders_are_mirrored(picture: Picture, box: Box) -> None:
    """Also more than once, where the padding is larger than the photo."""
    pixels, far = picture(97, 81), 400
    wanted = cv2.copyMakeBorder(pixels, far, far, far, far, cv2.BORDER_REFLECT_101)
    x, y, side = box.x + far, box.y + far, box.side
    found = StraightCrop(box, 1).cut(photo_of(pixels), side, False)
    assert np.array_equal(found, wanted[y : y + side, x : x + side])


def test_a_photo_of_one_pixel_fills_its_crop() -> None:
    pixels = np.full((1, 1, 3), 7, np.uint8)
    assert (StraightCrop(Box(-3, -3, 8), 1).cut(photo_of(pixels), 4, False) == 7).all()


# CelebA


def test_the_centre_of_an_aligned_celeba_photo_is_the_usual_one(picture: Picture) -> None:
    pixels = picture(178, 218)
    crop = crop_centre(64, False, photo_of(pixels))
    assert crop.bounds == Rect(35, 55, 108, 108)
    wanted = cv2.resize(pixels[55:163, 35:143], (64, 64), interpolation=cv2.INTER_AREA)
    assert np.array_equal(crop.cut(photo_of(pixels), 64, False), wanted)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (600, 331), (1024, 1024)])
def test_the_centre_lies_in_every_photo(size: tuple[int, int]) -> None:
    crop = crop_centre(64, False, empty(*size))
    assert crop.padding(*size) == 0 and crop.side >= 1


# Aligned


def test_the_square_of_an_upright_face_by_hand() -> None:
    """max(4 x 60, 3.6 x 65) = 240 about a point 6.5 below the eyes: (300, 186.5)."""
    wanted = [(180, 66.5), (420, 66.5), (420, 306.5), (180, 306.5)]
    assert np.allclose(aligned_square(turned(FRONTAL, 0)), wanted)
    narrow = FRONTAL * (0.5, 1)  # 3.6 x 65 = 234 is more than 4 x 30
    assert np.allclose(aligned_square(turned(narrow, 0))[[0, 2]], [(183, 69.5), (417, 303.5)])


@given(st.floats(-180, 180), st.floats(0.2, 20))
def test_the_square_turns_with_the_face(degrees: float, scale: float) -> None:
    upright = aligned_square(FRONTAL)
    square = aligned_square(turned(FRONTAL, degrees, scale=scale))
    assert np.allclose(square, turned(upright, degrees, scale=scale))


@pytest.mark.parametrize("degrees", [0, 25, 90, -90, 180, 143])
def test_faces_come_out_upright_and_not_mirrored(degrees: float) -> None:
    """Coloured discs instead of landmarks: every one is where it is in an upright face."""
    pixels = np.full((400, 600, 3), 128, np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    landmarks = turned(FRONTAL, degrees)
    for (x, y), colour in zip(landmarks, colours, strict=True):
        cv2.circle(pixels, (round(x), round(y)), 6, colour, -1)
    found = crop_by_landmarks(landmarks, 64).cut(photo_of(pixels), 64, False)
    corner = aligned_square(FRONTAL)[0]
    for place, colour in zip((FRONTAL - corner) * 64 / 240, colours, strict=True):
        x, y = np.floor(place).astype(int)
        assert np.abs(found[y, x].astype(int) - colour).max() < 40


def test_the_direction_is_between_eyes_and_mouth() -> None:
    """Eyes level, mouth to one side: half of the way."""
    landmarks = FRONTAL.copy()
    landmarks[3:] += (65, 0)
    right = upright_direction(landmarks)
    # Up is (-65, -65), and that turned clockwise (65, -65).
    assert np.allclose(right, np.array([125, -65]) / np.hypot(125, 65))
    assert np.array_equal(upright_direction(np.zeros((5, 2))), [1, 0])


@pytest.mark.parametrize("side", [64.0, 100.0, 127.5, 128.0, 200.0, 256.0, 411.0])
def test_without_a_turn_it_is_nearly_the_area_average(picture: Picture, side: float) -> None:
    pixels = picture(600, 500)
    corners = square_at(np.array([303.0, 251.0]), np.array([1.0, 0.0]), side)
    found = TurnedCrop(corners, 1).cut(photo_of(pixels), 64, False)
    (left, top), whole = corners[0], round(side)
    if side == whole and left == int(left):
        x, y = int(left), int(top)
        square = pixels[y : y + whole, x : x + whole]
        assert psnr(found, cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)) > 38
    finer = 20
    grid = (np.arange(64 * finer) + 0.5) / (64 * finer) * side
    rows, columns = (np.floor(edge + grid).astype(int) for edge in (top, left))
    assert psnr(found, averaged(pixels[rows][:, columns], 64)) > 38


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_quarter_turn_is_a_quarter_turn(picture: Picture, quarter: int) -> None:
    pixels = picture(600, 500)
    right = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][quarter], np.float64)
    straight, rotated = (
        TurnedCrop(square_at(np.array([300.0, 250.0]), way, 200), 1).cut(photo_of(pixels), 64, False)
        for way in (np.array([1.0, 0.0]), right)
    )
    assert np.array_equal(rotated, np.rot90(straight, quarter))


@pytest.mark.parametrize("degrees", [0, 7, 45])
@pytest.mark.parametrize("side", [130, 256, 1000])
def test_no_aliasing(degrees: float, side: int) -> None:
    """A grid of single pixels is grey from afar, not a pattern."""
    y, x = np.mgrid[0:1600, 0:1600]
    pixels = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    right = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    crop = TurnedCrop(square_at(np.array([800.0, 800.0]), right, side), 1)
    found = crop.cut(photo_of(pixels), 64, False).astype(int)
    assert abs(found - 127.5).max() < 30 and found.std() < 12


def test_a_turned_crop_of_a_scaled_decode(picture: Picture, encoded: Encoded) -> None:
    data = encoded(picture(1203, 1066), "JPEG", quality=95, subsampling=0)
    landmarks = turned(FRONTAL, 30, (600, 500), 3)  # 720 pixels
    crop = crop_by_landmarks(landmarks, 64)
    assert (crop.side, crop.reduction) == (720, 4)
    whole, reduced = (decode_photo(data, 10**7, lambda w, h, step=step: step) for step in (1, 4))
    assert reduced.reduction == 4
    assert psnr(crop.cut(whole, 64, False), crop.cut(reduced, 64, False)) > 38


@given(st.floats(-180, 180), st.floats(-50, 250), st.floats(-50, 200), st.floats(20, 300))
def test_padding_of_a_turned_crop(degrees: float, x: float, y: float, side: float) -> None:
    right = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    corners = square_at(np.array([x, y]), right, side)
    steps = (np.arange(60) + 0.5) / 60
    places = corners[0] + np.stack(np.meshgrid(steps, steps), axis=-1) @ (corners[[1, 3]] - corners[0])
    outside = ~((places >= 0) & (places < (200, 150))).all(axis=-1)
    crop = TurnedCrop(corners, 1)
    assert crop.padding(200, 150) == pytest.approx(outside.mean(), abs=0.04)
    left, top, width, height = crop.bounds
    assert left <= corners[:, 0].min() and corners[:, 0].max() <= left + width
    assert top <= corners[:, 1].min() and corners[:, 1].max() <= top + height


def test_a_turned_crop_is_mirrored_at_the_border() -> None:
    """The left half of the photo is red: so is its mirror image."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[:, :100, 0] = 255
    crop = TurnedCrop(square_at(np.array([0.0, 100.0]), np.array([1.0, 0.0]), 180), 1)
    assert crop.padding(200, 200) == pytest.approx(0.5)
    assert (crop.cut(photo_of(pixels), 64, False)[..., 0] == 255).all()


def test_landmarks_in_one_place_are_no_crop() -> None:
    crop = crop_by_landmarks(np.full((5, 2), 50.0), 64)
    assert crop.side == 0 and crop.padding(100, 100) == 1 and crop.bounds == Rect(50, 50, 0, 0)


def test_turned_squares_may_be_enlarged(picture: Picture) -> None:
    """To look at small faces, not to crop them."""
    pixels = picture(200, 150)
    corners = square_at(np.array([100.0, 75.0]), np.array([1.0, 0.0]), 50)
    found = turned_square(photo_of(pixels), corners, 200)
    wanted = cv2.resize(pixels[50:100, 75:125], (200, 200), interpolation=cv2.INTER_LINEAR)
    assert found.shape == (200, 200, 3) and psnr(found[8:-8, 8:-8], wanted[8:-8, 8:-8]) > 40
