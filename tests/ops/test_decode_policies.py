"""The stated policy of ``ops.decode``, on files made here, through every decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dcgan_data.ops.crop import Box
from dcgan_data.ops.decode import DecodedImage, DecodeSettings, decode_square

TO_32 = DecodeSettings(32)
Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]

# What has to be stored so that the orientation turns it into the picture.
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}


def png(
    width: int, height: int, depth: int, colour: int, rows: list[bytes], *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG of any bit depth; Pillow itself writes only some."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = ((b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def colours(decoded: DecodedImage, *columns: int) -> list[tuple[int, ...]]:
    """Pixels of the middle row."""
    return [tuple(decoded.pixels[16, column].tolist()) for column in columns]


def halves(mode: str, left: Any, right: Any, size: int = 64) -> Image.Image:
    """An image whose left and right halves have one colour each."""
    image = Image.new(mode, (size, size), right)
    image.paste(left, (0, 0, size // 2, size))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 2),
    ],
)
def test_orientation_is_applied(
    picture: Picture, encoded: Encoded, kind: str, options: dict[str, Any], tolerance: int, orientation: int
) -> None:
    upright = picture(80, 64)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    found = decode_square(encoded(stored, kind, exif=exif.tobytes(), **options), TO_32)
    wanted = decode_square(encoded(upright), TO_32)
    assert (found.width, found.height, found.box) == (80, 64, Box(8, 0, 64))
    difference = abs(found.pixels.astype(int) - wanted.pixels)
    assert difference.mean() <= tolerance / 2 and difference.max() <= 8 * tolerance


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_png_alpha_lies_over_white(encoded: Encoded, mode: str) -> None:
    black, clear = ((0, 0, 0, 255), (0, 0, 0, 0)) if mode == "RGBA" else ((0, 255), (0, 0))
    found = decode_square(encoded(halves(mode, black, clear)), TO_32)
    assert colours(found, 0, 31) == [(0, 0, 0), (255, 255, 255)]


def test_half_transparent_is_mixed_with_white(encoded: Encoded) -> None:
    found = decode_square(encoded(Image.new("RGBA", (64, 64), (0, 100, 0, 128))), TO_32)
    red, green, blue = colours(found, 5)[0]
    assert red == blue == 127
    assert green == pytest.approx(100 * 128 / 255 + 127, abs=1)


def test_png_palette_with_transparency(encoded: Encoded) -> None:
    image = halves("P", 1, 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    found = decode_square(encoded(image, transparency=0), TO_32)
    assert colours(found, 0, 31) == [(0, 0, 200), (255, 255, 255)]


def test_png_transparent_colour(encoded: Encoded) -> None:
    found = decode_square(encoded(halves("RGB", (9, 8, 7), (6, 5, 4)), transparency=(6, 5, 4)), TO_32)
    assert colours(found, 0, 31) == [(9, 8, 7), (255, 255, 255)]


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "expected"),
    [
        (1, b"\x55" * 4, 0, [255, 255]),
        (2, b"\x1b" * 8, 1, [0, 255, 170, 255]),
        (4, b"\x3f" * 16, 3, [255, 255]),
        (8, b"\x33\x44" * 16, 0x33, [255, 0x44]),
        (16, b"\x12\x34\x12\x35" * 16, 0x1234, [255, 0x12]),
    ],
)
def test_grey_png_transparent_level_is_in_the_files_own_depth(
    depth: int, row: bytes, transparent: int, expected: list[int]
) -> None:
    found = decode_square(png(32, 32, depth, 0, [row] * 32, (b"tRNS", struct.pack(">H", transparent))), TO_32)
    assert found.pixels[5, : len(expected), 1].tolist() == expected


def test_16_bit_colour_png_transparent_colour() -> None:
    first, second = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC), struct.pack(">HHH", 0x2234, 0x5678, 0x9ABC)
    found = decode_square(png(32, 32, 16, 2, [(first + second) * 16] * 32, (b"tRNS", first)), TO_32)
    assert colours(found, 0, 1) == [(255, 255, 255), (0x22, 0x56, 0x9A)]


def test_webp_alpha_lies_over_white(encoded: Encoded) -> None:
    data = encoded(halves("RGBA", (0, 0, 200, 255), (0, 0, 0, 0)), "WEBP", lossless=True)
    assert data[12:16] != b"VP8 "
    assert colours(decode_square(data, TO_32), 0, 31) == [(0, 0, 200), (255, 255, 255)]


def test_gif_transparency_lies_over_white(encoded: Encoded) -> None:
    image = halves("P", 1, 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    assert colours(decode_square(encoded(image, "GIF", transparency=0), TO_32), 0, 31) == [
        (0, 0, 200),
        (255, 255, 255),
    ]


def test_16_bit_grey_keeps_its_high_byte(encoded: Encoded) -> None:
    samples = np.repeat(np.array([0x12FF, 0x8000, 0xFFFF, 0x00FF], np.uint16), 8)[None].repeat(32, axis=0)
    for kind in ("PNG", "PPM", "TIFF"):
        found = decode_square(encoded(samples, kind), TO_32)
        assert colours(found, 0, 8, 16, 24) == [(v, v, v) for v in (0x12, 0x80, 0xFF, 0x00)], kind


def test_16_bit_colour_keeps_its_high_byte() -> None:
    row = struct.pack(">HHH", 0x12FF, 0x80FF, 0xFF00) * 32
    assert colours(decode_square(png(32, 32, 16, 2, [row] * 32), TO_32), 3) == [(0x12, 0x80, 0xFF)]


def test_cmyk_jpeg(encoded: Encoded) -> None:
    data = encoded(halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "JPEG", quality=100)
    for found, wanted in zip(
        colours(decode_square(data, TO_32), 2, 29), [(255, 0, 0), (0, 0, 255)], strict=True
    ):
        assert np.abs(np.subtract(found, wanted)).max() <= 3


def test_grey_jpeg_becomes_equal_channels(picture: Picture, encoded: Encoded) -> None:
    grey = Image.fromarray(picture(64, 64)).convert("L")
    found = decode_square(encoded(grey, "JPEG", quality=95), TO_32).pixels.astype(int)
    assert np.ptp(found, axis=2).max() == 0
    assert abs(found[..., 0] - np.asarray(grey.reduce(2))).mean() < 1


def test_palette_and_one_bit_png(encoded: Encoded) -> None:
    image = halves("P", 0, 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    assert colours(decode_square(encoded(image), TO_32), 0, 31) == [(200, 0, 0), (0, 0, 200)]
    one_bit = halves("1", 0, 1)
    assert colours(decode_square(encoded(one_bit), TO_32), 0, 31) == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(encoded: Encoded, kind: str) -> None:
    first, second = Image.new("RGB", (64, 64), (200, 0, 0)), Image.new("RGB", (64, 64), (0, 0, 200))
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(first, kind, save_all=True, append_images=[second], duration=100, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2  # it is an animation
    assert colours(decode_square(data, TO_32), 10) == [(200, 0, 0)]


@pytest.mark.parametrize("options", [{"progressive": True}, *({"subsampling": n} for n in range(3))])
def test_jpeg_kinds_show_the_picture(picture: Picture, encoded: Encoded, options: dict[str, Any]) -> None:
    grey = np.asarray(Image.fromarray(picture(128, 128)).convert("L"))
    pixels = np.stack([grey] * 3, axis=2)  # no colour: what subsampling loses is not tested here
    found = decode_square(encoded(pixels, "JPEG", quality=95, **options), TO_32).pixels.astype(int)
    assert abs(found - np.asarray(Image.fromarray(pixels).reduce(4))).mean() < 1


@pytest.mark.parametrize("factors", ["411", "420", "422", "440", "444"])
def test_every_chroma_layout(factors: str) -> None:
    bgr = np.full((64, 64, 3), (30, 60, 190), np.uint8)
    layout = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factors}")
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, layout])
    assert done
    assert np.abs(np.subtract(colours(decode_square(data.tobytes(), TO_32), 7), (190, 60, 30))).max() <= 3


def test_chroma_layout_without_a_name() -> None:
    """Cb sampled twice as finely as Y and Cr: legal, and unknown to the strict decoder."""
    grey = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(grey, "JPEG")
    header = grey.getvalue()
    frame = header.index(b"\xff\xc0") + 10
    scan = header.index(b"\xff\xda")
    parts = bytearray(header[:scan])
    parts[frame + 1], parts[frame + 4], parts[frame + 7] = 0x11, 0x22, 0x11
    start_of_scan = b"\xff\xda\x00\x0c\x03" + b"\x01\x00\x02\x00\x03\x00" + b"\x00\x3f\x00"
    empty_blocks = "001010" * 6 * 16  # direct current unchanged, then end of block: 6 blocks in 16 units
    bits = empty_blocks + "1" * (-len(empty_blocks) % 8)
    data = bytes(parts) + start_of_scan + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"
    assert colours(decode_square(data, TO_32), 0, 31) == [(128, 128, 128)] * 2


@pytest.mark.parametrize("size", [(341, 256), (256, 341), (100, 37), (257, 255), (640, 263)])
@pytest.mark.parametrize("quality", [False, True])
def test_all_formats_are_cropped_alike(
    picture: Picture, encoded: Encoded, size: tuple[int, int], quality: bool
) -> None:
    pixels = picture(*size)
    kinds = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
    found = [decode_square(encoded(pixels, kind), DecodeSettings(32, quality)) for kind in kinds]
    assert len({(image.box, image.width, image.height) for image in found}) == 1
    assert (found[0].width, found[0].height) == size


def test_jpeg_and_png_of_one_picture_agree(picture: Picture, encoded: Encoded) -> None:
    pixels = picture(341, 256)
    as_png = decode_square(encoded(pixels), DecodeSettings(64)).pixels.astype(int)
    as_jpeg = decode_square(encoded(pixels, "JPEG", quality=97, subsampling=0), DecodeSettings(64)).pixels
    assert abs(as_png - as_jpeg).mean() < 1


@pytest.mark.parametrize("size", [(64, 64), (64, 79), (70, 64)])
def test_plain_webp_is_decoded_as_pillow_does(
    picture: Picture, encoded: Encoded, size: tuple[int, int]
) -> None:
    data = encoded(picture(*size), "WEBP", quality=80)
    assert data[12:16] == b"VP8 "  # the path that does without Pillow
    found = decode_square(data, DecodeSettings(64))
    assert found.box.side == 64  # no resize
    with Image.open(io.BytesIO(data)) as image:
        x, y, side = found.box
        assert np.array_equal(found.pixels, np.asarray(image.convert("RGB"))[y : y + side, x : x + side])


def test_a_picture_of_just_the_size_is_untouched(picture: Picture, encoded: Encoded) -> None:
    pixels = picture(32, 32)
    for quality in (False, True):
        assert np.array_equal(decode_square(encoded(pixels), DecodeSettings(32, quality)).pixels, pixels)
