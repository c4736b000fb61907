"""What cannot become pixels is a BadImage with a reason; nothing else is ever raised."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.stored import BadImage

TO_32 = DecodeSettings(32)
Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]


def rejection(data: bytes, settings: DecodeSettings = TO_32) -> BadImage:
    with pytest.raises(BadImage) as caught:
        decode_square(data, settings)
    return caught.value


def decode_or_reason(data: bytes) -> np.ndarray | str:
    """What decoding makes of possibly damaged bytes; any exception but BadImage fails the test."""
    try:
        return decode_square(data, TO_32).pixels
    except BadImage as bad:
        return bad.reason


def test_what_the_system_lacks_is_no_fault_of_the_picture(
    picture: Picture, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a TIFF opens a file of its own; with no descriptor left, a good picture is not rejected."""

    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    data = encoded(picture(64, 64), "TIFF")
    decode_square(data, TO_32)
    monkeypatch.setattr("tempfile.TemporaryFile", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        decode_square(data, TO_32)


def test_nothing() -> None:
    assert rejection(b"").reason == "empty"


@pytest.mark.parametrize("data", [b"a text named .jpg\n", b"<!DOCTYPE html><html></html>", b"\0" * 500])
def test_not_an_image(data: bytes) -> None:
    bad = rejection(data)
    assert bad.reason == "not_an_image: no supported format in its first bytes"
    assert (bad.width, bad.height) == (None, None)


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0\0\x01\0\x01\0", b"8BPS\0\x01"])
def test_formats_that_are_not_supported_are_not_tried(data: bytes) -> None:
    assert rejection(data + bytes(100)).reason.startswith("not_an_image: ")


def test_every_cut_of_a_jpeg_is_rejected_or_whole(picture: Picture, encoded: Encoded) -> None:
    data = encoded(picture(40, 36), "JPEG", quality=60)
    whole = decode_or_reason(data)
    words = set()
    for length in range(1, len(data)):
        found = decode_or_reason(data[:length])
        if isinstance(found, str):
            words.add(found.partition(":")[0])
        else:
            assert np.array_equal(found, whole), length
            assert length >= len(data) - 2  # only the end marker may be missing
    assert words == {"not_an_image", "corrupt", "truncated"}


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 2}])
def test_every_cut_of_other_jpegs_is_rejected_or_whole(
    picture: Picture, encoded: Encoded, options: dict[str, Any]
) -> None:
    data = encoded(picture(40, 36), "JPEG", quality=60, **options)
    whole = decode_or_reason(data)
    for length in range(1, len(data)):
        found = decode_or_reason(data[:length])
        assert isinstance(found, str) or np.array_equal(found, whole), length


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"quality": 70}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ],
)
def test_every_cut_of_other_formats_is_rejected_or_whole(
    picture: Picture, encoded: Encoded, kind: str, options: dict[str, Any]
) -> None:
    data = encoded(picture(36, 33), kind, **options)
    whole = decode_or_reason(data)
    assert not isinstance(whole, str)
    rejected = 0
    for length in [*range(1, 60), *range(60, len(data) - 20, 37), *range(len(data) - 20, len(data))]:
        found = decode_or_reason(data[:length])
        rejected += isinstance(found, str)
        assert isinstance(found, str) or np.array_equal(found, whole), length
    assert rejected > 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_half_a_file_says_truncated(picture: Picture, encoded: Encoded, kind: str) -> None:
    data = encoded(picture(96, 64), kind)
    bad = rejection(data[: len(data) // 2])
    assert bad.reason.startswith("truncated: ")
    if kind != "WEBP":  # its length is in the first bytes, and checked first
        assert (bad.width, bad.height) == (96, 64)


def test_damaged_jpeg_data_is_rejected_where_libjpeg_only_warns(picture: Picture, encoded: Encoded) -> None:
    """100 random bytes in the middle of the image data. No reader can notice all of them."""
    whole = encoded(picture(96, 64), "JPEG", quality=90)
    start = whole.index(b"\xff\xda") + 214
    reasons = []
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 255, 100, np.uint8).tobytes()
        data = whole[:start] + noise + whole[start + 100 :]
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # Pillow does not mind
        found = decode_or_reason(data)
        reasons += [found] if isinstance(found, str) else []
    assert len(reasons) > 10
    assert all(reason.startswith("corrupt: Corrupt JPEG data") for reason in reasons)


def test_junk_before_a_header_segment_harms_nothing(picture: Picture, encoded: Encoded) -> None:
    data = encoded(picture(96, 64), "JPEG")
    tables = data.index(b"\xff\xdb")
    found = decode_square(data[:tables] + b"junk" + data[tables:], TO_32)
    assert (found.width, found.height, found.box.side) == (96, 64, 64)
    # Another decoder, at full size: the same picture up to rounding.
    assert abs(found.pixels.astype(int) - decode_square(data, TO_32).pixels).mean() < 1.5


def test_junk_between_scan_parts_is_corrupt(picture: Picture, encoded: Encoded) -> None:
    data = encoded(picture(96, 64), "JPEG", restart_marker_blocks=4)
    restart = data.index(b"\xff\xd1")
    assert rejection(data[:restart] + b"junk" + data[restart:]).reason.startswith("corrupt: ")


@pytest.mark.parametrize("size", [(0, 64), (64, 0)])
def test_no_pixels(size: tuple[int, int]) -> None:
    gif = b"GIF89a" + struct.pack("<HH", *size) + b"\0\0\0"
    assert rejection(gif + b";").reason.split(":")[0] in ("no_pixels", "corrupt", "not_an_image")


def test_empty_webp_frame_is_rejected(picture: Picture, encoded: Encoded) -> None:
    data = bytearray(encoded(picture(64, 64), "WEBP"))
    data[26:28] = b"\0\0"
    bad = rejection(bytes(data))
    assert bad.reason == "no_pixels: 0x64"
    assert (bad.width, bad.height) == (0, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_too_many_and_too_few_pixels(picture: Picture, encoded: Encoded, kind: str) -> None:
    data = encoded(picture(96, 64), kind)
    assert decode_square(data, DecodeSettings(64, max_pixels=96 * 64)).box.side == 64
    many = rejection(data, DecodeSettings(64, max_pixels=96 * 64 - 1))
    assert many.reason == "too_many_pixels: over 6143"
    small = rejection(data, DecodeSettings(128))
    assert small.reason == "too_small: short side under 128"
    for bad in (many, small):
        assert (bad.width, bad.height) == (96, 64)


def test_size_is_checked_before_pixels_are_decoded(picture: Picture, encoded: Encoded) -> None:
    """A header that promises 60000 x 60000 pixels costs neither time nor memory."""
    jpeg = bytearray(encoded(picture(96, 64), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    assert rejection(bytes(jpeg)).reason == "too_many_pixels: over 50000000"
    gif = bytearray(encoded(picture(96, 64), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    assert rejection(bytes(gif)).reason.startswith("too_many_pixels")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_samples_are_unsupported(encoded: Encoded, mode: str) -> None:
    bad = rejection(encoded(Image.new(mode, (96, 64), 1000), "TIFF"))
    assert bad.reason == f"unsupported: 32-bit samples (mode {mode})"
    assert (bad.width, bad.height) == (96, 64)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "quality": 50}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_mutations_raise_nothing_but_bad_image(
    picture: Picture, encoded: Encoded, kind: str, options: dict[str, Any]
) -> None:
    """300 files with some bytes changed, most of them in the header, or a stretch left out or doubled."""
    exif = Image.Exif()
    exif[0x0112] = 6
    extra = {"exif": exif.tobytes()} if kind in ("JPEG", "PNG", "WEBP") else {}
    whole = encoded(picture(40, 36), kind, **options, **extra)
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        reach = len(data) if rng.random() < 0.4 else min(len(data), 200)
        for place in rng.integers(0, reach, rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        start, end = np.sort(rng.integers(0, len(data), 2))
        if rng.random() < 0.2:
            data[start:end] = data[start:end] * int(rng.integers(0, 3))
        found = decode_or_reason(bytes(data))
        outcomes.add(found.partition(":")[0] if isinstance(found, str) else found.shape)
    assert len(outcomes) > 1
    assert outcomes <= {
        (32, 32, 3),
        "corrupt",
        "truncated",
        "not_an_image",
        "too_small",
        "too_many_pixels",
        "no_pixels",
        "unsupported",
    }
