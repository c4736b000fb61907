"""The order of an epoch: a shuffle that is the same everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.train.order import epoch_order, hash_positions

CPU = torch.device("cpu")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def order(seed: int, epoch: int, images: int) -> np.ndarray:
    found = epoch_order(seed, epoch, images, CPU)
    assert found.dtype == torch.int64
    return found.numpy()


def test_hash_gives_the_published_numbers() -> None:
    """The first outputs of SplitMix64 from state 1234567, as its authors' C code prints them."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert hash_positions(1234567, 5, CPU).numpy().view(np.uint64).tolist() == expected


@pytest.mark.parametrize("state", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_hash_is_arithmetic_of_64_bits(state: int) -> None:
    word = 2**64 - 1
    expected = []
    for number in range(1, 65):
        key = state + number * 0x9E3779B97F4A7C15 & word
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & word
        key = (key ^ key >> 27) * 0x94D049BB133111EB & word
        expected.append(key ^ key >> 31)
    assert hash_positions(state, 64, CPU).numpy().view(np.uint64).tolist() == expected


def test_orders_never_change() -> None:
    """A run that is resumed years later goes on with the images it would have seen."""
    assert order(0, 0, 10).tolist() == [1, 8, 9, 0, 3, 2, 6, 5, 7, 4]
    assert order(0, 1, 10).tolist() == [3, 9, 4, 2, 6, 5, 7, 8, 1, 0]
    assert order(7, 3, 10).tolist() == [4, 9, 3, 6, 7, 1, 0, 5, 8, 2]


@given(st.integers(0, 2**70), st.integers(0, 10**6), st.integers(0, 300))
def test_an_order_holds_every_position_once(seed: int, epoch: int, images: int) -> None:
    assert np.array_equal(np.sort(order(seed, epoch, images)), np.arange(images))


def test_large_sets_have_no_equal_keys() -> None:
    assert len(np.unique(hash_positions(99, 300_000, CPU).numpy())) == 300_000


def test_an_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state()
    first = order(3, 5, 100)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert np.array_equal(first, order(3, 5, 100))
    others = [order(*other, 100) for other in ((3, 6), (4, 5), (5, 3), (2**32 + 3, 5), (2**64 + 3, 5))]
    assert not any(np.array_equal(first, other) for other in others)


def test_every_order_is_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(6000):
        found = tuple(order(1, epoch, 4).tolist())
        counts[found] = counts.get(found, 0) + 1
    assert len(counts) == math.factorial(4)
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize("vary", ["epoch", "seed"])
def test_every_image_is_equally_likely_at_every_place(vary: str) -> None:
    images, orders = 12, 2000
    found = np.stack([order(*((1, n) if vary == "epoch" else (n, 1)), images) for n in range(orders)])
    counts = np.stack([np.bincount(found[:, place], minlength=images) for place in range(images)])
    statistic = ((counts - orders / images) ** 2 / (orders / images)).sum()
    # Rows and columns of the table have fixed sums: (n - 1)^2 degrees of freedom.
    assert 0.001 < scipy.stats.chi2.sf(statistic, (images - 1) ** 2) < 0.999


@pytest.mark.parametrize("other", [(0, 1), (0, 2), (1, 0), (2, 0), (1, 1)])
def test_orders_of_epochs_and_seeds_have_nothing_in_common(other: tuple[int, int]) -> None:
    images = 20_000
    places, others = (np.argsort(order(*of, images)) for of in ((0, 0), other))
    for lag in (0, 1):  # the same image, and the next one of the set
        assert abs(scipy.stats.spearmanr(places, np.roll(others, lag)).statistic) * math.sqrt(images) < 4


def test_neighbours_in_the_set_are_not_neighbours_in_the_order() -> None:
    images = 20_000
    found = order(0, 0, images)
    assert abs(scipy.stats.spearmanr(found[:-1], found[1:]).statistic) * math.sqrt(images) < 4
    # Of a random order, some two places are one step of the set apart: Poisson, mean 2 (1 - 1 / n).
    assert (np.abs(np.diff(found)) == 1).sum() < 10


@NEEDS_GPU
@pytest.mark.parametrize("images", [0, 1, 1000, 100_000])
def test_a_gpu_computes_the_same_order(images: int) -> None:
    there = epoch_order(5, 2, images, torch.device("cuda"))
    assert there.is_cuda
    assert torch.equal(there.cpu(), epoch_order(5, 2, images, CPU))


@NEEDS_GPU
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_does_not_wait_for_an_order() -> None:
    epoch_order(5, 1, 1000, torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        epoch_order(5, 2, 1000, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
