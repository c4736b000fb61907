"""The solver held against scikit-learn's LinearSVC, and what it says of how good its answer is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from dcgan_data.evaluate.probe.linear_svm import Classifiers, LinearSvm, one_versus_rest

CLASSES = 4


def problem(count: int = 700, width: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a large mean and unequal variances, as of rectified maps, and labels that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    centres = rng.normal(0, 1, (CLASSES, width))
    features = 3 + (centres[labels] + rng.normal(0, 2, (count, width))) * np.geomspace(3, 0.03, width)
    return features.astype(np.float32), labels


def objectives(weights: np.ndarray, features: np.ndarray, signs: np.ndarray, cost: float) -> np.ndarray:
    """P(w) of each classifier in float64; weights (P, F + 1), signs 0 for images that do not count."""
    whole = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
    slack = np.maximum(0, 1 - signs * (whole @ weights.T)) * np.abs(signs)
    found: np.ndarray = 0.5 * (weights.astype(np.float64) ** 2).sum(1) + cost * (slack**2).sum(0)
    return found


def fit(features: np.ndarray, signs: np.ndarray, cost: float, tolerance: float = 1e-6) -> Classifiers:
    return LinearSvm(torch.from_numpy(features), signs).fit(cost, tolerance=tolerance)


@pytest.mark.parametrize("cost", [1e-4, 1e-2, 1.0])
def test_it_finds_what_linear_svc_finds(cost: float) -> None:
    features, labels = problem()
    signs = one_versus_rest(labels, CLASSES)
    found = fit(features, signs, cost)
    theirs = LinearSVC(C=cost, tol=1e-8, max_iter=1_000_000, dual=False).fit(features.astype(float), labels)
    weights = np.hstack([theirs.coef_, theirs.intercept_[:, None]])
    ours = objectives(found.weights.numpy(), features, signs, cost)
    best = objectives(weights, features, signs, cost)
    assert found.converged and found.gap <= 1e-6
    assert ours == pytest.approx(best, rel=1e-5)
    assert found.objective == pytest.approx(ours.tolist(), rel=1e-5)
    asked, _ = problem(seed=1)
    same = found.predict(torch.from_numpy(asked)) == theirs.predict(asked.astype(float))
    assert same.mean() > 0.995
    scores = found.scores(torch.from_numpy(asked)).numpy()
    assert scores == pytest.approx(theirs.decision_function(asked.astype(float)), abs=2e-3)


def test_more_features_than_images() -> None:
    features, labels = problem(count=80, width=300)
    signs = one_versus_rest(labels, CLASSES)
    theirs = LinearSVC(C=0.01, tol=1e-8, max_iter=1_000_000).fit(features.astype(float), labels)
    best = objectives(np.hstack([theirs.coef_, theirs.intercept_[:, None]]), features, signs, 0.01)
    found = fit(features, signs, 0.01)
    assert objectives(found.weights.numpy(), features, signs, 0.01) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("tolerance", [1.0, 1e-2, 1e-4])
def test_no_objective_is_above_its_minimum_by_more_than_it_says(tolerance: float) -> None:
    features, labels = problem()
    signs = one_versus_rest(labels, CLASSES)
    rough, exact = (fit(features, signs, 1e-3, each) for each in (tolerance, 1e-8))
    assert rough.gap <= tolerance
    above = np.array(rough.objective) - np.array(exact.objective)
    assert (above <= rough.gap * np.array(rough.objective) + 1e-7).all()
    assert rough.passes < exact.passes


def test_images_without_a_sign_do_not_count() -> None:
    """As in cross-validation, where every classifier has images of its own."""
    features, labels = problem()
    own = np.arange(len(labels)) % 3 > 0
    signs = one_versus_rest(labels, CLASSES)
    together = fit(features, np.hstack([np.where(own[:, None], signs, np.float32(0)), signs]), 1e-2)
    alone = fit(features[own], signs[own], 1e-2)
    assert together.objective[:CLASSES] == pytest.approx(alone.objective, rel=1e-4)
    assert together.objective[CLASSES:] == pytest.approx(fit(features, signs, 1e-2).objective, rel=1e-4)


def test_a_neighbouring_cost_to_start_from_saves_passes_and_changes_nothing() -> None:
    features, labels = problem()
    svm = LinearSvm(torch.from_numpy(features), one_versus_rest(labels, CLASSES))
    first = svm.fit(1e-2)
    kept = first.weights.clone()
    warm, cold = svm.fit(1.2e-2, first), svm.fit(1.2e-2)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-3)
    assert warm.passes < cold.passes
    assert torch.equal(first.weights, kept), "what it starts from stays as it was"


def test_the_same_bits_every_time() -> None:
    features, labels = problem()
    first, second = (fit(features, one_versus_rest(labels, CLASSES), 1e-2) for _ in range(2))
    assert torch.equal(first.weights, second.weights)


def test_what_float32_cannot_reach_is_said() -> None:
    features, labels = problem(count=300)
    found = fit(features, one_versus_rest(labels, CLASSES), 1.0, tolerance=1e-30)
    assert not found.converged and 1e-30 < found.gap < 1e-6


def test_an_image_alone_and_one_that_is_zero() -> None:
    """The smallest problems there are: nothing divides by zero."""
    features = np.array([[0.0, 0.0], [1.0, -1.0]], np.float32)
    found = fit(features, np.array([[1], [-1]], np.float32), 1.0)
    assert found.converged and torch.isfinite(found.weights).all()
    assert found.scores(torch.from_numpy(features))[:, 0].sign().tolist() == [1.0, -1.0]


@pytest.mark.parametrize("cost", [32.0, 100.0])
def test_the_largest_costs_are_near_enough(cost: float) -> None:
    """The curvature of the strong directions is beyond what float32 can take away and leave the rest."""
    features, labels = problem(count=1500)
    signs = one_versus_rest(labels, CLASSES)
    found = fit(features, signs, cost, 1e-3)
    theirs = LinearSVC(C=cost, tol=1e-6, max_iter=1_000_000, dual=False).fit(features.astype(float), labels)
    best = objectives(np.hstack([theirs.coef_, theirs.intercept_[:, None]]), features, signs, cost)
    assert objectives(found.weights.numpy(), features, signs, cost) == pytest.approx(best, rel=0.05)
    assert (found.predict(torch.from_numpy(features)) == theirs.predict(features.astype(float))).mean() > 0.99


def test_beyond_what_float32_can_do_it_says_so_and_stays_finite() -> None:
    features, labels = problem()
    found = fit(features * np.float32(1000), one_versus_rest(labels, CLASSES), 100.0, 1e-3)
    assert not found.converged
    assert found.weights.isfinite().all() and np.isfinite(found.gap)


def test_one_step_is_made_however_small_the_cost() -> None:
    features, labels = problem()
    signs = one_versus_rest(labels, CLASSES)
    found = fit(features, signs, 1e-9, 0.05)
    assert (found.weights.norm(dim=1) > 0).all()
    assert (found.predict(torch.from_numpy(features)) == labels).mean() > 1.5 / CLASSES
