"""The classifier: LinearSVC's own, to rounding, by way of inner products."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from dcgan_data.evaluate.probe.svhn_fit import count_wrong, fit_svm


def clouds(images: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of ten classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % 10)
    centres = rng.normal(size=(10, width))
    return (centres[labels] + rng.normal(0, 3, (images, width))).astype(np.float32), labels


@pytest.mark.parametrize(("images", "width"), [(80, 300), (80, 80), (200, 40)])
@pytest.mark.parametrize("cost", [1e-4, 1e-2])
def test_it_is_linear_svc(images: int, width: int, cost: float) -> None:
    """With fewer images than features by their Gram matrix, else directly: the same classifier."""
    features, labels = clouds(images, width)
    fit = fit_svm(features, labels, cost, seed=3)
    machine = LinearSVC(C=cost, dual=True, random_state=3).fit(features, labels)
    np.testing.assert_allclose(fit.weights, machine.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.offsets, machine.intercept_, rtol=1e-9)
    assert fit.train_error == (machine.predict(features) != labels).mean()
    assert fit.converged


def test_an_image_that_occurs_twice() -> None:
    """The Gram matrix then has no Cholesky factor, or one with a last pivot of rounding errors."""
    features, labels = clouds(40, 100)
    features[1], labels[1] = features[0], labels[0]
    features[7] = 0
    machine = LinearSVC(C=1e-2, dual=True, random_state=0).fit(features, labels)
    np.testing.assert_allclose(
        fit_svm(features, labels, 1e-2, 0).weights, machine.coef_, rtol=1e-6, atol=1e-9
    )


def test_one_that_runs_out_of_rounds_says_so() -> None:
    features, labels = clouds(200, 10)
    assert not fit_svm(100 * features, labels, cost=10, seed=0).converged


def test_wrong_answers_are_counted_for_each_classifier() -> None:
    features, labels = clouds(300, 30)
    fits = [fit_svm(features[part], labels[part], 1e-3, 0) for part in (slice(100), slice(100, 200))]
    machines = [
        LinearSVC(C=1e-3, dual=True, random_state=0).fit(features[part], labels[part])
        for part in (slice(100), slice(100, 200))
    ]
    wrong = count_wrong(fits, features[200:], labels[200:])
    assert wrong.tolist() == [(m.predict(features[200:]) != labels[200:]).sum() for m in machines]
    assert 0 < wrong.min() < 100
