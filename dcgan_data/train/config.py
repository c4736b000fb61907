"""What a training run is asked to do; importable without torch, for the command line's defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dcgan_data.errors import BadRequest

DEFAULT_EPOCHS = 25
LAYERS = ("strided", "paired")
LATENT = ("uniform", "normal")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "tf32", "bf16")
COMPILE = ("auto", "on", "off")
ON_COLLAPSE = ("stop", "warn", "rollback")

PRESETS = MappingProxyType(
    {
        "paper": MappingProxyType({}),
        "fast": MappingProxyType({"alternate": False, "precision": "auto", "ema": 0.999}),
    }
)
"""What each preset changes of TrainConfig's defaults, which are the authors' model and recipe."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run (DCGAN paper, sec. 4). The image size is the prepared set's own."""

    prepared: Path
    """The prepared set; only its kept rows are read."""
    run_dir: Path
    """Where everything that the run writes goes; ``rundir`` lists it."""
    preset: str = "paper"
    """The set of defaults that the other fields were filled from: paper or fast (``of_preset``)."""
    steps: int | None = None
    """Minibatches to train for."""
    epochs: int | None = None
    """Passes over the set, in place of ``steps``; 25 when neither is given."""
    width: int = 128
    """Channels of the discriminator's first stage; 128 is the paper's model."""
    layers: str = "strided"
    """5x5 convolutions of stride 2; or paired: the authors' 32x32 ImageNet model, 3x3, of stride 1 and 2."""
    z_dim: int = 100
    """Length of the latent vector."""
    latent: str = "uniform"
    """What latent vectors are drawn from: uniform on (-1, 1), or normal, as in the authors' SVHN model."""
    batch_size: int = 128
    """Images in a minibatch, over all processes."""
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
    alternate: bool = True
    """Each minibatch updates EITHER the generator OR the discriminator; if false, D and then G."""
    precision: str = "float32"
    """Of convolutions and matrix products: float32, tf32, bf16, or auto: the quickest that the device has.
    Weights, moments and batch statistics are float32 always."""
    ema: float = 0.0
    """Samples come from a moving average of G's weights, with this decay a step; 0: from G itself."""
    spectral_norm: bool = False
    """Divide each weight of the discriminator by its largest singular value (Miyato et al., 2018)."""
    augment: bool = False
    """Change real and generated images alike before D sees them (Zhao et al., 2020): for small sets."""
    compile: str = "auto"
    """torch.compile: on, off, or auto: on a GPU, for runs that are long enough to win back its minute."""
    cuda_graphs: bool = True
    """On a GPU: record a step's kernels once and launch them together."""
    deterministic: bool = False
    """On a GPU: only algorithms that give the same bits in every run. On a CPU it is always so."""
    include_duplicates: bool = False
    """Train on the removed duplicates too: what the set was before its removals."""
    held_out: int | None = None
    """Images kept from training, which samples are held against; None: 5 % of the set, at most 10,000."""
    seed: int = 0
    """Of weights, latent vectors, data order and sample grids, each of which has its own generator."""
    device: str = "auto"
    """auto, cpu or cuda; auto takes a GPU if there is one."""
    on_collapse: str = "warn"
    """When D saturates or samples collapse: warn, stop, or rollback: on from the checkpoint before, with
    other random numbers. A value that is not finite stops the run unless it is rolled back."""
    sample_every: int | None = None
    """Steps between grids in samples/; None: at every epoch's end, and every 1,000 steps."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept, beside the best: the one whose samples are hardest to tell from
    held-out images."""
    score_every: int | None = None
    """Epochs between nearest-neighbour scores of 1,000, 10,000 and 100,000 samples; None: none but the
    one of 1,000 samples at each checkpoint."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    tensorboard: bool = False
    """Also write scalars and grids for TensorBoard."""

    @classmethod
    def of_preset(cls, preset: str, **given: Any) -> TrainConfig:
        """A preset's settings with those that are given put in their place; BadRequest for another name."""
        if preset not in PRESETS:
            raise BadRequest(f"preset={preset!r}: must be one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[preset], **given, "preset": preset})

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise BadRequest(f"steps={self.steps} and epochs={self.epochs}: give one of the two, not both")
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) is not None:
                self._require(name, value >= least, f"{least} or more")
        self._require("width", self.width <= _WIDEST, f"{_WIDEST} or less")
        for name in ("learning_rate", "adam_eps"):
            self._require(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        self._require("l2", 0 <= self.l2 < math.inf, "a finite number, 0 or more")
        for name in ("beta1", "beta2", "ema"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name, allowed in _CHOICES.items():
            self._require(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")

    def total_steps(self, batches_per_epoch: int) -> int:
        """Minibatches of the whole run, for a set with that many full batches."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or DEFAULT_EPOCHS) * batches_per_epoch

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise BadRequest(f"{name}={getattr(self, name)!r}: must be {allowed}")


_WIDEST = 4096
"""Far beyond what any device can hold, and far below what overflows in torch."""
_LEAST = MappingProxyType(
    {
        "steps": 1,
        "epochs": 1,
        "width": 1,
        "z_dim": 1,
        "batch_size": 2,  # one image has no batch statistics
        "held_out": 0,
        "seed": 0,
        "sample_every": 1,
        "checkpoint_every": 1,
        "keep_checkpoints": 1,
        "score_every": 1,
        "log_every": 1,
    }
)
_CHOICES = MappingProxyType(
    {
        "preset": tuple(PRESETS),
        "layers": LAYERS,
        "latent": LATENT,
        "precision": PRECISIONS,
        "compile": COMPILE,
        "device": DEVICES,
        "on_collapse": ON_COLLAPSE,
    }
)
