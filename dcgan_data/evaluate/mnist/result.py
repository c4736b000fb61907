"""What the 1-nearest-neighbour test finds."""

from __future__ import annotations

import math
from dataclasses import dataclass

_CONFIDENCE = 1.96
"""Standard deviations to either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Misclassified:
    """How wrong the classifier is with so many references."""

    references: int
    """Images that it knows."""
    wrong: int
    """Test images that it gives another label than their own."""
    percent: float
    """The same of 100 test images."""
    spread: float
    """Other test images would change ``percent`` by so much at most, 95 times of 100."""

    @classmethod
    def of(cls, references: int, wrong: int, test_images: int) -> Misclassified:
        """Of so many test images; the spread is that of a binomial distribution."""
        share = wrong / test_images
        spread = _CONFIDENCE * math.sqrt(share * (1 - share) / test_images)
        return cls(references, wrong, 100 * share, 100 * spread)


@dataclass(frozen=True)
class Generated:
    """What a run's samples are worth as references."""

    run: str
    """The run's directory."""
    step: int
    """Minibatches that the generator was trained for."""
    epochs: float
    """The same in passes over the training images."""
    seed: int
    """Of the samples."""
    errors: tuple[Misclassified, ...]
    """By their number."""
    picture: str
    """Real and generated digits side by side."""


@dataclass(frozen=True)
class MnistResult:
    """What was found."""

    test_images: int
    """Real images that were classified."""
    real: tuple[Misclassified, ...]
    """With the first 50,000 training images as references, and with all of them."""
    generated: Generated | None
    """With samples as references; None without a run."""
    file: str | None
    """JSON of all this; None if there is no place for it."""
