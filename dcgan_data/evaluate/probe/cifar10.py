"""CIFAR-10 by a discriminator's features and linear L2-SVMs (DCGAN paper, sec. 5.1, table 1)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.place import place_of
from dcgan_data.evaluate.probe.choosing import FOLDS, images_to_choose_on
from dcgan_data.evaluate.probe.cifar10_result import Cifar10Result, Cifar10Settings
from dcgan_data.evaluate.probe.feature_kinds import (
    FeatureKind,
    kmeans_kind,
    pixels_kind,
    random_kind,
    trained_kind,
)
from dcgan_data.evaluate.probe.labelled import Labelled, find_splits, read_labelled
from dcgan_data.evaluate.probe.linear_svm import MOST_SAMPLED
from dcgan_data.evaluate.probe.probe_table import cifar10_figure
from dcgan_data.evaluate.probe.scoring import Purpose, rng_of, score_features
from dcgan_data.evaluate.probe.strata import draw_part
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import Discriminator
from dcgan_data.train.trained import Trained, open_trained

_WORTH_SAYING = 8e9
"""Bytes."""


def probe_cifar10(path: Path, settings: Cifar10Settings, reporter: Reporter) -> Cifar10Result:
    """Measure a discriminator's features on CIFAR-10, and the baselines; writes the result as JSON.

    Raises BadInput for a model without a discriminator and for data that are missing, damaged or of another
    image size than the model's, BadRequest as ``open_trained`` and if --limit is more than there are. Memory:
    the features of all images in float32, one kind after another; 2 GB for 7,168 features, 9 GB for 28,672.
    """
    trained = open_trained(path, settings.checkpoint)
    device = resolve_device(settings.device)
    discriminator = trained.discriminator(device)
    splits = find_splits(settings.data)
    place = place_of(trained, "probe-cifar10", settings.out)
    with place.writing():
        size = trained.shape.image_size
        available = read_labelled(splits.train, size, reporter)
        test = read_labelled(splits.test, size, reporter, available.classes)
        train = _limited(available, settings)
        kinds = _kinds(discriminator, settings, device)
        _say_memory(kinds, len(train), len(test), reporter)
        scores = []
        for kind in kinds:
            reporter.say(f"{kind.name}: {kind.features:,} features")
            scores.append(score_features(kind, train, test, settings, device, reporter))
        result = Cifar10Result(
            model=trained.name,
            trained_on=_set_of(trained),
            training_images=len(train),
            available_images=len(available),
            test_images=len(test),
            classes=train.classes,
            seed=settings.seed,
            device=device.type,
            scores=tuple(scores),
            file=str(place.file(".json")),
        )
        write_json(place.file(".json"), asdict(result))
        save_figure(place, cifar10_figure(result))
    return result


def _kinds(
    discriminator: Discriminator, settings: Cifar10Settings, device: torch.device
) -> list[FeatureKind]:
    """The discriminator's features, then the baselines'."""
    shape = discriminator.shape
    kinds = [
        trained_kind(discriminator),
        random_kind(shape, settings.seed, device),
        pixels_kind(shape.image_size),
    ]
    if settings.kmeans:
        kinds.append(kmeans_kind(settings.kmeans, rng_of(settings.seed, Purpose.KMEANS), device))
    return kinds


def _limited(train: Labelled, settings: Cifar10Settings) -> Labelled:
    if not settings.limit:
        return train
    if settings.limit > len(train):
        raise BadRequest(
            f"--limit {settings.limit}: {settings.data} has {len(train):,} training images; give fewer"
        )
    chosen = draw_part(train.labels, settings.limit, rng_of(settings.seed, Purpose.LIMIT))
    if (fewest := np.bincount(train.labels[chosen], minlength=len(train.classes)).min()) < FOLDS:
        raise BadRequest(f"--limit {settings.limit}: leaves {fewest} images of a class; {FOLDS} are needed")
    return train.some(chosen)


def _say_memory(kinds: list[FeatureKind], train: int, test: int, reporter: Reporter) -> None:
    """Tell what the largest kind of features takes, if that is much: all images, and a part of them twice."""
    largest = max(kinds, key=lambda kind: kind.features)
    copied = images_to_choose_on(largest.features, train)
    needed = 4 * largest.features * (train + test + copied + MOST_SAMPLED)
    if needed > _WORTH_SAYING:
        reporter.say(
            f"{largest.name}: {largest.features:,} features of {train + test:,} images take "
            f"{needed / 1e9:.1f} GB of memory; --limit N takes fewer training images"
        )


def _set_of(trained: Trained) -> str:
    return str(trained.record.config["prepared"]) if trained.record else ""
