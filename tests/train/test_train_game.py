"""One move of each player, held against the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.game import (
    Batch,
    Players,
    TrainState,
    move_both,
    move_discriminator,
    move_generator,
    new_state,
)
from dcgan_data.train.readings import Measures, read_now

MakeConfig = Callable[..., TrainConfig]


def copies(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(before: Iterable[Tensor], model: nn.Module) -> bool:
    return all(map(torch.equal, before, model.parameters()))


def batch(state: TrainState, count: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(9)
    images = torch.rand(count, 3, 32, 32, generator=rng) * 2 - 1
    return Batch(images, torch.rand(count, state.generator.project.in_features, generator=rng) * 2 - 1)


def players(state: TrainState) -> Players:
    return Players(state.generator, state.discriminator, state.discriminator)


def update_generator(state: TrainState, given: Batch) -> None:
    move_generator(state, players(state), given)


def update_discriminator(state: TrainState, given: Batch) -> None:
    move_discriminator(state, players(state), given)


def read_measures(state: TrainState) -> Measures:
    return read_now(state).measures


def binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


@pytest.fixture
def state(make_config: MakeConfig) -> TrainState:
    return new_state(make_config(), 32, torch.device("cpu"))


def test_the_generators_move_leaves_the_discriminator_alone(state: TrainState) -> None:
    given = batch(state)
    g, d = copies(state.generator), copies(state.discriminator)
    update_generator(state, given)
    assert equal(d, state.discriminator)
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())
    assert not any(map(torch.equal, g, state.generator.parameters()))


def test_the_discriminators_move_leaves_the_generator_alone(state: TrainState) -> None:
    g, d = copies(state.generator), copies(state.discriminator)
    update_discriminator(state, batch(state))
    assert equal(g, state.generator)
    assert all(parameter.grad is None for parameter in state.generator.parameters())
    assert not any(map(torch.equal, d, state.discriminator.parameters()))


def test_losses_are_the_papers_cross_entropies(state: TrainState) -> None:
    given = batch(state)
    images, z = given.images, given.z
    with torch.no_grad():
        real, fake = state.discriminator(images), state.discriminator(state.generator(z))
    expected_d = binary_cross_entropy(real, 1) + binary_cross_entropy(fake, 0)
    update_discriminator(state, given)
    measures = read_measures(state)
    assert measures.loss_d == pytest.approx(expected_d.item(), rel=1e-5)
    assert measures.p_real == pytest.approx(real.sigmoid().mean().item(), rel=1e-5)
    assert measures.p_fake == pytest.approx(fake.sigmoid().mean().item(), rel=1e-5)
    assert measures.loss_g is None

    with torch.no_grad():
        expected_g = binary_cross_entropy(state.discriminator(state.generator(z)), 1)
    update_generator(state, given)
    assert read_measures(state).loss_g == pytest.approx(expected_g.item(), rel=1e-5)


def test_real_and_generated_images_are_normalised_apart(state: TrainState) -> None:
    given = batch(state)
    images, z = given.images, given.z
    with torch.no_grad():
        together = state.discriminator(torch.cat([images, state.generator(z)]))
    update_discriminator(state, given)
    p_real = read_measures(state).p_real
    assert p_real is not None
    assert abs(together[:4].sigmoid().mean().item() - p_real) > 1e-3


def test_adam_adds_l2_to_the_gradient_of_every_parameter(make_config: MakeConfig) -> None:
    config = make_config(l2=0.5, learning_rate=0.01, adam_eps=0.1)  # large, so that both are seen
    state = new_state(config, 32, torch.device("cpu"))
    given = batch(state)
    before = copies(state.generator)
    loss = F.softplus(-state.discriminator(state.generator(given.z))).mean()
    gradients = torch.autograd.grad(loss, list(state.generator.parameters()))
    update_generator(state, given)
    for old, gradient, new in zip(before, gradients, state.generator.parameters(), strict=True):
        total = gradient + 0.5 * old
        # After one step both of Adam's bias-corrected moments are the gradient's own.
        torch.testing.assert_close(new, old - 0.01 * total / (total.abs() + 0.1), rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_moves_nothing(state: TrainState) -> None:
    given = batch(state)
    update_generator(state, given)
    with torch.no_grad():
        state.discriminator.classify.weight[0, 0] = math.nan
    g = copies(state.generator)
    moments = [
        {name: value.clone() for name, value in moments.items()} for moments in state.adam_g.state.values()
    ]
    state.guard.step.fill_(2)
    update_generator(state, given)
    with torch.no_grad():
        state.discriminator.classify.weight[0, 0] = 0.0
    update_generator(state, given)  # finite again, and still refused
    assert equal(g, state.generator)
    for was, now in zip(moments, state.adam_g.state.values(), strict=True):
        assert all(torch.equal(was[name], now[name]) for name in was)
    failure = read_now(state).failure
    assert failure is not None
    assert failure.step == 2
    assert math.isnan(failure.loss)


def test_weights_depend_on_the_seed_and_not_on_global_state(make_config: MakeConfig) -> None:
    before = torch.get_rng_state()
    cpu = torch.device("cpu")
    one, same, other = (new_state(make_config(seed=seed), 32, cpu) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert equal(copies(one.discriminator), same.discriminator)
    assert not equal(copies(one.discriminator), other.discriminator)
    assert torch.equal(one.rng.get_state(), same.rng.get_state())
    assert read_measures(one) == Measures(None, None, None, None)


def test_a_move_of_both_moves_the_discriminator_first(state: TrainState, make_config: MakeConfig) -> None:
    given = batch(state)
    move_both(state, players(state), given)
    apart = new_state(make_config(), 32, torch.device("cpu"))
    update_discriminator(apart, given)
    update_generator(apart, given)  # against the discriminator that has just moved
    for one, two in ((state.generator, apart.generator), (state.discriminator, apart.discriminator)):
        for left, right in zip(one.parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(left, right)
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
