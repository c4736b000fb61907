"""Standing statistics: what they are, that nothing else is left behind, and that an image is then its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dcgan_data.errors import BadInput
from dcgan_data.train.checkpoint import Facts, load_drawing_generator, save_checkpoint
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.engine import Stepper
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.models import Discriminator, Generator, ModelShape, build
from dcgan_data.train.norm import BatchNorm, Statistics, measure_statistics, set_standing, standing
from dcgan_data.train.sample import STANDING_BATCHES, draw_chunks, draw_images, standing_statistics
from dcgan_data.train.seeds import Stream, torch_rng

CPU = torch.device("cpu")
SHAPE = ModelShape(image_size=32, width=4, z_dim=6)
MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def generator() -> Generator:
    return build(Generator, SHAPE, torch.Generator().manual_seed(0))


def latent(count: int, seed: int = 0, z_dim: int = 6) -> Tensor:
    return ModelShape(32, 2, z_dim).draw_z(torch.Generator().manual_seed(seed), count)


def norms(model: torch.nn.Module) -> dict[str, BatchNorm]:
    return {name: module for name, module in model.named_modules() if isinstance(module, BatchNorm)}


def inputs_of_norms(model: Generator, z: Tensor) -> dict[str, Tensor]:
    """What comes in at each batch norm, as float64 (N, C), when the batch normalises itself in float64."""
    exact = build(Generator, SHAPE, torch.Generator().manual_seed(9)).double()
    exact.load_state_dict(model.state_dict())
    found: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[torch.nn.Module, tuple[Tensor, ...]], None]:
        def hear(_norm: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[name] = inputs[0].detach().transpose(0, 1).flatten(1).T

        return hear

    for name, norm in norms(exact).items():
        norm.register_forward_pre_hook(note(name))
    exact(z.double())
    return found


def assert_bare(model: torch.nn.Module) -> None:
    for norm in norms(model).values():
        assert norm.standing is None
    for module in model.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks


def test_statistics_of_one_batch_are_that_batchs(generator: Generator) -> None:
    z = latent(32)
    found = measure_statistics(generator, iter([z]))
    expected = inputs_of_norms(generator, z)
    assert found.keys() == expected.keys() == norms(generator).keys()
    for name, (mean, variance) in found.items():
        values = expected[name]
        assert mean.dtype == variance.dtype == torch.float32
        assert mean.shape == (values.shape[1],)
        scale = values.std(0, unbiased=False)
        assert ((mean.double() - values.mean(0)).abs() / scale).max() < 1e-5
        torch.testing.assert_close(variance.double(), values.var(0, unbiased=False), rtol=1e-5, atol=0)
        assert not variance.requires_grad


def test_one_batchs_statistics_draw_what_that_batch_draws(generator: Generator) -> None:
    z = latent(32)
    with torch.no_grad():
        alone = generator(z)
        with standing(generator, measure_statistics(generator, iter([z]))):
            torch.testing.assert_close(generator(z), alone, rtol=0, atol=1e-5)


def test_statistics_of_several_batches_count_each_value_once(generator: Generator) -> None:
    """Also if batches differ in size; the variance holds what lies between the batches' means."""
    parts = [latent(8, seed=1), 3 * latent(24, seed=2) + 1]
    found = measure_statistics(generator, iter(parts))
    each = [inputs_of_norms(generator, part) for part in parts]
    for name, (mean, variance) in found.items():
        values = torch.cat([one[name] for one in each])
        scale = values.std(0, unbiased=False)
        assert ((mean.double() - values.mean(0)).abs() / scale).max() < 1e-5
        torch.testing.assert_close(variance.double(), values.var(0, unbiased=False), rtol=1e-5, atol=0)


def test_a_small_variance_beside_a_large_mean_is_not_lost() -> None:
    """Sums in float32 would cancel."""
    norm = BatchNorm(1)
    with torch.no_grad():
        norm.weight.fill_(1)
        norm.bias.zero_()
    x = 1000 + 0.01 * torch.randn(4096, 1, generator=torch.Generator().manual_seed(0))
    ((mean, variance),) = measure_statistics(norm, iter([x])).values()
    assert variance.item() == pytest.approx(x.double().var(unbiased=False).item(), rel=1e-4)
    assert mean.item() == pytest.approx(x.double().mean().item(), rel=1e-7)


def test_the_drawn_statistics_are_a_function_of_weights_and_seed(generator: Generator) -> None:
    before = torch.get_rng_state()
    found = standing_statistics(generator, seed=3, batch_size=8)
    assert torch.equal(before, torch.get_rng_state())
    rng = torch_rng(3, Stream.STANDING)
    batches = [generator.shape.draw_z(rng, 8) for _ in range(STANDING_BATCHES)]
    assert_equal(found, measure_statistics(generator, iter(batches)))
    assert_equal(found, standing_statistics(generator, seed=3, batch_size=8))
    other = standing_statistics(generator, seed=4, batch_size=8)
    assert not torch.equal(found["project_norm"][0], other["project_norm"][0])


def assert_equal(one: Statistics, two: Statistics) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(a, b) for name in one for a, b in zip(one[name], two[name], strict=True))


# An image depends on its latent vector alone


@pytest.fixture
def steady() -> Generator:
    """Large enough for the libraries to cut its work into blocks."""
    model = build(Generator, ModelShape(64, 8, 100), torch.Generator().manual_seed(0))
    set_standing(model, standing_statistics(model, 0, 16))
    return model


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_an_image_is_the_same_bits_in_any_company(steady: Generator) -> None:
    z = latent(130, z_dim=100)
    images = draw_images(steady, z)
    assert images.shape == (130, 64, 64, 3)
    assert images.dtype == np.uint8
    assert len(np.unique(images.reshape(130, -1), axis=0)) == 130
    for count in (1, 7, 64):
        assert np.array_equal(draw_images(steady, z[:count]), images[:count])
    order = torch.randperm(130, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(draw_images(steady, z[order]), images[order.numpy()])
    assert np.array_equal(draw_images(steady, z[129:]), images[129:])
    crowd = torch.cat([z[:1], 100 * torch.ones(10, 100)])
    assert np.array_equal(draw_images(steady, crowd)[:1], images[:1])


def test_no_image_at_all(steady: Generator) -> None:
    """For instance no removed copies to compare with."""
    assert list(draw_chunks(steady, torch.Generator(), 0)) == []


def test_the_first_images_of_a_stream_are_the_same_whatever_is_asked_for(steady: Generator) -> None:
    def drawn(count: int) -> np.ndarray:
        return np.concatenate(list(draw_chunks(steady, torch.Generator().manual_seed(5), count)))

    many = drawn(130)
    assert len(many) == 130
    for count in (1, 7, 64, 65):
        assert np.array_equal(drawn(count), many[:count])


def test_without_standing_statistics_it_does_depend(generator: Generator) -> None:
    """What the statistics are for; the two tests above could not fail otherwise."""
    z = latent(16)
    company = torch.cat([z[:8], 5 * torch.ones(8, 6)])
    assert not np.array_equal(draw_images(generator, z)[:8], draw_images(generator, company)[:8])


# What is left behind


def test_nothing_stays_after_measuring(generator: Generator) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    measure_statistics(generator, iter([latent(8)]))
    assert_bare(generator)
    assert all(torch.equal(value, generator.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_nothing_stays_after_an_error_while_measuring(generator: Generator) -> None:
    def failing() -> Iterator[Tensor]:
        yield latent(8)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        measure_statistics(generator, failing())
    assert_bare(generator)


def test_nothing_stays_after_the_block(generator: Generator) -> None:
    statistics = measure_statistics(generator, iter([latent(8)]))
    with standing(generator, statistics):
        assert all(norm.standing is not None for norm in norms(generator).values())
    assert_bare(generator)
    with pytest.raises(ZeroDivisionError), standing(generator, statistics):
        raise ZeroDivisionError
    assert_bare(generator)


def test_standing_statistics_are_not_parameters(generator: Generator) -> None:
    names = generator.state_dict().keys()
    with standing(generator, measure_statistics(generator, iter([latent(8)]))):
        assert generator.state_dict().keys() == names


def test_wrong_statistics_are_refused_and_change_nothing(generator: Generator) -> None:
    good = measure_statistics(generator, iter([latent(8)]))
    last = list(good)[-1]
    missing = {name: pair for name, pair in good.items() if name != last}
    with pytest.raises(KeyError, match=r"statistics for .*, expected .*stages.1.norm"):
        set_standing(generator, missing)
    with pytest.raises(KeyError):
        set_standing(generator, {**good, "classify": good[last]})
    for wrong in (
        (good[last][0][:-1], good[last][1][:-1]),
        (good[last][0], good[last][1][:1]),
        (good[last][0][None], good[last][1][None]),
    ):
        with pytest.raises(ValueError, match=r"statistics of stages.1.norm: .*, expected \(4,\)"):
            set_standing(generator, {**good, last: wrong})
        assert_bare(generator)
    discriminator = build(Discriminator, SHAPE, torch.Generator().manual_seed(0))
    with pytest.raises(KeyError):
        set_standing(discriminator, good)


# Whose statistics a checkpoint holds


def trained(config: TrainConfig) -> TrainState:
    state = new_state(config, 32, CPU)
    stepper = Stepper(config, state)
    rng = np.random.default_rng(0)
    for _ in range(4):
        pixels = torch.from_numpy(rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
        stepper.step(pixels if stepper.reads_pixels else None)
    return state


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_checkpoint_draws_what_the_run_drew(make_config: MakeConfig, tmp_path: Path, ema: float) -> None:
    """From the moving average if there is one, from the generator if not; and after any number of images."""
    state = trained(make_config(ema=ema, learning_rate=0.02))
    drawing = state.average if ema else state.generator
    assert drawing is not None and state.drawing is drawing
    statistics = standing_statistics(drawing, 0, 4)
    z = latent(70, z_dim=3)
    with standing(drawing, statistics):
        expected = draw_images(drawing, z)
    saved = save_checkpoint(tmp_path, state, statistics, Facts(state.step), keep=1)
    loaded = load_drawing_generator(saved, ModelShape(32, 2, 3))
    assert np.array_equal(draw_images(loaded, z), expected)
    assert np.array_equal(draw_images(loaded, z[60:]), expected[60:])
    if ema:
        with standing(state.generator, standing_statistics(state.generator, 0, 4)):
            assert not np.array_equal(draw_images(state.generator, z), expected)


@pytest.mark.parametrize("damage", ["cut", "other shape", "missing"])
def test_damaged_statistics_are_bad_input(make_config: MakeConfig, tmp_path: Path, damage: str) -> None:
    state = trained(make_config())
    statistics = standing_statistics(state.generator, 0, 4)
    if damage == "other shape":
        statistics["project_norm"] = (torch.zeros(3), torch.ones(3))
    saved = save_checkpoint(tmp_path, state, statistics, Facts(state.step), keep=1)
    file = saved / "standing.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    if damage == "missing":
        file.unlink()
    with pytest.raises(
        BadInput, match=r"000004: damaged \(.*\); remove this directory to use the checkpoint"
    ):
        load_drawing_generator(saved, ModelShape(32, 2, 3))
