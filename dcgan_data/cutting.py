"""One encoded record -> the images that a recipe makes of it: its centre, or its faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.faces import Face, FaceFinder, FaceSettings
from dcgan_data.recipe import Recipe

CutSettings = DecodeSettings | FaceSettings
"""Plain values that travel to workers."""


@dataclass(frozen=True)
class Cut:
    """What one record holds."""

    width: int
    """Of the upright source, pixels."""
    height: int
    """Of the upright source, pixels."""
    images: list[Face]
    """The whole picture, or its faces, the largest first; those without pixels have a reason."""


def cut_settings(recipe: Recipe) -> CutSettings:
    """The part of a recipe that says how a record becomes images."""
    image, faces = recipe.image, recipe.faces
    quality = image.filter == "quality"
    if faces.crop == "none":
        return DecodeSettings(image.size, quality, image.max_pixels)
    return FaceSettings(**vars(faces), image_size=image.size, quality=quality, max_pixels=image.max_pixels)


def cutter(settings: CutSettings) -> Callable[[bytes], Cut]:
    """The function from encoded bytes to their images; it raises BadImage for bytes that hold none."""
    return _whole_picture(settings) if isinstance(settings, DecodeSettings) else _faces(settings)


def _whole_picture(settings: DecodeSettings) -> Callable[[bytes], Cut]:
    def cut(data: bytes) -> Cut:
        image = decode_square(data, settings)
        x, y, side = image.box
        return Cut(image.width, image.height, [Face(image.pixels, None, (x, y, side, side))])

    return cut


@lru_cache(maxsize=1)  # a worker does many shards, and loading a detector takes time
def _faces(settings: FaceSettings) -> Callable[[bytes], Cut]:
    finder = FaceFinder(settings)

    def cut(data: bytes) -> Cut:
        photo = finder.find(data)
        return Cut(photo.width, photo.height, photo.faces)

    return cut
