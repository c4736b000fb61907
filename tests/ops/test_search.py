"""The search: what brute force finds, with bounded work on crowded buckets, in any batches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dcgan_data.ops import search
from dcgan_data.ops.bands import Bands, Part
from dcgan_data.ops.search import (
    LOT,
    BandIndex,
    Candidates,
    Limits,
    candidates,
    merge_keys,
    nearest,
    split_keys,
)

BYTES = 16
Pair = tuple[np.ndarray, np.ndarray]


def random_codes(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, BYTES), dtype=np.uint8)


def clustered_codes(seed: int, count: int, most_bits: int) -> np.ndarray:
    """Codes that are a few centres with up to ``most_bits`` bits flipped."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(random_codes(seed, 3), axis=1)[rng.integers(0, 3, count)]
    for row in bits:
        row[rng.choice(128, rng.integers(0, most_bits + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


@dataclass(frozen=True)
class Outcome:
    """What is found for all queries, and how much was left out."""

    query: np.ndarray
    target: np.ndarray
    view: np.ndarray
    distance: np.ndarray
    left_out: int

    def others(self) -> Outcome:
        """Without those that met themselves."""
        rest = self.query != self.target
        return Outcome(
            self.query[rest], self.target[rest], self.view[rest], self.distance[rest], self.left_out
        )


def sorted_parts(codes: np.ndarray, bands: Bands, parts: Sequence[Part]) -> list[tuple[Part, BandIndex]]:
    """Parts of bands as they are built from the codes that are in them."""
    built = []
    for part in parts:
        ((words, rest),) = bands.cut(codes, [part.band])
        bucket = bands.bucket(words)
        here = np.flatnonzero((bucket >= part.first) & (bucket < part.end))
        part = replace(part, codes=len(here))
        columns = (words[here], rest[here], here.astype(np.uint32))
        built.append((part, BandIndex.build(columns, bands, part)))
    return built


def look_up(
    views: np.ndarray, codes: np.ndarray, bands: Bands, radius: int, window: int, own: int = -1
) -> Outcome:
    """All queries, a lot at a time, in uncut bands."""
    indexes = sorted_parts(codes, bands, bands.whole(len(codes)))
    found: list[tuple[np.ndarray, ...]] = []
    left_out = 0
    for start in range(0, max(len(views), 1), LOT):
        its_own = own + start if own >= 0 else own
        some = views[start : start + LOT]
        keys, skipped = search.look_up(some, bands, indexes, Limits(radius, window), its_own)
        near = candidates(keys)
        found.append((near.query + start, near.target, near.view, near.distance))
        left_out += skipped
    query, target, view, distance = (np.concatenate(column) for column in zip(*found, strict=True))
    return Outcome(query, target, view, distance, left_out)


def plain(
    views: np.ndarray, codes: np.ndarray, bands: Bands, radius: int, window: int
) -> tuple[dict[tuple[int, int], tuple[int, int]], int]:
    """The same search, one comparison after another: what every faster way must find."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    left_out = 0
    numbers = [int.from_bytes(code.tobytes()) for code in codes]
    for band in range(bands.count):
        ordered = sorted(zip(slow_words(codes, bands, band), range(len(codes)), strict=True))
        buckets: dict[int, list[tuple[int, int]]] = {}
        for word, number in ordered:
            buckets.setdefault(word >> (64 - bands.bits), []).append((word, number))
        for view in range(views.shape[1]):
            for query, word in enumerate(slow_words(views[:, view], bands, band)):
                bucket = buckets.get(word >> (64 - bands.bits), [])
                if len(bucket) > window:
                    left_out += len(bucket) - window
                    place = bisect_left(bucket, (word, -1)) - window // 2
                    place = min(max(place, 0), len(bucket) - window)
                    bucket = bucket[place : place + window]
                code = int.from_bytes(views[query, view].tobytes())
                for _, number in bucket:
                    distance = (code ^ numbers[number]).bit_count()
                    if distance <= radius:
                        nearest_yet = found.get((query, number), (129, 0))
                        found[query, number] = min(nearest_yet, (distance, view))
    return found, left_out


def as_dict(found: Outcome) -> dict[tuple[int, int], tuple[int, int]]:
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
    original = search._compare

    def counting(index: BandIndex, queries: Pair, windows: Pair, radius: int) -> Any:
        nonlocal compared
        compared += int(windows[1].sum())
        return original(index, queries, windows, radius)

    monkeypatch.setattr(search, "_compare", counting)
    found = look_up(codes[:, None], codes, bands, 16, 8)
    assert compared == 5000 * 12 * 8
    assert found.left_out == 5000 * 12 * (5000 - 8)
    # Everybody still meets somebody else.
    others = found.others()
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
    others = found.others()
    partner = np.empty(2000, np.int64)
    partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    assert np.array_equal(others.query, np.arange(2000))
    assert np.array_equal(others.target, partner)
    assert found.left_out == 2000 * 1996


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 90), st.integers(1, 4), st.integers(1, 25), st.integers(1, 9))
@example(0, 90, 3, 24, 2)
def test_against_one_comparison_after_another(
    seed: int, count: int, views: int, bands: int, window: int
) -> None:
    codes = np.concatenate([clustered_codes(seed, count, 14), np.repeat(random_codes(seed, 1), 9, axis=0)])
    seen = clustered_codes(seed, 20 * views, 14).reshape(20, views, BYTES)
    seen = np.concatenate([seen, np.repeat(codes[-1:, None], views, axis=1)])
    cut = Bands.for_codes(len(codes), bands, seed)
    found = look_up(seen, codes, cut, 14, window)
    assert (as_dict(found), found.left_out) == plain(seen, codes, cut, 14, window)


@pytest.mark.parametrize("most", [1, 100, 10**6])
@pytest.mark.parametrize("cuts", [[], [13], [1, 13, 40, 41]])
def test_parts_and_what_is_merged_between_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, cuts: list[int], most: int
) -> None:
    """Each band's buckets are cut into ranges, some of them empty; each is searched by itself."""
    codes = clustered_codes(3, 150, 14)
    views = clustered_codes(3, 360, 14).reshape(120, 3, BYTES)
    bands = Bands(6, 24, 5)
    whole, left_out = search.look_up(
        views, bands, sorted_parts(codes, bands, bands.whole(150)), Limits(12, 9), own=7
    )
    assert len(whole) > 1000 and left_out > 0
    monkeypatch.setattr(search, "_MOST_KEYS", most)
    bounds = [0, *cuts, 64]
    parts = [Part(band, *ends, 0) for band in range(24) for ends in pairwise(bounds)]
    sorted_ones = sorted_parts(codes, bands, parts)
    assert sum(part.codes for part, _ in sorted_ones) == 24 * 150
    found = [search.look_up(views, bands, [one], Limits(12, 9), own=7) for one in sorted_ones]
    assert np.array_equal(merge_keys([keys for keys, _ in found]), whole)
    assert sum(skipped for _, skipped in found) == left_out
    together, again = search.look_up(views, bands, sorted_ones, Limits(12, 9), own=7)
    assert np.array_equal(together, whole) and again == left_out


def test_queries_do_not_find_themselves() -> None:
    """The codes looked up are those of the index from number 4 on; equal ones still find one another."""
    codes = np.concatenate([clustered_codes(1, 60, 8), random_codes(1, 1), random_codes(1, 1)])
    bands = Bands.for_codes(62, 24, 0)
    every = as_dict(look_up(codes[4:, None], codes, bands, 16, 99))
    others = as_dict(look_up(codes[4:, None], codes, bands, 16, 99, own=4))
    assert others == {(q, t): found for (q, t), found in every.items() if q + 4 != t}
    assert (56, 61) in others and (57, 60) in others


def test_keys_are_cut_by_their_queries() -> None:
    codes = clustered_codes(2, LOT, 3)
    bands = Bands.for_codes(LOT, 2, 0)
    indexes = sorted_parts(codes, bands, bands.whole(LOT))
    keys, _ = search.look_up(codes[:, None], bands, indexes, Limits(4, 8))
    pieces = split_keys(keys, 300)
    assert len(pieces) == -(-LOT // 300)
    for number, piece in enumerate(pieces):
        query = candidates(piece).query
        assert len(query) and (query // 300 == number).all()
    assert np.array_equal(np.concatenate(pieces), keys)


def test_too_many_queries_or_views_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match=f"{LOT + 1} queries of 1 views"):
        search.look_up(np.zeros((LOT + 1, 1, BYTES), np.uint8), Bands(6, 1, 0), [], Limits(0, 1))
    with pytest.raises(ValueError, match="1 queries of 8193 views"):
        search.look_up(np.zeros((1, 8193, BYTES), np.uint8), Bands(6, 1, 0), [], Limits(0, 1))


def test_the_largest_numbers_fit_into_a_key() -> None:
    """Target 2^32 - 1, the last query of a lot, the last view, all bits different."""
    bands = Bands(6, 1, 0)
    code = random_codes(0, 1)
    ((words, rest),) = bands.cut(code, [0])
    index = BandIndex.build((words, rest, np.array([2**32 - 1], np.uint32)), bands, Part(0, 0, 64, 1))
    views = np.repeat(~code, LOT * 3, axis=0).reshape(LOT, 3, BYTES)
    views[-1, 2, 0] = code[0, 0]
    keys, _ = search.look_up(views, bands, [(Part(0, 0, 64, 1), index)], Limits(128, 4))
    found = candidates(keys)
    assert (found.query.tolist(), found.target.tolist()) == ([LOT - 1], [2**32 - 1])
    assert (found.view.tolist(), found.distance.tolist()) == ([2], [120])


def test_no_codes_no_queries_and_one() -> None:
    bands = Bands.for_codes(0, 24, 0)
    none, one = np.zeros((0, BYTES), np.uint8), random_codes(0, 1)
    for views, codes in ((none[:, None], none), (one[:, None], none), (none[:, None], one)):
        found = look_up(np.repeat(views, 3, axis=1), codes, bands, 16, 32)
        assert as_dict(found) == {}
        assert found.query.dtype == np.int64 and found.distance.dtype == np.uint8 and found.left_out == 0
    assert as_dict(look_up(one[:, None], one, bands, 16, 32)) == {(0, 0): (0, 0)}


def made_up(rows: list[tuple[int, int, int]]) -> Candidates:
    query, target, distance = np.array(rows, np.int64).reshape(-1, 3).T
    return Candidates(query, target, np.arange(len(rows), dtype=np.int16), distance.astype(np.uint8))


few = st.integers(0, 5)


@given(st.lists(st.tuples(few, few, few), max_size=40, unique_by=lambda row: row[:2]), st.integers(1, 6))
def test_nearest_against_sorting(rows: list[tuple[int, int, int]], most: int) -> None:
    wanted = []
    for query in range(6):
        own = sorted((distance, target, n) for n, (q, target, distance) in enumerate(rows) if q == query)
        wanted += [n for _, _, n in own[:most]]
    assert nearest(made_up(rows), most).tolist() == sorted(wanted)


def test_nearest_breaks_ties_by_target() -> None:
    found = made_up([(0, 9, 3), (0, 2, 3), (0, 5, 1), (0, 4, 3), (1, 7, 8)])
    assert nearest(found, 1).tolist() == [2, 4]
    assert nearest(found, 2).tolist() == [1, 2, 4]
    assert nearest(found, 9).tolist() == [0, 1, 2, 3, 4]
    assert nearest(made_up([]), 3).tolist() == []


def slow_words(codes: np.ndarray, bands: Bands, band: int) -> list[int]:
    """64 bits of the permuted code from where the band begins, round its end."""
    group, place = divmod(band, 128 // bands.bits)
    bits = np.unpackbits(codes, axis=1)[:, bands._permutation(group)]
    turned = np.roll(bits, -place * bands.bits, axis=1)[:, :64]
    return [int("".join(map(str, row)), 2) for row in turned.tolist()]


def built(words: np.ndarray) -> BandIndex:
    """An index of 64 buckets; the rests are 1, 2, ..."""
    count = len(words)
    columns = (words, np.arange(1, count + 1).astype(np.uint64), np.arange(count, dtype=np.uint32))
    return BandIndex.build(columns, Bands(6, 1, 0), Part(0, 0, 64, count))


def windows(index: BandIndex, words: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, int]:
    """First and end of each window."""
    first, size, left_out = index.windows(Bands(6, 1, 0).bucket(words), words, window)
    return first, first + size, left_out


def test_an_index_is_sorted_and_stable() -> None:
    words = np.array([3 << 58, 1 << 58, 3 << 58, (1 << 58) + 5, 0, 63 << 58], np.uint64)
    index = built(words)
    assert index.order.tolist() == [4, 1, 3, 0, 2, 5]
    assert index.rest.tolist() == [5, 2, 4, 1, 3, 6]
    assert np.array_equal(index.words, np.sort(words))
    assert index.order.dtype == index.starts.dtype == np.uint32 and len(index.starts) == 65
    assert index.starts[[0, 1, 2, 3, 4, 63, 64]].tolist() == [0, 1, 3, 3, 5, 5, 6]
    first, end, left_out = windows(index, words, 2)
    assert list(zip(first.tolist(), end.tolist(), strict=True)) == [
        (3, 5),
        (1, 3),
        (3, 5),
        (1, 3),
        (0, 1),
        (5, 6),
    ]
    assert left_out == 0
    first, end, left_out = windows(index, words, 1)
    assert (end - first).tolist() == [1] * 6 and left_out == 4


def test_a_window_is_around_a_word_and_within_its_bucket() -> None:
    """Bucket 1 holds the words 10 to 19, at the places 3 to 12."""
    words = np.array([1, 2, 3, *((1 << 58) + np.arange(10, 20)), 2 << 58], np.uint64)
    index = built(words)
    queries = np.array([(1 << 58) + after for after in (0, 10, 12, 15, 18, 19, 99)], np.uint64)
    first, end, left_out = windows(index, queries, 4)
    assert first.tolist() == [3, 3, 3, 6, 9, 9, 9]
    assert (end - first).tolist() == [4] * 7
    assert left_out == 7 * 6
