"""Find codes within a small Hamming radius, in time that grows like their number.

Codes that are near agree on all bits of some band (``ops.bands``) with high probability (of at least one of m
disjoint bands with certainty, if they differ in fewer than m bits), while a band's bucket holds few others.
Real codes are skewed: where a bucket holds more than a window of codes, only those that are nearest in the
order of the following bits are compared, and the rest is counted as left out. Work is therefore bounded by
N * views * bands * window whatever the codes are.

What is found travels as one uint64 for each pair of images, a key: query, target, distance and view, from the
front. Keys of any parts of any bands are merged by sorting them: what was found is then the same, however the
bands were divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.bands import Bands, Part

_QUERY_BITS, _TARGET_BITS, _DISTANCE_BITS, _VIEW_BITS = 11, 32, 8, 13  # of a key's 64
LOT = 1 << _QUERY_BITS
"""Queries that are looked up at a time."""
BUILD_BYTES = 28
"""Of memory for each code while an index is built, beside the index."""
KEY_BYTES = 34
"""Of memory for each key while keys are merged."""
_AT_ONCE = 1 << 18
_MOST_KEYS = 1 << 21
"""Found before doubles are dropped: 16 MB."""


@dataclass(frozen=True)
class BandIndex:
    """The codes of one part of a band, in the order of the band."""

    words: np.ndarray
    """uint64 (n,), ascending."""
    rest: np.ndarray
    """uint64 (n,): the bits of each code that are not in its word."""
    order: np.ndarray
    """uint32 (n,): which code each word is of."""
    starts: np.ndarray
    """uint32 (buckets + 1,): where the words of each bucket begin."""

    @classmethod
    def build(cls, codes: tuple[np.ndarray, np.ndarray, np.ndarray], bands: Bands, part: Part) -> BandIndex:
        """Sort the codes of a part: their words, their rests, and their uint32 numbers, ascending.

        Equal words stay in the order of the numbers. Memory: with what is given, BUILD_BYTES a code beside
        the result.
        """
        words, rest, numbers = codes
        order = np.argsort(words, kind="stable")
        words = words.take(order)
        starts = np.zeros(part.buckets + 1, np.uint32)
        for some in range(0, len(words), _AT_ONCE):
            buckets = bands.bucket(words[some : some + _AT_ONCE]) - part.first
            sizes = np.bincount(buckets - buckets[0])
            starts[1 + buckets[0] :][: len(sizes)] += sizes.astype(np.uint32)
        np.cumsum(starts, out=starts, dtype=np.uint32)
        return cls(words, rest.take(order), numbers.take(order), starts)

    def windows(
        self, buckets: np.ndarray, words: np.ndarray, window: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Which codes each query word is compared with: int64 first place and number of them (Q,).

        buckets: int64 (Q,) of the words, counted from the part's first. Also returns how many codes of
        crowded buckets are left out.
        """
        first = self.starts.take(buckets).astype(np.int64)
        size = self.starts[1:].take(buckets) - first
        crowded = np.flatnonzero(size > window)
        if not len(crowded):
            return first, size, 0
        left_out = int(size[crowded].sum()) - window * len(crowded)
        place = np.searchsorted(self.words, words[crowded]) - window // 2
        first[crowded] = np.clip(place, first[crowded], first[crowded] + size[crowded] - window)
        size[crowded] = window
        return first, size, left_out


@dataclass(frozen=True)
class Candidates:
    """Pairs whose codes are near: one entry for each query and target, under their nearest view."""

    query: np.ndarray
    """int64 (P,): number of the query image."""
    target: np.ndarray
    """int64 (P,): number of the indexed image."""
    view: np.ndarray
    """int16 (P,): number of the view of the query that is nearest; the first of equals."""
    distance: np.ndarray
    """uint8 (P,): bits that differ."""


@dataclass(frozen=True)
class Limits:
    """What is compared with what, and what counts as near."""

    radius: int
    """Most bits that differ."""
    window: int
    """Codes of a crowded bucket that a code is compared with."""


def look_up(
    views: np.ndarray, bands: Bands, indexes: Sequence[tuple[Part, BandIndex]], limits: Limits, own: int = -1
) -> tuple[np.ndarray, int]:
    """Look up every view of some images in parts of bands.

    views: uint8 (Q, V, 16), the codes of at most LOT queries' views; indexes: in the order of their bands;
    own: number of the indexed code that is the first query itself, if the queries are codes of the index,
    in the same order: no query then finds itself.
    Returns keys, ascending, and the number of comparisons that were left out.
    Memory: some 100 bytes for each view of a query, 16 for each key.
    """
    queries, count = views.shape[:2]
    if queries > LOT or count > 1 << _VIEW_BITS:
        raise ValueError(f"{queries} queries of {count} views, expected at most {LOT} of {1 << _VIEW_BITS}")
    flat = views.reshape(queries * count, 16)
    found: list[np.ndarray] = []
    left_out = 0
    for (part, index), (words, rest) in zip(
        indexes, bands.cut(flat, [part.band for part, _ in indexes]), strict=True
    ):
        buckets = bands.bucket(words) - part.first
        here = np.arange(len(words))
        if part.buckets < bands.buckets:
            here = np.flatnonzero((buckets >= 0) & (buckets < part.buckets))
            buckets, words, rest = buckets[here], words[here], rest[here]
        first, size, skipped = index.windows(buckets, words, limits.window)
        left_out += skipped
        near, place, distance = _compare(index, (words, rest), (first, size), limits.radius)
        seen, target = here.take(near), index.order.take(place).astype(np.int64)
        if own >= 0:
            other = seen // count + own != target
            seen, target, distance = seen[other], target[other], distance[other]
        found.append(_keys(seen, target, distance, count))
        if sum(map(len, found)) > _MOST_KEYS:
            found = [merge_keys(found)]
    return merge_keys(found), left_out


def merge_keys(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Every query and target once, under the nearest view: uint64, ascending."""
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    keys.sort()
    pair = keys >> np.uint64(_DISTANCE_BITS + _VIEW_BITS)
    first = np.ones(len(keys), bool)
    np.not_equal(pair[1:], pair[:-1], out=first[1:])
    return keys[first]


def split_keys(keys: np.ndarray, queries: int) -> list[np.ndarray]:
    """Ascending keys, cut into those of the first so many queries, of the next, and so on to a whole lot."""
    starts = np.arange(queries, LOT, queries).astype(np.uint64) << np.uint64(64 - _QUERY_BITS)
    return np.split(keys, np.searchsorted(keys, starts))


def candidates(keys: np.ndarray) -> Candidates:
    """What keys say."""
    return Candidates(
        query=(keys >> np.uint64(64 - _QUERY_BITS)).view(np.int64),
        target=_field(keys, _DISTANCE_BITS + _VIEW_BITS, _TARGET_BITS).view(np.int64),
        view=_field(keys, 0, _VIEW_BITS).astype(np.int16),
        distance=_field(keys, _VIEW_BITS, _DISTANCE_BITS).astype(np.uint8),
    )


def code_halves(codes: np.ndarray) -> np.ndarray:
    """uint8 (N, 16) as uint64 (2, N), in the machine's byte order: for counting differing bits."""
    return np.ascontiguousarray(np.ascontiguousarray(codes).view(np.uint64).T)


def nearest(found: Candidates, most: int) -> np.ndarray:
    """At most ``most`` candidates of each query, nearest codes first, then smallest target: int64 rows."""
    order = np.lexsort((found.target, found.distance, found.query))
    query = found.query[order]
    starts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.zeros(0, np.int64)
    rank = np.arange(len(query)) - np.repeat(starts, np.diff(np.r_[starts, len(query)]))
    return np.sort(order[rank < most])


def _compare(
    index: BandIndex,
    queries: tuple[np.ndarray, np.ndarray],
    windows: tuple[np.ndarray, np.ndarray],
    radius: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those (query, place in the index) within the radius, and their distances: int64, int64, uint8.

    queries: words and rests; windows: first places and sizes.
    """
    words, rests = queries
    first, size = windows
    # In the order of their windows' sizes, those that have a k-th code are always the first of all.
    query = np.argsort(size.astype(np.uint16), kind="stable")[::-1]
    with_more = len(size) - np.cumsum(np.bincount(size))
    place, rest = first.take(query), rests.take(query)
    nothing = np.zeros(0, np.int64)
    found = [(nothing, nothing, nothing.astype(np.uint8))]
    for step, some in enumerate(with_more[:-1].tolist()):
        # The word holds the band, which agrees: most pairs end here, at the bits that are not in it.
        at = place[:some] + step
        distance = np.bitwise_count(rest[:some] ^ index.rest.take(at))
        near = np.flatnonzero(distance <= radius)
        found.append((query.take(near), at.take(near), distance.take(near)))
    query, place, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    distance += np.bitwise_count(words.take(query) ^ index.words.take(place))
    near = np.flatnonzero(distance <= radius)
    return query.take(near), place.take(near), distance.take(near)


def _keys(seen: np.ndarray, target: np.ndarray, distance: np.ndarray, views: int) -> np.ndarray:
    """uint64 (P,) of the views of queries, numbered through, that met targets."""
    query, view = np.divmod(seen, views)
    keys: np.ndarray = (query << _TARGET_BITS) | target
    keys = (keys << _DISTANCE_BITS) | distance
    keys = (keys << _VIEW_BITS) | view
    return keys.view(np.uint64)


def _field(keys: np.ndarray, behind: int, bits: int) -> np.ndarray:
    """uint64 (P,): some bits of keys, before so many others."""
    field: np.ndarray = (keys >> np.uint64(behind)) & np.uint64((1 << bits) - 1)
    return field
