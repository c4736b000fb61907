"""Who moves, on what, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dcgan_data.errors import BadRequest
from dcgan_data.train.conditional.game import (
    ConditionalState,
    move_discriminator,
    move_generator,
    new_state,
)
from dcgan_data.train.conditional.models import condition, one_hot
from dcgan_data.train.conditional.settings import ConditionalSettings

CPU = torch.device("cpu")


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(8, 1, 28, 28, generator=rng), torch.rand(8, 3, generator=rng), one_hot(torch.arange(8))


def copies(model: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def changed(model: torch.nn.Module, before: list[torch.Tensor]) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(copies(model), before, strict=True)]


def test_a_move_changes_one_player_only(make_settings: Callable[..., Any], inputs: Any) -> None:
    state = new_state(make_settings(), CPU)
    images, z, labels = inputs
    g, d = copies(state.generator), copies(state.discriminator)
    move_generator(state, z, labels)
    assert all(changed(state.generator, g)) and not any(changed(state.discriminator, d))
    g = copies(state.generator)
    move_discriminator(state, images, z, labels)
    assert all(changed(state.discriminator, d)) and not any(changed(state.generator, g))


def expected_loss(state: ConditionalState, inputs: Any) -> torch.Tensor:
    """The discriminator's, by probabilities, as the authors wrote it."""
    images, z, labels = inputs
    real = torch.sigmoid(state.discriminator(images, labels))
    fake = torch.sigmoid(state.discriminator(state.generator(condition(z, labels)).detach(), labels))
    ones = torch.ones_like(real)
    return F.binary_cross_entropy(real, ones) + F.binary_cross_entropy(fake, 0 * ones)


def test_first_step_of_adam_with_l2_in_the_gradient(make_settings: Callable[..., Any], inputs: Any) -> None:
    """Its length is the learning rate, whatever the gradient's; its direction is gradient + l2 * weight."""
    state = new_state(make_settings(l2=0.5), CPU)
    before = copies(state.discriminator)
    loss = expected_loss(state, inputs)
    gradients = torch.autograd.grad(loss, list(state.discriminator.parameters()))
    move_discriminator(state, *inputs)
    for new, old, gradient in zip(state.discriminator.parameters(), before, gradients, strict=True):
        direction = gradient + 0.5 * old
        clear = direction.abs() > 1e-5  # beside Adam's floor, and beyond rounding
        torch.testing.assert_close((new - old)[clear], -2e-4 * direction[clear].sign(), rtol=2e-3, atol=1e-8)
    assert float(state.measures[0]) == pytest.approx(loss.item(), rel=1e-5)


def test_the_learning_rate_goes_down_as_in_the_authors_loop() -> None:
    settings = ConditionalSettings(run_dir=None, epochs=100, decay_epochs=100)  # type: ignore[arg-type]
    rate = 2e-4
    for epoch in range(1, 201):
        assert settings.learning_rate_in(epoch) == pytest.approx(rate, rel=1e-9)
        if epoch > 100:  # epochs done by now
            rate -= 2e-4 / 100
    assert settings.learning_rate_in(101) == 2e-4
    assert settings.learning_rate_in(200) == pytest.approx(2e-6)


@pytest.mark.parametrize(("images", "steps"), [(50_000, 391), (256, 2), (257, 2), (258, 3), (2, 1)])
def test_the_rest_of_an_epoch_is_a_minibatch_too(images: int, steps: int) -> None:
    """But for a single image, which has no batch statistics."""
    settings = ConditionalSettings(run_dir=None)  # type: ignore[arg-type]
    assert settings.steps_per_epoch(images) == steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be 1 or more"),
        ({"batch_size": 1}, "batch_size=1: must be 2 or more"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be a finite number above 0"),
        ({"l2": -1.0}, "l2=-1.0: must be a finite number, 0 or more"),
        ({"beta1": 1.0}, "beta1=1.0: must be at least 0 and below 1"),
        ({"precision": "tf32"}, "precision='tf32': must be one of float32, bf16, auto"),
    ],
)
def test_settings_are_checked(
    make_settings: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest) as error:
        make_settings(**changes)
    assert str(error.value) == message


def test_presets(tmp_path: Any) -> None:
    paper = ConditionalSettings.of_preset("paper", run_dir=tmp_path)
    assert (paper.epochs, paper.decay_epochs, paper.precision) == (100, 100, "float32")
    quick = ConditionalSettings.of_preset("quick", run_dir=tmp_path, epochs=2)
    assert (quick.epochs, quick.decay_epochs, quick.precision, quick.l2) == (2, 5, "auto", 2.5e-5)
    with pytest.raises(BadRequest, match="preset='slow': must be one of paper, quick"):
        ConditionalSettings.of_preset("slow", run_dir=tmp_path)
