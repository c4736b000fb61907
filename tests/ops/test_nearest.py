"""Nearest images: exact against plain integers, for any chunks and tiles, with ties to the earlier one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_data.ops import nearest as module
from dcgan_data.ops.nearest import GREY_LEVELS, NearestMeans, NearestSearch, nearest, told_apart

CPU = torch.device("cpu")


def plain(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and squared distances, by subtraction of integers and a stable sort."""
    a = queries.reshape(len(queries), 1, -1).astype(np.int64)
    b = references.reshape(1, len(references), -1).astype(np.int64)
    squared = ((a - b) ** 2).sum(axis=2)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squared, order, axis=1)


def noise(count: int, size: int, seed: int, levels: int = 256) -> np.ndarray:
    shape = (count, size, size, 3)
    return np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [2, 32])
def test_it_finds_what_plain_subtraction_finds(size: int) -> None:
    queries, references = noise(9, size, 0), noise(50, size, 1)
    found = nearest(queries, [references], 5, CPU)
    positions, squared = plain(queries, references, 5)
    assert np.array_equal(found.positions, positions)
    assert np.array_equal(found.squared, squared)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_extreme_pixels_at_128_px_are_exact_in_any_precision_of_products(precision: str) -> None:
    """Black and white give the largest sums there are; one grey level more or less must still tell."""
    queries = np.zeros((2, 128, 128, 3), np.uint8)
    references = np.full((4, 128, 128, 3), 255, np.uint8)
    references[1, 0, 0, 0] = 254
    references[2, 5, 5] = 254
    references[3, -1, -1, -2:] = 254
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        found = nearest(queries, [references], 4, CPU)
    finally:
        torch.set_float32_matmul_precision(before)
    positions, squared = plain(queries, references, 4)
    assert positions[0].tolist() == [2, 3, 1, 0]
    assert np.array_equal(found.positions, positions)
    assert np.array_equal(found.squared, squared)


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_chunks_and_tiles_change_nothing(chunks: list[int], k: int, queries: int, references: int) -> None:
    """Two grey levels in 4 x 4 pixels: full of ties."""
    stream = np.concatenate([noise(count, 4, seed, 2) for seed, count in enumerate([*chunks, 3])])
    asked = noise(50, 4, 99, 2)
    pieces = np.split(stream, np.cumsum(chunks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_QUERIES", queries)
        patch.setattr(module, "_REFERENCES", references)
        found = nearest(asked, pieces, k, CPU)
    positions, squared = plain(asked, stream, k)
    assert np.array_equal(found.positions, positions)
    assert np.array_equal(found.squared, squared)


def test_distances_are_euclidean_in_pixels_of_minus_one_to_one() -> None:
    black, white = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 255, np.uint8)
    assert nearest(black, [white], 1, CPU).distances[0, 0] == pytest.approx(math.sqrt(3072 * 4))
    assert nearest(black, [white], 1, CPU).squared[0, 0] == 3072 * 255**2
    assert GREY_LEVELS == 127.5


def test_an_image_is_not_its_own_neighbour_when_left_out() -> None:
    images = noise(40, 4, 0)
    images[31] = images[7]
    positions = np.array([7, 31, 12, -1])
    found = nearest(images[positions], [images[:10], images[10:]], 2, CPU, exclude=positions)
    assert found.positions[0, 0] == 31 and found.positions[1, 0] == 7
    assert found.squared[:2, 0].tolist() == [0, 0]
    assert 12 not in found.positions[2]
    assert found.positions[3, 0] == 39 and found.squared[3, 0] == 0, "-1 leaves out nothing"


def test_results_may_be_read_on_the_way() -> None:
    queries, stream = noise(5, 4, 0), noise(30, 4, 1)
    search = NearestSearch(queries, 2, CPU)
    for end in (3, 17, 30):
        search.add(stream[search.seen : end])
        assert search.seen == end
        assert np.array_equal(search.result().positions, plain(queries, stream[:end], 2)[0])


def test_bits_are_compared_by_hamming_distance() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (60, 16), dtype=np.uint8)
    bits = np.unpackbits(codes, axis=1)
    found = nearest(bits[:5], [bits[5:]], 1, CPU)
    hamming = np.bitwise_count(codes[:5, None] ^ codes[None, 5:]).sum(axis=2)
    assert np.array_equal(found.squared[:, 0], hamming.min(axis=1))
    assert np.array_equal(found.positions[:, 0], hamming.argmin(axis=1))


def test_means_of_a_growing_stream() -> None:
    queries, stream = noise(6, 4, 0), noise(50, 4, 1)
    means = NearestMeans(queries, [50, 3, 20, 3, 400], CPU)
    for start in range(0, 50, 7):
        means.add(stream[start : start + 7])
    assert list(means.means) == [3, 20, 50], "400 is not reached"
    for count, mean in means.means.items():
        distances = np.sqrt(plain(queries, stream[:count], 1)[1]) / 127.5
        assert mean == pytest.approx(distances.mean(), rel=1e-14)


def test_means_look_no_further_than_asked() -> None:
    queries, stream = noise(3, 4, 0), noise(20, 4, 1)
    means = NearestMeans(queries, [10], CPU)
    means.add(stream)
    means.add(queries)  # distance 0, were it looked at
    assert means.means[10] == pytest.approx((np.sqrt(plain(queries, stream[:10], 1)[1]) / 127.5).mean())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("tf32", [False, True])
def test_a_gpu_finds_the_same(tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    queries, references = noise(70, 32, 0), noise(3000, 32, 1)
    exclude = np.arange(70)
    here = nearest(queries, [references], 3, CPU, exclude)
    there = nearest(queries, [references], 3, torch.device("cuda"), exclude)
    assert np.array_equal(here.positions, there.positions)
    assert np.array_equal(here.squared, there.squared)


def test_callers_mistakes_are_said() -> None:
    images = noise(4, 4, 0)
    with pytest.raises(ValueError, match="k=0: must be 1 or more"):
        nearest(images, [images], 0, CPU)
    with pytest.raises(ValueError, match="4 references are too few for 5 nearest ones"):
        nearest(images, [images], 5, CPU)
    with pytest.raises(ValueError, match="4 references are too few for 4 nearest ones"):
        nearest(images[:1], [images], 4, CPU, exclude=np.array([0]))
    with pytest.raises(ValueError, match="images must be uint8, not float64"):
        nearest(images / 2, [images], 1, CPU)
    with pytest.raises(ValueError, match="0 queries, counts"):
        NearestMeans(images[:0], [1], CPU)
    with pytest.raises(ValueError, match=r"4 queries, counts \[\]"):
        NearestMeans(images, [], CPU)


def test_equal_distributions_cannot_be_told_apart() -> None:
    real, generated = told_apart(noise(400, 2, 0), noise(400, 2, 1), CPU)
    assert 0.42 < real < 0.58
    assert 0.42 < generated < 0.58


def test_far_apart_each_finds_its_own_kind() -> None:
    dark, light = noise(50, 2, 0, levels=20), 255 - noise(50, 2, 1, levels=20)
    assert told_apart(dark, light, CPU) == (1.0, 1.0)


def test_smooth_samples_are_nearest_to_one_another_and_to_everything() -> None:
    grey = 128 + noise(50, 16, 1, levels=8)
    assert told_apart(noise(50, 16, 0), grey, CPU) == (0.0, 1.0)


def test_one_of_each_is_told_wrong() -> None:
    assert told_apart(noise(1, 2, 0), noise(1, 2, 1), CPU) == (0.0, 0.0)
