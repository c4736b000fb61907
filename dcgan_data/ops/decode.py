"""Encoded bytes -> one uint8 square, by one stated policy whatever the format and the decoder.

- The bytes are sniffed; names are never trusted. Dimensions are checked before any pixel is decoded.
- EXIF orientation is applied. Transparency goes over white. 16-bit samples keep their high byte.
  CMYK, grey and palette become RGB. Of an animation, the first frame.
- Damaged data is rejected, never half decoded: libjpeg's warnings count as errors.

JPEG goes through libjpeg-turbo (simplejpeg: strict, and scaled while decoding), plain WebP through OpenCV,
everything else through Pillow. ``decode_stored`` is all of this but for the geometry, which
``decode_square`` (here) and ``photo.decode_photo`` bring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from dcgan_data.ops.crop import Box, Rect, centre_box, orient_box, orient_image, orient_size, reduction_for
from dcgan_data.ops.exif import jpeg_orientation
from dcgan_data.ops.footprint import LOSSLESS_WEBP, PLAIN_WEBP, coefficient_bytes, decoding_bytes
from dcgan_data.ops.pillow_decoder import decode_by_pillow
from dcgan_data.ops.stored import (
    BadImage,
    Part,
    StoredImage,
    Wanted,
    check_bytes,
    check_size,
    one_line,
    require_memory,
)

_JUNK_IN_HEADER = re.compile(r"extraneous bytes before marker 0x(c[0-24]|d[abd]|e.|fe)")
"""libjpeg's warning for stray bytes before a header segment. They harm no pixel, and Pillow reads such files;
the same warning before a restart or end marker (0xd0 to 0xd9) means lost image data."""


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding needs to know, as plain values."""

    image_size: int
    """Side of the result in pixels."""
    quality: bool = False
    """Lanczos from at least twice the size, instead of area averages."""
    max_pixels: int = 50_000_000
    """More than this in the header, and the image is not decoded."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded square and where it came from."""

    pixels: np.ndarray
    """uint8 (S, S, 3), RGB."""
    width: int
    """Of the upright source, pixels."""
    height: int
    """Of the upright source, pixels."""
    box: Box
    """The crop, in pixels of the upright source."""


def decode_square(data: bytes, settings: DecodeSettings) -> DecodedImage:
    """Decode, turn upright, crop the centre and resize one image; BadImage says why it cannot be done."""

    def centre(width: int, height: int) -> Part:
        short_side = min(width, height)
        reduction = reduction_for(short_side, settings.image_size, exact=not settings.quality)
        x, y, side = centre_box(width, height, reduction)
        return Part(Rect(x, y, side, side), reduction)

    found = decode_stored(data, Wanted(centre, settings.image_size, settings.max_pixels))
    width, height, orientation = found.width, found.height, found.orientation
    x, y, side, _ = centre(width, height).rect
    # Turned after the resize: far fewer pixels.
    pixels = orient_image(resize_square(found.pixels, settings.image_size, settings.quality), orientation)
    size = orient_size(width, height, orientation)
    return DecodedImage(pixels, *size, orient_box(Box(x, y, side), width, height, orientation))


def decode_stored(data: bytes, wanted: Wanted) -> StoredImage:
    """Decode part of one image, whatever its format; BadImage says why it cannot be done.

    MemoryError if memory was too short, whatever the decoder calls that: the picture may be good.
    """
    if not data:
        raise BadImage("empty")
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data, wanted)
    if _is_plain_webp(data):
        return _decode_plain_webp(data, wanted)
    return decode_by_pillow(data, wanted)


def resize_square(square: np.ndarray, size: int, quality: bool) -> np.ndarray:
    """uint8 (Q, Q, 3) with Q >= size -> (size, size, 3): area averages, or Lanczos for ``quality``.

    Never OpenCV's linear or cubic: they alias.
    """
    if len(square) == size:
        return square
    if quality:
        picture = Image.fromarray(np.ascontiguousarray(square))
        return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)


def _decode_jpeg(data: bytes, wanted: Wanted) -> StoredImage:
    try:
        height, width, colour, subsampling = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError:  # a chroma layout that simplejpeg has no name for
        return decode_by_pillow(data, wanted)
    except ValueError as error:
        if "subsampling" in str(error):  # one that libjpeg-turbo's own interface has no name for
            return decode_by_pillow(data, wanted)
        raise BadImage(f"corrupt: {one_line(error)}") from None
    space = "CMYK" if colour in ("CMYK", "YCCK") else "RGB"
    orientation = jpeg_orientation(data)
    check_size(*orient_size(width, height, orientation), wanted)
    (x, y, w, h), reduction = wanted.part(width, height)
    samples = len(space) * width * height * (1 if subsampling == "444" else 2 / 3)
    needed = len(space) * w * h // reduction**2 + coefficient_bytes(data, int(samples))
    check_bytes("JPEG", needed, (width, height), wanted)
    # Ceilings: what libjpeg makes of a width that is no multiple of the reduction.
    want_height, want_width = -(-height // reduction), -(-width // reduction)
    try:
        image = simplejpeg.decode_jpeg(data, space, min_height=want_height, min_width=want_width, strict=True)
    except ValueError as error:
        if _JUNK_IN_HEADER.search(str(error)):
            return decode_by_pillow(data, wanted)
        require_memory(error)
        word = "truncated" if "remature end" in str(error) else "corrupt"
        raise BadImage(f"{word}: {one_line(error)}", *orient_size(width, height, orientation)) from None
    assert image.shape[:2] == (want_height, want_width), (image.shape, width, height, reduction)
    rows, columns = slice(y // reduction, (y + h) // reduction), slice(x // reduction, (x + w) // reduction)
    pixels = image[rows, columns]
    if space == "CMYK":  # stored inverted, as Adobe does
        pixels = np.asarray(Image.fromarray(255 - pixels, "CMYK").convert("RGB"))
    return StoredImage(pixels, reduction, width, height, orientation)


def _decode_plain_webp(data: bytes, wanted: Wanted) -> StoredImage:
    """WebP without the extended header and without alpha: no animation and no metadata are possible."""
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise BadImage("truncated: shorter than its RIFF header says")
    lossless = data[12:16] == b"VP8L"
    width, height = _lossless_size(data) if lossless else _lossy_size(data)
    check_size(width, height, wanted)
    needed = decoding_bytes(LOSSLESS_WEBP if lossless else PLAIN_WEBP, width * height, len(data))
    check_bytes("WebP", needed, (width, height), wanted)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        require_memory(error)
        bgr = None
    if bgr is None or bgr.shape[:2] != (height, width):
        raise BadImage("corrupt: WebP data does not decode", width, height)
    x, y, w, h = wanted.part(width, height).rect
    return StoredImage(cv2.cvtColor(bgr[y : y + h, x : x + w], cv2.COLOR_BGR2RGB), 1, width, height, 1)


def _lossy_size(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _lossless_size(data: bytes) -> tuple[int, int]:
    bits = int.from_bytes(data[21:25], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _is_plain_webp(data: bytes) -> bool:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return False
    return data[12:16] == b"VP8 " or (data[12:16] == b"VP8L" and not data[24:25] > b"\x0f")
