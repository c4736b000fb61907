"""What is asked of the CIFAR-10 probe, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.probe.choosing import Choice

PER_CLASS = 400
"""Labels of each class in the paper's second protocol."""
MOST_CENTROIDS = 4800
"""The largest of the paper's K-means row."""


@dataclass(frozen=True)
class Cifar10Settings:
    """How to measure."""

    data: Path
    """Directory of CIFAR-10, in any layout that ``find_splits`` knows."""
    limit: int = 0
    """Training images to use, a stratified part; 0: all."""
    kmeans: int = 400
    """Centroids of the K-means baseline; 0: leave it out."""
    draws: int = 10
    """Draws of 400 labels a class; 0: leave that protocol out."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of all draws, of the random weights and of K-means."""
    device: str = "auto"
    """Where to compute: auto, cpu or cuda."""
    out: Path | None = None
    """Directory of the results; None: beside the model."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) < least:
                raise BadRequest(f"--{name.replace('_', '-')} {value}: expected {least} or more")
        if self.kmeans > MOST_CENTROIDS:
            raise BadRequest(f"--kmeans {self.kmeans}: expected {MOST_CENTROIDS} at most, as in the paper")
        if self.draws == 1:
            raise BadRequest("--draws 1: one draw has no spread; expected 2 or more, or 0 to leave them out")


_LEAST = MappingProxyType({"limit": 0, "kmeans": 0, "draws": 0, "seed": 0})


@dataclass(frozen=True)
class FewLabels:
    """Classifiers that see few labels."""

    per_class: int
    """Labelled images of each class, in each draw."""
    accuracies: tuple[float, ...]
    """Share of the test images that the classifiers of each draw get right."""
    costs: tuple[float, ...]
    """C of each draw, cross-validated on its own images alone."""
    mean: float
    """Of the accuracies."""
    deviation: float
    """Their standard deviation, as of a sample: divided by draws - 1."""


@dataclass(frozen=True)
class FeatureScore:
    """What one kind of features is worth."""

    name: str
    """Of the features."""
    largest_layer: int | None
    """The paper's "max # of features": units of the largest layer; None for pixels."""
    features: int
    """Of each image."""
    choice: Choice
    """C, and what it was chosen from."""
    train_accuracy: float
    """Share of the training images that the classifiers get right."""
    accuracy: float
    """Share of the test images."""
    gap: float
    """The objective is above its minimum by no more than this share of it."""
    converged: bool
    """Whether that is as little as was asked for; of the draws' fits too."""
    few: FewLabels | None
    """The same with few labels; None if that was not asked for, or there are not as many."""


@dataclass(frozen=True)
class Cifar10Result:
    """What was measured."""

    model: str
    """What was examined."""
    trained_on: str
    """Directory of the set that the model was trained on; empty if that is not known."""
    training_images: int
    """Images that classifiers were fitted on."""
    available_images: int
    """Images of the training part: more, if only some were asked for."""
    test_images: int
    """Images of the test part, all of them."""
    classes: tuple[str, ...]
    """As the data call them."""
    seed: int
    """Of everything random."""
    device: str
    """Where it was computed: cpu or cuda."""
    scores: tuple[FeatureScore, ...]
    """The discriminator's first, then the baselines'."""
    file: str
    """JSON of all this."""
