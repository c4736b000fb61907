"""What a training run is asked to do; importable without torch, for the command line's defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.errors import BadRequest

DEFAULT_EPOCHS = 25
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TrainConfig:
    """One training run (DCGAN paper, sec. 4). The image size is the prepared set's own."""

    prepared: Path
    """The prepared set; only its kept rows are read."""
    run_dir: Path
    """Where config.json, metrics.jsonl, samples/ and checkpoints/ go."""
    steps: int | None = None
    """Minibatches to train for. Each updates EITHER the generator OR the discriminator."""
    epochs: int | None = None
    """Passes over the set, in place of ``steps``; 25 when neither is given."""
    width: int = 128
    """Channels of the discriminator's first stage; 128 is the paper's model."""
    z_dim: int = 100
    """Length of the latent vector."""
    batch_size: int = 128
    """Images in a minibatch, and in every set of batch statistics."""
    learning_rate: float = 2e-4
    """Adam's step size."""
    beta1: float = 0.5
    """Adam's momentum; the paper found 0.9 unstable."""
    beta2: float = 0.999
    """Adam's decay of squared gradients."""
    adam_eps: float = 1e-8
    """Adam's divisor floor."""
    l2: float = 1e-5
    """Times each parameter, added to its gradient: all parameters, batch norm included."""
    seed: int = 0
    """Of weights, latent vectors, data order and sample grids, each of which has its own generator."""
    device: str = "auto"
    """auto, cpu or cuda; auto takes a GPU if there is one."""
    sample_every: int = 100
    """Steps between grids in samples/."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl; on a GPU, the host waits for it only then."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise BadRequest(f"steps={self.steps} and epochs={self.epochs}: give one of the two, not both")
        for name in ("steps", "epochs"):
            if getattr(self, name) is not None:
                self._require_at_least(name, 1)
        for name in ("width", "z_dim", "sample_every", "checkpoint_every", "keep_checkpoints", "log_every"):
            self._require_at_least(name, 1)
        self._require_at_least("batch_size", 2)  # one image has no batch statistics
        self._require_at_least("seed", 0)
        for name in ("learning_rate", "adam_eps"):
            self._require(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        self._require("l2", 0 <= self.l2 < math.inf, "a finite number, 0 or more")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._require("device", self.device in DEVICES, f"one of {', '.join(DEVICES)}")

    def total_steps(self, batches_per_epoch: int) -> int:
        """Minibatches of the whole run, for a set with that many full batches."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or DEFAULT_EPOCHS) * batches_per_epoch

    def _require_at_least(self, name: str, least: int) -> None:
        self._require(name, getattr(self, name) >= least, f"{least} or more")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise BadRequest(f"{name}={getattr(self, name)!r}: must be {allowed}")
