"""A bad value is remembered, and every update from there on is skipped."""

from __future__ import annotations

import math

import pytest
import torch

from dcgan_data.train.distributed import ALONE
from dcgan_data.train.guard import Failure, FiniteGuard, failure_of

GOOD = torch.tensor(0.5)
GRADIENTS = [torch.ones(3), torch.ones(2, 2)]


def failure(guard: FiniteGuard) -> Failure | None:
    return failure_of(guard.skip.item(), guard.seen.tolist())


@pytest.fixture
def guard() -> FiniteGuard:
    guard = FiniteGuard(torch.device("cpu"), ALONE)
    guard.step.fill_(1)
    return guard


def test_finite_values_pass(guard: FiniteGuard) -> None:
    assert guard.check("generator", GOOD, GRADIENTS).item() == 0
    assert failure(guard) is None


def test_the_first_bad_loss_is_remembered_and_stays(guard: FiniteGuard) -> None:
    guard.check("generator", GOOD, GRADIENTS)
    guard.step.fill_(2)
    assert guard.check("generator", torch.tensor(math.inf), GRADIENTS).item() == 1
    guard.step.fill_(3)
    assert guard.check("discriminator", GOOD, GRADIENTS).item() == 1
    assert guard.check("discriminator", torch.tensor(-math.inf), GRADIENTS).item() == 1
    assert failure(guard) == Failure(step=2, player="generator", loss=math.inf)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_gradient_of_a_finite_loss_counts(guard: FiniteGuard, value: float) -> None:
    guard.step.fill_(7)
    flag = guard.check("discriminator", GOOD, [torch.ones(3), torch.tensor([1.0, value])])
    assert flag.item() == 1
    assert failure(guard) == Failure(step=7, player="discriminator", loss=0.5)


def test_its_tensors_stay_where_they_are(guard: FiniteGuard) -> None:
    """A recorded CUDA graph writes to the same memory for ever."""
    before = guard.skip.data_ptr(), guard.seen.data_ptr()
    flag = guard.check("generator", torch.tensor(math.nan), GRADIENTS)
    assert (guard.skip.data_ptr(), guard.seen.data_ptr()) == before
    assert flag is guard.skip
