"""Streams are independent of each other and of the global generators."""

from __future__ import annotations

import numpy as np
import torch

from dcgan_data.train.models import ModelShape
from dcgan_data.train.seeds import Stream, numpy_rng, torch_rng


def numpy_state() -> np.ndarray:
    key: np.ndarray = np.random.get_state(legacy=False)["state"]["key"]
    return key.copy()


def test_every_stream_of_every_seed_is_another() -> None:
    firsts = {torch.rand(1, generator=torch_rng(seed, stream)).item() for seed in (0, 1) for stream in Stream}
    assert len(firsts) == 2 * len(Stream)
    attempts = {torch.rand(1, generator=torch_rng(0, Stream.LATENT, attempt)).item() for attempt in range(4)}
    assert len(attempts) == 4
    positions = {numpy_rng(0, Stream.ORDER, position).random() for position in range(5)}
    assert len(positions) == 5


def test_a_stream_is_repeatable_and_ignores_the_global_generators() -> None:
    first = torch.rand(3, generator=torch_rng(7, Stream.LATENT))
    torch_before, numpy_before = torch.get_rng_state(), numpy_state()
    assert torch.equal(first, torch.rand(3, generator=torch_rng(7, Stream.LATENT)))
    assert torch.equal(torch_before, torch.get_rng_state())
    assert np.array_equal(numpy_before, numpy_state())


def test_latent_vectors_fill_minus_one_to_one() -> None:
    z = ModelShape(32, 1, 10).draw_z(torch_rng(0, Stream.LATENT), 1000)
    assert z.shape == (1000, 10)
    assert z.dtype == torch.float32
    assert -1 <= z.min() < -0.99
    assert 0.99 < z.max() <= 1
    assert abs(z.mean()) < 0.03
    assert abs(z.var() - 1 / 3) < 0.02  # uniform, not normal


def test_normal_latent_vectors_have_mean_0_and_variance_1() -> None:
    z = ModelShape(32, 1, 10, latent="normal").draw_z(torch_rng(0, Stream.LATENT), 1000)
    assert abs(z.mean()) < 0.03
    assert abs(z.var() - 1) < 0.04
    assert z.abs().max() > 3
