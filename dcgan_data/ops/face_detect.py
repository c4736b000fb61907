"""Where the faces of a photo are: YuNet (a small network, with landmarks), or Haar (the cascade of 2001)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import cv2.data
import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.ops.crop import REDUCTIONS, Rect
from dcgan_data.ops.photo import Photo

YUNET_MODEL = Path(__file__).parents[1] / "models" / "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
HAAR_MODEL = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"

_YUNET_FACE = 32
"""Pixels of the network's input that a face needs. Of 150 web photos' faces that it is sure of at full size,
it finds 15 % at 16 pixels (confidence 0.8), 55 % at 20, 87 % at 24, 97 % at 28 and 99 % at 32. What counts is
the size, not the detail: of faces of 16 pixels enlarged to 32, it finds 98 %."""
_SMALLEST_FACE = 12
"""Source pixels below which enlarging helps no more, and no further tiles are looked at."""
_STEP = 2
"""A scale is at most so many times the one before."""
_OVERLAP = _STEP * _YUNET_FACE + 8
"""Pixels that neighbouring tiles share. A face that is whole in no tile is larger, and so large enough for
the scale before."""
SMALLEST_SIDE = 96
"""Pixels: a tile must hold more than its overlap."""
_HAAR_FACE = 30
"""Pixels of a face of ``min_face`` in the picture that Haar's 24 x 24 window goes over."""
_INSIDE = 0.8
"""Of two boxes, the less certain goes if so much of the smaller one lies within the larger one: intersection
over union is small where an eye and a mouth are taken for a face of their own."""


class Detection(NamedTuple):
    """A face. Numbers are rounded, so that they are the same on every machine."""

    box: Rect
    """Whole source pixels of the upright photo; may reach outside."""
    landmarks: np.ndarray | None
    """float32 (5, 2), quarters of a source pixel, in the order of ``face_pose.LANDMARKS``. None for Haar."""
    confidence: float
    """Three decimals. YuNet: 0 to 1. Haar: a sum of weights without an upper end."""


class Detector(Protocol):
    """Finds faces; not to be shared between threads."""

    def reduction(self, width: int, height: int) -> int:
        """The largest reduction of a photo of width x height that leaves what ``detect`` looks at."""

    def detect(self, photo: Photo) -> list[Detection]:
        """All faces, however small, the most certain first."""


class Yunet:
    """Wu, Peng and Yu 2023. The whole photo is looked at at one fixed size, then tiles of large photos.

    The network sees faces of 32 to some 400 pixels. So a photo is shrunk, or if that helps small faces
    enlarged, into a square of ``side`` pixels, for which the network is built once. If that makes a face of
    ``min_face`` pixels smaller than 32, overlapping tiles of the same size follow at finer scales.
    """

    def __init__(self, side: int, confidence: float, overlap: float, min_face: int) -> None:
        """See ``faces.FaceSettings``; BadInput if the model is missing or is not the one expected."""
        self._side = side
        self._confidence = confidence
        self._overlap = overlap
        self._finest = _YUNET_FACE / max(min_face, _SMALLEST_FACE)
        model = np.frombuffer(_yunet_model(), np.uint8)
        # Half a unit of the last decimal less: what is rounded up to the threshold is in.
        self._network = cv2.FaceDetectorYN.create(
            "onnx", model, np.empty(0, np.uint8), (side, side), confidence - 0.0005, overlap
        )
        self._canvas = np.zeros((side, side, 3), np.uint8)

    def reduction(self, width: int, height: int) -> int:
        """The largest reduction of a photo of width x height that leaves what ``detect`` looks at."""
        finest = self._scales(max(width, height))[-1]
        return next((step for step in REDUCTIONS if step * finest <= 1), 1)

    def detect(self, photo: Photo) -> list[Detection]:
        """All faces, however small, the most certain first."""
        found: list[Detection] = []
        for scale in self._scales(max(photo.width, photo.height)):
            picture = _scaled(photo, scale)
            for tile in _tiles(picture.shape[1], picture.shape[0], self._side):
                found += [_to_source(row, photo, picture) for row in self._look(picture, tile)]
        found = [face for face in found if face.confidence >= self._confidence and _is_on(face.box, photo)]
        return without_repeats(found, self._overlap)

    def _scales(self, long_side: int) -> list[float]:
        """Pixels a source pixel: from the whole photo in one square to where ``min_face`` is large enough."""
        whole = min(self._side / long_side, max(1.0, self._finest))
        steps = max(0, math.ceil(math.log(self._finest / whole, _STEP)))
        return [whole, *(whole * (self._finest / whole) ** (step / steps) for step in range(1, steps + 1))]

    def _look(self, picture: np.ndarray, tile: Rect) -> np.ndarray:
        """float32 (N, 15) of box, landmarks, confidence in pixels of the picture; cut faces are left out."""
        canvas = self._canvas
        canvas[...] = 0
        part = picture[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        # The network was trained on BGR.
        canvas[: tile.height, : tile.width] = cv2.cvtColor(part, cv2.COLOR_RGB2BGR)
        rows = self._network.detect(canvas)[1]
        if rows is None:
            return np.empty((0, 15), np.float32)
        height, width = picture.shape[:2]
        x, y, right, bottom = rows[:, 0], rows[:, 1], rows[:, 0] + rows[:, 2], rows[:, 1] + rows[:, 3]
        cut = (x < 1) & (tile.x > 0) | (y < 1) & (tile.y > 0)
        cut |= (right > tile.width - 1) & (tile.x + tile.width < width)
        cut |= (bottom > tile.height - 1) & (tile.y + tile.height < height)
        corner = (tile.x, tile.y)
        return rows[~cut] + np.array([*corner, 0, 0, *(corner * 5), 0], np.float32)


class Haar:
    """Viola and Jones 2001, frontal faces: grey pictures, no landmarks, many more errors than YuNet."""

    def __init__(self, confidence: float, overlap: float, min_face: int) -> None:
        """See ``faces.FaceSettings``; BadInput if OpenCV came without its cascades."""
        self._confidence = confidence
        self._overlap = overlap
        self._scale = min(1.0, _HAAR_FACE / min_face)
        self._cascade = cv2.CascadeClassifier(str(HAAR_MODEL))
        if self._cascade.empty():
            raise BadInput(f"{HAAR_MODEL}: no cascade; install opencv-python 4 again")

    def reduction(self, width: int, height: int) -> int:
        """The largest reduction of any photo that leaves what ``detect`` looks at."""
        return next((step for step in REDUCTIONS if step * self._scale <= 1), 1)

    def detect(self, photo: Photo) -> list[Detection]:
        """All faces, however small, the most certain first."""
        picture = _scaled(photo, self._scale)
        grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
        )
        found = []
        for box, weight in zip(boxes, np.ravel(weights), strict=True):
            rect = _rect(np.asarray(box, np.float64), photo, picture)
            found.append(Detection(rect, None, round(float(weight), 3)))
        return without_repeats([face for face in found if face.confidence >= self._confidence], self._overlap)


def without_repeats(found: list[Detection], overlap: float) -> list[Detection]:
    """Non-maximum suppression: of boxes that show the same face, the most certain; the most certain first.

    overlap: intersection over union from which two boxes are the same face.
    """
    kept: list[Detection] = []
    for face in sorted(
        found, key=lambda face: (-face.confidence, -face.box.width * face.box.height, face.box)
    ):
        if not any(_same(face.box, other.box, overlap) for other in kept):
            kept.append(face)
    return kept


def _same(a: Rect, b: Rect, overlap: float) -> bool:
    wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if wide <= 0 or high <= 0:
        return False
    both, first, second = wide * high, a.width * a.height, b.width * b.height
    return both > overlap * (first + second - both) or both >= _INSIDE * min(first, second)


def _is_on(box: Rect, photo: Photo) -> bool:
    """Whether there is a box, and its centre lies on the photo."""
    x, y = 2 * box.x + box.width, 2 * box.y + box.height
    return min(box.width, box.height) > 0 and 0 <= x < 2 * photo.width and 0 <= y < 2 * photo.height


def _tiles(width: int, height: int, side: int) -> Iterator[Rect]:
    """Squares of ``side`` pixels, or less, that cover a picture; neighbours share ``_OVERLAP`` or more."""
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield Rect(x, y, min(side, width), min(side, height))


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin: spread evenly from the first pixel on, the last one ending with the last pixel."""
    count = max(1, math.ceil((length - _OVERLAP) / (side - _OVERLAP)))
    return [(length - side) * number // max(1, count - 1) if count > 1 else 0 for number in range(count)]


def _scaled(photo: Photo, scale: float) -> np.ndarray:
    """uint8 (H, W, 3): the photo at so many pixels a source pixel."""
    height, width = photo.pixels.shape[:2]
    factor = scale * photo.reduction
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size == (width, height):
        return photo.pixels
    return cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _places(points: np.ndarray, photo: Photo, picture: np.ndarray) -> np.ndarray:
    """Places in ``_scaled``'s picture, (N, 2), as places in the upright source, float64 (N, 2)."""
    (height, width), (rows, columns) = photo.pixels.shape[:2], picture.shape[:2]
    scale = np.array([width / columns, height / rows]) * photo.reduction
    return np.asarray(points * scale + (photo.left, photo.top), np.float64)


def _rect(box: np.ndarray, photo: Photo, picture: np.ndarray) -> Rect:
    """x, y, width, height in ``_scaled``'s picture, float64 (4,), as whole source pixels."""
    corners = _places(np.stack([box[:2], box[:2] + box[2:]]), photo, picture)
    return Rect(*(round(float(place)) for place in (*corners[0], *(corners[1] - corners[0]))))


def _to_source(row: np.ndarray, photo: Photo, picture: np.ndarray) -> Detection:
    """One row of YuNet, in source pixels, rounded: the last bits of its floats differ between machines."""
    landmarks = _places(row[4:14].reshape(5, 2).astype(np.float64), photo, picture)
    rect = _rect(row[:4].astype(np.float64), photo, picture)
    return Detection(rect, (np.rint(4 * landmarks) / 4).astype(np.float32), round(float(row[14]), 3))


@lru_cache(maxsize=1)
def _yunet_model() -> bytes:
    """The network's file; BadInput unless it is the one that this version was made with."""
    try:
        model = YUNET_MODEL.read_bytes()
    except OSError as error:
        raise BadInput(f"{YUNET_MODEL}: {error.strerror}; install dcgan_data again") from None
    if hashlib.sha256(model).hexdigest() != YUNET_SHA256:
        raise BadInput(
            f"{YUNET_MODEL} is not the model that this version was made with (sha256 {YUNET_SHA256}); "
            "install dcgan_data again"
        )
    return model
