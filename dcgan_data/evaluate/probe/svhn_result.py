"""What ``probe svhn`` found."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.probe.supervised_search import SupervisedResult
from dcgan_data.evaluate.probe.svhn_linear import LinearResult


@dataclass(frozen=True)
class SvhnResult:
    """What was measured."""

    model: str
    """What was examined."""
    training_images: int
    """Images that labels were drawn from."""
    validation_images: int
    """Images that C, and hyper-parameters, were chosen by."""
    test_images: int
    """Images of the test set."""
    seed: int
    """Of the draws, and of the search."""
    linear: LinearResult
    """The classifiers on the discriminator's features."""
    supervised: SupervisedResult | None
    """The same architecture trained from scratch; None if it was not asked for."""
    file: str
    """JSON of all this."""
