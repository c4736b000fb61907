"""What a run of the conditional DCGAN is asked to do; importable without torch, for the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dcgan_data.errors import BadRequest

PRECISIONS = ("float32", "bf16", "auto")
PRESETS = MappingProxyType(
    {
        "paper": MappingProxyType({}),
        "quick": MappingProxyType({"epochs": 5, "decay_epochs": 5, "precision": "auto"}),
    }
)
"""What each preset changes of ConditionalSettings' defaults, which are the authors' script."""


@dataclass(frozen=True)
class ConditionalSettings:
    """One run: the defaults are the authors' (DCGAN paper, appendix; their MNIST script)."""

    run_dir: Path
    """Where everything that the run writes goes."""
    preset: str = "paper"
    """The set of defaults that the other fields were filled from: paper or quick (``of_preset``)."""
    epochs: int = 100
    """Passes over the training images at the full learning rate."""
    decay_epochs: int = 100
    """Passes after these, over which the learning rate goes down to 0."""
    batch_size: int = 128
    """Images in a minibatch; the last one of an epoch has what is left."""
    learning_rate: float = 2e-4
    """Adam's step size."""
    beta1: float = 0.5
    """Adam's momentum."""
    beta2: float = 0.999
    """Adam's decay of squared gradients."""
    adam_eps: float = 1e-8
    """Adam's divisor floor."""
    l2: float = 2.5e-5
    """Times each weight, added to its gradient."""
    z_dim: int = 100
    """Length of the latent vector."""
    filters: int = 64
    """Channels of the maps next to the image; twice as many at 7x7."""
    units: int = 1024
    """Of the fully connected layers."""
    held_out: int = 10_000
    """Images kept from training, for the score at each checkpoint; 0: none."""
    precision: str = "float32"
    """Of matrix products and convolutions: float32 as the authors', bf16, or auto: bf16 where it is quick."""
    seed: int = 0
    """Of weights, order, latent vectors, and of the choice of held-out images."""
    device: str = "auto"
    """Where to train: auto, cpu or cuda."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with the score of 1,000 samples."""
    keep_checkpoints: int = 2
    """How many are kept, the newest; each has 160 MB."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""

    @classmethod
    def of_preset(cls, preset: str, **given: Any) -> ConditionalSettings:
        """A preset's settings with those that are given put in their place; BadRequest for another name."""
        if preset not in PRESETS:
            raise BadRequest(f"preset={preset!r}: must be one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[preset], **given, "preset": preset})

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            self._require(name, getattr(self, name) >= least, f"{least} or more")
        for name in ("learning_rate", "adam_eps"):
            self._require(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        self._require("l2", 0 <= self.l2 < math.inf, "a finite number, 0 or more")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")

    @property
    def all_epochs(self) -> int:
        """Passes over the training images."""
        return self.epochs + self.decay_epochs

    def learning_rate_in(self, epoch: int) -> float:
        """Of an epoch, from 1: the authors take a step down after each one that follows the full ones."""
        steps_down = max(0, epoch - self.epochs - 1)
        return self.learning_rate * (1 - steps_down / max(1, self.decay_epochs))

    def steps_per_epoch(self, images: int) -> int:
        """Minibatches of one pass over so many images."""
        whole, rest = divmod(images, self.batch_size)
        return whole + (rest > 1)  # a single image has no batch statistics

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise BadRequest(f"{name}={getattr(self, name)!r}: must be {allowed}")


_LEAST = MappingProxyType(
    {
        "epochs": 1,
        "decay_epochs": 0,
        "batch_size": 2,
        "z_dim": 1,
        "filters": 1,
        "units": 1,
        "held_out": 0,
        "seed": 0,
        "checkpoint_every": 1,
        "keep_checkpoints": 1,
        "log_every": 1,
    }
)
