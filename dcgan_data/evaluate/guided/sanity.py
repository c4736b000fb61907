"""Do the maps show what D has learnt, or what any network of its kind would show? (Adebayo et al., 2018)

Guided backpropagation is known to act in part as an edge detector: with the weights of upper layers made
random its maps hardly change. So D's layers are made random one after another, from the last convolution on
down, and the maps of the very same units on the same images are compared by rank with those of the trained
weights. Maps of two random networks are alike to some degree, too, since both show the same image: that is
the least to be expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from dcgan_data.evaluate.features_of import random_discriminator, with_statistics
from dcgan_data.evaluate.guided.backprop import Field
from dcgan_data.train.models import Discriminator
from dcgan_data.train.trained import Trained


@dataclass(frozen=True)
class Level:
    """How much the maps of partly random weights are like those of the trained ones."""

    layers: int
    """How many of the last convolutions are random, with their batch norms."""
    signed: float
    """Mean rank correlation (Spearman) of the maps within the units' receptive fields."""
    absolute: float
    """The same of their absolute values."""


@dataclass(frozen=True)
class Networks:
    """A discriminator, from wholly trained to wholly random."""

    trained: Trained
    """The trained one."""
    images: np.ndarray
    """uint8 (N, S, S, 3), whose statistics all of them have in their batch norms."""
    seed: int
    """Of the random weights."""
    device: torch.device
    """Where they are."""

    @property
    def layers(self) -> int:
        """How many convolutions there are."""
        return len(self.trained.shape.discriminator_layers)

    def randomised(self, layers: int, draw: int = 0) -> Discriminator:
        """D with so many of its last convolutions random, and their batch norms; 0: as it was trained.

        draw: other weights for another number.
        """
        discriminator = self.trained.discriminator(self.device)
        seed = np.random.SeedSequence((self.seed, draw)).generate_state(1)[0]
        fresh = random_discriminator(self.trained.shape, int(seed), self.device)
        for place in range(self.layers - layers, self.layers):
            discriminator.stages[place] = fresh.stages[place]
        # Spectral norm, where there is one, goes on estimating with every pass of a model in training.
        return with_statistics(discriminator.eval(), self.images)


def compare(layers: int, maps: np.ndarray, others: np.ndarray, fields: Sequence[Field]) -> Level:
    """Compare float32 (N, S, S, 3) maps with those of other weights, each within its field.

    A map that is the same everywhere counts as unlike all others.
    """
    pairs = [
        (field.cut(one), field.cut(other)) for one, other, field in zip(maps, others, fields, strict=True)
    ]
    signed = [_rank_correlation(one, other) for one, other in pairs]
    absolute = [_rank_correlation(np.abs(one), np.abs(other)) for one, other in pairs]
    return Level(layers, float(np.mean(signed)), float(np.mean(absolute)))


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
