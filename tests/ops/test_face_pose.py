"""Roll and yaw of a generic face, projected at known angles."""

from __future__ import annotations

import numpy as np
import pytest

from dcgan_data.ops.face_pose import FACE_MODEL, LANDMARKS, face_roll, face_yaw


def projected(yaw: float = 0, nod: float = 0, roll: float = 0, scale: float = 80) -> np.ndarray:
    """(5, 2): the model nodded, then turned, then tilted clockwise, seen from afar."""
    a, b, c = np.radians([nod, yaw, roll])
    nodded = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turned = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    tilted = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return scale * (FACE_MODEL @ (tilted @ turned @ nodded).T)[:, :2] + (300, 200)


def test_the_model_is_a_face() -> None:
    right_eye, left_eye, nose, right_mouth, left_mouth = FACE_MODEL
    assert len(LANDMARKS) == len(FACE_MODEL) == 5
    assert right_eye[0] < right_mouth[0] < nose[0] < left_mouth[0] < left_eye[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert nose[2] > max(FACE_MODEL[[0, 1, 3, 4], 2])


@pytest.mark.parametrize("yaw", [-80, -45, -20, 0, 10, 30, 60, 89])
@pytest.mark.parametrize(("nod", "roll"), [(0, 0), (20, 0), (-25, 0), (0, 30), (15, -70), (-10, 175)])
def test_yaw_whatever_the_nod_and_the_roll(yaw: float, nod: float, roll: float) -> None:
    assert face_yaw(projected(yaw, nod, roll)) == pytest.approx(yaw, abs=1e-6)


@pytest.mark.parametrize("roll", [-179, -90, -30, 0, 5, 45, 135])
@pytest.mark.parametrize("yaw", [0, 40])
def test_roll_whatever_the_yaw(roll: float, yaw: float) -> None:
    assert face_roll(projected(yaw, 0, roll)) == pytest.approx(roll, abs=1e-6)


def test_signs_as_the_picture_shows_them() -> None:
    """A face that looks to the right has its nose there; one that tilts clockwise has its left eye lower."""
    looks_right, tilted = projected(yaw=30), projected(roll=20)
    middle_of_eyes = looks_right[:2].mean(axis=0)
    assert looks_right[2, 0] > middle_of_eyes[0] and face_yaw(looks_right) > 0
    assert tilted[1, 1] > tilted[0, 1] and face_roll(tilted) > 0


@pytest.mark.parametrize("scale", [3, 20, 900])
def test_size_and_place_do_not_matter(scale: float) -> None:
    assert face_yaw(projected(25, 5, 10, scale) + 1e4) == pytest.approx(25, abs=1e-6)


def test_a_pixel_of_noise_costs_some_degrees() -> None:
    """At 40 pixels between the eyes, as in a crop of 128 pixels."""
    rng = np.random.default_rng(0)
    errors = [face_yaw(projected(15, scale=40) + rng.normal(0, 1, (5, 2))) - 15 for _ in range(200)]
    assert np.sqrt(np.mean(np.square(errors))) < 6
    assert abs(np.mean(errors)) < 1


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)])
def test_points_that_are_no_face_have_some_angle(points: np.ndarray) -> None:
    assert -180 <= face_yaw(points) <= 180 and -180 <= face_roll(points) <= 180
