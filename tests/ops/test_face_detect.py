"""Both detectors on drawn heads, the tiles they go through, and how repeated boxes are merged."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dcgan_data.errors import BadInput
from dcgan_data.ops import face_detect
from dcgan_data.ops.crop import Rect
from dcgan_data.ops.face_detect import (
    YUNET_SHA256,
    Detection,
    Detector,
    Haar,
    Yunet,
    without_repeats,
    yunet_network,
)
from dcgan_data.ops.photo import Photo, decode_photo

Drawn = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]


def photo_of(pixels: np.ndarray) -> Photo:
    height, width = pixels.shape[:2]
    return Photo(pixels, 1, width, height, 1)


@pytest.fixture(scope="module")
def scene(face: Drawn, texture: Drawn) -> Callable[..., np.ndarray]:
    """Drawn heads, (x, y, size, seed), before a pattern. A head's box is some half of its size wide."""

    def of(width: int, height: int, *heads: tuple[int, int, int, int]) -> np.ndarray:
        canvas = texture(99, width, height).copy()
        for x, y, size, seed in heads:
            canvas[y : y + size, x : x + size] = face(size, seed)
        return canvas

    return of


def is_head(box: Rect, x: int, y: int, size: int) -> bool:
    """Whether a box lies where a head was drawn."""
    inside = x <= box.x and y <= box.y and box.x + box.width <= x + size and box.y + box.height <= y + size
    return inside and max(box.width, box.height) > 0.5 * size


def test_heads_are_found_with_landmarks(scene: Drawn) -> None:
    found = Yunet(320, 0.8, 0.3, 64).detect(photo_of(scene(500, 400, (40, 50, 240, 0), (300, 150, 160, 1))))
    assert len(found) == 2
    left, right = sorted(found, key=lambda face: face.box.x)
    assert is_head(left.box, 40, 50, 240) and is_head(right.box, 300, 150, 160)
    for one in found:
        assert 0.8 <= one.confidence <= 1 and one.confidence == round(one.confidence, 3)
        assert one.landmarks is not None and one.landmarks.dtype == np.float32
        assert np.array_equal(one.landmarks * 4, np.rint(one.landmarks * 4))
        right_eye, left_eye, nose, right_mouth, left_mouth = one.landmarks
        assert one.box.x < right_eye[0] < nose[0] < left_eye[0] < one.box.x + one.box.width
        assert right_mouth[0] < nose[0] < left_mouth[0]
        assert right_eye[1] < nose[1] < left_mouth[1] < one.box.y + one.box.height


def test_landmarks_lie_on_what_was_drawn(scene: Drawn) -> None:
    """Eyes at 0.38 and 0.62 of the head, 0.455 down; mouth at 0.4 and 0.6, 0.725 down; nothing mirrored."""
    (found,) = Yunet(320, 0.8, 0.3, 64).detect(photo_of(scene(400, 400, (70, 60, 250, 2))))
    assert found.landmarks is not None
    places = (found.landmarks - (70, 60)) / 250
    wanted = [(0.38, 0.455), (0.62, 0.455), (0.5, 0.6), (0.4, 0.725), (0.6, 0.725)]
    assert np.abs(places - wanted).max() < 0.06


@pytest.mark.parametrize("make", [lambda: Yunet(320, 0.8, 0.3, 64), lambda: Haar(1.0, 0.3, 64)])
def test_nothing_is_nothing(make: Callable[[], Detector], texture: Drawn) -> None:
    detector = make()
    assert detector.detect(photo_of(texture(3, 500, 400))) == []
    assert detector.detect(photo_of(np.zeros((1, 1, 3), np.uint8))) == []
    assert detector.detect(photo_of(np.zeros((3, 900, 3), np.uint8))) == []


@pytest.mark.parametrize(
    ("side", "size"), [(320, (320, 320)), (320, (853, 640)), (320, (700, 300)), (96, (200, 200))]
)
def test_places_are_those_of_the_source(scene: Drawn, side: int, size: tuple[int, int]) -> None:
    width, height = size
    head = min(size) // 2
    pixels = scene(*size, (width - head - 20, height - head - 10, head, 0))
    (found,) = Yunet(side, 0.5, 0.3, head // 2).detect(photo_of(pixels))
    assert is_head(found.box, width - head - 20, height - head - 10, head)


@pytest.mark.parametrize(
    ("make", "reduction"), [(lambda: Yunet(320, 0.6, 0.3, 256), 4), (lambda: Haar(1.0, 0.3, 256), 8)]
)
def test_a_scaled_decode_is_enough(
    make: Callable[[], Detector], reduction: int, scene: Drawn, encoded: Encoded
) -> None:
    """And gives places in the source."""
    detector = make()
    data = encoded(scene(1403, 1066, (430, 330, 600, 0)), "JPEG", quality=90)
    photo = decode_photo(data, 10**7, detector.reduction)
    assert photo.reduction == reduction
    (found,) = detector.detect(photo)
    (exact,) = detector.detect(decode_photo(data, 10**7, lambda width, height: 1))
    assert is_head(found.box, 430, 330, 600)
    assert np.abs(np.subtract(found.box, exact.box)).max() <= 20


@pytest.mark.parametrize(
    ("width", "height", "side", "min_face", "reduction"),
    [
        (500, 400, 320, 64, 1),
        (640, 400, 320, 64, 2),
        (4000, 3000, 320, 64, 2),  # 32 pixels of 64 are needed: tiles
        (4000, 3000, 320, 256, 8),
        (4000, 3000, 640, 256, 4),  # the whole photo, at 0.16
        (4000, 3000, 320, 20, 1),
        (300, 200, 320, 64, 1),
    ],
)
def test_no_more_is_decoded_than_is_looked_at(
    width: int, height: int, side: int, min_face: int, reduction: int
) -> None:
    assert Yunet(side, 0.8, 0.3, min_face).reduction(width, height) == reduction


def test_small_faces_of_large_photos_need_tiles(scene: Drawn) -> None:
    """Heads on the seams of tiles too; a box is some 55 pixels wide, 70 high."""
    heads = [(30, 40, 100, 0), (690, 420, 100, 1), (1150, 760, 100, 2), (410, 250, 100, 3), (900, 60, 100, 4)]
    photo = photo_of(scene(1300, 900, *heads))
    found = Yunet(320, 0.7, 0.3, 64).detect(photo)
    assert len(found) == len(heads), "each is found once"
    for x, y, size, _ in heads:
        assert sum(is_head(face.box, x, y, size) for face in found) == 1
    assert len(Yunet(320, 0.7, 0.3, 400).detect(photo)) < len(heads), "the whole photo alone is too small"


def test_a_face_is_found_wherever_tiles_meet(scene: Drawn) -> None:
    detector = Yunet(192, 0.7, 0.3, 64)
    canvas = scene(800, 300)
    head = 100
    for x in range(200, 460, 20):
        pixels = canvas.copy()
        pixels[90:190, x : x + head] = scene(head, head, (0, 0, head, 0))
        found = detector.detect(photo_of(pixels))
        assert len(found) == 1 and is_head(found[0].box, x, 90, head), x


def test_large_and_small_faces_of_one_photo(scene: Drawn) -> None:
    heads = [(20, 30, 640, 0), (900, 100, 120, 1), (1000, 500, 220, 2)]
    found = Yunet(320, 0.8, 0.3, 64).detect(photo_of(scene(1300, 720, *heads)))
    assert len(found) == 3
    assert all(any(is_head(face.box, *head[:3]) for face in found) for head in heads)


def test_small_photos_are_enlarged_if_small_faces_are_wanted(scene: Drawn) -> None:
    photo = photo_of(scene(120, 100, (50, 30, 20, 0)))
    assert Yunet(320, 0.7, 0.3, 64).detect(photo) == []
    (found,) = Yunet(320, 0.7, 0.3, 16).detect(photo)
    assert is_head(found.box, 50, 30, 20)


def test_confidence_is_a_threshold_on_what_is_reported(scene: Drawn) -> None:
    photo = photo_of(scene(400, 400, (70, 60, 250, 2)))
    (found,) = Yunet(320, 0.5, 0.3, 64).detect(photo)
    assert len(Yunet(320, found.confidence, 0.3, 64).detect(photo)) == 1
    assert Yunet(320, found.confidence + 0.001, 0.3, 64).detect(photo) == []


@pytest.mark.parametrize("make", [lambda: Yunet(320, 0.8, 0.3, 64), lambda: Haar(1.0, 0.3, 64)])
def test_the_same_photo_gives_the_same_faces(make: Callable[[], Detector], scene: Drawn) -> None:
    """Whatever was looked at before."""
    detector, photo = make(), photo_of(scene(900, 500, (40, 50, 240, 0), (600, 150, 160, 1)))
    first = detector.detect(photo)
    detector.detect(photo_of(scene(300, 800, (20, 300, 200, 3))))
    again = make().detect(photo), detector.detect(photo)
    assert len(first) == 2
    for other in again:
        assert [(face.box, face.confidence) for face in other] == [(f.box, f.confidence) for f in first]


def test_haar_finds_frontal_heads(scene: Drawn) -> None:
    photo = photo_of(scene(500, 400, (40, 50, 240, 0), (300, 150, 160, 1)))
    found = Haar(1.0, 0.3, 64).detect(photo)
    assert len(found) == 2 and all(face.landmarks is None for face in found)
    left, right = sorted(found, key=lambda face: face.box.x)
    assert is_head(left.box, 40, 50, 240) and is_head(right.box, 300, 150, 160)
    assert abs(left.box.width - left.box.height) <= 1
    best = max(face.confidence for face in found)
    assert [face.confidence for face in Haar(best, 0.3, 64).detect(photo)] == [best]


# Tiles


@given(st.integers(1, 30_000), st.integers(96, 2048), st.floats(0.05, 2.6))
def test_tiles_cover_a_line_and_share_the_overlap(length: int, side: int, scale: float) -> None:
    reach, overlap = int(side / scale), int(np.ceil(72 / scale))
    assume(reach > overlap)
    starts = face_detect._starts(length, reach, overlap)
    assert starts[0] == 0 and starts[-1] == max(0, length - reach)
    assert all(overlap <= first + reach - second < reach for first, second in itertools.pairwise(starts))
    assert len(starts) == 1 or (len(starts) - 2) * (reach - overlap) + reach < length, "no tile too many"


@given(st.integers(1, 60_000), st.integers(1, 60_000), st.sampled_from((96, 320, 640)), st.integers(1, 900))
def test_scales_go_from_the_whole_photo_to_the_smallest_face(
    width: int, height: int, side: int, min_face: int
) -> None:
    detector = Yunet.__new__(Yunet)
    detector._side, detector._min_face, detector._finest = side, min_face, 32 / max(min_face, 12)
    scales = detector._scales(width, height)
    assert scales[0] * max(width, height) <= side * (1 + 1e-9)
    assert all(1 < finer / coarser <= 2 + 1e-9 for coarser, finer in itertools.pairwise(scales))
    if 2 * min(width, height) >= min_face:
        assert scales[-1] * max(min_face, 12) >= 32 * (1 - 1e-9) or scales[-1] == 1
    else:
        assert len(scales) == 1


# Repeats


def detection(x: int, y: int, width: int, height: int, confidence: float) -> Detection:
    return Detection(Rect(x, y, width, height), None, confidence)


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        ([(0, 0, 100, 100, 0.9), (10, 10, 100, 100, 0.8)], [0]),
        ([(0, 0, 100, 100, 0.8), (10, 10, 100, 100, 0.9)], [1]),
        ([(0, 0, 100, 100, 0.9), (60, 0, 100, 100, 0.8)], [0, 1]),  # 0.25
        ([(0, 0, 100, 100, 0.9), (50, 0, 100, 100, 0.8)], [0]),  # 0.33
        ([(0, 0, 100, 100, 0.9), (30, 30, 40, 40, 0.8)], [0]),  # 0.16, but all of it inside
        ([(0, 0, 100, 100, 0.8), (30, 30, 40, 40, 0.9)], [1]),
        ([(0, 0, 100, 100, 0.9), (75, 30, 40, 40, 0.8)], [0, 1]),  # a child before its mother
        ([(0, 0, 100, 100, 0.9), (100, 0, 100, 100, 0.9)], [0, 1]),
        ([(0, 0, 90, 90, 0.9), (0, 0, 100, 100, 0.9)], [1]),  # as certain: the larger
        ([(5, 0, 90, 90, 0.9), (0, 5, 90, 90, 0.9)], [1]),  # as large: the first from the left
    ],
)
def test_of_boxes_of_one_face_the_most_certain_stays(
    boxes: list[tuple[int, int, int, int, float]], kept: list[int]
) -> None:
    found = [detection(*box) for box in boxes]
    wanted = sorted((found[number] for number in kept), key=lambda face: (-face.confidence, face.box))
    assert without_repeats(found, 0.3) == wanted
    assert without_repeats(found[::-1], 0.3) == wanted


# The model


@pytest.fixture
def moved_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the model is looked for, instead of in the package."""
    path = tmp_path / "model.onnx"
    monkeypatch.setattr(face_detect, "YUNET_MODEL", path)
    face_detect._yunet_model.cache_clear()
    yield path
    face_detect._yunet_model.cache_clear()


def test_the_model_comes_with_its_licence() -> None:
    assert face_detect.YUNET_MODEL.stat().st_size == 232_589
    licence = face_detect.YUNET_MODEL.with_name("LICENSE.yunet").read_text("utf-8")
    assert "face_detection_yunet_2023mar.onnx" in licence and "Permission is hereby granted" in licence
    assert "Shenzhen Institute of Artificial Intelligence and Robotics" in licence


def test_another_model_is_refused(moved_model: Path) -> None:
    moved_model.write_bytes(b"another network")
    with pytest.raises(
        BadInput,
        match=rf"model\.onnx is not the model .* \(sha256 {YUNET_SHA256}\); install dcgan_data again$",
    ):
        yunet_network(320, 0.5, 0.3)


def test_no_model(moved_model: Path) -> None:
    with pytest.raises(BadInput, match=r"model\.onnx: No such file .*; install dcgan_data again$"):
        Yunet(320, 0.5, 0.3, 64)


def test_no_cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_detect, "HAAR_MODEL", tmp_path / "none.xml")
    with pytest.raises(BadInput, match=r"none\.xml: no cascade; install opencv-python 4 again$"):
        Haar(1.0, 0.3, 64)
