"""What Pillow decodes: every format but JPEG and plain WebP, and JPEGs that are out of the ordinary."""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dcgan_data.ops.exif import exif_orientation
from dcgan_data.ops.footprint import coefficient_bytes, decoding_bytes
from dcgan_data.ops.libtiff import strict_libtiff
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

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that can be told by their first bytes, and whose readers run no other program."""
_STRIP_ROWS = 256
_MANY_PIXELS = 16_000_000
"""Of a part larger than this, no second copy is made: it is reduced on the way, as a JPEG is."""


def decode_by_pillow(data: bytes, wanted: Wanted) -> StoredImage:
    """Decode part of one image; BadImage says why it cannot be done, MemoryError that it may be good."""
    # Pillow's readers raise almost any exception on hostile bytes, from struct.error to KeyError;
    # whichever it is, this record is bad and the run goes on.
    width = height = None
    may_be_tiff = data[:2] in (b"II", b"MM")
    try:
        with warnings.catch_warnings(), strict_libtiff() if may_be_tiff else nullcontext():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
                width, height = image.size
                check_size(width, height, wanted)
                check_bytes(str(image.format), _bytes_to_load(image, data), (width, height), wanted)
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
        require_memory(error)
        word = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise BadImage(f"{word}: {one_line(error)}", width, height) from None
    return StoredImage(rgb, part.reduction, width, height, orientation)


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
