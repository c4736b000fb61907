"""What D's features were found to answer to."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.guided.looking import Feature
from dcgan_data.evaluate.guided.sanity import Level


@dataclass(frozen=True)
class FeaturesResult:
    """What was found."""

    model: str
    """Run and step, or file."""
    step: int | None
    """Minibatches that the checkpoint was trained for; None for a file."""
    prepared: str
    """The set's directory."""
    images: int
    """Images that were looked through."""
    layer: int
    """The convolution, counted from 1: D's last."""
    field_side: int
    """Side of its units' receptive field in pixels."""
    trained: tuple[Feature, ...]
    """The first features of D."""
    random: tuple[Feature, ...]
    """The same with random weights."""
    sanity: tuple[Level, ...]
    """D's maps held against those of weights that are random in more and more layers, at last in all."""
    two_random: Level
    """The same for two networks that are random in all layers: as unlike as maps of one image are."""
    warnings: tuple[str, ...]
    """What a person should know before believing it."""
    picture: str
    """The images and guided gradients."""
    file: str
    """JSON of all this."""
