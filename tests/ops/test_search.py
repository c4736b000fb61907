"""The search: what brute force finds, with bounded work on crowded buckets, in any batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dcgan_data.ops import search
from dcgan_data.ops.search import BandIndex, Bands, Candidates, code_halves, find_candidates, nearest

BYTES = 16


def random_codes(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, BYTES), dtype=np.uint8)


def clustered_codes(seed: int, count: int, most_bits: int) -> np.ndarray:
    """Codes that are a few centres with up to ``most_bits`` bits flipped."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(random_codes(seed, 3), axis=1)[rng.integers(0, 3, count)]
    for row in bits:
        row[rng.choice(128, rng.integers(0, most_bits + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def indexes(codes: np.ndarray, bands: Bands) -> Iterator[BandIndex]:
    return (BandIndex.build(words, bands.bits) for words in bands.words(codes))


def look_up(views: np.ndarray, codes: np.ndarray, bands: Bands, radius: int, window: int) -> Candidates:
    return find_candidates(views, code_halves(codes), bands, indexes(codes, bands), (radius, window))


def as_dict(found: Candidates) -> dict[tuple[int, int], tuple[int, int]]:
    """(query, target) -> (distance, view)."""
    pairs = list(zip(found.query.tolist(), found.target.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert pairs == sorted(pairs)
    return dict(zip(pairs, zip(found.distance.tolist(), found.view.tolist(), strict=True), strict=True))


def brute_force(views: np.ndarray, codes: np.ndarray, radius: int) -> dict[tuple[int, int], tuple[int, int]]:
    found = {}
    for query, own in enumerate(np.unpackbits(views, axis=2)):
        for target, other in enumerate(np.unpackbits(codes, axis=1)):
            distances = (own != other).sum(axis=1).tolist()
            if min(distances) <= radius:
                found[query, target] = (min(distances), distances.index(min(distances)))
    return found


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 4), st.integers(1, 21), st.integers(0, 24))
@example(0, 40, 3, 21, 20)
def test_nothing_near_is_missed(seed: int, count: int, views: int, bands: int, flips: int) -> None:
    """Codes that differ in fewer bits than there are disjoint bands agree in one of them."""
    codes = clustered_codes(seed, count, flips)
    seen = clustered_codes(seed, count * views, flips).reshape(count, views, BYTES)
    cut = Bands(6, bands, seed)
    assert bands <= cut.per_permutation
    found = look_up(seen, codes, cut, bands - 1, window=count)
    assert as_dict(found) == brute_force(seen, codes, bands - 1)
    assert found.left_out == 0
    assert found.query.dtype == found.target.dtype == np.int64
    assert found.view.dtype == np.int16 and found.distance.dtype == np.uint8


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(6, 26), st.integers(1, 30), st.integers(1, 8))
def test_only_what_is_near_is_found(seed: int, bits: int, count: int, window: int) -> None:
    """Over several permutations, and with full windows: a part of what brute force finds."""
    codes = clustered_codes(seed, 60, 12)
    bands = Bands(min(bits, 14), count, seed)
    found = as_dict(look_up(codes[:, None], codes, bands, 16, window))
    assert found.items() <= brute_force(codes[:, None], codes, 16).items()


def test_more_permutations_find_more() -> None:
    """Three permutations of ten bands each: what one misses, another finds as often as the first would."""
    rng = np.random.default_rng(0)
    codes = random_codes(0, 3000)
    bits = np.unpackbits(codes, axis=1)
    for row in bits:
        row[rng.choice(128, 24, replace=False)] ^= 1
    near = np.packbits(bits, axis=1)
    missed = []
    for count in (10, 20, 30):
        found = look_up(near[:, None], codes, Bands(12, count, 7), 24, 64)
        assert np.array_equal(found.query, found.target)  # nothing else is near
        missed.append(1 - len(found.query) / 3000)
    assert 0.3 < missed[0] < 0.5
    assert abs(missed[1] - missed[0] ** 2) < 0.02
    assert abs(missed[2] - missed[0] ** 3) < 0.02


def test_work_is_bounded_when_all_codes_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.repeat(random_codes(0, 1), 5000, axis=0)
    bands = Bands.for_codes(5000, 12, 0)
    compared = 0
    original = search._near

    def counting(
        wanted: list[np.ndarray], known: list[np.ndarray], pairs: tuple[np.ndarray, np.ndarray], radius: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nonlocal compared
        compared += len(pairs[0])
        return original(wanted, known, pairs, radius)

    monkeypatch.setattr(search, "_near", counting)
    found = look_up(codes[:, None], codes, bands, 16, 8)
    assert compared == 5000 * 12 * 8
    assert found.left_out == 5000 * 12 * (5000 - 8)
    # Everybody still meets somebody else.
    others = found.without(found.query == found.target)
    assert np.array_equal(np.unique(others.query), np.arange(5000))
    assert (others.distance == 0).all()


def test_what_is_left_out_is_counted_by_bucket() -> None:
    codes = random_codes(1, 400)
    codes[:, 0] %= 8  # the first 5 bits are 0: of 64 buckets of the first band only two are used
    bands = Bands(6, 1, 0)
    sizes = np.bincount(codes[:, 0] >> 2, minlength=2)
    found = look_up(codes[:, None], codes, bands, 128, 10)
    assert sizes.min() > 10
    assert found.left_out == sum(size * (size - 10) for size in sizes.tolist())
    assert len(found.query) == 400 * 10


def test_equal_codes_in_a_crowded_bucket_find_each_other() -> None:
    """The window is around the query's place in the order of the bits that follow."""
    codes = random_codes(2, 2000)
    codes[:, 0] = 0b10110100
    pairs = np.random.default_rng(0).permutation(2000).reshape(-1, 2)
    codes[pairs[:, 0]] = codes[pairs[:, 1]]
    found = look_up(codes[:, None], codes, Bands(8, 1, 0), 0, 4)
    others = found.without(found.query == found.target)
    partner = np.empty(2000, np.int64)
    partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    assert np.array_equal(others.query, np.arange(2000))
    assert np.array_equal(others.target, partner)
    assert found.left_out == 2000 * 1996


@pytest.mark.parametrize("at_once", [1, 17, 1000])
def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    codes = clustered_codes(3, 150, 14)
    views = clustered_codes(3, 360, 14).reshape(120, 3, BYTES)
    bands = Bands.for_codes(150, 16, 5)
    whole = look_up(views, codes, bands, 12, 9)
    assert len(whole.query) > 1000 and whole.left_out > 0
    monkeypatch.setattr(search, "_COMPARISONS", at_once)
    again = look_up(views, codes, bands, 12, 9)
    assert as_dict(again) == as_dict(whole) and again.left_out == whole.left_out
    halves = [look_up(part, codes, bands, 12, 9) for part in (views[:50], views[50:])]
    assert as_dict(halves[0]) | {
        (query + 50, target): found for (query, target), found in as_dict(halves[1]).items()
    } == as_dict(whole)
    assert sum(half.left_out for half in halves) == whole.left_out


@pytest.mark.parametrize(("window", "expected"), [(1, 200), (30, 990), (150, 900), (5000, 200)])
def test_few_comparisons_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch, window: int, expected: int
) -> None:
    """Whatever the window, memory is bounded: here to 1,000 comparisons, with 200 equal codes."""
    most = 0
    original = search._expand

    def watching(first: np.ndarray, end: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal most
        most = max(most, int((end - first).sum()))
        return original(first, end, order)

    monkeypatch.setattr(search, "_expand", watching)
    monkeypatch.setattr(search, "_COMPARISONS", 1000)
    codes = np.zeros((200, BYTES), np.uint8)
    look_up(codes[:, None], codes, Bands(6, 1, 0), 0, window)
    assert most == expected


def test_no_codes_no_queries_and_one() -> None:
    bands = Bands.for_codes(0, 24, 0)
    none, one = np.zeros((0, BYTES), np.uint8), random_codes(0, 1)
    for views, codes in ((none[:, None], none), (one[:, None], none), (none[:, None], one)):
        found = look_up(np.repeat(views, 3, axis=1), codes, bands, 16, 32)
        assert as_dict(found) == {}
        assert found.query.dtype == np.int64 and found.distance.dtype == np.uint8 and found.left_out == 0
        assert nearest(found, 4).tolist() == []
    assert as_dict(look_up(one[:, None], one, bands, 16, 32)) == {(0, 0): (0, 0)}


def candidates(rows: list[tuple[int, int, int]]) -> Candidates:
    query, target, distance = np.array(rows, np.int64).reshape(-1, 3).T
    return Candidates(query, target, np.arange(len(rows), dtype=np.int16), distance.astype(np.uint8), 5)


few = st.integers(0, 5)


@given(st.lists(st.tuples(few, few, few), max_size=40, unique_by=lambda row: row[:2]), st.integers(1, 6))
def test_nearest_against_sorting(rows: list[tuple[int, int, int]], most: int) -> None:
    wanted = []
    for query in range(6):
        own = sorted((distance, target, n) for n, (q, target, distance) in enumerate(rows) if q == query)
        wanted += [n for _, _, n in own[:most]]
    assert nearest(candidates(rows), most).tolist() == sorted(wanted)


def test_nearest_breaks_ties_by_target() -> None:
    found = candidates([(0, 9, 3), (0, 2, 3), (0, 5, 1), (0, 4, 3), (1, 7, 8)])
    assert nearest(found, 1).tolist() == [2, 4]
    assert nearest(found, 2).tolist() == [1, 2, 4]
    assert nearest(found, 9).tolist() == [0, 1, 2, 3, 4]


def test_without() -> None:
    found = candidates([(0, 0, 0), (0, 1, 2), (1, 1, 0)])
    rest = found.without(found.query == found.target)
    assert (rest.query.tolist(), rest.target.tolist()) == ([0], [1])
    assert (rest.view.tolist(), rest.distance.tolist(), rest.left_out) == ([1], [2], 5)


def slow_words(codes: np.ndarray, bands: Bands, band: int) -> list[int]:
    """64 bits of the permuted code from where the band begins, round its end."""
    group, place = divmod(band, 128 // bands.bits)
    bits = np.unpackbits(codes, axis=1)[:, bands._permutation(group)]
    turned = np.roll(bits, -place * bands.bits, axis=1)[:, :64]
    return [int("".join(map(str, row)), 2) for row in turned.tolist()]


@pytest.mark.parametrize("bits", [6, 7, 16, 21, 26])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_words(bits: int, count: int) -> None:
    codes = random_codes(bits, 9)
    bands = Bands(bits, count, seed=3)
    words = list(bands.words(codes))
    assert len(words) == count
    for band, found in enumerate(words):
        assert found.dtype == np.uint64
        assert found.tolist() == slow_words(codes, bands, band)
        assert np.array_equal(bands.word(codes, band), found)


def test_permutations_are_seeded_and_different() -> None:
    first, other = Bands(12, 24, 0), Bands(12, 24, 1)
    assert first._permutation(0).tolist() == list(range(128))
    assert sorted(first._permutation(1).tolist()) == list(range(128))
    assert first._permutation(1).tolist() == Bands(9, 4, 0)._permutation(1).tolist()
    assert not np.array_equal(first._permutation(1), other._permutation(1))
    assert not np.array_equal(first._permutation(1), first._permutation(2))


@given(st.integers(0, 2**30))
@example(0)
@example(63)
@example(64)
def test_bands_have_one_to_two_buckets_a_code(codes: int) -> None:
    bands = Bands.for_codes(codes, 24, 9)
    assert (bands.count, bands.seed) == (24, 9)
    assert bands.per_permutation * bands.bits <= 128
    if bands.bits == 6:
        assert codes < 64
    elif bands.bits == 26:
        assert codes >= 2**25
    else:
        assert codes < 2**bands.bits <= 2 * codes


def test_an_index_is_sorted_and_stable() -> None:
    words = np.array([3 << 58, 1 << 58, 3 << 58, (1 << 58) + 5, 0, 63 << 58], np.uint64)
    index = BandIndex.build(words, 6)
    assert index.order.tolist() == [4, 1, 3, 0, 2, 5]
    assert np.array_equal(index.words, np.sort(words))
    assert index.order.dtype == index.starts.dtype == np.uint32 and len(index.starts) == 65
    assert index.starts[[0, 1, 2, 3, 4, 63, 64]].tolist() == [0, 1, 3, 3, 5, 5, 6]
    first, end, left_out = index.windows(words, 6, 2)
    assert list(zip(first.tolist(), end.tolist(), strict=True)) == [
        (3, 5),
        (1, 3),
        (3, 5),
        (1, 3),
        (0, 1),
        (5, 6),
    ]
    assert left_out == 0
    first, end, left_out = index.windows(words, 6, 1)
    assert (end - first).tolist() == [1] * 6 and left_out == 4


def test_a_window_is_around_a_word_and_within_its_bucket() -> None:
    """Bucket 1 holds the words 10 to 19, at the places 3 to 12."""
    words = np.array([1, 2, 3, *((1 << 58) + np.arange(10, 20)), 2 << 58], np.uint64)
    index = BandIndex.build(words, 6)
    queries = np.array([(1 << 58) + after for after in (0, 10, 12, 15, 18, 19, 99)], np.uint64)
    first, end, left_out = index.windows(queries, 6, 4)
    assert first.tolist() == [3, 3, 3, 6, 9, 9, 9]
    assert (end - first).tolist() == [4] * 7
    assert left_out == 7 * 6
