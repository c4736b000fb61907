"""A bad value is remembered, and every update from there on is skipped."""

from __future__ import annotations

import math

import torch

from dcgan_data.train.guard import Failure, FiniteGuard

GOOD = torch.tensor(0.5)
GRADIENTS = [torch.ones(3), torch.ones(2, 2)]


def test_finite_values_pass() -> None:
    guard = FiniteGuard(torch.device("cpu"))
    assert guard.skip_flag(1, GOOD, GRADIENTS).item() == 0
    assert guard.failure() is None


def test_the_first_bad_loss_is_remembered_and_stays() -> None:
    guard = FiniteGuard(torch.device("cpu"))
    guard.skip_flag(1, GOOD, GRADIENTS)
    assert guard.skip_flag(2, torch.tensor(math.inf), GRADIENTS).item() == 1
    assert guard.skip_flag(3, GOOD, GRADIENTS).item() == 1
    assert guard.skip_flag(4, torch.tensor(-math.inf), GRADIENTS).item() == 1
    assert guard.failure() == Failure(step=2, loss=math.inf)


def test_a_bad_gradient_of_a_finite_loss_counts() -> None:
    guard = FiniteGuard(torch.device("cpu"))
    assert guard.skip_flag(7, GOOD, [torch.ones(3), torch.tensor([1.0, math.nan])]).item() == 1
    assert guard.failure() == Failure(step=7, loss=0.5)
