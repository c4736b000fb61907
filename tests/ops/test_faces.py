"""One photo -> its faces: what is kept, what is rejected and why, and the numbers that go with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadRequest
from dcgan_data.ops import faces as faces_module
from dcgan_data.ops.face_crop import aligned_square
from dcgan_data.ops.face_pose import face_roll
from dcgan_data.ops.faces import UNWANTED, Face, FaceFinder, FacePhoto, FaceSettings
from dcgan_data.ops.sharpness import laplacian_variance
from dcgan_data.ops.stored import BadImage

Drawn = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]
REAL_FACES = Path(__file__).parents[2].parent / "shared" / "data" / "faces"

BOX = FaceSettings(
    image_size=64,
    crop="box",
    detector="yunet",
    detection_side=320,
    confidence=0.8,
    overlap=0.3,
    min_face=64,
    margin=0.1,
    max_padding=0.2,
    max_yaw=0.0,
    max_roll=0.0,
    min_sharpness=0.0,
    max_faces=0,
    quality=False,
    max_pixels=10**7,
)
HEADS = ((30, 40, 260, 0), (320, 60, 180, 1), (350, 290, 100, 2))
"""x, y, size, seed: faces of some 190, 130 and 70 pixels."""


@pytest.fixture(scope="module")
def scene(face: Drawn, texture: Drawn) -> Callable[..., np.ndarray]:
    """Drawn heads, (x, y, size, seed), before a pattern."""

    def of(width: int, height: int, *heads: tuple[int, int, int, int]) -> np.ndarray:
        canvas = texture(99, width, height).copy()
        for x, y, size, seed in heads:
            canvas[y : y + size, x : x + size] = face(size, seed)
        return canvas

    return of


@pytest.fixture(scope="module")
def three(scene: Drawn) -> np.ndarray:
    """uint8 (400, 520, 3): the heads of HEADS."""
    return scene(520, 400, *HEADS)


@pytest.fixture(scope="module")
def data(three: np.ndarray, encoded: Encoded) -> bytes:
    return encoded(three)


def find(data: bytes, **changes: Any) -> FacePhoto:
    return FaceFinder(replace(BOX, **changes)).find(data)


def words(photo: FacePhoto) -> list[str | None]:
    """First words of the reasons."""
    return [face.reason.split(":")[0] if face.reason else None for face in photo.faces]


def test_every_face_largest_first(three: np.ndarray, data: bytes) -> None:
    photo = find(data)
    assert (photo.width, photo.height) == (520, 400)
    assert len(photo.faces) == 3 and words(photo) == [None] * 3
    for face, (x, y, size, _) in zip(photo.faces, HEADS, strict=True):
        assert face.pixels is not None and face.pixels.dtype == np.uint8
        assert face.pixels.shape == (64, 64, 3)
        assert face.box is not None and x < face.box[0] and face.box[0] + face.box[2] < x + size
        assert y < face.box[1] and face.box[1] + face.box[3] < y + size
        assert face.landmarks is not None and face.landmarks.shape == (5, 2)
        assert face.confidence is not None and 0.8 <= face.confidence <= 1
        assert face.padding == 0
        left, top, side, same = face.crop
        assert side == same == round(max(face.box[2:]) * 1.2)
        wanted = cv2.resize(
            three[top : top + side, left : left + side], (64, 64), interpolation=cv2.INTER_AREA
        )
        assert np.array_equal(face.pixels, wanted)


def test_small_faces_are_rejected_with_what_they_are(data: bytes) -> None:
    photo = find(data, min_face=100)
    assert words(photo) == [None, None, "face_too_small"]
    small = photo.faces[2]
    assert small.box is not None and small.pixels is None
    assert small.reason == f"face_too_small: {max(small.box[2:])} pixels, 100 wanted"
    assert small.crop[2] == round(max(small.box[2:]) * 1.2) and small.confidence is not None


def test_nothing_is_enlarged(data: bytes) -> None:
    photo = find(data, image_size=128)
    assert words(photo) == [None, None, "face_too_small"]
    assert photo.faces[2].reason == f"face_too_small: {photo.faces[2].crop[2]} pixels to crop, 128 wanted"


def test_padding_is_recorded_and_limited(scene: Drawn, encoded: Encoded) -> None:
    """The head is cut by the right edge of the photo, but not the face."""
    pixels = scene(560, 400, (250, 80, 300, 0))[:, :480]
    data = encoded(pixels)
    (kept,) = find(data, margin=0.4, max_padding=0.5).faces
    x, y, side, _ = kept.crop
    inside = (480 - x) * (min(y + side, 400) - max(y, 0))
    assert kept.padding == round(1 - inside / side**2, 3) and 0.1 < kept.padding < 0.5
    wide = cv2.copyMakeBorder(pixels, 300, 300, 300, 300, cv2.BORDER_REFLECT_101)
    square = wide[y + 300 : y + 300 + side, x + 300 : x + 300 + side]
    wanted = cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.array_equal(np.asarray(kept.pixels), wanted)
    (rejected,) = find(data, margin=0.4, max_padding=0.05).faces
    assert rejected.reason == f"too_much_padding: {kept.padding:g} of the crop, 0.05 allowed"
    assert (rejected.pixels, rejected.crop, rejected.padding) == (None, kept.crop, kept.padding)


@pytest.mark.parametrize(("most", "kept"), [(1, 1), (2, 2), (3, 3), (0, 3)])
def test_the_largest_faces_are_kept(data: bytes, most: int, kept: int) -> None:
    photo = find(data, max_faces=most)
    reason = f"too_many_faces: {most} larger ones are kept"
    assert [face.reason for face in photo.faces] == [None] * kept + [reason] * (3 - kept)


def test_rejected_faces_do_not_count_as_kept(scene: Drawn, encoded: Encoded) -> None:
    """The largest is blurred: the second is the largest that is wanted."""
    pixels = scene(520, 400, *HEADS)
    pixels[:320, :300] = cv2.GaussianBlur(pixels[:320, :300], (0, 0), 8)
    photo = find(encoded(pixels), min_sharpness=150, max_faces=1)
    assert words(photo) == ["face_blurred", None, "too_many_faces"]


def test_blur(three: np.ndarray, data: bytes) -> None:
    faces = [face.pixels for face in find(data).faces]
    sharp = [laplacian_variance(pixels) for pixels in faces if pixels is not None]
    limit = sorted(sharp)[1]
    photo = find(data, min_sharpness=limit + 1)
    assert words(photo).count("face_blurred") == 2
    blurred = photo.faces[sharp.index(min(sharp))]
    assert blurred.reason == f"face_blurred: sharpness {min(sharp):.0f}, {limit + 1:g} wanted"


def test_laplacian_variance_by_hand() -> None:
    flat = np.full((5, 5, 3), 100, np.uint8)
    assert laplacian_variance(flat) == 0
    flat[2, 2] = 110
    assert laplacian_variance(flat) == pytest.approx(np.var([0, 10, 0, 10, -40, 10, 0, 10, 0]))


def test_tilted_faces(face: Drawn, encoded: Encoded) -> None:
    pixels = cv2.copyMakeBorder(face(240, 0), 80, 80, 80, 80, cv2.BORDER_REPLICATE)
    turn = cv2.getRotationMatrix2D((200, 200), -35, 1)
    data = encoded(cv2.warpAffine(pixels, turn, (400, 400), borderMode=cv2.BORDER_REPLICATE))
    (rejected,) = find(data, confidence=0.5, max_roll=25.0).faces
    assert rejected.landmarks is not None and rejected.reason is not None
    roll = round(face_roll(rejected.landmarks), 1)
    assert 28 < roll < 42 and rejected.reason == f"face_turned: roll {roll:g} degrees, 25 allowed"
    (kept,) = find(data, confidence=0.5, max_roll=45.0, max_yaw=45.0).faces
    assert kept.reason is None


def test_turned_faces(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces_module, "face_yaw", lambda landmarks: -31.24)
    photo = find(data, max_yaw=30.0)
    assert [face.reason for face in photo.faces] == ["face_turned: yaw -31.2 degrees, 30 allowed"] * 3
    assert words(find(data, max_yaw=31.2)) == words(find(data)) == [None] * 3


def test_aligned_crops_are_upright(face: Drawn, encoded: Encoded) -> None:
    pixels = cv2.copyMakeBorder(face(240, 0), 80, 80, 80, 80, cv2.BORDER_REPLICATE)
    crops = {}
    for degrees in (0, -30, 40):
        turn = cv2.getRotationMatrix2D((200, 200), -degrees, 1)
        data = encoded(cv2.warpAffine(pixels, turn, (400, 400), borderMode=cv2.BORDER_REPLICATE))
        (found,) = find(data, crop="aligned", confidence=0.5, max_padding=0.9).faces
        assert found.pixels is not None and found.landmarks is not None
        corners = aligned_square(found.landmarks)
        x, y, width, height = found.crop
        assert x <= corners[:, 0].min() and corners[:, 0].max() <= x + width
        assert y <= corners[:, 1].min() and corners[:, 1].max() <= y + height
        crops[degrees] = found.pixels[12:52, 12:52].astype(int)  # the face itself
    for degrees in (-30, 40):
        difference = abs(crops[degrees] - crops[0]).mean()
        assert difference < 20 and difference < 0.6 * abs(crops[degrees] - crops[0][::-1]).mean()


def test_celeba_is_a_centre_crop(encoded: Encoded, picture: Drawn) -> None:
    pixels = picture(178, 218)
    photo = find(encoded(pixels), crop="celeba", detector="haar", min_face=500)
    wanted = cv2.resize(pixels[55:163, 35:143], (64, 64), interpolation=cv2.INTER_AREA)
    (only,) = photo.faces
    assert only.pixels is not None and np.array_equal(only.pixels, wanted)
    assert replace(only, pixels=None) == Face(None, None, (35, 55, 108, 108), padding=0.0)
    (small,) = find(encoded(pixels), crop="celeba", image_size=128).faces
    assert small.reason == "face_too_small: 108 pixels to crop, 128 wanted"


@pytest.mark.parametrize("changes", [{}, {"detector": "haar", "confidence": 1.0}, {"crop": "aligned"}])
def test_no_face(changes: dict[str, Any], texture: Drawn, encoded: Encoded) -> None:
    with pytest.raises(
        BadImage, match=rf"^no_face: {changes.get('detector', 'yunet')} finds none$"
    ) as caught:
        find(encoded(texture(4, 300, 200)), **changes)
    assert (caught.value.width, caught.value.height) == (300, 200)


@pytest.mark.parametrize("crop", ["box", "celeba"])
def test_what_is_no_photo(crop: str, data: bytes) -> None:
    for bad, reason in (
        (b"", "^empty$"),
        (b"text", "^not_an_image: "),
        (data[:900], "^(truncated|corrupt): "),
    ):
        with pytest.raises(BadImage, match=reason):
            find(bad, crop=crop)
    with pytest.raises(BadImage, match=r"^too_many_pixels: over 1000$"):
        find(data, crop=crop, max_pixels=1000)


def test_haar(data: bytes) -> None:
    photo = find(data, detector="haar", confidence=0.0)
    assert len(photo.faces) == 3 and words(photo) == [None] * 3
    for face in photo.faces:
        assert face.landmarks is None and face.box is not None and face.confidence is not None
        assert face.pixels is not None and face.pixels.shape == (64, 64, 3)


def test_a_second_decode_for_a_crop_that_needs_it(scene: Drawn, encoded: Encoded) -> None:
    """A face of 165 pixels is found at 1/4; its crop for 128 pixels needs every pixel there is."""
    pixels = scene(1500, 1100, (700, 500, 260, 0))
    changes = {"image_size": 128, "min_face": 150, "confidence": 0.6}
    as_png = find(encoded(pixels), **changes).faces[0]
    as_jpeg = find(encoded(pixels, "JPEG", quality=97, subsampling=0), **changes).faces[0]
    assert as_png.pixels is not None and as_jpeg.pixels is not None
    assert np.abs(np.subtract(as_png.crop, as_jpeg.crop)).max() <= 4
    x, y, side, _ = as_jpeg.crop
    wanted = cv2.resize(pixels[y : y + side, x : x + side], (128, 128), interpolation=cv2.INTER_AREA)
    assert abs(as_jpeg.pixels.astype(int) - wanted).mean() < 1.5
    blurred = cv2.resize(cv2.resize(wanted, (64, 64), interpolation=cv2.INTER_AREA), (128, 128))
    assert abs(as_jpeg.pixels.astype(int) - blurred).mean() > 2, "the test would see a coarser decode"


@pytest.mark.parametrize("crop", ["box", "aligned"])
def test_crops_do_not_depend_on_other_faces(scene: Drawn, encoded: Encoded, crop: str) -> None:
    """A small face needs a finer decode than the large one that it is with."""
    alone = scene(1500, 1100, (100, 100, 900, 0))
    both = scene(1500, 1100, (100, 100, 900, 0), (1200, 700, 170, 1))
    changes = {"crop": crop, "min_face": 100, "max_padding": 0.9, "confidence": 0.6}
    first, second = (find(encoded(p, "JPEG", quality=95), **changes) for p in (alone, both))
    assert len(first.faces) == 1 and words(second) == [None, None]
    one, other = first.faces[0], second.faces[0]
    assert one.pixels is not None and other.pixels is not None
    assert (one.crop, one.box) == (other.crop, other.box)
    assert abs(one.pixels.astype(int) - other.pixels).mean() < 1


def test_photos_that_are_stored_turned(three: np.ndarray, encoded: Encoded) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(three, 1))
    upright, turned = find(encoded(three)), find(encoded(stored, exif=exif.tobytes()))
    assert (turned.width, turned.height) == (520, 400)
    assert [face.box for face in turned.faces] == [face.box for face in upright.faces]
    for one, other in zip(turned.faces, upright.faces, strict=True):
        assert np.array_equal(np.asarray(one.pixels), np.asarray(other.pixels))


def test_reasons_start_with_words_that_the_driver_knows(data: bytes) -> None:
    found = set()
    for changes in (
        {"min_face": 100, "max_faces": 1},
        {"min_sharpness": 1e6},
        {"margin": 1.0},
        {"max_roll": 0.01},
    ):
        found |= {word for word in words(find(data, **changes)) if word}
    assert found == UNWANTED - {"no_face"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "aligned", "detector": "haar"}, "Haar has no landmarks, which crop 'aligned' needs: "),
        ({"max_yaw": 30.0, "detector": "haar"}, "Haar has no landmarks, which max_yaw needs: "),
        ({"max_roll": 30.0, "detector": "haar"}, "choose detector 'yunet'$"),
        ({"crop": "round"}, "crop 'round': choose 'box', 'aligned' or 'celeba'$"),
        ({"detector": "mtcnn"}, "detector 'mtcnn': choose 'yunet' or 'haar'$"),
        ({"detection_side": 300}, "detection_side 300: choose a multiple of 32 from 96 on$"),
        ({"detection_side": 64}, "detection_side 64: choose a multiple of 32 from 96 on$"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        FaceFinder(replace(BOX, **changes))


def real_photos(part: str) -> Path:
    path = REAL_FACES / part
    if not path.is_dir():
        pytest.skip(f"needs the photos in {path}")
    return path


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Intersection over union of x, y, width, height."""
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return wide * high / (a[2] * a[3] + b[2] * b[3] - wide * high)


@pytest.mark.parametrize("side", [320, 480])
def test_group_photos(side: int) -> None:
    """43 hand-made boxes: all are found, and nothing else is."""
    folder = real_photos("gold")
    finder = FaceFinder(replace(BOX, detection_side=side))
    found = total = false = 0
    for entry in json.loads((folder / "boxes.json").read_text("utf-8")):
        boxes = [face.box for face in finder.find((folder / entry["file"]).read_bytes()).faces if face.box]
        hits = sum(any(overlap(wanted, box) >= 0.4 for box in boxes) for wanted in entry["boxes"])
        found, total, false = found + hits, total + len(entry["boxes"]), false + len(boxes) - hits
    assert (found, total) == (43, 43) and false <= 2


def test_web_photos_of_people() -> None:
    """Every eighth photo: nineteen in twenty give a face."""
    paths = sorted(path for path in real_photos("photos").rglob("*") if path.is_file())[::8]
    finder = FaceFinder(BOX)
    with_face = 0
    for path in paths:
        with_face += None in words(finder.find(path.read_bytes()))
    assert with_face >= 0.95 * len(paths)
