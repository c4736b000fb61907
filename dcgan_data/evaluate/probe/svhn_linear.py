"""Linear L2-SVMs on a discriminator's features, with 1,000 labels: choose C, then measure (sec. 5.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.features_of import discriminator_features
from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.evaluate.probe.svhn_data import SvhnData
from dcgan_data.evaluate.probe.svhn_draws import TrainingFeatures, fit_draws, make_draw
from dcgan_data.evaluate.probe.svhn_fit import Fit, count_wrong
from dcgan_data.evaluate.probe.svhn_seeds import Purpose, rng_of
from dcgan_data.evaluate.probe.svhn_settings import COSTS, SvhnSettings
from dcgan_data.evaluate.probe.svhn_statistics import use_mean_statistics
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import Discriminator

_SIGMAS = 1.96
_AT_ONCE = 1000
Seen = tuple[np.ndarray, np.ndarray]
"""Features, float32 (n, F), and labels, int64 (n,), of some images."""


@dataclass(frozen=True)
class ErrorRate:
    """Share of some images that classifiers get wrong, in percent."""

    mean: float
    """Over the draws."""
    spread: float
    """1.96 times their standard deviation, as of a whole population."""


@dataclass(frozen=True)
class TriedCost:
    """A value of C, and what came of it."""

    cost: float
    """C."""
    train: ErrorRate
    """On the 1,000 images of each draw."""
    validation: ErrorRate
    """On the validation images."""


@dataclass(frozen=True)
class LinearResult:
    """What a discriminator's features are worth."""

    features: int
    """Of each image."""
    search_draws: int
    """Draws for each C."""
    tried: tuple[TriedCost, ...]
    """All values of C."""
    cost: float
    """The C of the lowest mean validation error."""
    draws: int
    """Draws with this C, others than before."""
    train: ErrorRate
    """On the 1,000 images of each draw."""
    validation: ErrorRate
    """On the validation images."""
    test: ErrorRate
    """On the test images: the paper's 22.48."""
    unfinished: int
    """How many of all these classifiers LinearSVC stopped at its 1,000 rounds."""


def measure_features(
    discriminator: Discriminator, data: SvhnData, settings: SvhnSettings, reporter: Reporter
) -> LinearResult:
    """Choose C by the validation images, and measure with it; the discriminator keeps its statistics."""
    use_mean_statistics(discriminator, data.train.images, reporter)
    features = TrainingFeatures(discriminator, data.train)
    judged = list(_in_chunks(discriminator, data.validation, reporter, "validation"))
    cost, tried, stopped = _choose_cost(features, judged, settings, reporter)
    streams = (rng_of(settings.seed, Purpose.MEASURE, n) for n in range(settings.draws))
    draws = [make_draw(data.train, cost, stream) for stream in streams]
    fits = fit_draws(features, draws, settings.workers, reporter, "draws")
    return LinearResult(
        features=features.width,
        search_draws=settings.search_draws,
        tried=tried,
        cost=cost,
        draws=len(draws),
        train=_train_error(fits),
        validation=_error(fits, judged),
        test=_error(fits, _in_chunks(discriminator, data.test, reporter, "test")),
        unfinished=stopped + _unfinished(fits),
    )


def _choose_cost(
    features: TrainingFeatures, judged: Sequence[Seen], settings: SvhnSettings, reporter: Reporter
) -> tuple[float, tuple[TriedCost, ...], int]:
    """The best C, all that were tried, and how many classifiers are unfinished."""
    count = settings.search_draws
    draws = [
        make_draw(features.train, cost, rng_of(settings.seed, Purpose.CHOOSE_COST, place, n))
        for place, cost in enumerate(COSTS)
        for n in range(count)
    ]
    fits = fit_draws(features, draws, settings.workers, reporter, "choose C")
    parts = [fits[start : start + count] for start in range(0, len(fits), count)]
    tried = tuple(
        TriedCost(cost, _train_error(part), _error(part, judged))
        for cost, part in zip(COSTS, parts, strict=True)
    )
    best = min(tried, key=lambda each: each.validation.mean)  # the first of equals
    return best.cost, tried, _unfinished(fits)


def _in_chunks(discriminator: Discriminator, part: Labelled, reporter: Reporter, name: str) -> Iterator[Seen]:
    with reporter.stage(name, len(part), "images") as stage:
        for start in range(0, len(part), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            features = discriminator_features(discriminator, part.images[chunk])
            if not np.isfinite(features).all():
                raise BadInput("the discriminator's features are not finite; choose another --checkpoint")
            yield features, part.labels[chunk]
            stage.advance(len(part.labels[chunk]))


def _error(fits: list[Fit], judged: Iterable[Seen]) -> ErrorRate:
    wrong, images = np.zeros(len(fits), np.int64), 0
    for features, labels in judged:
        wrong += count_wrong(fits, features, labels)
        images += len(labels)
    return _percent(wrong / images)


def _train_error(fits: list[Fit]) -> ErrorRate:
    return _percent(np.array([fit.train_error for fit in fits]))


def _percent(shares: np.ndarray) -> ErrorRate:
    percent = 100 * shares
    return ErrorRate(float(percent.mean()), float(_SIGMAS * percent.std()))


def _unfinished(fits: list[Fit]) -> int:
    return sum(not fit.converged for fit in fits)
