"""Landmarks good enough to turn a face upright by.

YuNet draws the landmarks of a small face nearly as if its head were upright: heads tilted by 30 degrees come
out at 1 degree if they are 32 pixels large in the network's input, at 4 if they are 100, at 24 if they are
220. So every face is looked at again at a large size, turned by what is known of its tilt, until it looks
upright. Of 60 web photos' faces, tilted by 30 degrees, nine in ten are then right to 3 degrees.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from dcgan_data.ops.decode import resize_square
from dcgan_data.ops.face_crop import square_at, turned_square, upright_direction
from dcgan_data.ops.face_detect import Detection, round_landmarks, yunet_network
from dcgan_data.ops.photo import Photo

_SIDE = 256
"""Pixels of the network's input."""
_FACE = 200
"""Of these, the face's box."""
_LOOKS = 3
"""From one start, at most so many."""
_UPRIGHT = 3.0
"""Degrees; a face that looks less tilted is not looked at again."""
_SURE = 0.92
"""Upright faces look surer than this, and faces on their side or upside down less sure: then these starts are
tried too."""
_OTHER_SIDE = [1, 0, 2, 4, 3]
"""Where each landmark's counterpart of the other half of the face stands."""
_CONFIDENCE = 0.3
"""That there is a face is known already."""


class _Look(NamedTuple):
    landmarks: np.ndarray
    """float64 (5, 2), source pixels."""
    confidence: float
    """Three decimals; 0 if there was no face to be seen, and the landmarks are those of before."""
    tilt: float
    """Degrees between what was looked at and upright."""


class LandmarkFinder:
    """Looks closely at faces that YuNet found; not to be shared between threads."""

    def __init__(self) -> None:
        """BadInput as ``face_detect.yunet_network``."""
        self._network = yunet_network(_SIDE, _CONFIDENCE, 0.3)

    def refine(self, photo: Photo, face: Detection) -> Detection:
        """The same face with better landmarks; with those it has if a closer look does not show it."""
        assert face.landmarks is not None
        x, y = upright_direction(face.landmarks)
        best = self._look(photo, face, np.array([x, y]))
        if best.confidence < _SURE:
            others = [self._look(photo, face, np.array(right)) for right in ((-y, x), (-x, -y), (y, -x))]
            best = max([best, *others], key=lambda look: look.confidence)
        for _ in range(_LOOKS - 1):
            if not best.confidence or abs(best.tilt) < _UPRIGHT:
                break
            next_look = self._look(photo, face, upright_direction(best.landmarks))
            if not next_look.confidence:
                break
            best = next_look
        return face._replace(landmarks=round_landmarks(best.landmarks))

    def _look(self, photo: Photo, face: Detection, right: np.ndarray) -> _Look:
        """At the face's surroundings, turned so that ``right``, float64 (2,), points to the right."""
        x, y, width, height = face.box
        centre, side = np.array([x + width / 2, y + height / 2]), max(width, height) * _SIDE / _FACE
        corners = square_at(centre, right, side)
        square = resize_square(turned_square(photo, corners, _SIDE), _SIDE, quality=False)
        # The network sees a face and its mirror image a little differently. Together they are seen alike, so
        # that the copies of a photo that were mirrored are cropped as it is.
        seen = [self._see(square), _mirrored(self._see(np.ascontiguousarray(square[:, ::-1])))]
        found = [row for row in seen if row is not None]
        if not found:
            assert face.landmarks is not None
            return _Look(face.landmarks.astype(np.float64), 0.0, 0.0)
        mean = np.mean(found, axis=0)
        places = mean[:10].reshape(5, 2)
        landmarks = corners[0] + places / _SIDE @ (corners[[1, 3]] - corners[0])
        return _Look(landmarks, round(float(mean[10]), 3), _degrees(upright_direction(places)))

    def _see(self, square: np.ndarray) -> np.ndarray | None:
        """float64 (11,): landmarks in pixels of the square, confidence; None without a face in its middle."""
        rows = self._network.detect(cv2.cvtColor(square, cv2.COLOR_RGB2BGR))[1]
        if rows is None:
            return None
        # A neighbour's face is not in the middle.
        away = np.abs(rows[:, :2] + rows[:, 2:4] / 2 - _SIDE / 2).max(axis=1)
        nearest: np.ndarray = rows[away.argmin(), 4:].astype(np.float64)
        return nearest if away.min() <= _FACE / 2 else None


def _mirrored(row: np.ndarray | None) -> np.ndarray | None:
    """What ``_see`` saw in a mirror image, as it is in the square itself."""
    if row is None:
        return None
    places = row[:10].reshape(5, 2)[_OTHER_SIDE] * (-1, 1) + (_SIDE, 0)
    return np.append(places, row[10])


def _degrees(direction: np.ndarray) -> float:
    return math.degrees(math.atan2(direction[1], direction[0]))
