"""One photo -> its faces, cropped and resized, or the reason why one is not wanted (paper, sec. 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.ops.crop import reduction_for
from dcgan_data.ops.face_crop import FaceCrop, centre_side, crop_by_landmarks, crop_centre, crop_round_box
from dcgan_data.ops.face_detect import SMALLEST_SIDE, Detection, Detector, Haar, Yunet
from dcgan_data.ops.face_landmarks import LandmarkFinder
from dcgan_data.ops.face_pose import face_roll, face_yaw
from dcgan_data.ops.photo import Photo, decode_photo
from dcgan_data.ops.sharpness import laplacian_variance
from dcgan_data.ops.stored import BadImage

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in source pixels."""
UNWANTED = frozenset(
    {"no_face", "face_too_small", "too_much_padding", "face_turned", "face_blurred", "too_many_faces"}
)
"""First words of reasons that say nothing bad about a photo."""


@dataclass(frozen=True)
class FaceSettings:
    """What finding and cropping faces needs to know, as plain values."""

    image_size: int
    """Side of the crops in pixels."""
    crop: str
    """``box``: a square round the detected box. ``aligned``: turned and scaled by eyes and mouth.
    ``celeba``: the centre of photos that are aligned already; nothing is detected."""
    detector: str
    """``yunet`` or ``haar``."""
    detection_side: int
    """Side in pixels of the square that YuNet looks at: a multiple of 32."""
    confidence: float
    """Less certain detections are dropped. YuNet: 0 to 1; Haar's weights have no upper end."""
    overlap: float
    """Of two boxes with a greater intersection over union, the less certain is dropped."""
    min_face: int
    """Faces whose box has a smaller longer side are rejected, in pixels of the photo."""
    margin: float
    """``box``: added on each side, as a share of the box's longer side."""
    max_padding: float
    """Largest share of a crop that may lie outside of the photo, 0 to less than 1."""
    max_yaw: float
    """Faces turned sideways by more degrees are rejected; 0 keeps all."""
    max_roll: float
    """Faces tilted by more degrees are rejected; 0 keeps all."""
    min_sharpness: float
    """Crops whose ``laplacian_variance`` is less are rejected; 0 keeps all."""
    max_faces: int
    """So many faces of a photo are kept, the largest; 0 keeps all."""
    quality: bool
    """Lanczos instead of area averages."""
    max_pixels: int
    """Photos with more are not decoded."""


@dataclass(frozen=True)
class Face:
    """A crop, or why there is none."""

    pixels: np.ndarray | None
    """uint8 (S, S, 3), RGB; None if rejected."""
    reason: str | None
    """Starts with one word of ``UNWANTED``; None if kept."""
    crop: Rectangle
    """x, y, width, height of what is (or would be) cropped, pixels of the upright source; may lie partly
    outside. Of an aligned crop, the rectangle round the turned square."""
    box: Rectangle | None = None
    """x, y, width, height of what was detected; None if nothing was looked for."""
    landmarks: np.ndarray | None = None
    """float32 (5, 2), pixels of the upright source, as ``face_pose.LANDMARKS``; None without YuNet. Rough
    unless they decided about the crop: see ``face_landmarks``."""
    confidence: float | None = None
    """The detector's."""
    padding: float | None = None
    """Share of the crop that lies outside of the photo, three decimals; None for a whole picture."""


@dataclass(frozen=True)
class FacePhoto:
    """A photo's faces."""

    width: int
    """Of the upright source, pixels."""
    height: int
    """Of the upright source, pixels."""
    faces: list[Face]
    """The largest first; at least one."""


class FaceFinder:
    """Holds a detector: one for each process, not to be shared between threads."""

    def __init__(self, settings: FaceSettings) -> None:
        """BadRequest for settings that cannot be; BadInput if the detector's model cannot be used."""
        _check(settings)
        self._settings = settings
        self._detector = _detector(settings)
        self._landmarks = _landmark_finder(settings)

    def find(self, data: bytes) -> FacePhoto:
        """Every face of an encoded photo; BadImage if it cannot be decoded or shows none."""
        photo, planned = self._plan(data)
        finest = min((crop.reduction for crop, face in planned if not face.reason), default=photo.reduction)
        if finest < photo.reduction:  # fine enough to find the faces, too coarse for the crop of one
            photo = decode_photo(data, self._settings.max_pixels, lambda width, height: finest)
        faces: list[Face] = []
        for crop, face in planned:
            if not face.reason:
                kept = sum(other.reason is None for other in faces)
                face = self._filled(face, crop, photo, kept)
            faces.append(face)
        return FacePhoto(photo.width, photo.height, faces)

    def _plan(self, data: bytes) -> tuple[Photo, list[tuple[FaceCrop, Face]]]:
        """Where the crops lie, the largest face first, and what is wrong with them before any is cut."""
        settings = self._settings
        if self._detector is None:
            size, exact = settings.image_size, not settings.quality
            photo = decode_photo(
                data, settings.max_pixels, lambda w, h: reduction_for(centre_side(w, h), size, exact)
            )
            crop: FaceCrop = crop_centre(size, settings.quality, photo)
            return photo, [(crop, self._planned(None, crop, photo))]
        photo = decode_photo(data, settings.max_pixels, self._detector.reduction)
        found = self._detector.detect(photo)
        if not found:
            raise BadImage(f"no_face: {settings.detector} finds none", photo.width, photo.height)
        found.sort(key=lambda face: -face.box.width * face.box.height)
        if self._landmarks:
            refine, least = self._landmarks.refine, settings.min_face
            found = [refine(photo, face) if _longer(face) >= least else face for face in found]
        crops = [self._crop(face, photo) for face in found]
        return photo, [
            (crop, self._planned(face, crop, photo)) for face, crop in zip(found, crops, strict=True)
        ]

    def _crop(self, face: Detection, photo: Photo) -> FaceCrop:
        settings = self._settings
        if settings.crop == "aligned":
            assert face.landmarks is not None, "_check lets no detector without landmarks pass"
            return crop_by_landmarks(face.landmarks, settings.image_size)
        return crop_round_box(face.box, settings.margin, settings.image_size, settings.quality, photo)

    def _planned(self, found: Detection | None, crop: FaceCrop, photo: Photo) -> Face:
        """A face without its pixels, and without a reason as far as its geometry goes."""
        padding = round(crop.padding(photo.width, photo.height), 3)
        reason = self._too_small(found, crop) or self._turned(found)
        if not reason and padding > self._settings.max_padding:
            reason = f"too_much_padding: {padding:g} of the crop, {self._settings.max_padding:g} allowed"
        if found is None:
            return Face(None, reason, crop.bounds, padding=padding)
        return Face(None, reason, crop.bounds, found.box, found.landmarks, found.confidence, padding)

    def _too_small(self, found: Detection | None, crop: FaceCrop) -> str | None:
        if found and _longer(found) < self._settings.min_face:
            return f"face_too_small: {_longer(found)} pixels, {self._settings.min_face} wanted"
        if crop.side < self._settings.image_size:  # nothing is ever enlarged
            return f"face_too_small: {crop.side} pixels to crop, {self._settings.image_size} wanted"
        return None

    def _turned(self, found: Detection | None) -> str | None:
        if found is None or found.landmarks is None:
            return None
        for name, measure, most in (
            ("yaw", face_yaw, self._settings.max_yaw),
            ("roll", face_roll, self._settings.max_roll),
        ):
            if most and abs(degrees := round(measure(found.landmarks), 1)) > most:
                return f"face_turned: {name} {degrees:g} degrees, {most:g} allowed"
        return None

    def _filled(self, face: Face, crop: FaceCrop, photo: Photo, kept: int) -> Face:
        """The face with its pixels, or with the reason that only they, or the faces before it, give."""
        settings = self._settings
        if settings.max_faces and kept >= settings.max_faces:
            return replace(face, reason=f"too_many_faces: {settings.max_faces} larger ones are kept")
        pixels = crop.cut(photo, settings.image_size, settings.quality)
        if settings.min_sharpness and (found := round(laplacian_variance(pixels))) < settings.min_sharpness:
            return replace(face, reason=f"face_blurred: sharpness {found}, {settings.min_sharpness:g} wanted")
        return replace(face, pixels=pixels)


def _detector(settings: FaceSettings) -> Detector | None:
    if settings.crop == "celeba":
        return None
    if settings.detector == "haar":
        return Haar(settings.confidence, settings.overlap, settings.min_face)
    return Yunet(settings.detection_side, settings.confidence, settings.overlap, settings.min_face)


def _landmark_finder(settings: FaceSettings) -> LandmarkFinder | None:
    """Only where landmarks decide about a crop: a closer look takes as long as finding the face."""
    if settings.crop == "aligned" or (settings.crop == "box" and (settings.max_yaw or settings.max_roll)):
        return LandmarkFinder()
    return None


def _longer(face: Detection) -> int:
    return max(face.box.width, face.box.height)


def _check(settings: FaceSettings) -> None:
    if settings.crop not in ("box", "aligned", "celeba"):
        raise BadRequest(f"crop {settings.crop!r}: choose 'box', 'aligned' or 'celeba'")
    if settings.detector not in ("yunet", "haar"):
        raise BadRequest(f"detector {settings.detector!r}: choose 'yunet' or 'haar'")
    if settings.detector == "haar":
        for name, wanted in (
            ("crop 'aligned'", settings.crop == "aligned"),
            ("max_yaw", settings.max_yaw),
            ("max_roll", settings.max_roll),
        ):
            if wanted:
                raise BadRequest(f"Haar has no landmarks, which {name} needs: choose detector 'yunet'")
    if settings.detection_side % 32 or settings.detection_side < SMALLEST_SIDE:
        raise BadRequest(
            f"detection_side {settings.detection_side}: choose a multiple of 32 from {SMALLEST_SIDE} on"
        )
