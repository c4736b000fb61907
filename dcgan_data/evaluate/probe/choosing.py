"""The C of linear SVMs, chosen by cross-validation.

C may be chosen on a part of the images and used for all of them as it is: the penalty is a prior on the
weights, which does not change with the number of images. That holds while features are many. Measured on
CIFAR-10, the best C of 8,000 and of 40,000 images is the same by raw pixels (1e-4) and by 7,168 features of
a discriminator (3.2e-4). By 400 features of K-means it is not: 0.1 for 40,000 images, 0.01 or 0.032 for
10,000, which costs 0.1 to 0.4 points on held-out training images. So the fewer the features, the more images
C is chosen on: ``images_to_choose_on``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dcgan_data.evaluate.probe.linear_svm import LinearSvm, one_versus_rest
from dcgan_data.evaluate.probe.strata import fold_numbers
from dcgan_data.reporter import Stage

COSTS = tuple(float(f"{10 ** (half / 2):.2g}") for half in range(-12, 5))
"""From 1e-6 to 100, two in a decade."""
FOLDS = 5
_WORSE_IN_A_ROW = 2
"""After so many values that are worse than the best, larger ones are not tried: they take the longest."""
_BEYOND_CHANCE = 4
"""Standard deviations of guessing that the best must be above it: until then, small values learn nothing."""
_LEAST_IMAGES = 10_000
_NUMBERS = _LEAST_IMAGES * 7168
"""Features times images to choose on, at least: with fewer features more images take no longer."""
_TOLERANCE = 0.05
"""Of these fits. It moves the accuracy by far less than what tells values of C apart."""


@dataclass(frozen=True)
class Tried:
    """A value of C, and what came of it."""

    cost: float
    """C."""
    accuracy: float
    """Share of the images that classifiers fitted without them get right."""


@dataclass(frozen=True)
class Choice:
    """The best C, and what it was chosen from."""

    cost: float
    """The smallest of those with the highest accuracy."""
    tried: tuple[Tried, ...]
    """In the order tried, which is ascending."""
    images: int
    """How many were used for this."""

    @property
    def at_edge(self) -> bool:
        """Whether it is the smallest or the largest value there is: better ones may lie beyond."""
        return self.cost in (COSTS[0], COSTS[-1])


def images_to_choose_on(features: int, available: int) -> int:
    """How many of the images that there are C should be chosen on; 10,000 for 7,168 features or more."""
    return min(available, max(_LEAST_IMAGES, _NUMBERS // features))


def choose_cost(
    features: Tensor, labels: np.ndarray, rng: np.random.Generator, stage: Stage | None = None
) -> Choice:
    """Cross-validate each C in stratified folds, from the smallest up, until two in a row are worse.

    features: float32 (N, F); labels: int64 (N,), from 0 on. The classifiers of all folds are fitted together,
    each C from the one before. ``stage`` is told of each C.
    """
    classes = int(labels.max()) + 1
    folds = fold_numbers(labels, FOLDS, rng)
    own = folds[:, None] == np.arange(FOLDS)
    signs = np.where(own[:, :, None], np.float32(0), one_versus_rest(labels, classes)[:, None, :])
    svm = LinearSvm(features, signs.reshape(len(labels), FOLDS * classes))
    tried: list[Tried] = []
    fitted = None
    for cost in COSTS:
        fitted = svm.fit(cost, fitted, _TOLERANCE)
        scores = fitted.scores(features).cpu().numpy().reshape(len(labels), FOLDS, classes)
        held_out = scores[np.arange(len(labels)), folds]
        tried.append(Tried(cost, float((held_out.argmax(axis=1) == labels).mean())))
        if stage:
            stage.advance(1, f"C {cost:g}: {tried[-1].accuracy:.1%}")
        best = max(tried, key=lambda each: each.accuracy)  # the first of equals
        worse = [each.accuracy < best.accuracy for each in tried[-_WORSE_IN_A_ROW:]]
        if best.accuracy > _above_chance(labels) and len(worse) == _WORSE_IN_A_ROW and all(worse):
            break
    return Choice(best.cost, tuple(tried), len(labels))


def _above_chance(labels: np.ndarray) -> float:
    """An accuracy that guessing the commonest class does not reach."""
    guessed = float(np.bincount(labels).max() / len(labels))
    return guessed + _BEYOND_CHANCE * math.sqrt(guessed * (1 - guessed) / len(labels))
