"""How a head is turned, from five landmarks."""

from __future__ import annotations

import numpy as np

LANDMARKS = ("right eye", "left eye", "nose", "right mouth corner", "left mouth corner")
"""Rows of landmark arrays; right and left are the person's own."""

FACE_MODEL = np.array(
    [(-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.62, 0.42), (-0.4, 1.12, 0.06), (0.4, 1.12, 0.06)], np.float64
)
"""A generic face, float64 (5, 3) in eye distances: x to the person's left, y down, z to the front.

Adults have some 63 mm between the pupils, a mouth of 50 mm some 70 mm below them, and the tip of the nose
some 40 mm below and 26 mm before them. Individual faces differ by a tenth, which makes yaw a matter of some
degrees, good enough to leave out profiles.
"""


def face_roll(landmarks: np.ndarray) -> float:
    """Degrees by which the line between the eyes is turned clockwise in the picture, -180 to 180.

    landmarks: (5, 2), pixels.
    """
    across, down = landmarks[1] - landmarks[0]
    return float(np.degrees(np.arctan2(down, across)))


def face_yaw(landmarks: np.ndarray) -> float:
    """Degrees by which a head is turned sideways, -180 to 180; positive towards the picture's right.

    landmarks: (5, 2), pixels. A weak-perspective camera (a rotation, a scale and a shift, then depth is
    dropped) is fitted to ``FACE_MODEL``: least squares for an affine camera, then the nearest one that is a
    rotation: a nod, then the yaw, then the roll, so that neither a nod nor a tilt counts as yaw.
    """
    model = FACE_MODEL - FACE_MODEL.mean(axis=0)
    points = np.asarray(landmarks, np.float64) - np.mean(landmarks, axis=0, dtype=np.float64)
    camera = np.linalg.lstsq(model, points, rcond=None)[0].T
    u, _, v = np.linalg.svd(camera, full_matrices=False)
    across, down = u @ v
    # The last column of the whole rotation is where the face looks; the first one has the roll.
    roll = np.arctan2(down[0], across[0])
    sideways = np.cos(roll) * across[2] + np.sin(roll) * down[2]
    return float(np.degrees(np.arctan2(sideways, np.cross(across, down)[2])))
