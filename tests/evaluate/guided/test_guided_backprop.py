"""Guided backpropagation, held against a backward pass written out by hand, and receptive fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcgan_data.evaluate.features_of import random_discriminator, with_statistics
from dcgan_data.evaluate.guided.backprop import (
    Field,
    Unit,
    field_of,
    field_side,
    guided_maps,
    responses,
)
from dcgan_data.train.data import scale
from dcgan_data.train.models import LEAK, Discriminator, ModelShape
from dcgan_data.train.norm import EPS

CPU = torch.device("cpu")
UNITS = [Unit(0, 1, 1), Unit(5, 0, 3), Unit(3, 2, 0), Unit(7, 3, 3)]


def pictures(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def network(layers: str = "strided", size: int = 32) -> Discriminator:
    shape = ModelShape(size, 2, 3, layers=layers)
    return with_statistics(random_discriminator(shape, 4, CPU).eval(), pictures(32, size))


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    return network()


@torch.no_grad()
def by_hand(discriminator: Discriminator, image: np.ndarray, unit: Unit) -> np.ndarray:
    """Forward, keeping what enters each activation; then back by transposed convolutions and two masks."""
    maps, before, sides = scale(torch.from_numpy(image[None])), [], []
    for stage in discriminator.stages:
        sides.append(maps.shape[-1])
        maps = stage.conv(maps)
        if stage.norm is not None:
            mean, variance = stage.norm.standing
            centred = (maps - mean[:, None, None]) / torch.sqrt(variance + EPS)[:, None, None]
            maps = centred * stage.norm.weight[:, None, None] + stage.norm.bias[:, None, None]
        before.append(maps)
        maps = torch.where(maps > 0, maps, LEAK * maps)
    gradient = torch.zeros_like(maps)
    gradient[0, unit.channel, unit.row, unit.column] = 1
    for number in reversed(range(len(before))):
        stage = discriminator.stages[number]
        if number < len(before) - 1:
            gradient = gradient * (gradient > 0) * (before[number] > 0)
        if stage.norm is not None:
            scaling = stage.norm.weight / torch.sqrt(stage.norm.standing[1] + EPS)
            gradient = gradient * scaling[:, None, None]
        conv = stage.conv
        (stride, _), (kernel, _), (padding, _) = conv.stride, conv.kernel_size, conv.padding
        plain = (gradient.shape[-1] - 1) * stride - 2 * padding + kernel
        gradient = F.conv_transpose2d(
            gradient, conv.weight, stride=stride, padding=padding, output_padding=sides[number] - plain
        )
    return gradient[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("layers", ["strided", "paired"])
def test_it_is_the_backward_pass_with_both_masks(layers: str) -> None:
    model, images = network(layers), pictures(4, seed=1)
    found = guided_maps(model, images, UNITS)
    assert found.shape == (4, 32, 32, 3) and found.dtype == np.float32
    for image, unit, one in zip(images, UNITS, found, strict=True):
        expected = by_hand(model, image, unit)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(one, expected, atol=1e-5 * np.abs(expected).max())


def test_it_is_not_the_plain_gradient(discriminator: Discriminator) -> None:
    image = pictures(1, seed=1)
    pixels = scale(torch.from_numpy(image)).requires_grad_()
    maps = pixels
    for stage in discriminator.stages:
        maps = stage(maps)
    (plain,) = torch.autograd.grad(maps[0, 0, 1, 1], pixels)
    guided = guided_maps(discriminator, image, [UNITS[0]])[0]
    assert np.abs(guided - plain[0].permute(1, 2, 0).numpy()).max() > 0.1 * np.abs(guided).max()


def test_a_unit_below_zero_has_a_gradient_too(discriminator: Discriminator) -> None:
    images = pictures(20, seed=2)
    found = responses(discriminator, images, 1)[:, 0, 1, 1]
    below = images[found < 0]
    assert 0 < len(below) < 20
    maps = guided_maps(discriminator, below, [Unit(0, 1, 1)] * len(below))
    assert (np.abs(maps).max(axis=(1, 2, 3)) > 0).all()


def test_images_do_not_depend_on_the_others(discriminator: Discriminator) -> None:
    """Bit by bit, also over more than one batch of 64."""
    images = pictures(70, seed=3)
    units = [UNITS[n % 4] for n in range(70)]
    together = guided_maps(discriminator, images, units)
    np.testing.assert_array_equal(guided_maps(discriminator, images[66:67], units[66:67])[0], together[66])
    alone = responses(discriminator, images[66:67], 8)
    np.testing.assert_array_equal(alone[0], responses(discriminator, images, 8)[66])


@torch.no_grad()
def test_responses_are_after_the_last_activation(discriminator: Discriminator) -> None:
    images = pictures(3, seed=3)
    maps = scale(torch.from_numpy(images))
    for stage in discriminator.stages:
        maps = stage(maps)
    found = responses(discriminator, images, 6)
    assert found.shape == (3, 6, 4, 4)
    np.testing.assert_allclose(found, maps[:, :6].numpy(), atol=1e-5)
    assert responses(discriminator, images, 100).shape == (3, 8, 4, 4), "no more than there are"


@pytest.mark.parametrize(
    ("layers", "size", "side"), [("strided", 32, 29), ("strided", 64, 61), ("paired", 32, 29)]
)
def test_a_field_is_what_a_unit_depends_on(layers: str, size: int, side: int) -> None:
    """Found by the plain gradient, which nothing blocks."""
    model = network(layers, size)
    assert field_side(model) == side
    for unit in (Unit(0, 1, 1), Unit(1, 0, 3), Unit(2, 3, 2)):
        pixels = torch.zeros(1, 3, size, size, requires_grad=True)
        maps = pixels
        for stage in model.stages:
            maps = stage(maps)
        (gradient,) = torch.autograd.grad(maps[0, unit.channel, unit.row, unit.column], pixels)
        rows, columns = np.nonzero(gradient[0].abs().sum(dim=0).numpy())
        field = Field(*map(int, (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)))
        assert field_of(model, unit) == field
    corner = field_of(model, Unit(0, 0, 0))
    assert (corner.x, corner.y, corner.width, corner.height) == (0, 0, side // 2 + 1, side // 2 + 1)


def test_a_field_cuts_images() -> None:
    images = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    np.testing.assert_array_equal(Field(1, 2, 3, 4).cut(images), images[:, 2:6, 1:4])
