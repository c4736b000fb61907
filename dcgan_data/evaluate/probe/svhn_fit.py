"""One linear L2-SVM on the features of 1,000 images: scikit-learn's LinearSVC, on fewer numbers.

LinearSVC's dual coordinate descent sees nothing of the features but their inner products. With fewer images
than features it is therefore given the rows of the Cholesky factor L of the Gram matrix X X^T = L L^T: the
same inner products in 1,000 columns instead of 7,168, half of them zeros. Every step is the same, and so is
the result, to rounding, in less than a tenth of the time. The weights of the features are X^T L^-T w.

Workers import this module alone, and no torch with it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC


@dataclass(frozen=True)
class Fit:
    """A classifier: one against the others, for each of K classes."""

    weights: np.ndarray
    """float64 (K, F)."""
    offsets: np.ndarray
    """float64 (K,)."""
    train_error: float
    """Share of the images it was fitted to that it gets wrong."""
    converged: bool
    """Whether it took fewer than LinearSVC's 1,000 rounds."""


def fit_svm(features: np.ndarray, labels: np.ndarray, cost: float, seed: int) -> Fit:
    """Fit LinearSVC (squared hinge, C = ``cost``) to float32 (N, F) features, in float64.

    labels: int64 (N,), 0 to K - 1, each of which occurs. seed: of the order of coordinates.
    """
    wide = features.astype(np.float64)
    factor = _factor(wide)
    seen = wide if factor is None else factor
    machine = LinearSVC(C=cost, dual=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by ``converged``
        machine.fit(seen, labels)
    weights = machine.coef_
    if factor is not None:
        weights = solve_triangular(factor, weights.T, lower=True, trans="T").T @ wide
    return Fit(
        weights=weights,
        offsets=machine.intercept_,
        train_error=float((machine.predict(seen) != labels).mean()),
        converged=machine.n_iter_ < machine.max_iter,
    )


def fit_numbered(
    number: int, features: np.ndarray, labels: np.ndarray, cost: float, seed: int
) -> tuple[int, Fit]:
    """``fit_svm`` as a worker's task, which may end before the one that began before it."""
    return number, fit_svm(features, labels, cost, seed)


def count_wrong(fits: list[Fit], features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many of some images each classifier gets wrong: int64 (len(fits),).

    features: float32 (N, F), widened to float64 for the products, as LinearSVC does; labels: int64 (N,).
    """
    weights, offsets = (np.concatenate([getattr(fit, of) for fit in fits]) for of in ("weights", "offsets"))
    scores = features.astype(np.float64) @ weights.T + offsets
    answers = scores.reshape(len(labels), len(fits), -1).argmax(axis=2)
    wrong: np.ndarray = (answers != labels[:, None]).sum(axis=0)
    return wrong


def _factor(features: np.ndarray) -> np.ndarray | None:
    """Lower-triangular L with L L^T = X X^T, float64 (N, N); None if it does not help, or does not exist."""
    images, width = features.shape
    if images >= width:
        return None
    try:
        lower: np.ndarray = cholesky(features @ features.T, lower=True)
        return lower
    except LinAlgError:  # an image occurs twice
        return None
