"""C by cross-validation, held against a plain loop over folds with LinearSVC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from dcgan_data.evaluate.probe import choosing
from dcgan_data.evaluate.probe.choosing import (
    COSTS,
    FOLDS,
    Choice,
    Tried,
    choose_cost,
    images_to_choose_on,
)
from dcgan_data.evaluate.probe.strata import fold_numbers


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    centres = rng.normal(0, 1, (3, 20))
    return (centres[labels] + rng.normal(0, 2.5, (150, 20))).astype(np.float32), labels


def plain_accuracy(features: np.ndarray, labels: np.ndarray, cost: float, seed: int) -> float:
    folds = fold_numbers(labels, FOLDS, np.random.default_rng(seed))
    right = 0
    for fold in range(FOLDS):
        own = folds == fold
        svm = LinearSVC(C=cost, tol=1e-8, max_iter=100_000).fit(features[~own].astype(float), labels[~own])
        right += int((svm.predict(features[own].astype(float)) == labels[own]).sum())
    return right / len(labels)


def test_each_cost_is_judged_by_images_that_its_classifiers_did_not_see(
    monkeypatch: pytest.MonkeyPatch, reporter: Any
) -> None:
    monkeypatch.setattr(choosing, "_TOLERANCE", 1e-6)
    features, labels = problem()
    with reporter.stage("choose C", len(COSTS), "values") as stage:
        choice = choose_cost(torch.from_numpy(features), labels, np.random.default_rng(3), stage)
    for tried in choice.tried:
        assert tried.accuracy == pytest.approx(plain_accuracy(features, labels, tried.cost, 3), abs=0.01)
    best = max(tried.accuracy for tried in choice.tried)
    assert choice.cost == next(tried.cost for tried in choice.tried if tried.accuracy == best)
    assert choice.images == 150 and reporter.stages == {"choose C": len(choice.tried)}


def test_larger_costs_are_not_tried_once_two_are_worse() -> None:
    features, labels = problem()
    choice = choose_cost(torch.from_numpy(features), labels, np.random.default_rng(3))
    tried = [each.cost for each in choice.tried]
    assert tried == list(COSTS[: len(tried)]) and len(tried) < len(COSTS)
    assert all(each.accuracy < max(a.accuracy for a in choice.tried) for each in choice.tried[-2:])


@pytest.mark.parametrize("scale", [1, 1e-2])
def test_small_costs_that_learn_nothing_are_not_the_best(scale: float) -> None:
    """Few images, or small features: for the smallest C all accuracies are alike."""
    features, labels = problem()
    brighter = scale * (features + 5)
    choice = choose_cost(torch.from_numpy(brighter.astype(np.float32)), labels, np.random.default_rng(3))
    accuracy = {each.cost: each.accuracy for each in choice.tried}
    assert accuracy[choice.cost] > 0.6
    assert choice.cost > COSTS[2]


def test_the_grid_is_what_the_help_says() -> None:
    assert COSTS[0] == 1e-6 and COSTS[1] == 3.2e-6 and COSTS[-1] == 100
    assert len(COSTS) == 17


@pytest.mark.parametrize(("cost", "at_edge"), [(1e-6, True), (1e-3, False), (100.0, True)])
def test_a_choice_at_the_edge_is_known(cost: float, at_edge: bool) -> None:
    assert Choice(cost, (Tried(cost, 0.5),), 100).at_edge is at_edge


@pytest.mark.parametrize(
    ("features", "images"),
    [(28_672, 10_000), (7_168, 10_000), (3_072, 23_333), (1_600, 44_800), (400, 50_000)],
)
def test_the_fewer_the_features_the_more_images_c_is_chosen_on(features: int, images: int) -> None:
    assert images_to_choose_on(features, 50_000) == images
    assert images_to_choose_on(features, 300) == 300
