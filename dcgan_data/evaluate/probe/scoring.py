"""What features are worth to linear classifiers: with all labels, and with few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from dcgan_data.evaluate.probe.choosing import COSTS, choose_cost, images_to_choose_on
from dcgan_data.evaluate.probe.cifar10_result import PER_CLASS, Cifar10Settings, FeatureScore, FewLabels
from dcgan_data.evaluate.probe.feature_kinds import FeatureKind
from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.evaluate.probe.linear_svm import Classifiers, LinearSvm, one_versus_rest
from dcgan_data.evaluate.probe.strata import draw_of_each, draw_part
from dcgan_data.reporter import Reporter

_SPARE = 1.5
"""How much must be free on a GPU, in sizes of the features: parts of them are copied."""


class Purpose(IntEnum):
    """What a random stream is for; the numbers are part of what makes a result reproducible."""

    LIMIT = 0
    CHOOSE = 1
    FEW = 2
    KMEANS = 3


def rng_of(seed: int, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """A pure function of its arguments: all kinds of features are measured on the same draws."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, number)))


@dataclass(frozen=True)
class _Seen:
    """The features of all images, where they are computed with, and the labels."""

    train: Tensor
    """float32 (N, F)."""
    test: Tensor
    """float32 (M, F)."""
    train_labels: np.ndarray
    """int64 (N,)."""
    test_labels: np.ndarray
    """int64 (M,)."""

    def some(self, chosen: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Features and labels of the training images at int64 ``chosen``."""
        return self.train[torch.from_numpy(chosen).to(self.train.device)], self.train_labels[chosen]


def score_features(
    kind: FeatureKind,
    train: Labelled,
    test: Labelled,
    settings: Cifar10Settings,
    device: torch.device,
    reporter: Reporter,
) -> FeatureScore:
    """Extract features, choose C, fit on all training images, and count on the test images.

    The test images are looked at once, after everything is chosen.
    """
    pair = [torch.from_numpy(features) for features in kind.extract(train.images, test.images, reporter)]
    place = _place_for(pair, device, reporter)
    seen = _Seen(pair[0].to(place), pair[1].to(place), train.labels, test.labels)
    rng = rng_of(settings.seed, Purpose.CHOOSE)
    chosen = draw_part(train.labels, images_to_choose_on(kind.features, len(train)), rng)
    with reporter.stage("choose C", len(COSTS), "values") as stage:
        choice = choose_cost(*seen.some(chosen), rng, stage)
    with reporter.stage("fit", 1, "fits") as stage:
        svm = LinearSvm(seen.train, one_versus_rest(train.labels, len(train.classes)))
        fitted = svm.fit(choice.cost)
        stage.advance(1, f"{fitted.passes} passes")
    few, few_converged = _with_few_labels(seen, settings, reporter)
    return FeatureScore(
        name=kind.name,
        largest_layer=kind.largest_layer,
        features=kind.features,
        choice=choice,
        train_accuracy=_accuracy(fitted, seen.train, train.labels),
        accuracy=_accuracy(fitted, seen.test, test.labels),
        gap=fitted.gap,
        converged=fitted.converged and few_converged,
        few=few,
    )


def _with_few_labels(
    seen: _Seen, settings: Cifar10Settings, reporter: Reporter
) -> tuple[FewLabels | None, bool]:
    """Fit on draws of 400 labels a class; and whether all fits converged."""
    counts = np.bincount(seen.train_labels)
    if not settings.draws or counts.min() < PER_CLASS:
        return None, True
    accuracies, costs, converged = [], [], True
    with reporter.stage(f"{PER_CLASS} labels", settings.draws, "draws") as stage:
        for number in range(settings.draws):
            rng = rng_of(settings.seed, Purpose.FEW, number)
            features, labels = seen.some(draw_of_each(seen.train_labels, PER_CLASS, rng))
            choice = choose_cost(features, labels, rng)
            fitted = LinearSvm(features, one_versus_rest(labels, len(counts))).fit(choice.cost)
            accuracies.append(_accuracy(fitted, seen.test, seen.test_labels))
            costs.append(choice.cost)
            converged = converged and fitted.converged
            stage.advance(1, f"{accuracies[-1]:.1%}")
    mean, deviation = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
    return FewLabels(PER_CLASS, tuple(accuracies), tuple(costs), mean, deviation), converged


def _accuracy(classifiers: Classifiers, features: Tensor, labels: np.ndarray) -> float:
    return float((classifiers.predict(features) == labels).mean())


def _place_for(features: Sequence[Tensor], device: torch.device, reporter: Reporter) -> torch.device:
    """The device that is asked for, if the features fit on it."""
    if device.type == "cpu":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    needed = _SPARE * sum(each.nbytes for each in features)
    if needed > free:
        reporter.say(f"{needed / 1e9:.1f} GB for the features are not free on the GPU: fitting on the CPU")
        return torch.device("cpu")
    return device
