"""The square that is cut out for a face, and its pixels: no aliasing, no enlarging, mirrored at the borders.

A crop knows its geometry before a pixel of it is decoded: how many source pixels it has, how much of it lies
outside of the photo, and which scaled decode of a JPEG is fine enough for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dcgan_data.ops.crop import Box, Rect, reduction_for
from dcgan_data.ops.decode import resize_square
from dcgan_data.ops.photo import Photo

_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
"""Of a square round (0, 0): clockwise from top left."""
_MARGIN = 2
"""Pixels round a turned square that interpolation may touch."""


class FaceCrop(Protocol):
    """A square of a photo that can become a face's pixels."""

    @property
    def bounds(self) -> Rect:
        """The smallest rectangle of whole source pixels round the square; may lie partly outside."""

    @property
    def side(self) -> int:
        """Whole source pixels across."""

    @property
    def reduction(self) -> int:
        """Pixels can be cut from a photo at this reduction, or at a smaller one."""

    def padding(self, width: int, height: int) -> float:
        """Share of the square that lies outside of a photo of width x height, 0 to 1."""

    def cut(self, photo: Photo, size: int, quality: bool) -> np.ndarray:
        """uint8 (size, size, 3) with size <= side; area averages, or Lanczos for ``quality``."""


@dataclass(frozen=True)
class StraightCrop:
    """A square of whole source pixels whose edges lie on the blocks of a scaled decode."""

    box: Box
    """May lie partly outside of the photo."""
    reduction: int
    """Source pixels of a block, across and down."""

    @property
    def bounds(self) -> Rect:
        """The square."""
        return Rect(self.box.x, self.box.y, self.box.side, self.box.side)

    @property
    def side(self) -> int:
        """Source pixels across."""
        return self.box.side

    def padding(self, width: int, height: int) -> float:
        """Share of the square that lies outside of a photo of width x height, 0 to 1."""
        x, y, side = self.box
        inside = max(0, min(x + side, width) - max(x, 0)) * max(0, min(y + side, height) - max(y, 0))
        return 1 - inside / side**2

    def cut(self, photo: Photo, size: int, quality: bool) -> np.ndarray:
        """uint8 (size, size, 3) with size <= side: the resize of these very source pixels."""
        x, y, side = self.box
        # The photo's reduction divides this crop's: no pixel is cut in two.
        left, top = (x - photo.left) // photo.reduction, (y - photo.top) // photo.reduction
        across = side // photo.reduction
        return resize_square(_region(photo.pixels, Rect(left, top, across, across)), size, quality)


@dataclass(frozen=True)
class TurnedCrop:
    """A square at any angle and of any size, in source pixels."""

    corners: np.ndarray
    """float64 (4, 2): top left, top right, bottom right, bottom left of the upright face."""
    reduction: int
    """Of the scaled decode that is fine enough."""

    @property
    def bounds(self) -> Rect:
        """The smallest rectangle of whole source pixels round the square."""
        left, top = (math.floor(edge) for edge in self.corners.min(axis=0))
        right, bottom = (math.ceil(edge) for edge in self.corners.max(axis=0))
        return Rect(left, top, right - left, bottom - top)

    @property
    def side(self) -> int:
        """Whole source pixels across."""
        return _side(self.corners)

    def padding(self, width: int, height: int) -> float:
        """Share of the square that lies outside of a photo of width x height, 0 to 1."""
        area = float(np.sum((self.corners[1] - self.corners[0]) ** 2))
        if not area:
            return 1.0
        edges = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
        inside, _ = cv2.intersectConvexConvex(self.corners.astype(np.float32), edges)
        return min(1.0, max(0.0, 1 - inside / area))

    def cut(self, photo: Photo, size: int, quality: bool) -> np.ndarray:
        """uint8 (size, size, 3) with size <= side: turned at twice the size or finer, then resized."""
        return resize_square(turned_square(photo, self.corners, 2 * size), size, quality)


def crop_round_box(box: Rect, margin: float, size: int, quality: bool, photo: Photo) -> StraightCrop:
    """The square round the box's centre: the box's longer side, and ``margin`` of it on either side.

    photo: gives the place of the decoder's blocks. A crop for which a scaled decode is fine enough is moved
    to whole blocks, by at most half a pixel of the result.
    """
    side = round(max(box.width, box.height) * (1 + 2 * margin))
    reduction = reduction_for(side, size, exact=not quality)
    side = side // reduction * reduction
    left, top = photo.grid(reduction)
    x = _snap(2 * box.x + box.width - side - 2 * left, reduction) + left
    y = _snap(2 * box.y + box.height - side - 2 * top, reduction) + top
    return StraightCrop(Box(x, y, side), reduction)


def crop_by_landmarks(landmarks: np.ndarray, size: int) -> TurnedCrop:
    """The square of ``aligned_square``."""
    corners = aligned_square(landmarks)
    return TurnedCrop(corners, reduction_for(_side(corners), size, exact=False))


def centre_side(width: int, height: int) -> int:
    """108/178 of the short side: of CelebA's aligned photos (178 x 218), the usual 108 pixels."""
    return max(1, round(min(width, height) * 108 / 178))


def crop_centre(size: int, quality: bool, photo: Photo) -> StraightCrop:
    """The centred square of ``centre_side``."""
    side = centre_side(photo.width, photo.height)
    x, y = (photo.width - side) // 2, (photo.height - side) // 2
    return crop_round_box(Rect(x, y, side, side), 0, size, quality, photo)


def aligned_square(landmarks: np.ndarray) -> np.ndarray:
    """A face's square by its eyes and mouth, as Karras et al. 2018, appendix C, and FFHQ have it.

    landmarks: (5, 2), pixels: right eye, left eye, nose, right and left corner of the mouth, the person's
    own right and left. Returns float64 (4, 2): corners of the square, clockwise from the upright face's top
    left. The person's right is the picture's left: nothing is mirrored.
    """
    eyes, across, up = _eyes_and_up(landmarks)
    side = max(4.0 * float(np.linalg.norm(across)), 3.6 * float(np.linalg.norm(up)))
    return square_at(eyes - 0.1 * up, upright_direction(landmarks), side)


def upright_direction(landmarks: np.ndarray) -> np.ndarray:
    """float64 (2,), of length 1: where the picture's right is once the face is upright; landmarks: (5, 2)."""
    _, across, up = _eyes_and_up(landmarks)
    # Two estimates: the line between the eyes, and the line up, turned clockwise as the picture shows it
    # (y points down).
    direction = across + np.array([-up[1], up[0]])
    length = float(np.linalg.norm(direction))
    return direction / length if length else np.array([1.0, 0.0])


def square_at(centre: np.ndarray, right: np.ndarray, side: float) -> np.ndarray:
    """float64 (4, 2): corners of a square, from the one above left of ``centre`` if ``right`` were (1, 0)."""
    down = np.array([-right[1], right[0]])
    return np.stack([centre + side / 2 * (i * right + j * down) for i, j in _CORNERS])


def turned_square(photo: Photo, corners: np.ndarray, size: int) -> np.ndarray:
    """uint8 (Q, Q, 3), upright: the square with these corners, float64 (4, 2), in source pixels.

    Q is ``size``, or twice that if a pixel would be left out otherwise: whole pixels are averaged first, down
    to one to two times the size, and then the square is turned at steps of a pixel or less.
    """
    corners = (corners - (photo.left, photo.top)) / photo.reduction
    side = float(np.linalg.norm(corners[1] - corners[0]))
    factor = max(1, int(side / size))
    left, top = (math.floor(edge) - _MARGIN * factor for edge in corners.min(axis=0))
    across, down = (math.ceil(length / factor) + 2 * _MARGIN + 1 for length in np.ptp(corners, axis=0))
    region = _region(photo.pixels, Rect(left, top, across * factor, down * factor))
    if factor > 1:
        region = cv2.resize(region, (across, down), interpolation=cv2.INTER_AREA)
    fine = max(1, math.ceil(side / factor / size)) * size
    return _turn(region, (corners - (left, top)) / factor, fine)


def _eyes_and_up(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between the eyes; from the right to the left eye; from the mouth to the eyes. Float64 (2,) each."""
    right_eye, left_eye, _, right_mouth, left_mouth = np.asarray(landmarks, np.float64)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    return eyes, left_eye - right_eye, eyes - mouth


def _side(corners: np.ndarray) -> int:
    # A hair more: a side of 256 must not become 255 by rounding.
    return math.floor(float(np.linalg.norm(corners[1] - corners[0])) + 1e-6)


def _snap(twice: int, step: int) -> int:
    """The multiple of ``step`` nearest to half of ``twice``; of two, the one above."""
    return (twice + step) // (2 * step) * step


def _region(pixels: np.ndarray, rect: Rect) -> np.ndarray:
    """Part of a picture; outside of it, its mirror image, in which the border pixels are not repeated."""
    height, width = pixels.shape[:2]
    x, y, w, h = rect
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return pixels[y : y + h, x : x + w]
    rows: np.ndarray = pixels[_mirrored(y, h, height)]
    return rows[:, _mirrored(x, w, width)]


def _mirrored(first: int, count: int, length: int) -> np.ndarray:
    """int64 (count,): the places from ``first`` on, led back into a line of ``length`` by its mirrors."""
    if length == 1:
        return np.zeros(count, np.int64)
    period = 2 * (length - 1)
    places = np.arange(first, first + count) % period
    return np.minimum(places, period - places)


def _turn(region: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the square with these corners (float64 (4, 2), edges of pixels), upright."""
    right, down = (corners[1] - corners[0]) / size, (corners[3] - corners[0]) / size
    # From centres of the result's pixels to centres of the region's, which lie half a pixel from the edges.
    start = corners[0] + (right + down) / 2 - 0.5
    inverse = np.stack([right, down, start], axis=1)
    return cv2.warpAffine(region, inverse, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
