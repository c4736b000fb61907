"""The kinds of features that are held against each other on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dcgan_data.evaluate.features_of import (
    discriminator_features,
    feature_count,
    random_discriminator,
    with_statistics,
)
from dcgan_data.evaluate.probe.kmeans import learn_centroids, standardise
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import Discriminator, ModelShape

_AT_ONCE = 1024
Pair = tuple[np.ndarray, np.ndarray]
"""Of training and test images."""


@dataclass(frozen=True)
class FeatureKind:
    """A way from images to features. Labels play no part in it."""

    name: str
    """For a person."""
    largest_layer: int | None
    """Units of its largest layer; None if it has no layers."""
    features: int
    """How many an image has."""
    extract: Callable[[np.ndarray, np.ndarray, Reporter], Pair]
    """uint8 (N, S, S, 3) training and (M, S, S, 3) test images to float32 (N, F) and (M, F)."""


def trained_kind(discriminator: Discriminator) -> FeatureKind:
    """All convolutions of a trained discriminator."""
    return _discriminator_kind("DCGAN", discriminator)


def random_kind(shape: ModelShape, seed: int, device: torch.device) -> FeatureKind:
    """The same architecture with one draw of fresh weights, as training begins with."""
    return _discriminator_kind("random weights", random_discriminator(shape, seed, device))


def pixels_kind(size: int) -> FeatureKind:
    """Raw pixels in [-1, 1], as the discriminator sees them."""

    def extract(train: np.ndarray, test: np.ndarray, _reporter: Reporter) -> Pair:
        return _scaled(train), _scaled(test)

    return FeatureKind("raw pixels", None, 3 * size**2, extract)


def kmeans_kind(count: int, rng: np.random.Generator, device: torch.device) -> FeatureKind:
    """One layer of K-means on whitened patches, standardised."""

    def extract(train: np.ndarray, test: np.ndarray, reporter: Reporter) -> Pair:
        centroids = learn_centroids(train, count, rng, device, reporter)
        found = _in_parts(centroids.features, (train, test), 4 * count, reporter)
        standardise(*found)
        return found

    return FeatureKind(f"1 layer K-means, K = {count:,}", count, 4 * count, extract)


def _discriminator_kind(name: str, discriminator: Discriminator) -> FeatureKind:
    shape = discriminator.shape

    def extract(train: np.ndarray, test: np.ndarray, reporter: Reporter) -> Pair:
        with reporter.stage("statistics", len(train), "images") as stage:
            with_statistics(discriminator, train)
            stage.advance(len(train))

        def seen(images: np.ndarray) -> np.ndarray:
            return discriminator_features(discriminator, images)

        return _in_parts(seen, (train, test), feature_count(shape), reporter)

    largest = max(layer.outputs for layer in shape.discriminator_layers)
    return FeatureKind(name, largest, feature_count(shape), extract)


def _in_parts(see: Callable[[np.ndarray], np.ndarray], images: Pair, width: int, reporter: Reporter) -> Pair:
    train, test = (np.empty((len(each), width), np.float32) for each in images)
    with reporter.stage("features", len(train) + len(test), "images") as stage:
        for each, found in zip(images, (train, test), strict=True):
            for start in range(0, len(each), _AT_ONCE):
                part = each[start : start + _AT_ONCE]
                found[start : start + len(part)] = see(part)
                stage.advance(len(part))
    return train, test


def _scaled(images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 3) to float32 (N, S * S * 3) in [-1, 1]."""
    scaled: np.ndarray = images.reshape(len(images), -1).astype(np.float32)
    scaled /= np.float32(127.5)
    scaled -= 1
    return scaled
