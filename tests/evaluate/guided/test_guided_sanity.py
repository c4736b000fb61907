"""Rank correlations of maps, and networks that are random in some layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from dcgan_data.evaluate.guided.backprop import Field
from dcgan_data.evaluate.guided.sanity import Level, Networks, compare
from dcgan_data.train.models import Discriminator, build
from dcgan_data.train.seeds import Stream, torch_rng
from dcgan_data.train.trained import open_trained

CPU = torch.device("cpu")
WHOLE = Field(0, 0, 8, 8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, 8, 8, 3)).astype(np.float32)


def test_maps_are_compared_by_rank() -> None:
    one, other = noise(0), noise(1)
    found = compare(2, one, other, [WHOLE] * 3)
    pairs = list(zip(one, other, strict=True))
    signed = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]
    absolute = [spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic for a, b in pairs]
    assert found.layers == 2
    assert (found.signed, found.absolute) == pytest.approx((np.mean(signed), np.mean(absolute)))
    assert compare(1, one, one**3, [WHOLE] * 3) == Level(1, pytest.approx(1), pytest.approx(1))
    assert compare(1, one, -one, [WHOLE] * 3) == Level(1, pytest.approx(-1), pytest.approx(1))


def test_only_what_is_in_the_field_counts() -> None:
    """Beyond it both are 0, which would look like agreement."""
    field = Field(2, 1, 4, 5)
    one, other = np.zeros((3, 8, 8, 3), np.float32), np.zeros((3, 8, 8, 3), np.float32)
    one[:, 1:6, 2:6], other[:, 1:6, 2:6] = noise(0)[:, 1:6, 2:6], -noise(0)[:, 1:6, 2:6]
    assert compare(1, one, other, [field] * 3).signed == pytest.approx(-1)
    assert compare(1, one, other, [WHOLE] * 3).absolute > 0.99


def test_a_blank_map_is_like_no_other() -> None:
    blank = np.zeros((3, 8, 8, 3), np.float32)
    assert compare(1, noise(0), blank, [WHOLE] * 3) == Level(1, 0.0, 0.0)
    assert compare(1, blank, blank, [WHOLE] * 3) == Level(1, 0.0, 0.0)


@pytest.fixture
def networks(texture_run: Path) -> Networks:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    return Networks(open_trained(texture_run), images, 0, CPU)


def test_layers_become_random_from_the_last_one_down(networks: Networks, texture_run: Path) -> None:
    trained = open_trained(texture_run).discriminator(CPU).state_dict()
    assert networks.layers == 3
    for layers in range(4):
        found = networks.randomised(layers).state_dict()
        same = [
            torch.equal(found[f"stages.{n}.conv.weight"], trained[f"stages.{n}.conv.weight"])
            for n in range(3)
        ]
        assert same == [True] * (3 - layers) + [False] * layers
        gains = [
            torch.equal(found[f"stages.{n}.norm.weight"], trained[f"stages.{n}.norm.weight"]) for n in (1, 2)
        ]
        assert gains == same[1:]
    again, other = networks.randomised(3).state_dict(), networks.randomised(3, draw=1).state_dict()
    assert torch.equal(again["stages.0.conv.weight"], found["stages.0.conv.weight"])
    assert not torch.equal(other["stages.0.conv.weight"], found["stages.0.conv.weight"])


def test_random_weights_are_not_those_that_the_run_began_with(networks: Networks) -> None:
    """The run has the same seed: they would share what the run's first steps did not change."""
    start = build(Discriminator, networks.trained.shape, torch_rng(0, Stream.DISCRIMINATOR_WEIGHTS))
    began = start.state_dict()["stages.0.conv.weight"]
    trained = networks.randomised(0).state_dict()["stages.0.conv.weight"]
    random = networks.randomised(3).state_dict()["stages.0.conv.weight"]
    assert (began - trained).abs().max() < 0.01 < (began - random).abs().max()


def test_batch_norms_have_the_statistics_of_the_images(networks: Networks) -> None:
    for layers in (0, 2):
        model = networks.randomised(layers)
        assert not model.training
        for stage in model.stages:
            assert stage.norm is None or stage.norm.standing is not None
