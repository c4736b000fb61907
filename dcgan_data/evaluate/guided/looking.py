"""The images that a network's last convolution answers to, and its guided gradients there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcgan_data.evaluate.guided.backprop import Field, Unit, field_of, guided_maps, responses
from dcgan_data.evaluate.guided.images import RealImages
from dcgan_data.train.models import Discriminator

FEATURES = 6
"""The first ones, as many as in the paper."""
STRONGEST = 6
"""Images for each of them."""


@dataclass(frozen=True)
class Response:
    """One image's strongest response of a feature."""

    key: str
    """The image's key ..."""
    part: int
    """... and its number among the images of that key."""
    value: float
    """Activation, after LeakyReLU."""
    unit: Unit
    """Where in the feature's map."""
    field: Field
    """What of the image that place depends on."""


@dataclass(frozen=True)
class Feature:
    """A feature map, and the images that it answers to most strongly."""

    channel: int
    """Its number, from 0."""
    responses: tuple[Response, ...]
    """The strongest first, one for each image."""


@dataclass(frozen=True)
class Look:
    """What one network answers to, feature by feature, the strongest first."""

    features: tuple[Feature, ...]
    """Features and their images."""
    pixels: np.ndarray
    """uint8 (R, S, S, 3): the image of each response."""
    maps: np.ndarray
    """float32 (R, S, S, 3): its guided gradient."""

    @property
    def responses(self) -> list[Response]:
        """Of all features."""
        return [response for feature in self.features for response in feature.responses]


def look(discriminator: Discriminator, images: RealImages) -> Look:
    """Find the images with the strongest responses of the first features of the last convolution.

    What counts is each image's own maximum over the places of the feature's map.
    """
    found = responses(discriminator, images.pixels, FEATURES)
    count, channels, _, columns = found.shape
    flat = found.reshape(count, channels, -1)
    strongest, where = flat.max(axis=2), flat.argmax(axis=2)
    features, order = [], []
    for channel in range(channels):
        best = np.argsort(-strongest[:, channel], kind="stable")[:STRONGEST].tolist()
        units = [Unit(channel, *divmod(int(where[image, channel]), columns)) for image in best]
        said = (
            Response(
                images.keys[image],
                images.parts[image],
                float(strongest[image, channel]),
                unit,
                field_of(discriminator, unit),
            )
            for image, unit in zip(best, units, strict=True)
        )
        features.append(Feature(channel, tuple(said)))
        order += best
    pixels = images.pixels[order]
    units = [response.unit for feature in features for response in feature.responses]
    return Look(tuple(features), pixels, guided_maps(discriminator, pixels, units))
