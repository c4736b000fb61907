"""Bands: their bits, round the end of a code; their parts; their permutations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcgan_data.ops.bands import Bands, Part


def random_codes(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def slow_turned(codes: np.ndarray, bands: Bands, band: int) -> list[str]:
    """The 128 bits of the permuted code from where the band begins, round its end."""
    group, place = divmod(band, 128 // bands.bits)
    bits = np.unpackbits(codes, axis=1)[:, bands._permutation(group)]
    return ["".join(map(str, row)) for row in np.roll(bits, -place * bands.bits, axis=1).tolist()]


@pytest.mark.parametrize("bits", [6, 7, 16, 21, 26])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_words(bits: int, count: int) -> None:
    codes = random_codes(bits, 9)
    bands = Bands(bits, count, seed=3)
    for band, (word, rest) in enumerate(bands.cut(codes, range(count))):
        assert word.dtype == rest.dtype == np.uint64
        turned = slow_turned(codes, bands, band)
        assert word.tolist() == [int(row[:64], 2) for row in turned]
        assert rest.tolist() == [int(row[64:], 2) for row in turned]
        assert bands.bucket(word).tolist() == [int(row[:bits], 2) for row in turned]
    assert band == count - 1


def test_permutations_are_seeded_and_different() -> None:
    first, other = Bands(12, 24, 0), Bands(12, 24, 1)
    assert first._permutation(0).tolist() == list(range(128))
    assert sorted(first._permutation(1).tolist()) == list(range(128))
    assert first._permutation(1).tolist() == Bands(9, 4, 0)._permutation(1).tolist()
    assert not np.array_equal(first._permutation(1), other._permutation(1))
    assert not np.array_equal(first._permutation(1), first._permutation(2))


@given(st.integers(0, 2**33))
@example(0)
@example(63)
@example(64)
def test_bands_have_one_to_two_buckets_a_code(codes: int) -> None:
    bands = Bands.for_codes(codes, 24, 9)
    assert (bands.count, bands.seed) == (24, 9)
    assert bands.per_permutation * bands.bits <= 128
    if bands.bits == 6:
        assert codes < 64
    elif bands.bits == 30:
        assert codes >= 2**29
    else:
        assert codes < 2**bands.bits <= 2 * codes


def test_some_bands_are_those_of_all() -> None:
    codes, bands = random_codes(1, 5), Bands(16, 24, 2)
    every = list(bands.cut(codes, range(24)))
    some = [0, 3, 9, 23]
    for band, (word, rest) in zip(some, bands.cut(codes, some), strict=True):
        assert np.array_equal(word, every[band][0]) and np.array_equal(rest, every[band][1])


def test_parts_say_how_large_their_index_is() -> None:
    assert Bands(6, 2, 0).whole(9) == [Part(0, 0, 64, 9), Part(1, 0, 64, 9)]
    assert Part(3, 16, 48, 100).buckets == 32
    assert Part(3, 16, 48, 100).index_bytes == 20 * 100 + 4 * 33
