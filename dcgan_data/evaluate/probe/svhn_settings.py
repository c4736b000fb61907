"""What is asked of the SVHN probe; the defaults are the protocol of the authors' script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dcgan_data.errors import BadRequest

COSTS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
"""The values of C that are tried."""
VALIDATION, DRAWS, SEARCH_DRAWS = 10_000, 100, 10
"""Validation images, draws, and draws for each C, in the protocol."""
TRIALS = 64
"""Of the paper's random search."""


@dataclass(frozen=True)
class SvhnSettings:
    """How to measure."""

    data: Path
    """Directory of train_32x32.mat and test_32x32.mat."""
    validation: int = VALIDATION
    """Images of train that C, and the supervised network's hyper-parameters, are chosen by."""
    draws: int = DRAWS
    """Draws of 1,000 labels that the errors are the mean of."""
    search_draws: int = SEARCH_DRAWS
    """Draws of 1,000 labels for each C, when it is chosen."""
    supervised: bool = False
    """Also train the same architecture from scratch on 1,000 labels, with a random search."""
    trials: int = TRIALS
    """Of that search."""
    epochs: int = 100
    """Passes over the 1,000 images that a trial may take."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the draws and of the search; not of the validation set, which is the authors'."""
    workers: int = 1
    """Processes that fit classifiers, and on a CPU also train networks."""
    device: str = "auto"
    """Where networks run: auto, cpu or cuda."""
    out: Path | None = None
    """Directory of the results; None: beside the model."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) < least:
                raise BadRequest(f"--{name.replace('_', '-')} {value}: expected {least} or more")


_LEAST = MappingProxyType(
    # A single draw has no spread.
    {"validation": 1, "draws": 2, "search_draws": 1, "trials": 1, "epochs": 1, "seed": 0, "workers": 1}
)
