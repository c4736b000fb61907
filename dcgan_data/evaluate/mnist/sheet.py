"""Real and generated digits side by side, a row for each class (the appendix's figure of MNIST)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.train.conditional.draw import grid_of
from dcgan_data.train.conditional.labelled import CLASSES, SIDE, LabelledImages
from dcgan_data.train.conditional.sampler import ConditionalSampler

COLUMNS = 10
_ENLARGED, _LINE, _GAP = 2, 18, 20


def write_digits(path: Path, training: LabelledImages, sampler: ConditionalSampler) -> None:
    """Write the first training images of each class beside as many samples, as PNG, atomically.

    The samples are of fixed latent vectors, chosen by nobody.
    """
    panels = {
        "real (training images)": _first_of_each(training),
        f"generated ({sampler.run_dir}, step {sampler.step:,})": sampler.rows(COLUMNS),
    }
    side = CLASSES * SIDE * _ENLARGED
    sheet = Image.new("RGB", (_GAP + len(panels) * (side + _GAP), side + 2 * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LINE - 5)
    for place, (name, images) in enumerate(panels.items()):
        left = _GAP + place * (side + _GAP)
        draw.text((left, _LINE // 2), name, fill="black", font=font)
        panel = Image.fromarray(grid_of(images, COLUMNS)).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(panel, (left, 2 * _LINE))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _first_of_each(data: LabelledImages) -> np.ndarray:
    """uint8 (N, 28, 28): a row of images for each class, black where there are too few."""
    rows = np.zeros((CLASSES, COLUMNS, SIDE, SIDE), np.uint8)
    for label in range(CLASSES):
        first = data.images[data.labels == label][:COLUMNS]
        rows[label, : len(first)] = first
    return rows.reshape(-1, SIDE, SIDE)
