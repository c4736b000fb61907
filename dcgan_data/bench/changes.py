"""What is done to a photo to plant a near-duplicate of it: one entry of KINDS each.

A copy is made from the whole decoded photo and encoded as JPEG, quality 85, unless its kind says otherwise.
Where a range is given the strength is drawn anew for every copy, evenly over the range; where two values are
given, one of them. Lengths in pixels are meant for a short side of 256 and grow with the photo.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Change = Callable[[np.random.Generator, Image.Image], bytes]

_QUALITY = 85
_USUAL_SHORT_SIDE = 256
LARGEST_CUT = 0.1
"""No kind takes away a larger share of a side's length."""
_MARKS = ("© photo", "SAMPLE 2016", "www.example.com", "for sale", "IMG 0417")
_MARK_COLOURS = ((255, 255, 255), (0, 0, 0), (255, 220, 0))
_FRAME_COLOURS = ((255, 255, 255), (0, 0, 0), (120, 80, 40))


@dataclass(frozen=True)
class Kind:
    """One kind of change."""

    name: str
    """As in tables and in JSON."""
    says: str
    """What is done, with its range."""
    change: Change
    """(random numbers, RGB photo) -> encoded copy."""


def read_photo(data: bytes) -> Image.Image:
    """Decode a whole photo as RGB, upright, transparency over white. Raises whatever Pillow does."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return upright.convert("RGB")


def _jpeg(image: Image.Image, quality: int = _QUALITY) -> bytes:
    return _encoded(image, "JPEG", quality)


def _encoded(image: Image.Image, name: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, quality=quality)
    return buffer.getvalue()


def _rounded(values: np.ndarray) -> Image.Image:
    """Float (H, W, 3), 0..255 and beyond -> RGB."""
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32)


def _scaled(rng: np.random.Generator, image: Image.Image) -> bytes:
    factor = rng.uniform(0.4, 0.8)
    small = image.resize(
        (max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.LANCZOS
    )
    return _jpeg(small.resize(image.size, Image.Resampling.BICUBIC))


def _blurred(rng: np.random.Generator, image: Image.Image) -> bytes:
    sigma = rng.uniform(0.8, 2) * min(image.size) / _USUAL_SHORT_SIDE
    return _jpeg(image.filter(ImageFilter.GaussianBlur(sigma)))


def _noisy(rng: np.random.Generator, image: Image.Image) -> bytes:
    pixels = _floats(image)
    noise = rng.standard_normal(pixels.shape, np.float32)
    return _jpeg(_rounded(pixels + rng.uniform(5, 12) * noise))


def _brightened(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(ImageEnhance.Brightness(image).enhance(float(rng.choice([0.8, 1.2]))))


def _contrasted(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(ImageEnhance.Contrast(image).enhance(float(rng.choice([0.75, 1.3]))))


def _gamma(rng: np.random.Generator, image: Image.Image) -> bytes:
    exponent = float(rng.choice([0.7, 1.4]))
    curve = [round(255 * (level / 255) ** exponent) for level in range(256)]
    return _jpeg(image.point(curve * 3))


def _tinted(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(_rounded(_floats(image) * rng.uniform(0.85, 1.15, 3).astype(np.float32)))


def _greyed(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(image.convert("L"))


def _cropped(rng: np.random.Generator, image: Image.Image, low: float, high: float) -> Image.Image:
    """Cut the same share off both lengths, the window anywhere; the rest is not made larger again."""
    share = rng.uniform(low, high)
    cut_x, cut_y = round(image.width * share), round(image.height * share)
    left, top = int(rng.integers(cut_x + 1)), int(rng.integers(cut_y + 1))
    return image.crop((left, top, left + image.width - cut_x, top + image.height - cut_y))


def _cut(rng: np.random.Generator, image: Image.Image) -> bytes:
    left, top, right, bottom = rng.uniform(0, LARGEST_CUT / 2, 4)
    edges = (
        round(left * image.width),
        round(top * image.height),
        image.width - round(right * image.width),
        image.height - round(bottom * image.height),
    )
    return _jpeg(image.crop(edges))


def _mirrored(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(ImageOps.mirror(image))


def _marked(rng: np.random.Generator, image: Image.Image) -> bytes:
    marked = image.copy()
    place = (rng.uniform(0.02, 0.45) * image.width, rng.uniform(0.05, 0.85) * image.height)
    ImageDraw.Draw(marked).text(
        place,
        _MARKS[int(rng.integers(len(_MARKS)))],
        fill=_MARK_COLOURS[int(rng.integers(len(_MARK_COLOURS)))],
        font=ImageFont.load_default(rng.uniform(0.06, 0.12) * min(image.size)),
    )
    return _jpeg(marked)


def _framed(rng: np.random.Generator, image: Image.Image) -> bytes:
    border = max(1, round(min(image.size) * rng.uniform(0.02, 0.06)))
    colour = _FRAME_COLOURS[int(rng.integers(len(_FRAME_COLOURS)))]
    return _jpeg(ImageOps.expand(image, border, colour))


def _webp(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _encoded(image, "WEBP", int(rng.integers(60, 81)))


def _combined(rng: np.random.Generator, image: Image.Image) -> bytes:
    return _jpeg(ImageOps.mirror(_cropped(rng, image, 0.02, 0.04)), int(rng.integers(50, 76)))


KINDS = (
    Kind("jpeg_75", "JPEG, quality 75", lambda rng, image: _jpeg(image, 75)),
    Kind("jpeg_30", "JPEG, quality 30", lambda rng, image: _jpeg(image, 30)),
    Kind("scale", "to 0.4-0.8 of the size and back", _scaled),
    Kind("blur", "Gaussian, sigma 0.8-2 pixels", _blurred),
    Kind("noise", "Gaussian, sigma 5-12 grey levels a sample", _noisy),
    Kind("brightness", "times 0.8 or 1.2", _brightened),
    Kind("contrast", "times 0.75 or 1.3 about the mean", _contrasted),
    Kind("gamma", "0.7 or 1.4", _gamma),
    Kind("colour", "each channel times 0.85-1.15", _tinted),
    Kind("grey", "one channel", _greyed),
    Kind("crop_2_4", "2-4 % of both lengths", lambda rng, image: _jpeg(_cropped(rng, image, 0.02, 0.04))),
    Kind("crop_4_6", "4-6 % of both lengths", lambda rng, image: _jpeg(_cropped(rng, image, 0.04, 0.06))),
    Kind("cut_edges", "0-5 % off each of the four sides", _cut),
    Kind("mirror", "left and right exchanged", _mirrored),
    Kind("text", "letters of 6-12 % of the short side's length", _marked),
    Kind("frame", "border of 2-6 % of the short side's length added", _framed),
    Kind("webp", "WebP, quality 60-80", _webp),
    Kind("combined", "mirror, crop of 2-4 % and JPEG, quality 50-75", _combined),
)
"""New kinds go to the end: a kind's place in this list is part of its random numbers."""
