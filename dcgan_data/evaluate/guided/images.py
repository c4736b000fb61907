"""Real images to look for strong responses in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.examined import open_examined, some_of
from dcgan_data.formats.manifest import KEPT
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.train.trained import Trained


@dataclass(frozen=True)
class RealImages:
    """Some images of a set, in its order."""

    prepared: PreparedSet
    """The set."""
    pixels: np.ndarray
    """uint8 (N, S, S, 3)."""
    keys: tuple[str, ...]
    """Of each image ..."""
    parts: tuple[int, ...]
    """... and its number among the images of that key."""


def choose_images(trained: Trained, prepared: Path | None, most: int, seed: int) -> RealImages:
    """At most ``most`` images, at random: of those that a run was trained on, or of a set's kept ones.

    prepared: where the run's set is now, if it was moved; for a model's file, any set of its image size.
    Raises as ``open_examined`` and ``PreparedSet.open`` do, BadRequest if the images are of another size.
    """
    found, images, rows = _images_of(trained, prepared)
    size = trained.shape.image_size
    if images.image_size != size:
        raise BadRequest(
            f"{found.path}: has images of {images.image_size} px, {trained.name} is for {size} px; give a "
            f"set of that size with --prepared ('dcgan-data dedup SRC --image-size {size}' makes one)"
        )
    chosen = some_of(np.arange(len(images)), most, seed)
    names = found.manifest(["key", "part"]).take(pa.array(rows[chosen]))
    return RealImages(
        found, images.gather(chosen), tuple(names["key"].to_pylist()), tuple(names["part"].to_pylist())
    )


def _images_of(trained: Trained, prepared: Path | None) -> tuple[PreparedSet, ImageRows, np.ndarray]:
    """A set, images of it, and the manifest row of each."""
    if trained.step is not None:
        run = open_examined(trained.path, str(trained.step), "cpu", prepared)
        return run.prepared, run.split.train, run.split.train_rows
    if prepared is None:
        raise BadRequest(
            f"{trained.path}: does not say what it was trained on; give a prepared set with --prepared"
        )
    found = PreparedSet.open(prepared)
    kept = np.flatnonzero(pc.equal(found.manifest(["status"])["status"], KEPT).to_numpy())
    return found, found.rows(), kept
