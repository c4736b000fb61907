"""The mathematics of a step, held against float64 formulas that are written out here once more.

Nothing of the package computes an expected value but the fresh weights. The reference takes plain
tensors by name; its transposed convolution is a convolution of the image with zeros put between pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.checkpoint import Facts, load_checkpoint, save_checkpoint
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.engine import Stepper, resolve_precision, try_compile
from dcgan_data.train.game import (
    Batch,
    Players,
    TrainState,
    move_both,
    move_discriminator,
    move_generator,
    new_state,
)
from dcgan_data.train.models import Generator, ModelShape, build
from dcgan_data.train.norm import BatchNorm
from dcgan_data.train.sample import standing_statistics
from dcgan_data.train.seeds import Stream, torch_rng

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]
Weights = dict[str, Tensor]
EPS = 1e-8


def normalised(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    shape = [1, -1] + [1] * (x.ndim - 2)
    every = [dim for dim in range(x.ndim) if dim != 1]
    mean = x.mean(every, keepdim=True)
    variance = ((x - mean) ** 2).mean(every, keepdim=True)
    return (x - mean) / torch.sqrt(variance + EPS) * gain.view(shape) + shift.view(shape)


def doubled(x: Tensor, weight: Tensor) -> Tensor:
    """5x5, stride 2, transposed: weight (in, out, 5, 5)."""
    count, channels, size, _ = x.shape
    spread = x.new_zeros(count, channels, 2 * size, 2 * size)
    spread[:, :, ::2, ::2] = x
    return F.conv2d(spread, weight.transpose(0, 1).flip(2, 3), padding=2)


def generated(g: Weights, z: Tensor) -> Tensor:
    """Images of latent vectors (B, z_dim)."""
    units = normalised(z @ g["project.weight"].T, g["project_norm.weight"], g["project_norm.bias"]).relu()
    x = units.view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    stage = 0
    while f"stages.{stage}.norm.weight" in g:
        x = doubled(x, g[f"stages.{stage}.conv.weight"])
        x = normalised(x, g[f"stages.{stage}.norm.weight"], g[f"stages.{stage}.norm.bias"]).relu()
        stage += 1
    return torch.tanh(doubled(x, g[f"stages.{stage}.conv.weight"]))


def judged(d: Weights, images: Tensor) -> Tensor:
    """Logits of images (B, 3, S, S), taken as one batch."""
    x, stage = images, 0
    while f"stages.{stage}.conv.weight" in d:
        x = F.conv2d(x, d[f"stages.{stage}.conv.weight"], stride=2, padding=2)
        if stage:
            x = normalised(x, d[f"stages.{stage}.norm.weight"], d[f"stages.{stage}.norm.bias"])
        x = torch.where(x > 0, x, 0.2 * x)
        stage += 1
    return (x.permute(0, 2, 3, 1).reshape(len(x), -1) @ d["classify.weight"].T)[:, 0]


def loss_of_d(d: Weights, real: Tensor, fakes: Tensor) -> Tensor:
    chance_real, chance_fake = torch.sigmoid(judged(d, real)), torch.sigmoid(judged(d, fakes))
    return -torch.log(chance_real).mean() - torch.log(1 - chance_fake).mean()


def loss_of_g(g: Weights, d: Weights, z: Tensor) -> Tensor:
    return -torch.log(torch.sigmoid(judged(d, generated(g, z)))).mean()


def weights(model: nn.Module) -> Weights:
    """A float64 copy."""
    return {name: value.detach().double().clone() for name, value in model.named_parameters()}


def gradients(loss: Callable[[Weights], Tensor], at: Weights) -> Weights:
    leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
    found = torch.autograd.grad(loss(leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def collected(model: nn.Module) -> Weights:
    """What the last move left as gradients."""
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def furthest(found: Mapping[str, Tensor], expected: Weights) -> float:
    """The largest error of a tensor, as a share of its largest value."""
    assert found.keys() == expected.keys()
    return max(
        ((found[name].double() - value).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    )


def tiny_state(config: TrainConfig) -> TrainState:
    return new_state(config, 32, CPU)


def plain_players(state: TrainState, *, together: bool = True) -> Players:
    return Players(state.generator, state.discriminator, state.discriminator, nullcontext, together)


def tiny_batch(seed: int = 0, count: int = 4, z_dim: int = 3) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=rng) * 2 - 1
    return Batch(images, torch.rand(count, z_dim, generator=rng) * 2 - 1)


def tiny_pixels(seed: int, count: int = 4) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def as_images(pixels: Tensor) -> Tensor:
    """float64 in [-1, 1]."""
    return pixels.double().permute(0, 3, 1, 2) * 2 / 255 - 1


def latent_stream(config: TrainConfig) -> Callable[[], Tensor]:
    """The latent vectors of one step after the other, as float64."""
    rng = torch_rng(config.seed, Stream.LATENT)
    shape = config.batch_size, config.z_dim
    return lambda: torch.empty(shape).uniform_(-1, 1, generator=rng).double()


@pytest.fixture
def config(make_config: MakeConfig) -> TrainConfig:
    return make_config()


# Gradients


def test_the_reference_has_the_models_shapes_and_values(config: TrainConfig) -> None:
    state, batch = tiny_state(config), tiny_batch()
    with torch.no_grad():
        images = generated(weights(state.generator), batch.z.double())
        assert images.shape == (4, 3, 32, 32)
        torch.testing.assert_close(state.generator(batch.z).double(), images, rtol=0, atol=1e-5)
        logits = judged(weights(state.discriminator), batch.images.double())
        torch.testing.assert_close(state.discriminator(batch.images).double(), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("together", [True, False])
def test_the_discriminators_gradients(config: TrainConfig, together: bool) -> None:
    state, batch = tiny_state(config), tiny_batch()
    g, d = weights(state.generator), weights(state.discriminator)
    fakes = generated(g, batch.z.double())
    move_discriminator(state, plain_players(state, together=together), batch)
    expected = gradients(partial(loss_of_d, real=batch.images.double(), fakes=fakes), d)
    assert furthest(collected(state.discriminator), expected) < 1e-4
    loss = loss_of_d(d, batch.images.double(), fakes).item()
    assert state.measures[0].item() == pytest.approx(loss, rel=1e-6)
    assert state.measures[2].item() == pytest.approx(
        torch.sigmoid(judged(d, batch.images.double())).mean().item(), rel=1e-6
    )
    assert state.measures[3].item() == pytest.approx(torch.sigmoid(judged(d, fakes)).mean().item(), rel=1e-6)
    assert state.measures[1].isnan()
    assert collected(state.generator) == {}


def test_the_generators_gradients(config: TrainConfig) -> None:
    state, batch = tiny_state(config), tiny_batch()
    g, d = weights(state.generator), weights(state.discriminator)
    move_generator(state, plain_players(state), batch)
    expected = gradients(partial(loss_of_g, d=d, z=batch.z.double()), g)
    assert furthest(collected(state.generator), expected) < 1e-4
    assert state.measures[1].item() == pytest.approx(loss_of_g(g, d, batch.z.double()).item(), rel=1e-6)
    assert state.measures[[0, 2, 3]].isnan().all()
    assert collected(state.discriminator) == {}


@pytest.mark.parametrize("together", [True, False])
def test_both_move_and_the_generator_meets_the_new_discriminator(
    make_config: MakeConfig, together: bool
) -> None:
    state, batch = tiny_state(make_config(learning_rate=0.01)), tiny_batch()  # a D that is seen to be new
    z = batch.z.double()
    g, old = weights(state.generator), weights(state.discriminator)
    move_both(state, plain_players(state, together=together), batch)
    new = weights(state.discriminator)

    expected = gradients(partial(loss_of_d, real=batch.images.double(), fakes=generated(g, z)), old)
    assert furthest(collected(state.discriminator), expected) < 1e-4
    expected = gradients(partial(loss_of_g, d=new, z=z), g)
    assert furthest(collected(state.generator), expected) < 1e-4
    assert furthest(collected(state.generator), gradients(partial(loss_of_g, d=old, z=z), g)) > 0.01
    assert state.measures[1].item() == pytest.approx(loss_of_g(g, new, z).item(), rel=1e-6)


def test_finite_differences_of_the_generators_loss(config: TrainConfig) -> None:
    """Nothing of autograd is trusted here: a parameter is moved a little, and the loss computed again."""
    state, batch = tiny_state(config), tiny_batch()
    state.generator.double()
    state.discriminator.double()
    z, little = batch.z.double(), 1e-5
    before = weights(state.generator)
    move_generator(state, plain_players(state), Batch(z, z))
    found = collected(state.generator)
    state.generator.load_state_dict(before)

    @torch.no_grad()
    def loss() -> float:
        return -F.logsigmoid(state.discriminator(state.generator(z))).mean().item()

    parameters = dict(state.generator.named_parameters())
    rng = np.random.default_rng(0)
    for name, parameter in parameters.items():
        for place in rng.integers(0, parameter.numel(), 3):
            where = tuple(np.unravel_index(place, parameter.shape))
            around = []
            for step in (little, -little):
                with torch.no_grad():
                    parameter[where] = before[name][where] + step
                around.append(loss())
            with torch.no_grad():
                parameter[where] = before[name][where]
            slope = (around[0] - around[1]) / (2 * little)
            # The loss itself is float32 in a move, whose gradients therefore have 7 digits.
            assert found[name][where].item() == pytest.approx(slope, rel=1e-4, abs=1e-9), (name, where)


# Who moves when


def moved(before: Weights, model: nn.Module) -> bool:
    differing = [not torch.equal(value, before[name]) for name, value in weights(model).items()]
    assert len(set(differing)) == 1, "some of the parameters only"
    return differing[0]


def test_the_papers_moves_alternate_and_the_generator_begins(config: TrainConfig) -> None:
    state = tiny_state(config)
    stepper, latent = Stepper(config, state), latent_stream(config)
    for step in range(6):
        g, d, z = weights(state.generator), weights(state.discriminator), latent()
        pixels = tiny_pixels(step)
        gs_turn = step % 2 == 0
        assert state.step == step
        assert stepper.reads_pixels is not gs_turn
        stepper.step(None if gs_turn else pixels)
        assert (moved(g, state.generator), moved(d, state.discriminator)) == (gs_turn, not gs_turn)
        # The gradients tell which batch and which latent vectors were used.
        if gs_turn:
            expected = gradients(partial(loss_of_g, d=d, z=z), g)
            assert furthest(collected(state.generator), expected) < 1e-3
        else:
            loss = partial(loss_of_d, real=as_images(pixels), fakes=generated(g, z))
            assert furthest(collected(state.discriminator), gradients(loss, d)) < 1e-3


def test_fast_moves_the_discriminator_and_then_the_generator_on_every_batch(
    make_config: MakeConfig,
) -> None:
    config = make_config(alternate=False, learning_rate=0.01)
    state = tiny_state(config)
    stepper, latent = Stepper(config, state), latent_stream(config)
    for step in range(3):
        assert stepper.reads_pixels
        g, d, z = weights(state.generator), weights(state.discriminator), latent()
        pixels = tiny_pixels(step)
        stepper.step(pixels)
        assert moved(g, state.generator) and moved(d, state.discriminator)
        loss = partial(loss_of_d, real=as_images(pixels), fakes=generated(g, z))
        assert furthest(collected(state.discriminator), gradients(loss, d)) < 1e-3
        expected = gradients(partial(loss_of_g, d=weights(state.discriminator), z=z), g)
        assert furthest(collected(state.generator), expected) < 1e-3


# The optimiser


class HandAdam:
    """Adam (Kingma and Ba, 2015, algorithm 1) with L2 in the gradient, in float64."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._time = 0
        self._first: Weights = {}
        self._second: Weights = {}

    def step(self, parameters: Weights, slopes: Weights) -> None:
        config, self._time = self._config, self._time + 1
        for name, parameter in parameters.items():
            slope = slopes[name] + config.l2 * parameter
            zero = torch.zeros_like(slope)
            self._first[name] = config.beta1 * self._first.get(name, zero) + (1 - config.beta1) * slope
            self._second[name] = config.beta2 * self._second.get(name, zero) + (1 - config.beta2) * slope**2
            mean = self._first[name] / (1 - config.beta1**self._time)
            square = self._second[name] / (1 - config.beta2**self._time)
            parameters[name] = parameter - config.learning_rate * mean / (square.sqrt() + config.adam_eps)


@pytest.mark.parametrize("alternate", [True, False])
def test_steps_against_an_optimiser_by_hand(make_config: MakeConfig, alternate: bool) -> None:
    # L2 and the divisor's floor are larger than in any run, so that both are seen at this precision.
    config = make_config(alternate=alternate, l2=0.02, adam_eps=1e-3, learning_rate=0.005, seed=2)
    state = tiny_state(config)
    stepper, latent = Stepper(config, state), latent_stream(config)
    hand_g, hand_d = HandAdam(config), HandAdam(config)
    for step in range(6 if alternate else 3):
        # From the same weights at each step: of two ReLUs near 0, rounding would make two different runs.
        g, d = weights(state.generator), weights(state.discriminator)
        pixels, z = tiny_pixels(step), latent()
        stepper.step(pixels if stepper.reads_pixels else None)
        if not alternate or step % 2 == 1:
            hand_d.step(d, gradients(partial(loss_of_d, real=as_images(pixels), fakes=generated(g, z)), d))
        if not alternate or step % 2 == 0:
            hand_g.step(g, gradients(partial(loss_of_g, d=d, z=z), g))
        for model, expected in ((state.generator, g), (state.discriminator, d)):
            for name, parameter in model.named_parameters():
                # Of a step of 0.005.
                torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=5e-6)


@pytest.mark.parametrize("move", [move_generator, move_discriminator])
def test_l2_is_in_the_moments_of_every_parameter(
    config: TrainConfig, move: Callable[[TrainState, Players, Batch], None]
) -> None:
    """A last layer of zeros lets no gradient through: what is left in the moments is L2 alone."""
    state = tiny_state(config)
    with torch.no_grad():
        state.discriminator.classify.weight.zero_()
    model: nn.Module = state.generator if move is move_generator else state.discriminator
    adam = state.adam_g if move is move_generator else state.adam_d
    before = weights(model)
    move(state, plain_players(state), tiny_batch())
    seen = 0
    for name, parameter in model.named_parameters():
        if name == "classify.weight":
            continue  # has a gradient
        decay = 1e-5 * before[name]
        moments = adam.state[parameter]
        torch.testing.assert_close(moments["exp_avg"].double(), 0.5 * decay, rtol=1e-5, atol=0)
        torch.testing.assert_close(moments["exp_avg_sq"].double(), 0.001 * decay**2, rtol=1e-4, atol=0)
        seen += name.endswith("norm.weight")
    assert seen == (3 if move is move_generator else 2)


# Real and generated images apart


def d_move(config: TrainConfig, players: Callable[[TrainState], Players]) -> tuple[Weights, Tensor]:
    state = tiny_state(config)
    move_discriminator(state, players(state), tiny_batch())
    return collected(state.discriminator), state.measures


def test_one_call_is_two_calls_and_not_one_mixed_batch(config: TrainConfig) -> None:
    one, of_one = d_move(config, partial(plain_players, together=True))
    two, of_two = d_move(config, partial(plain_players, together=False))

    def mixing(state: TrainState) -> Players:
        return replace(
            plain_players(state), discriminator=lambda images, groups: state.discriminator(images, groups=1)
        )

    mixed, of_mixed = d_move(config, mixing)
    expected = {name: value.double() for name, value in one.items()}
    assert furthest(two, expected) < 1e-4
    torch.testing.assert_close(of_one, of_two, rtol=1e-5, atol=0, equal_nan=True)
    assert furthest(mixed, expected) > 0.05
    assert (of_mixed - of_one).abs().nan_to_num().max() > 1e-3


def test_groups_are_normalised_apart_and_differentiated_apart(config: TrainConfig) -> None:
    model = tiny_state(config).discriminator
    rng = torch.Generator().manual_seed(1)
    real = torch.rand(4, 3, 32, 32, generator=rng) * 2 - 1
    fakes = (torch.rand(4, 3, 32, 32, generator=rng) * 0.1 + 0.8).requires_grad_()
    logits = model(torch.cat([real, fakes]), groups=2)
    torch.testing.assert_close(logits, torch.cat([model(real), model(fakes)]), rtol=1e-5, atol=1e-6)
    (through,) = torch.autograd.grad(logits[:4].sum(), fakes)
    assert not through.any()  # a real image's logit knows nothing of the generated ones
    assert (logits - model(torch.cat([real, fakes]))).abs().max() > 1e-3


# bfloat16


def run_steps(config: TrainConfig, steps: int) -> tuple[TrainState, list[list[float]]]:
    state = tiny_state(config)
    stepper, losses = Stepper(config, state), []
    for step in range(steps):
        stepper.step(tiny_pixels(step, config.batch_size))
        losses.append(state.measures[:2].tolist())
    return state, losses


def test_bfloat16_is_near_float32_and_nothing_is_kept_in_it(make_config: MakeConfig) -> None:
    sizes = {"width": 8, "z_dim": 16, "batch_size": 16}
    fast = TrainConfig.of_preset("fast", prepared=Path(), run_dir=Path(), device="cpu", **sizes)
    assert (fast.alternate, fast.precision, fast.ema) == (False, "auto", 0.999)
    assert resolve_precision("auto", CPU) in ("bf16", "float32")
    state, losses = run_steps(replace(fast, precision="bf16"), 3)
    _, exact = run_steps(replace(fast, precision="float32"), 3)
    assert losses != exact  # it is bfloat16
    np.testing.assert_allclose(losses, exact, rtol=0.03)
    assert state.average is not None
    kept = [*state.generator.parameters(), *state.discriminator.parameters(), *state.average.parameters()]
    for adam in (state.adam_g, state.adam_d):
        kept += [value for moments in adam.state.values() for value in moments.values()]
    kept += [parameter.grad for parameter in state.generator.parameters() if parameter.grad is not None]
    kept += [state.measures]
    kept += [value for pair in standing_statistics(state.average, 0, 16).values() for value in pair]
    assert len(kept) > 60
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_batch_statistics_of_bfloat16_are_summed_in_float32() -> None:
    """Summed in bfloat16, 16,384 values about 1 would add up to 256."""
    norm = BatchNorm(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.5, 0.5]))
        norm.bias.copy_(torch.tensor([0.25, -1.0]))
    x = (1 + 0.1 * torch.randn(16, 2, 32, 32, generator=torch.Generator().manual_seed(0))).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    y = norm(x)
    assert y.dtype == torch.bfloat16
    (y.float() * weight).sum().backward()

    exact = x.detach().double().requires_grad_()
    gain, shift = (value.detach().double().requires_grad_() for value in (norm.weight, norm.bias))
    expected = normalised(exact, gain, shift)
    (expected * weight.bfloat16().double()).sum().backward()
    rounding = 2**-8
    torch.testing.assert_close(y.double(), expected, rtol=rounding, atol=rounding)
    assert norm.weight.grad is not None and norm.bias.grad is not None and gain.grad is not None
    assert norm.weight.grad.dtype == torch.float32
    torch.testing.assert_close(norm.weight.grad.double(), gain.grad, rtol=1e-3, atol=0.5)


# The moving average


def test_the_average_follows_the_formula(make_config: MakeConfig) -> None:
    config = make_config(alternate=False, ema=0.15, learning_rate=0.01)
    state = tiny_state(config)
    assert state.average is not None
    assert state.drawing is state.average
    expected = weights(state.generator)  # where it begins
    stepper = Stepper(config, state)
    for step in range(4):
        stepper.step(tiny_pixels(step))
        decay = (0.1, 0.15, 0.15, 0.15)[step]  # warm-up: 1/10, 2/11 is above already
        new = weights(state.generator)
        expected = {name: decay * expected[name] + (1 - decay) * new[name] for name in new}
        assert furthest(dict(state.average.named_parameters()), expected) < 1e-6
    assert not any(parameter.requires_grad for parameter in state.average.parameters())
    assert furthest(dict(state.average.named_parameters()), new) > 1e-4


def test_a_slow_average_starts_fast(make_config: MakeConfig) -> None:
    """Else the first thousand grids would show the weights that training began with."""
    config = make_config(alternate=False, ema=0.999, learning_rate=0.01)
    state = tiny_state(config)
    assert state.average is not None
    expected, stepper = weights(state.generator), Stepper(config, state)
    for step in range(4):
        stepper.step(tiny_pixels(step))
        decay, new = (1 + step) / (10 + step), weights(state.generator)
        expected = {name: decay * expected[name] + (1 - decay) * new[name] for name in new}
    assert furthest(dict(state.average.named_parameters()), expected) < 1e-6


def test_without_an_average_samples_are_the_generators(config: TrainConfig) -> None:
    state = tiny_state(config)
    assert state.average is None
    assert state.drawing is state.generator


# Spectral norm


def singular_values(state: TrainState) -> dict[str, float]:
    """The largest one of each weight that D really uses."""
    state.discriminator.eval()  # reading a weight then changes nothing
    found = {
        name: torch.linalg.matrix_norm(module.weight.detach().double().flatten(1), 2).item()
        for name, module in state.discriminator.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    state.discriminator.train()
    return found


def test_spectral_norm_keeps_the_largest_singular_values_at_one(make_config: MakeConfig) -> None:
    config = make_config(alternate=False, spectral_norm=True, width=8, z_dim=16)
    state, _ = run_steps(config, 10)
    found = singular_values(state)
    assert found.keys() == {"stages.0.conv", "stages.1.conv", "stages.2.conv", "classify"}
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=0.02)
    unlimited = singular_values(run_steps(replace(config, spectral_norm=False), 10)[0])
    assert all(abs(value - 1) > 0.02 for value in unlimited.values())


def test_the_generator_is_not_limited(make_config: MakeConfig) -> None:
    limited, free = (tiny_state(make_config(spectral_norm=switch)) for switch in (True, False))
    assert limited.generator.state_dict().keys() == free.generator.state_dict().keys()
    shape = ModelShape(32, 2, 3, spectral_norm=True)
    assert build(Generator, shape, torch_rng(0, Stream.GENERATOR_WEIGHTS)).state_dict().keys() == (
        free.generator.state_dict().keys()
    )


def all_of(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"g.{name}": value for name, value in state.generator.state_dict().items()}
    tensors |= {f"d.{name}": value for name, value in state.discriminator.state_dict().items()}
    for key, adam in (("g", state.adam_g), ("d", state.adam_d)):
        for number, moments in enumerate(adam.state.values()):
            tensors |= {f"adam_{key}.{number}.{name}": value for name, value in moments.items()}
    return {**tensors, "rng": state.rng.get_state(), "measures": state.measures}


def test_spectral_norms_vectors_are_saved_and_training_goes_on_to_the_same_bits(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(alternate=False, spectral_norm=True)
    state, _ = run_steps(config, 3)
    facts = Facts(state.step)
    saved = save_checkpoint(tmp_path, state, standing_statistics(state.drawing, 0, 4), facts, keep=1)
    before = torch.get_rng_state()
    other = tiny_state(replace(config, seed=5))
    assert torch.equal(before, torch.get_rng_state())  # torch starts these vectors from its global numbers
    load_checkpoint(saved, other)
    for one in (state, other):
        stepper = Stepper(config, one)
        for step in (3, 4):
            stepper.step(tiny_pixels(step))
    left, right = all_of(state), all_of(other)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def test_trying_a_compiler_out_changes_nothing(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the networks, and reading a weight under spectral norm moves that weight's vectors on: a
    resumed run would not be the same run."""
    config = make_config(spectral_norm=True)
    state = tiny_state(config)
    before = {name: value.clone() for name, value in state.discriminator.state_dict().items()}
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    assert try_compile(state, config, nullcontext) is not None
    after = state.discriminator.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert collected(state.generator) == collected(state.discriminator) == {}
    assert math.isnan(state.measures[0].item())
