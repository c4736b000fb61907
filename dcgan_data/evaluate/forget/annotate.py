"""The page on which a person draws boxes on samples: one file that a browser opens from disk."""

from __future__ import annotations

import base64
import io
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.forget.boxes import MOST_SAMPLES, weights_sha256
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.html_page import asset, fill_page, script_json, text
from dcgan_data.train.sample import Sampler, open_sampler

_LARGEST_SEED = 2**53 - 1
"""A page's script keeps whole numbers so far."""


@dataclass(frozen=True)
class AnnotateSettings:
    """What to show."""

    samples: int = 150
    """How many samples; the paper's number."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the samples."""
    device: str = "auto"
    """Where to draw them: auto, cpu or cuda."""
    out: Path | None = None
    """Where the page goes; None: RUN/forget."""

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise BadRequest(f"-n {self.samples}: expected 1 to {MOST_SAMPLES:,} samples")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise BadRequest(f"--seed {self.seed}: expected 0 to {_LARGEST_SEED:,}")


@dataclass(frozen=True)
class AnnotateResult:
    """What was written."""

    model: str
    """Run and step, or file."""
    samples: int
    """How many samples are shown."""
    seed: int
    """Of the samples."""
    page: str
    """The page, to open in a browser."""


def annotate(path: Path, settings: AnnotateSettings) -> AnnotateResult:
    """Write a page with samples of a run, or of a model's file, to draw boxes on.

    It goes to ``RUN/forget/step-NNNNNN-annotate.html``. Raises BadInput and BadRequest as ``open_sampler``
    does. The samples are those of ``dcgan-data sample`` with the same seed, in the same order.
    """
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    images = np.concatenate(list(sampler.draw(settings.samples, settings.seed)))
    trained = sampler.trained
    place = place_of(trained, "forget", settings.out)
    page = place.file("-annotate.html")
    with place.writing(), atomic_path(page) as temporary:
        # backslashreplace: a path may be no text
        temporary.write_text(_fill(sampler, images, settings), "utf-8", errors="backslashreplace")
    return AnnotateResult(trained.name, settings.samples, settings.seed, str(page))


def _fill(sampler: Sampler, images: np.ndarray, settings: AnnotateSettings) -> str:
    package = "dcgan_data.evaluate.forget"
    template, style, script = (asset(package, f"annotate.{kind}") for kind in ("html", "css", "js"))
    trained = sampler.trained
    run = shlex.quote(str(trained.path))
    if trained.step is not None:
        run += f" --checkpoint {trained.step}"
    parts = {
        "title": text(trained.name),
        "run": text(run),
        "samples_json": script_json(_data(sampler, images, settings.seed)),
    }
    return fill_page(template, style, script, parts)


def _data(sampler: Sampler, images: np.ndarray, seed: int) -> dict[str, Any]:
    """What the page's script needs; all but the pictures goes into ``boxes.json``, too."""
    return {
        "model": weights_sha256(sampler.generator),
        "name": sampler.trained.name,
        "seed": seed,
        "image_size": sampler.shape.image_size,
        "pictures": [_png(image) for image in images],
    }


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
