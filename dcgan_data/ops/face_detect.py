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
    """float32 (5, 2), quarters of a source pixel, in the order of ``face_pose.LANDMARKS``; None for Haar. As
    ``detect`` gives them they are rough: see ``face_landmarks``."""
    confidence: float
    """Three decimals. YuNet: 0 to 1. Haar: a sum of weights without an upper end."""


class Detector(Protocol):
    """Finds faces; not to be shared between threads."""

    def reduction(self, width: int, height: int) -> int:
        """The largest reduction of a photo of width x height that leaves what ``detect`` looks at."""

    def detect(self, photo: Photo) -> list[Detection]:
        """All faces, however small, the most certain first."""


class _View(NamedTuple):
    """A piece of a photo as a detector gets to see it."""

    picture: np.ndarray
    """uint8 (H, W, 3), RGB."""
    origin: np.ndarray
    """float64 (2,): where in the source it begins."""
    step: np.ndarray
    """float64 (2,): source pixels of a pixel, across and down."""
    inner_edges: tuple[bool, bool, bool, bool]
    """Whether the photo goes on to the left, above, to the right and below."""

    def to_source(self, places: np.ndarray) -> np.ndarray:
        """float64 (N, 2): places in the picture as places in the upright source."""
        return np.asarray(places * self.step + self.origin, np.float64)

    def rect_in_source(self, box: np.ndarray) -> Rect:
        """Whole source pixels of x, y, width, height, float64 (4,), in the picture."""
        x, y = self.to_source(box[:2])
        width, height = box[2:] * self.step
        return Rect(round(float(x)), round(float(y)), round(float(width)), round(float(height)))


class Yunet:
    """Wu, Peng and Yu 2023. The whole photo is looked at at one fixed size, then tiles of large photos.

    The network sees faces of 32 to some 400 pixels. So a photo is shrunk, or if that helps small faces
    enlarged, into a square of ``side`` pixels, for which the network is built once. If that makes a face of
    ``min_face`` pixels smaller than 32, overlapping tiles of the same size follow at finer scales.
    """

    def __init__(self, side: int, confidence: float, overlap: float, min_face: int) -> None:
        """See ``faces.FaceSettings``; BadInput as ``yunet_network``."""
        self._side = side
        self._confidence = confidence
        self._overlap = overlap
        self._min_face = min_face
        self._finest = _YUNET_FACE / max(min_face, _SMALLEST_FACE)
        # Half a unit of the last decimal less: what is rounded up to the threshold is in.
        self._network = yunet_network(side, max(0.0, confidence - 0.0005), overlap)
        self._canvas = np.zeros((side, side, 3), np.uint8)

    def reduction(self, width: int, height: int) -> int:
        """The largest reduction of a photo of width x height that leaves what ``detect`` looks at."""
        finest = self._scales(width, height)[-1]
        return next((step for step in REDUCTIONS if step * finest <= 1), 1)

    def detect(self, photo: Photo) -> list[Detection]:
        """All faces, however small, the most certain first."""
        found: list[Detection] = []
        for scale in self._scales(photo.width, photo.height):
            for view in self._views(photo, scale * photo.reduction):
                found += self._look(view)
        found = [face for face in found if face.confidence >= self._confidence and _is_on(face.box, photo)]
        return without_repeats(found, self._overlap)

    def _scales(self, width: int, height: int) -> list[float]:
        """Pixels a source pixel: from the whole photo in one square to where ``min_face`` is large enough."""
        whole = min(self._side / max(width, height), max(1.0, self._finest))
        # Nothing but the whole of a strip that no such face fits into.
        finest = self._finest if 2 * min(width, height) >= self._min_face else whole
        steps = max(0, math.ceil(math.log(finest / whole, _STEP)))
        return [whole, *(whole * (finest / whole) ** (step / steps) for step in range(1, steps + 1))]

    def _views(self, photo: Photo, scale: float) -> Iterator[_View]:
        """All of a photo at ``scale``, in squares of ``side`` pixels that share ``_OVERLAP`` or more."""
        height, width = photo.pixels.shape[:2]
        # Rounding must not cut a photo that fits into one square.
        reach, overlap = math.floor(self._side / scale + 1e-6), math.ceil(_OVERLAP / scale)
        for y in _starts(height, reach, overlap):
            for x in _starts(width, reach, overlap):
                yield _view(photo, Rect(x, y, min(reach, width), min(reach, height)), scale, self._side)

    def _look(self, view: _View) -> list[Detection]:
        """The faces in a view, but for those cut by an edge of it that is none of the photo."""
        columns, rows = view.picture.shape[1::-1]
        self._canvas[...] = 0
        # The network was trained on BGR.
        self._canvas[:rows, :columns] = cv2.cvtColor(view.picture, cv2.COLOR_RGB2BGR)
        faces = self._network.detect(self._canvas)[1]
        if faces is None:
            return []
        x, y, right, bottom = faces[:, 0], faces[:, 1], faces[:, 0] + faces[:, 2], faces[:, 1] + faces[:, 3]
        cuts = (x < 1, y < 1, right > columns - 1, bottom > rows - 1)
        whole = ~np.any([cut & inner for cut, inner in zip(cuts, view.inner_edges, strict=True)], axis=0)
        return [
            Detection(
                view.rect_in_source(face[:4].astype(np.float64)),
                round_landmarks(view.to_source(face[4:14].reshape(5, 2).astype(np.float64))),
                round(float(face[14]), 3),
            )
            for face in faces[whole]
        ]


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
        height, width = photo.pixels.shape[:2]
        view = _view(photo, Rect(0, 0, width, height), self._scale * photo.reduction, max(width, height))
        grey = cv2.equalizeHist(cv2.cvtColor(view.picture, cv2.COLOR_RGB2GRAY))
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
        )
        found = [
            Detection(view.rect_in_source(np.asarray(box, np.float64)), None, round(float(weight), 3))
            for box, weight in zip(boxes, np.ravel(weights), strict=True)
        ]
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
    """Whether there is a box, its centre lies on the photo, and it is not far larger than the photo."""
    x, y = 2 * box.x + box.width, 2 * box.y + box.height
    most = 2 * max(photo.width, photo.height)
    possible = min(box.width, box.height) > 0 and max(box.width, box.height) < most
    return possible and 0 <= x < 2 * photo.width and 0 <= y < 2 * photo.height


def _starts(length: int, reach: int, overlap: int) -> list[int]:
    """Where tiles begin: spread evenly from the first pixel on, the last one ending with the last pixel."""
    if length <= reach:
        return [0]
    count = math.ceil((length - overlap) / (reach - overlap))
    return [(length - reach) * number // (count - 1) for number in range(count)]


def _view(photo: Photo, tile: Rect, scale: float, most: int) -> _View:
    """Part of ``photo.pixels`` at so many pixels a pixel, at most ``most`` across and down."""
    x, y, width, height = tile
    part = photo.pixels[y : y + height, x : x + width]
    columns, rows = (min(most, max(1, round(length * scale))) for length in (width, height))
    if (columns, rows) != (width, height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        part = cv2.resize(part, (columns, rows), interpolation=how)
    step = np.array([width / columns, height / rows]) * photo.reduction
    origin = np.array([photo.left + x * photo.reduction, photo.top + y * photo.reduction], np.float64)
    across, down = photo.pixels.shape[1::-1]
    return _View(part, origin, step, (x > 0, y > 0, x + width < across, y + height < down))


def round_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """float32, to quarters of a pixel."""
    rounded: np.ndarray = np.rint(4 * landmarks) / 4
    return rounded.astype(np.float32)


def yunet_network(side: int, confidence: float, overlap: float) -> cv2.FaceDetectorYN:
    """YuNet for side x side pixels; BadInput if its file is missing or is not the one expected."""
    model, no_settings = np.frombuffer(_yunet_model(), np.uint8), np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", model, no_settings, (side, side), confidence, overlap)


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
