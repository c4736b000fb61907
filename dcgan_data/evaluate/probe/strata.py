"""Random parts of labelled images in which the classes have their share."""

from __future__ import annotations

import numpy as np

from dcgan_data.errors import BadRequest


def draw_of_each(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of ``per_class`` images of every class, drawn without repetition, ascending.

    labels: int64 (N,). Returns int64 (classes * per_class,). BadRequest if a class has fewer.
    """
    drawn = []
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < per_class:
            raise BadRequest(f"{per_class} images of each class: class number {label} has only {count:,}")
        drawn.append(rng.choice(np.flatnonzero(labels == label), per_class, replace=False))
    return np.sort(np.concatenate(drawn))


def draw_part(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of ``count`` images, ascending; of every class its share, to within one image.

    labels: int64 (N,), N >= count. Returns int64 (count,).
    """
    # Within each class in random order, the i-th of n comes at (i + u) / n: the first of all classes' merged
    # order have the classes' shares, and which class is rounded up is left to chance.
    places = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        places[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.sort(np.argsort(places, kind="stable")[:count])


def fold_numbers(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Which of ``folds`` parts each image is in, int64 (N,); parts differ by at most one image of a class."""
    numbers = np.empty(len(labels), np.int64)
    start = 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        numbers[members] = (np.arange(len(members)) + start) % folds
        start += len(members)  # else the first parts would get all that is left over
    return numbers
