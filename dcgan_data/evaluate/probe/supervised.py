"""A network with the discriminator's architecture that is trained on labels alone (DCGAN paper, sec. 5.2).

The discriminator's convolutions, with batch norm and LeakyReLU, from the same random weights; ten logits and
a softmax in the place of its one logit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.train.data import scale
from dcgan_data.train.models import WEIGHT_STD, Discriminator, ModelShape, build
from dcgan_data.train.norm import Statistics, measure_statistics, standing

CLASSES = 10
VALIDATE_EVERY = 5
"""Epochs from one look at the validation images to the next."""
PATIENCE = 5
"""Looks without a lower validation error after which training ends."""
_AT_ONCE = 500


@dataclass(frozen=True)
class HyperParameters:
    """What the random search draws."""

    learning_rate: float
    """Adam's step size."""
    beta1: float
    """Adam's momentum."""
    l2: float
    """Times each parameter, added to its gradient: as in the trainer."""
    batch_size: int
    """Images in a minibatch."""
    dropout: float
    """Share of the units below the logits that are set to 0 in training."""


@dataclass(frozen=True)
class Outcome:
    """How one network fared, at the look with the lowest validation error."""

    epochs: int
    """Passes over the labelled images until then."""
    validation_error: float
    """In percent."""
    test_error: float
    """In percent."""
    train_error: float
    """On the labelled images themselves, in percent."""


class LabelNetwork(nn.Module):
    """Images, float32 (B, 3, S, S) in [-1, 1], to logits, float32 (B, 10)."""

    def __init__(self, shape: ModelShape, rng: torch.Generator) -> None:
        super().__init__()
        # Spectral norm limits a discriminator for its generator's sake: a classifier has none.
        body = build(Discriminator, replace(shape, spectral_norm=False), rng)
        self.stages = body.stages
        # Made without storage: torch's own initialisation would draw from its global generator.
        bare = nn.Linear(body.classify.in_features, CLASSES, bias=False, device="meta")
        self.classify = bare.to_empty(device="cpu")
        with torch.no_grad():
            self.classify.weight.normal_(0.0, WEIGHT_STD, generator=rng)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """kept: what the units below the logits are multiplied by, (B, units): dropout; None: nothing."""
        maps = images
        for stage in self.stages:
            maps = stage(maps)
        units = maps.permute(0, 2, 3, 1).flatten(1)
        logits: Tensor = self.classify(units if kept is None else units * kept)
        return logits


@dataclass(frozen=True)
class Lesson:
    """What a network learns from, and is judged by."""

    train: Labelled
    """The labelled images, 1,000 in the protocol."""
    validation: Labelled
    """What it is stopped by."""
    test: Labelled
    """Looked at once, when it has stopped."""
    epochs: int
    """Most passes over the labelled images."""


def train_network(
    shape: ModelShape, lesson: Lesson, hyper: HyperParameters, seed: int, device: torch.device
) -> Outcome | None:
    """Train a network until its validation error no longer falls; None if its loss is not finite before that.

    On a CPU in one thread, so that the result is the same to the bit however many trials run beside it.
    """
    rng = torch.Generator().manual_seed(seed)
    with _one_thread(device):
        network = LabelNetwork(shape, rng).to(device)
        adam = torch.optim.Adam(
            network.parameters(), hyper.learning_rate, (hyper.beta1, 0.999), weight_decay=hyper.l2
        )
        best: _Best | None = None
        for epoch in range(1, lesson.epochs + 1):
            loss = _one_epoch(network, adam, lesson.train, hyper, rng)
            if not math.isfinite(loss):
                break
            if epoch % VALIDATE_EVERY and epoch < lesson.epochs:
                continue
            statistics = _statistics(network, lesson.train, hyper.batch_size)
            error = error_rate(network, statistics, lesson.validation)
            if best is None or error < best.error:
                best = _Best(epoch, error, copy.deepcopy(network.state_dict()), statistics)
            elif epoch - best.epoch >= PATIENCE * VALIDATE_EVERY:
                break
        return _judge(network, best, lesson) if best else None


@dataclass(frozen=True)
class _Best:
    """The network as it was at its lowest validation error."""

    epoch: int
    error: float
    weights: dict[str, Tensor]
    statistics: Statistics


def _judge(network: LabelNetwork, best: _Best, lesson: Lesson) -> Outcome:
    network.load_state_dict(best.weights)
    train, test = (error_rate(network, best.statistics, part) for part in (lesson.train, lesson.test))
    return Outcome(best.epoch, best.error, test, train)


def _one_epoch(
    network: LabelNetwork,
    adam: torch.optim.Adam,
    train: Labelled,
    hyper: HyperParameters,
    rng: torch.Generator,
) -> float:
    """Show every image once, in random order; returns the last loss."""
    device = network.classify.weight.device
    loss = torch.zeros(())
    for rows in torch.split(torch.randperm(len(train), generator=rng), hyper.batch_size):
        chosen = rows.numpy()
        kept = torch.empty(len(rows), network.classify.in_features)
        # Drawn on the CPU by the trial's own generator: torch's dropout takes the global one.
        kept.bernoulli_(1 - hyper.dropout, generator=rng).div_(1 - hyper.dropout)
        logits = network(_scaled(train.images[chosen], device), kept.to(device))
        loss = F.cross_entropy(logits, torch.from_numpy(train.labels[chosen]).to(device))
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    return loss.item()


def _statistics(network: LabelNetwork, train: Labelled, batch_size: int) -> Statistics:
    """Of all labelled images, for images to be judged by themselves."""
    device = network.classify.weight.device
    parts = (train.images[start : start + batch_size] for start in range(0, len(train), batch_size))
    return measure_statistics(network, (_scaled(part, device) for part in parts))


@torch.no_grad()
def error_rate(network: LabelNetwork, statistics: Statistics, part: Labelled) -> float:
    """Share of images that the network gets wrong, in percent, normalised by ``statistics``."""
    device = network.classify.weight.device
    wrong = 0
    with standing(network, statistics):
        for start in range(0, len(part), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            answers = network(_scaled(part.images[chunk], device)).argmax(1).cpu().numpy()
            wrong += int((answers != part.labels[chunk]).sum())
    return 100 * wrong / len(part)


def _scaled(images: np.ndarray, device: torch.device) -> Tensor:
    # A copy: a worker's images are a memory map that cannot be written to, which torch warns of.
    return scale(torch.from_numpy(images.copy()).to(device))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
