"""What the 1-nearest-neighbour test finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRate:
    """How wrong the classifier is with so many references."""

    references: int
    """Images that it knows."""
    wrong: int
    """Test images that it gives another label than their own."""
    percent: float
    """The same of 100 test images."""


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
    errors: tuple[ErrorRate, ...]
    """By their number."""
    picture: str
    """Real and generated digits side by side."""


@dataclass(frozen=True)
class MnistResult:
    """What was found."""

    test_images: int
    """Real images that were classified."""
    real: tuple[ErrorRate, ...]
    """With the first 50,000 training images as references, and with all of them."""
    generated: Generated | None
    """With samples as references; None without a run."""
    file: str | None
    """JSON of all this; None if there is no place for it."""
