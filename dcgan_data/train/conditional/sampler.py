"""A trained conditional generator, to draw from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.conditional.checkpoint import checkpoints_in, load_generator, step_of
from dcgan_data.train.conditional.draw import draw_digits, draw_rows
from dcgan_data.train.conditional.labelled import LabelledImages
from dcgan_data.train.conditional.models import ConditionalGenerator
from dcgan_data.train.conditional.record import ConditionalRecord, read_record
from dcgan_data.train.rundir import RunDirectory
from dcgan_data.train.seeds import Stream, torch_rng


class ConditionalSampler:
    """Draws digits; the same latent vector and label give the same image always."""

    def __init__(
        self, generator: ConditionalGenerator, record: ConditionalRecord, run_dir: Path, checkpoint: Path
    ) -> None:
        self.run_dir = run_dir
        """Whose generator it is."""
        self.record = record
        """The run's settings."""
        self.step = step_of(checkpoint)
        """Minibatches that the weights were trained for."""
        self._generator = generator

    def draw(self, count: int, seed: int = 0) -> Iterator[LabelledImages]:
        """``count`` images of random labels in chunks; the first are the same whatever ``count`` is."""
        yield from draw_digits(self._generator, torch_rng(seed, Stream.SAMPLE), count)

    def rows(self, columns: int, seed: int = 0) -> np.ndarray:
        """A row of ``columns`` images for each of the ten classes: uint8 (10 * columns, 28, 28)."""
        return draw_rows(self._generator, columns, seed)


def open_conditional(run_dir: Path, checkpoint: str, device: torch.device) -> ConditionalSampler:
    """Load the generator of a conditional run: its newest checkpoint (``last``), or one by step.

    Raises BadInput if ``run_dir`` is no such run or the checkpoint is damaged, BadRequest for a step that
    is not there.
    """
    run = RunDirectory(run_dir)
    record = read_record(run)
    chosen = _choose(run, checkpoint)
    return ConditionalSampler(load_generator(chosen, record.shape).to(device), record, run_dir, chosen)


def _choose(run: RunDirectory, name: str) -> Path:
    saved = checkpoints_in(run.checkpoints)
    if not saved:
        raise BadInput(f"{run.path}: has no checkpoint yet; go on with 'dcgan-data mnist train --resume'")
    if name == "last":
        return saved[-1]
    for path in saved:
        if name.isdecimal() and step_of(path) == int(name):
            return path
    steps = ", ".join(str(step_of(path)) for path in saved)
    raise BadRequest(f"--checkpoint {name}: {run.path} has {steps}; give one of these, or last")
