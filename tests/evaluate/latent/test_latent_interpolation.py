"""Ways between latent vectors: exact ends, even steps, and directions that fix no great circle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.interpolation import between, interpolation_for, linear, slerp
from dcgan_data.train.models import ModelShape

SHARES = np.linspace(0, 1, 9)


def angles(places: np.ndarray) -> np.ndarray:
    """Between neighbours, in radians."""
    unit = places / np.linalg.norm(places, axis=1, keepdims=True)
    return np.arccos(np.clip((unit[1:] * unit[:-1]).sum(axis=1), -1, 1))


@pytest.mark.parametrize("interpolation", ["linear", "slerp"])
@pytest.mark.parametrize("seed", range(4))
def test_the_ends_are_the_points_themselves(interpolation: str, seed: int) -> None:
    start, end = torch.randn(2, 100, generator=torch.Generator().manual_seed(seed))
    places = between(start, end, 7, interpolation)
    assert places.shape == (8, 100) and places.dtype == torch.float32
    assert torch.equal(places[0], start) and torch.equal(places[-1], end)


def test_the_end_of_a_circle_is_exact_where_its_direction_is_all_but_lost() -> None:
    start, end = torch.tensor([1.0, 0, 0]), torch.tensor([-1, 0, 5e-8])
    assert torch.equal(between(start, end, 4, "slerp")[-1], end)


def test_a_line_goes_in_equal_steps() -> None:
    places = linear(np.array([-1.0, 3]), np.array([1.0, -1]), SHARES)
    assert np.diff(places, axis=0) == pytest.approx(np.tile([0.25, -0.5], (8, 1)))


def test_a_great_circle_keeps_the_length_and_turns_evenly() -> None:
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 100))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    places = slerp(start, end, SHARES)
    assert np.linalg.norm(places, axis=1) == pytest.approx(np.full(9, np.linalg.norm(start)))
    whole = np.arccos(start @ end / (start @ start))
    assert angles(places) == pytest.approx(np.full(8, whole / 8))
    # Half of the way along a line is far shorter: what slerp is for.
    assert np.linalg.norm(linear(start, end, SHARES)[4]) < 0.8 * np.linalg.norm(start)


def test_lengths_go_evenly_from_one_to_the_other() -> None:
    places = slerp(np.array([2.0, 0, 0]), np.array([0, 0, 6.0]), SHARES)
    assert np.linalg.norm(places, axis=1) == pytest.approx(np.linspace(2, 6, 9))
    assert places[4] == pytest.approx(4 * np.sqrt(0.5) * np.array([1, 0, 1]))


@pytest.mark.parametrize("start", [(1.0, 0, 0), (0, 0, 2.0), (1.0, 2, 3), (-1, 1e-9, 4)])
def test_opposite_vectors_have_a_way_round_the_origin(start: tuple[float, ...]) -> None:
    vector = np.array(start)
    places = slerp(vector, -vector, SHARES)
    assert np.linalg.norm(places, axis=1) == pytest.approx(np.full(9, np.linalg.norm(vector)))
    assert angles(places) == pytest.approx(np.full(8, np.pi / 8))
    assert places[[0, -1]] == pytest.approx(np.array([vector, -vector]))


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(0, 4))
def test_equal_directions_and_the_origin_have_a_line(start: list[float], factor: float) -> None:
    vector = np.array(start)
    places = slerp(vector, factor * vector, SHARES)
    assert places == pytest.approx(linear(vector, factor * vector, SHARES), abs=1e-6)
    assert np.isfinite(places).all()


def test_one_dimension_has_no_circle() -> None:
    assert slerp(np.array([2.0]), np.array([-2.0]), SHARES)[4] == pytest.approx(0)


def test_normal_vectors_have_slerp_unless_told_and_uniform_ones_never() -> None:
    normal, uniform = (ModelShape(32, 2, 3, latent=name) for name in ("normal", "uniform"))
    assert interpolation_for(normal, None) == "slerp"
    assert interpolation_for(normal, "linear") == "linear"
    assert interpolation_for(uniform, None) == "linear"
    with pytest.raises(BadRequest, match=r"--interpolation slerp: .* uniform on \(-1, 1\), .*; use linear"):
        interpolation_for(uniform, "slerp")
