"""The networks are the authors' to the parameter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dcgan_data.train.models import Discriminator, Generator, ModelShape, build
from dcgan_data.train.norm import EPS, BatchNorm

PAPER = ModelShape(image_size=64, width=128, z_dim=100)
TINY = ModelShape(image_size=32, width=4, z_dim=5)


def parameters(network: type[Generator] | type[Discriminator], shape: ModelShape) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network(shape).parameters())


def layers(model: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def fresh(network: type[Any], shape: ModelShape, seed: int = 0) -> Any:
    return build(network, shape, torch.Generator().manual_seed(seed))


def test_generator_has_18_89_million_parameters() -> None:
    units = 1024 * 4 * 4
    linear = 100 * units + 2 * units  # a gain and a bias for each of the 16,384 units
    convolutions = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    norms = 2 * (512 + 256 + 128)
    assert linear + convolutions + norms == 18_885_760
    assert parameters(Generator, PAPER) == 18_885_760
    assert f"{parameters(Generator, PAPER) / 1e6:.2f} M" == "18.89 M"


def test_discriminator_has_17_23_million_parameters() -> None:
    convolutions = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024)
    norms = 2 * (256 + 512 + 1024)
    assert convolutions + norms + 16_384 == 17_232_768
    assert parameters(Discriminator, PAPER) == 17_232_768
    assert f"{parameters(Discriminator, PAPER) / 1e6:.2f} M" == "17.23 M"


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_and_ranges(size: int) -> None:
    shape = ModelShape(size, width=2, z_dim=5)
    images = fresh(Generator, shape)(torch.rand(3, 5) * 2 - 1)
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert fresh(Discriminator, shape)(images).shape == (3,)


def test_every_size_ends_at_4_by_4() -> None:
    assert ModelShape(32, 64, 100).stage_widths == [64, 128, 256]  # the authors' SVHN discriminator
    assert PAPER.stage_widths == [128, 256, 512, 1024]
    assert ModelShape(128, 64, 100).stage_widths == [64, 128, 256, 512, 1024]


def test_other_sizes_are_a_bug_in_the_caller() -> None:
    with pytest.raises(ValueError, match=r"image_size=48: must be one of \(32, 64, 128\)"):
        ModelShape(48, 128, 100)


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_every_convolution_is_5x5_of_stride_2_and_nothing_has_a_bias(network: type[Any]) -> None:
    model = fresh(network, TINY)
    convolutions = layers(model, nn.Conv2d, nn.ConvTranspose2d)
    assert len(convolutions) == 3
    for layer in convolutions:
        assert (layer.kernel_size, layer.stride, layer.padding) == ((5, 5), (2, 2), (2, 2))
    for layer in [*convolutions, *layers(model, nn.Linear)]:
        assert layer.bias is None


def test_where_batch_norm_is() -> None:
    generator, discriminator = fresh(Generator, TINY), fresh(Discriminator, TINY)
    assert [len(norm.weight) for norm in layers(generator, BatchNorm)] == [
        16 * 4 * 4,
        8,
        4,
    ]  # none at the image
    assert [len(norm.weight) for norm in layers(discriminator, BatchNorm)] == [8, 16]  # nor there
    assert EPS == 1e-8
    assert {act.negative_slope for act in layers(discriminator, nn.LeakyReLU)} == {0.2}
    assert [type(act) for act in layers(generator, nn.ReLU, nn.Tanh)] == [nn.ReLU, nn.ReLU, nn.Tanh]


def test_batch_norm_uses_the_batchs_statistics() -> None:
    generator = fresh(Generator, TINY)
    z = torch.rand(8, 5) * 2 - 1
    with torch.no_grad():
        trained = generator.train()(z)
        sampled = generator.eval()(z)
        in_company = generator(z[:4])
    assert torch.equal(trained, sampled)
    assert not torch.allclose(in_company, sampled[:4], atol=1e-3)
    assert list(generator.buffers()) == []


def test_initial_values() -> None:
    shape = ModelShape(image_size=32, width=32, z_dim=100)
    for model in (fresh(Generator, shape), fresh(Discriminator, shape)):
        for layer in layers(model, nn.Conv2d, nn.ConvTranspose2d, nn.Linear):
            assert layer.weight.mean().abs() < 0.002
            assert 0.018 < layer.weight.std() < 0.022
        for norm in layers(model, BatchNorm):
            assert abs(norm.weight.mean() - 1) < 0.01
            assert 0.014 < norm.weight.std() < 0.026
            assert not norm.bias.any()


def test_initial_values_come_from_the_given_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (fresh(Generator, TINY, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(first.project.weight, other.project.weight)


def test_limited_singular_values_come_from_the_given_generator_too() -> None:
    shape = ModelShape(image_size=32, width=4, z_dim=5, spectral_norm=True)
    before = torch.get_rng_state()
    first, again, other = (fresh(Discriminator, shape, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    states = [model.state_dict() for model in (first, again, other)]
    assert {name.rpartition(".")[2] for name in states[0]} == {"weight", "bias", "original", "_u", "_v"}
    assert all(map(torch.equal, states[0].values(), states[1].values()))
    assert not torch.equal(*(state["classify.parametrizations.weight.0._v"] for state in states[1:]))
    assert all(not hasattr(layer, "parametrizations") for layer in fresh(Generator, shape).modules())


def test_the_authors_imagenet_model() -> None:
    shape = ModelShape(image_size=32, width=128, z_dim=256, layers="paired")
    maps = [(layer.outputs, layer.kernel, layer.stride) for layer in shape.discriminator_layers]
    assert maps == [(128, 3, 1), (128, 3, 2), (256, 3, 1), (256, 3, 2), (512, 3, 1), (512, 3, 2)]
    assert [(layer.inputs, layer.stride) for layer in shape.generator_layers] == [
        *((512, 2), (512, 1)),
        *((256, 2), (256, 1)),
        *((128, 2), (128, 1)),
    ]
    small = ModelShape(32, 2, 5, layers="paired")
    images = fresh(Generator, small)(torch.rand(3, 5))
    assert images.shape == (3, 3, 32, 32)
    discriminator = fresh(Discriminator, small)
    assert discriminator(images).shape == (3,)
    assert [stage.norm is None for stage in discriminator.stages] == [True, *[False] * 5]
    assert {layer.kernel_size for layer in layers(discriminator, nn.Conv2d)} == {(3, 3)}


@pytest.mark.parametrize(("name", "value"), [("layers", "odd"), ("latent", "cauchy")])
def test_other_kinds_are_a_bug_in_the_caller(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}: must be one of"):
        ModelShape(32, 2, 5, **{name: value})
