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

import io
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from dcgan_data.ops.crop import Box, Rect, centre_box, orient_box, orient_image, orient_size, reduction_for
from dcgan_data.ops.exif import exif_orientation, jpeg_orientation
from dcgan_data.ops.footprint import (
    ALLOWED,
    LOSSLESS_WEBP,
    PLAIN_WEBP,
    coefficient_bytes,
    decoding_bytes,
)
from dcgan_data.ops.libtiff import strict_libtiff

_STRIP_ROWS = 256
_MANY_PIXELS = 16_000_000
"""Of a part larger than this, no second copy is made: it is reduced on the way, as a JPEG is."""
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that can be told by their first bytes, and whose readers run no other program."""

_JUNK_IN_HEADER = re.compile(r"extraneous bytes before marker 0x(c[0-24]|d[abd]|e.|fe)")
"""libjpeg's warning for stray bytes before a header segment. They harm no pixel, and Pillow reads such files;
the same warning before a restart or end marker (0xd0 to 0xd9) means lost image data."""


class BadImage(Exception):
    """This record cannot become pixels. ``reason`` starts with one word: the class of the failure."""

    def __init__(self, reason: str, width: int | None = None, height: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.width = width
        self.height = height


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding needs to know, as plain values."""

    image_size: int
    """Side of the result in pixels."""
    quality: bool = False
    """Lanczos from at least twice the size, instead of area averages."""
    max_pixels: int = 50_000_000
    """More than this in the header, and the image is not decoded."""


class Part(NamedTuple):
    """What of a stored picture is wanted, and how fine."""

    rect: Rect
    """In stored pixels. What does not fill a block of ``reduction`` is left out of what is reduced."""
    reduction: int
    """A JPEG is decoded at 1/reduction of its size; of other formats, a part of over 16 million pixels is
    averaged to it."""


@dataclass(frozen=True)
class StoredImage:
    """Part of a picture as it is stored: not yet turned upright."""

    pixels: np.ndarray
    """uint8 (H, W, 3), RGB: the wanted part."""
    reduction: int
    """Source pixels of a pixel, across and down: what was asked for, or 1."""
    width: int
    """Of the whole stored picture, pixels."""
    height: int
    """Of the whole stored picture, pixels."""
    orientation: int
    """EXIF orientation, 1 to 8."""


@dataclass(frozen=True)
class Wanted:
    """What ``decode_stored`` is to do with a picture once it knows how large it is."""

    part: Callable[[int, int], Part]
    """Of stored width and height."""
    short_side: int
    """Less than this, and the picture is not decoded."""
    max_pixels: int
    """More than this, and the picture is not decoded; nor if that takes more memory than
    ``footprint.ALLOWED`` bytes for each of them."""


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
    """Decode part of one image, whatever its format; BadImage says why it cannot be done."""
    if not data:
        raise BadImage("empty")
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data, wanted)
    if _is_plain_webp(data):
        return _decode_plain_webp(data, wanted)
    return _decode_other(data, wanted)


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
        return _decode_other(data, wanted)
    except ValueError as error:
        if "subsampling" in str(error):  # one that libjpeg-turbo's own interface has no name for
            return _decode_other(data, wanted)
        raise BadImage(f"corrupt: {_one_line(error)}") from None
    space = "CMYK" if colour in ("CMYK", "YCCK") else "RGB"
    orientation = jpeg_orientation(data)
    _check_size(*orient_size(width, height, orientation), wanted)
    (x, y, w, h), reduction = wanted.part(width, height)
    samples = len(space) * width * height * (1 if subsampling == "444" else 2 / 3)
    needed = len(space) * w * h // reduction**2 + coefficient_bytes(data, int(samples))
    _check_bytes("JPEG", needed, (width, height), wanted)
    # Ceilings: what libjpeg makes of a width that is no multiple of the reduction.
    want_height, want_width = -(-height // reduction), -(-width // reduction)
    try:
        image = simplejpeg.decode_jpeg(data, space, min_height=want_height, min_width=want_width, strict=True)
    except ValueError as error:
        if _JUNK_IN_HEADER.search(str(error)):
            return _decode_other(data, wanted)
        word = "truncated" if "remature end" in str(error) else "corrupt"
        raise BadImage(f"{word}: {_one_line(error)}", *orient_size(width, height, orientation)) from None
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
    _check_size(width, height, wanted)
    needed = decoding_bytes(LOSSLESS_WEBP if lossless else PLAIN_WEBP, width * height, len(data))
    _check_bytes("WebP", needed, (width, height), wanted)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
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


def _decode_other(data: bytes, wanted: Wanted) -> StoredImage:
    # Pillow's readers raise almost any exception on hostile bytes, from struct.error to KeyError;
    # whichever it is, this record is bad and the run goes on.
    width = height = None
    may_be_tiff = data[:2] in (b"II", b"MM")
    try:
        with warnings.catch_warnings(), strict_libtiff() if may_be_tiff else nullcontext():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
                width, height = image.size
                _check_size(width, height, wanted)
                _check_bytes(str(image.format), _bytes_to_load(image, data), (width, height), wanted)
                image.load()
                # Again: a TIFF may have been turned upright by now. (A PNG's EXIF may follow its pixels.)
                width, height = image.size
                orientation = 1 if image.format == "TIFF" else exif_orientation(image.info.get("exif", b""))
                if image.format == "PNG" and "transparency" in image.info:
                    image.info["transparency"] = _eight_bit(image.info["transparency"], image.mode, data[24])
                part = wanted.part(width, height)
                if part.rect.width * part.rect.height <= _MANY_PIXELS:
                    part = part._replace(reduction=1)
                rgb = _to_rgb(image, part)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not_an_image: no supported format in its first bytes") from None
    except Image.DecompressionBombError:
        raise BadImage("too_many_pixels") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, such as too many open files: the picture may be good
        word = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise BadImage(f"{word}: {_one_line(error)}", width, height) from None
    return StoredImage(rgb, part.reduction, width, height, orientation)


def _check_size(width: int, height: int, wanted: Wanted) -> None:
    if width < 1 or height < 1:
        raise BadImage(f"no_pixels: {width}x{height}", width, height)
    if width * height > wanted.max_pixels:
        raise BadImage(f"too_many_pixels: over {wanted.max_pixels}", width, height)
    if min(width, height) < wanted.short_side:
        raise BadImage(f"too_small: short side under {wanted.short_side}", width, height)


def _check_bytes(kind: str, needed: int, size: tuple[int, int], wanted: Wanted) -> None:
    allowed = ALLOWED * wanted.max_pixels
    if needed > allowed:
        raise BadImage(
            f"too_many_pixels: as {kind} takes {needed / 1e6:.0f} MB of memory, over {allowed / 1e6:.0f}",
            *size,
        )


def _bytes_to_load(image: Image.Image, data: bytes) -> int:
    width, height = image.size
    needed = decoding_bytes(str(image.format), width * height, len(data))
    if image.format == "JPEG":
        needed += coefficient_bytes(data, width * height * len(image.getbands()))
    return needed


def _eight_bit(transparent: Any, mode: str, depth: int) -> Any:
    """A PNG's transparent level or colour: Pillow brings the pixels to 8 bits, but leaves this as it was."""
    if mode == "L" and depth < 8:
        return transparent * 255 // (2**depth - 1)
    if mode == "RGB" and depth == 16:
        return tuple(sample >> 8 for sample in transparent)
    return transparent


def _to_rgb(image: Image.Image, part: Part) -> np.ndarray:
    """Part of a loaded Pillow image as uint8 RGB, transparency over white."""
    transparent = image.info.get("transparency")
    # Pillow opens a 16-bit PGM as mode I, scaled to 65535; elsewhere mode I has no known range.
    sixteen_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if image.mode in ("I", "F") and not sixteen_bit:
        raise BadImage(f"unsupported: 32-bit samples (mode {image.mode})", *image.size)
    (x, y, width, height), reduction = part
    rgb = np.empty((height // reduction, width // reduction, 3), np.uint8)
    rows, width = _STRIP_ROWS // reduction, rgb.shape[1] * reduction
    for start in range(0, len(rgb), rows):  # conversions copy several times: never the whole picture
        end = min(start + rows, len(rgb))
        strip = image.crop((x, y + start * reduction, x + width, y + end * reduction))
        pixels = _strip_to_rgb(strip, transparent, sixteen_bit)
        if reduction > 1:
            pixels = cv2.resize(pixels, (rgb.shape[1], end - start), interpolation=cv2.INTER_AREA)
        rgb[start:end] = pixels
    return rgb


def _strip_to_rgb(image: Image.Image, transparent: Any, sixteen_bit: bool) -> np.ndarray:
    if sixteen_bit:
        samples = np.asarray(image)
        grey = (samples >> 8).astype(np.uint8)
        if isinstance(transparent, int):
            grey[samples == transparent] = 255
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or transparent is not None:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, "white")
        canvas.alpha_composite(rgba)
        image = canvas
    return np.asarray(image.convert("RGB"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
