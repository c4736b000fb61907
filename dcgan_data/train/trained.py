"""A trained model to examine: a checkpoint of a run, or a file of weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.checkpoint import (
    DISCRIMINATOR,
    EXAMINED,
    best_checkpoint,
    checkpoints_in,
    load_drawing_generator,
    load_network,
)
from dcgan_data.train.model_file import SUFFIX, load_file_network, read_shape
from dcgan_data.train.models import Discriminator, Generator, ModelShape, Network
from dcgan_data.train.rundir import RunDirectory, RunRecord


@dataclass(frozen=True)
class Trained:
    """Where the weights of a model are, and what they are of."""

    path: Path
    """As it was given: a run directory, or a file."""
    weights: Path
    """The checkpoint's directory, or the file."""
    shape: ModelShape
    """Of both networks."""
    record: RunRecord | None
    """The run's settings; None for a file."""

    @property
    def step(self) -> int | None:
        """Minibatches that the checkpoint was trained for; None for a file."""
        return int(self.weights.name) if self.record else None

    @property
    def sha256(self) -> str:
        """Of the weights that are examined, whatever else is stored with them."""
        files = [self.weights] if self.step is None else [self.weights / name for name in EXAMINED]
        digest = hashlib.sha256()
        for path in files:
            if path.exists():
                digest.update(path.name.encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """For a person: ``runs/out, step 3,000``."""
        return str(self.path) if self.step is None else f"{self.path}, step {self.step:,}"

    def generator(self, device: torch.device) -> Generator:
        """The generator that samples come from, with standing statistics; BadInput if it cannot be read."""
        if self.record:
            return self._finite(load_drawing_generator(self.weights, self.shape)).to(device)
        return self._finite(load_file_network(self.weights, Generator, self.shape)).to(device)

    def discriminator(self, device: torch.device) -> Discriminator:
        """The discriminator, normalising by its batch; BadInput if it is absent or cannot be read."""
        if not self.record:
            return self._finite(load_file_network(self.weights, Discriminator, self.shape)).to(device)
        if not (self.weights / DISCRIMINATOR).exists():
            raise BadInput(
                f"{self.weights}: has no {DISCRIMINATOR}; choose another --checkpoint, or train again"
            )
        return self._finite(load_network(self.weights, Discriminator, self.shape)).to(device)

    def _finite(self, network: Network) -> Network:
        if not all(bool(values.isfinite().all()) for values in network.parameters()):
            kind = type(network).__name__.lower()
            raise BadInput(
                f"{self.weights}: weights of the {kind} are not finite; choose another --checkpoint"
            )
        return network


def open_trained(path: Path, checkpoint: str = "last") -> Trained:
    """Find a model: a run's newest checkpoint, the ``best`` by its score, or one by step; or a file.

    Raises BadInput if ``path`` is neither or the checkpoint is missing or damaged, BadRequest for a
    checkpoint that is not there.
    """
    if path.suffix == SUFFIX and not path.is_dir():
        return Trained(path, path, read_shape(path), None)
    run = RunDirectory(path)
    record = run.read()
    return Trained(path, _choose(run, checkpoint), record.shape, record)


def _choose(run: RunDirectory, name: str) -> Path:
    saved = checkpoints_in(run.checkpoints)
    if not saved:
        raise BadInput(f"{run.path}: has no checkpoint yet; train it further with 'dcgan-data train'")
    if name == "last":
        return saved[-1]
    if name == "best":
        if (best := best_checkpoint(run.checkpoints)) is not None:
            return best
        raise BadInput(f"{run.path}: no checkpoint has a score, no images were held out; use last, or a step")
    for path in saved:
        if name.isdecimal() and int(path.name) == int(name):
            return path
    steps = ", ".join(str(int(path.name)) for path in saved)
    raise BadRequest(f"--checkpoint {name}: {run.path} has {steps}; give one of these, last, or best")
