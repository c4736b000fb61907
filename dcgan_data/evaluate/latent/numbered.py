"""A sheet of samples with their numbers, from which exemplars are picked by eye."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.drawing import GAP, LINE, Sheet, shown_side
from dcgan_data.evaluate.place import command_line
from dcgan_data.train.sample import Sampler

MOST_NUMBERED = 2000
"""Samples of one sheet: what viewers still open."""
_MOST_COLUMNS = 16


def numbered_sheet(sampler: Sampler, count: int, out: Path, seed: int = 0) -> Path:
    """Draw samples 0 to ``count`` - 1, the very ones of ``train.sample.sample``, each with its number below.

    Returns ``out``. BadRequest for an impossible count, seed or name.
    """
    if not 1 <= count <= MOST_NUMBERED:
        raise BadRequest(f"--count {count}: a numbered sheet has 1 to {MOST_NUMBERED:,} samples")
    if seed < 0:
        raise BadRequest(f"--seed {seed}: must be 0 or more")
    if out.suffix.lower() != ".png":
        raise BadRequest(f"{out}: samples are written as PNG; give a name that ends in .png")
    images = np.concatenate(list(sampler.draw(count, seed)))
    side = shown_side(sampler.shape.image_size)
    columns = min(math.ceil(math.sqrt(count)), _MOST_COLUMNS)
    wide, tall = side + GAP, side + LINE + GAP // 2
    sheet = Sheet(columns * wide - GAP, math.ceil(count / columns) * tall, _title(sampler, count, seed))
    for number, pixels in enumerate(images):
        x, y = number % columns * wide, number // columns * tall
        sheet.image(x, y, pixels, side)
        sheet.text(x, y + side, str(number))
    try:
        sheet.save(out)
    except OSError as error:
        raise BadRequest(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    return out


def _title(sampler: Sampler, count: int, seed: int) -> tuple[str, str]:
    trained = sampler.trained
    return (
        f"{trained.name}, seed {seed}: samples 0 to {count - 1:,}",
        command_line(trained, "arithmetic", "--a .. --b .. --c ..", seed),
    )
