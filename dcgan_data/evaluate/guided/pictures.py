"""Strong responses, trained weights beside random ones: images, and guided gradients below them."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np

from dcgan_data.evaluate.guided.looking import Look
from dcgan_data.evaluate.outlined import enlarged, outlined
from dcgan_data.evaluate.sheet import Cell, write_sheet
from dcgan_data.formats.manifest import shown_name

_GREY, _WHITE = 127.5, 255
_BRIGHTEST = 0.995
"""The share of a gradient's values that is not cut off; the rest would leave it dim."""


def write_picture(path: Path, title: str, trained: Look, random: Look) -> None:
    """Write two rows for each feature: images with their receptive fields, and the gradients; two blocks."""
    columns = len(trained.features[0].responses)
    rows = []
    for number in range(len(trained.features)):
        left, right = (_rows(look, number, columns) for look in (trained, random))
        gap = Cell(np.full_like(left[0][0].pixels, _WHITE), "")
        rows += [[*one, gap, *other] for one, other in zip(left, right, strict=True)]
    names = ["trained weights", *[""] * columns, "random weights", *[""] * (columns - 1)]
    words = "strongest responses of the first features of the last convolution, and guided gradients"
    write_sheet(path, (title, words), names, rows)


def _rows(look: Look, number: int, columns: int) -> list[list[Cell]]:
    """A feature's images and their gradients."""
    feature = look.features[number]
    part = slice(number * columns, (number + 1) * columns)
    images = [
        Cell(
            outlined(image, [astuple(response.field)]),
            f"feature {feature.channel}: {response.value:.2f}",
            shown_name(response.key, response.part),
        )
        for image, response in zip(look.pixels[part], feature.responses, strict=True)
    ]
    return [images, [Cell(enlarged(_shaded(gradient)), "") for gradient in look.maps[part]]]


def _shaded(gradient: np.ndarray) -> np.ndarray:
    """A gradient, float32 (S, S, 3), as uint8: grey where it is 0, each one at its own scale."""
    strong = float(np.quantile(np.abs(gradient), _BRIGHTEST))
    shades = _GREY + gradient * (_GREY / strong if strong else 0)
    shaded: np.ndarray = np.rint(np.clip(shades, 0, 255)).astype(np.uint8)
    return shaded
