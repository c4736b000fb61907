"""Features of a discriminator: what they are, and that an image's do not depend on its company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.features_of import (
    discriminator_features,
    feature_count,
    random_discriminator,
    with_statistics,
)
from dcgan_data.train.data import scale
from dcgan_data.train.models import Discriminator, ModelShape

CPU = torch.device("cpu")
SHAPE = ModelShape(32, 2, 3)


def images(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def discriminator(shape: ModelShape = SHAPE) -> Discriminator:
    return with_statistics(random_discriminator(shape, 0, CPU), images(140, shape.image_size))


def test_as_many_features_as_the_paper_has() -> None:
    assert feature_count(ModelShape(32, 128, 256, layers="paired")) == 28_672  # ImageNet, for CIFAR-10
    assert feature_count(ModelShape(32, 64, 100)) == 7_168  # SVHN
    assert feature_count(ModelShape(64, 128, 100)) == (128 + 256 + 512 + 1024) * 16


@pytest.mark.parametrize("shape", [SHAPE, ModelShape(64, 2, 3), ModelShape(32, 2, 3, layers="paired")])
def test_every_map_is_pooled_to_4_by_4(shape: ModelShape) -> None:
    model, pixels = discriminator(shape), images(3, shape.image_size)
    found = discriminator_features(model, pixels)
    assert found.shape == (3, feature_count(shape))
    assert found.dtype == np.float32
    maps, place = scale(torch.from_numpy(pixels)), 0
    for stage in model.stages:
        maps = stage(maps)
        channels, side = maps.shape[1], maps.shape[2]
        expected = maps.detach().reshape(3, channels, 4, side // 4, 4, side // 4).amax((3, 5)).flatten(1)
        assert np.allclose(found[:, place : place + channels * 16], expected, atol=1e-6)
        place += channels * 16
    assert place == found.shape[1]


def test_an_image_has_the_same_features_alone_and_among_others() -> None:
    model, many = discriminator(), images(200)
    found = discriminator_features(model, many)
    for one in (0, 127, 128, 199):
        assert np.array_equal(discriminator_features(model, many[one : one + 1])[0], found[one])


def test_statistics_are_those_of_all_images() -> None:
    """Of the first batch norm, which nothing is normalised before."""
    pixels = images(130)  # one batch and two more
    model = with_statistics(random_discriminator(SHAPE, 0, CPU), pixels)
    first, second = model.stages[0], model.stages[1]
    seen = second.conv(first(scale(torch.from_numpy(pixels))))
    mean, variance = second.norm.standing
    assert torch.allclose(mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(variance, seen.var((0, 2, 3), correction=0), rtol=1e-4)


def test_a_single_image_that_is_left_over_is_no_batch() -> None:
    model = with_statistics(random_discriminator(SHAPE, 0, CPU), images(129))
    same = with_statistics(random_discriminator(SHAPE, 0, CPU), images(129)[:128])
    assert np.array_equal(discriminator_features(model, images(2)), discriminator_features(same, images(2)))


def test_images_of_another_size() -> None:
    with pytest.raises(BadRequest, match=r"images of 64x64 pixels: the model is for 32x32"):
        discriminator_features(discriminator(), images(1, 64))


def test_random_weights_depend_on_the_seed() -> None:
    first, again, other = (random_discriminator(SHAPE, seed, CPU).classify.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
