"""Landmarks of tilted heads, rough and refined."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dcgan_data.ops.crop import Rect
from dcgan_data.ops.face_detect import Detection, Yunet
from dcgan_data.ops.face_landmarks import LandmarkFinder
from dcgan_data.ops.face_pose import face_roll
from dcgan_data.ops.photo import Photo

Drawn = Callable[..., np.ndarray]
HEAD = np.array([(0.38, 0.455), (0.62, 0.455), (0.5, 0.6), (0.4, 0.725), (0.6, 0.725)])
"""Eyes, nose and mouth of the drawn head, in sides of its square."""


@pytest.fixture(scope="module")
def finder() -> LandmarkFinder:
    return LandmarkFinder()


@pytest.fixture(scope="module")
def tilted(face: Drawn, texture: Drawn) -> Callable[[float], tuple[Photo, np.ndarray]]:
    """A photo with a head tilted clockwise by so many degrees, and where its landmarks are."""

    def of(degrees: float) -> tuple[Photo, np.ndarray]:
        size = 200
        pixels = cv2.copyMakeBorder(face(size, 0), 100, 100, 100, 100, cv2.BORDER_REPLICATE)
        turn = cv2.getRotationMatrix2D((200, 200), -degrees, 1)
        turned = cv2.warpAffine(pixels, turn, (400, 400), borderMode=cv2.BORDER_REPLICATE)
        places = 100 + size * HEAD
        return Photo(turned, 1, 400, 400, 1), places @ turn[:, :2].T + turn[:, 2]

    return of


def found_in(photo: Photo) -> Detection:
    """What YuNet makes of a head that is small in its input; its box in any case."""
    found = Yunet(160, 0.2, 0.3, 64).detect(photo)
    return max(found, key=lambda face: face.confidence)


@pytest.mark.parametrize("degrees", [-50, -30, 0, 20, 45])
def test_a_tilted_head_looks_tilted(
    finder: LandmarkFinder, tilted: Callable[[float], tuple[Photo, np.ndarray]], degrees: float
) -> None:
    photo, places = tilted(degrees)
    rough = found_in(photo)
    refined = finder.refine(photo, rough)
    assert (refined.box, refined.confidence) == (rough.box, rough.confidence)
    assert refined.landmarks is not None and refined.landmarks.dtype == np.float32
    assert np.array_equal(refined.landmarks * 4, np.rint(refined.landmarks * 4))
    assert face_roll(refined.landmarks) == pytest.approx(degrees, abs=6)
    assert np.abs(refined.landmarks - places).max() < 14


def test_rough_landmarks_are_not_tilted_enough(tilted: Callable[[float], tuple[Photo, np.ndarray]]) -> None:
    """Why there is a second look."""
    rough = found_in(tilted(30)[0]).landmarks
    assert rough is not None and face_roll(rough) < 15


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_heads_on_their_side_and_upside_down(
    finder: LandmarkFinder, tilted: Callable[[float], tuple[Photo, np.ndarray]], degrees: float
) -> None:
    """Given the box, whatever the landmarks were."""
    photo, places = tilted(degrees)
    guess = Detection(Rect(140, 130, 120, 140), (100 + 200 * HEAD).astype(np.float32), 0.8)
    refined = finder.refine(photo, guess)
    assert refined.landmarks is not None
    assert np.abs(refined.landmarks - places).max() < 20


def test_without_a_face_nothing_changes(finder: LandmarkFinder, texture: Drawn) -> None:
    photo = Photo(np.full((300, 300, 3), 200, np.uint8), 1, 300, 300, 1)
    landmarks = (50 + 100 * HEAD).astype(np.float32)
    guess = Detection(Rect(60, 60, 90, 120), np.rint(4 * landmarks) / 4, 0.5)
    refined = finder.refine(photo, guess)
    assert refined.landmarks is not None and np.array_equal(refined.landmarks, guess.landmarks)


def test_a_face_of_a_scaled_decode(
    finder: LandmarkFinder, tilted: Callable[[float], tuple[Photo, np.ndarray]]
) -> None:
    photo, places = tilted(20)
    half = cv2.resize(photo.pixels, (200, 200), interpolation=cv2.INTER_AREA)
    refined = finder.refine(Photo(half, 2, 400, 400, 1), found_in(photo))
    assert refined.landmarks is not None and np.abs(refined.landmarks - places).max() < 14


@pytest.mark.parametrize("degrees", [0, 25])
def test_a_mirrored_photo_is_seen_mirrored(
    finder: LandmarkFinder, tilted: Callable[[float], tuple[Photo, np.ndarray]], degrees: float
) -> None:
    """So that the mirrored copies of an aligned face are found: the network alone is off by some pixels."""
    photo, _ = tilted(degrees)
    other = Photo(np.ascontiguousarray(photo.pixels[:, ::-1]), 1, 400, 400, 1)
    rough = found_in(photo)
    x, y, width, height = rough.box
    assert rough.landmarks is not None
    same = Detection(Rect(400 - x - width, y, width, height), mirror(rough.landmarks), rough.confidence)
    face, mirrored = finder.refine(photo, rough).landmarks, finder.refine(other, same).landmarks
    assert face is not None and mirrored is not None
    assert np.abs(mirror(mirrored) - face).max() <= 0.75


def mirror(landmarks: np.ndarray) -> np.ndarray:
    """Of a photo 400 pixels wide."""
    return landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (400, 0)
