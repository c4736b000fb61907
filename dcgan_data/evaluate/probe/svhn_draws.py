"""Many draws of 1,000 labels, and a classifier for each, on all processors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.evaluate.features_of import discriminator_features, feature_count
from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.evaluate.probe.svhn_data import draw_labels
from dcgan_data.evaluate.probe.svhn_fit import Fit, fit_numbered
from dcgan_data.parallel import run_tasks
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import Discriminator

_KEPT_BYTES = 2 << 30
"""Features of training images are kept if those of all fit in here: SVHN's 7,168 do, in 1.8 GB."""
_BLOCK_BYTES = 256 << 20
"""Features that are on their way to the workers at once; more, if that leaves one without work."""


@dataclass(frozen=True)
class Draw:
    """A classifier to be fitted."""

    rows: np.ndarray
    """int64 (1000,): the training images whose labels it may see."""
    cost: float
    """C."""
    seed: int
    """Of the order in which LinearSVC takes the images."""


def make_draw(train: Labelled, cost: float, rng: np.random.Generator) -> Draw:
    """Draw labels for a classifier."""
    return Draw(draw_labels(train, rng), cost, int(rng.integers(2**31)))


class TrainingFeatures:
    """Features of training images, computed when they are first asked for: some images are in many draws."""

    def __init__(self, discriminator: Discriminator, train: Labelled) -> None:
        self.train = train
        """The images."""
        self.width = feature_count(discriminator.shape)
        """How many features each has."""
        self._discriminator = discriminator
        keep = len(train) * self.width * np.dtype(np.float32).itemsize <= _KEPT_BYTES
        # Memory is taken as rows are written, not here.
        self._kept = np.empty((len(train), self.width), np.float32) if keep else None
        self._known = np.zeros(len(train), bool)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, F) of the images at int64 (n,) ``rows``."""
        if self._kept is None:
            return discriminator_features(self._discriminator, self.train.images[rows])
        missing = rows[~self._known[rows]]
        self._kept[missing] = discriminator_features(self._discriminator, self.train.images[missing])
        self._known[missing] = True
        found: np.ndarray = self._kept[rows]
        return found


def fit_draws(
    features: TrainingFeatures, draws: Sequence[Draw], workers: int, reporter: Reporter, name: str
) -> list[Fit]:
    """A classifier for each draw, in their order, whatever ``workers`` is; ``name`` is the stage's."""
    draw_bytes = len(draws[0].rows) * features.width * np.dtype(np.float32).itemsize
    at_once = max(workers, _BLOCK_BYTES // draw_bytes)
    fits: dict[int, Fit] = {}
    with reporter.stage(name, len(draws), "classifiers") as stage:
        for start in range(0, len(draws), at_once):
            tasks = [
                (number, features.of(draw.rows), features.train.labels[draw.rows], draw.cost, draw.seed)
                for number, draw in enumerate(draws[start : start + at_once], start)
            ]
            # Processes, not threads: liblinear's random numbers are one global stream of the process.
            for number, fit in run_tasks(fit_numbered, tasks, workers):
                fits[number] = fit
                stage.advance(1)
    return [fits[number] for number in range(len(draws))]
