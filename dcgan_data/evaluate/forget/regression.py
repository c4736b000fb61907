"""Which feature maps speak for the object? A logistic regression on places inside and outside of boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

_MOST_FOLDS = 5
_MOST_ITERATIONS = 10_000


@dataclass(frozen=True)
class Places:
    """Places of feature maps, each one a sample of the regression."""

    features: np.ndarray
    """float32 (P, C): all maps' values at the place."""
    inside: np.ndarray
    """bool (P,): inside a box."""
    sample: np.ndarray
    """int64 (P,): the image that the place is of."""


@dataclass(frozen=True)
class Regression:
    """What was learnt."""

    inside: int
    """Places inside boxes that it learnt from."""
    outside: int
    """Places outside that it learnt from."""
    accuracy: float | None
    """Share of places told rightly, each by a regression that saw no place of its image; None where the
    images are too few for that."""
    chance: float
    """Share that the more frequent answer alone would get."""
    weights: tuple[float, ...]
    """One for each feature map: above 0 speaks for the object."""


def choose_places(maps: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> Places:
    """All places inside boxes, and of each image as many others, at random; all others if they are fewer.

    maps: float32 (N, C, h, w); inside: bool (N, h, w).
    """
    chosen = []
    for here in inside.reshape(len(inside), -1):
        others = np.flatnonzero(~here)
        some = rng.choice(others, min(int(here.sum()), len(others)), replace=False)
        chosen.append(np.union1d(np.flatnonzero(here), some))
    sample = np.repeat(np.arange(len(inside)), [len(places) for places in chosen])
    place = np.concatenate(chosen)
    features = maps.reshape(*maps.shape[:2], -1)[sample, :, place]
    return Places(features, inside.reshape(len(inside), -1)[sample, place], sample)


def fit(places: Places, regularisation: float) -> Regression:
    """Fit the regression, with an L2 penalty of ``regularisation`` / 2 times the squared weights.

    The features are not standardised: they come from one batch norm, and are alike. The accuracy is
    cross-validated by images, in 5 parts or as many as there are images. ``places`` has both kinds.
    """
    # It is decided by which side of 0 a weight is on: float64, and to the end.
    model = LogisticRegression(
        C=1 / regularisation, solver="newton-cholesky", tol=1e-10, max_iter=_MOST_ITERATIONS
    )
    features = places.features.astype(np.float64)
    weights = model.fit(features, places.inside).coef_[0]
    parts = _parts(places)
    accuracy = None
    if parts:
        told = cross_val_predict(model, features, places.inside, cv=parts)
        accuracy = float((told == places.inside).mean())
    share = float(places.inside.mean())
    return Regression(
        inside=int(places.inside.sum()),
        outside=int((~places.inside).sum()),
        accuracy=accuracy,
        chance=max(share, 1 - share),
        weights=tuple(weights.tolist()),
    )


def _parts(places: Places) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which places to learn from, and which to hold out, for each part; empty if that cannot be done."""
    images = len(np.unique(places.sample))
    if images < 2:
        return []
    folds = GroupKFold(min(_MOST_FOLDS, images))
    parts = list(folds.split(places.features, groups=places.sample))
    both = all(len(np.unique(places.inside[learnt])) == 2 for learnt, _ in parts)
    return parts if both else []
