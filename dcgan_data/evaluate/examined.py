"""A run, the set that it was trained on, and which images of it training saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.train.model_file import SUFFIX
from dcgan_data.train.rundir import RunDirectory, RunRecord
from dcgan_data.train.sample import Sampler, open_sampler
from dcgan_data.train.split import Split, split_set

_CHUNK_BYTES = 32 << 20


@dataclass(frozen=True)
class Examined:
    """All that an examination reads."""

    record: RunRecord
    """The run's settings."""
    sampler: Sampler
    """Draws the images of one checkpoint."""
    prepared: PreparedSet
    """The set, with the very contents that the run was trained on."""
    split: Split
    """Its images: trained on, and held out."""
    device: torch.device
    """Where to draw and to search."""

    @property
    def step(self) -> int:
        """Minibatches that the checkpoint was trained for."""
        return int(self.sampler.trained.weights.name)

    @property
    def with_duplicates(self) -> bool:
        """Whether the run was trained on the set's removed duplicates too."""
        return bool(self.record.config["include_duplicates"])


def open_examined(run_dir: Path, checkpoint: str, device: str, prepared: Path | None) -> Examined:
    """Open a run's checkpoint and its set; ``prepared`` is where the set is now, if it was moved.

    BadInput if one of them is missing or damaged, BadRequest if the set is not the one trained on.
    """
    place = resolve_device(device)
    if run_dir.suffix == SUFFIX and run_dir.is_file():
        raise BadRequest(
            f"{run_dir}: a model's file, which does not say what it was trained on; give a run directory"
        )
    record = RunDirectory(run_dir).read()
    images = PreparedSet.open(_place_of_set(run_dir, record, prepared))
    if images.info.content_sha256 != record.set_sha256:
        raise BadRequest(
            f"{images.path}: not the images that {run_dir} was trained on, their contents differ; "
            "say with --prepared where those are"
        )
    config = record.config
    split = split_set(images, config["include_duplicates"], record.held_out, config["seed"])
    return Examined(record, open_sampler(run_dir, checkpoint, device), images, split, place)


def _place_of_set(run_dir: Path, record: RunRecord, given: Path | None) -> Path:
    if given is not None:
        return given
    recorded = Path(record.config["prepared"])
    if not recorded.is_dir():
        raise BadRequest(
            f"{run_dir}: was trained on {recorded}, which is gone; say with --prepared where it is"
        )
    return recorded


def in_chunks(images: ImageRows, positions: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Images as uint8 (n, S, S, 3) of some 32 MB, in the order of int64 ``positions``; without, all."""
    if positions is None:
        positions = np.arange(len(images))
    at_once = max(1, _CHUNK_BYTES // (images.image_size**2 * 3))
    for start in range(0, len(positions), at_once):
        yield images.gather(positions[start : start + at_once])


def some_of(positions: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` of int64 (N,) ``positions``, chosen at random without repetition, ascending."""
    rng = np.random.default_rng(seed)
    chosen: np.ndarray = rng.choice(positions, min(most, len(positions)), replace=False)
    return np.sort(chosen)
