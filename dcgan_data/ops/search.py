"""Find codes within a small Hamming radius, in time that grows like their number.

The 128 bits are cut into disjoint bands of about log2(N) bits, several times over, after different
permutations. Codes that are near agree on all bits of some band with high probability (of at least one of m
disjoint bands with certainty, if they differ in fewer than m bits), while a band's bucket holds few others.
Real codes are skewed: where a bucket holds more than a window of codes, only those that are nearest in the
order of the following bits are compared, and the rest is counted as left out. Work is therefore bounded by
N * views * bands * window whatever the codes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.codes import CODE_BITS

_FEWEST_BITS, _MOST_BITS = 6, 26
_Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # (view of a query, target, distance), each (P,)
_COMPARISONS = 1 << 20
"""At a time: bounds the arrays of one step to some 100 MB even if every bucket is full."""


@dataclass(frozen=True)
class Bands:
    """How codes are cut into bands."""

    bits: int
    """Bits of a band."""
    count: int
    """Number of bands."""
    seed: int
    """Of the permutations; the first is the identity."""

    @classmethod
    def for_codes(cls, codes: int, count: int, seed: int) -> Bands:
        """Bands with one to two times as many buckets as codes."""
        bits = max(_FEWEST_BITS, min(_MOST_BITS, codes.bit_length()))
        return cls(bits, count, seed)

    @property
    def per_permutation(self) -> int:
        """Disjoint bands that fit into one permutation of the bits."""
        return CODE_BITS // self.bits

    def words(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """For every band uint64 (N,) of uint8 (N, 16) codes: its bits in front, then those that follow it."""
        for group in range(math.ceil(self.count / self.per_permutation)):
            high, low = _halves(codes, self._permutation(group))
            for band in range(min(self.per_permutation, self.count - group * self.per_permutation)):
                yield _rotated(high, low, band * self.bits)

    def word(self, codes: np.ndarray, band: int) -> np.ndarray:
        """The words of one band: uint64 (N,)."""
        group, place = divmod(band, self.per_permutation)
        return _rotated(*_halves(codes, self._permutation(group)), place * self.bits)

    def _permutation(self, group: int) -> np.ndarray:
        if group == 0:
            return np.arange(CODE_BITS)
        return np.random.default_rng((self.seed, group)).permutation(CODE_BITS)


@dataclass(frozen=True)
class BandIndex:
    """The codes of a set in the order of one band."""

    words: np.ndarray
    """uint64 (N,), ascending."""
    order: np.ndarray
    """uint32 (N,): which code each word is of."""
    starts: np.ndarray
    """uint32 (2^bits + 1,): where the words of each bucket begin."""

    @classmethod
    def build(cls, words: np.ndarray, bits: int) -> BandIndex:
        """Sort uint64 (N,) words; equal ones stay in the order of their codes."""
        order = np.argsort(words, kind="stable")
        buckets = np.bincount((words >> np.uint64(64 - bits)).astype(np.int64), minlength=1 << bits)
        starts = np.zeros((1 << bits) + 1, np.uint32)
        starts[1:] = np.cumsum(buckets)
        return cls(words[order], order.astype(np.uint32), starts)

    def windows(self, words: np.ndarray, bits: int, window: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Which places of ``order`` each query word is compared with: int64 first and end (Q,).

        Also returns how many codes of crowded buckets are left out.
        """
        bucket = (words >> np.uint64(64 - bits)).astype(np.int64)
        first = self.starts[bucket].astype(np.int64)
        end = self.starts[bucket + 1].astype(np.int64)
        crowded = np.flatnonzero(end - first > window)
        if not len(crowded):
            return first, end, 0
        left_out = int((end[crowded] - first[crowded] - window).sum())
        place = np.searchsorted(self.words, words[crowded])
        nearest = np.clip(place - window // 2, first[crowded], end[crowded] - window)
        first[crowded], end[crowded] = nearest, nearest + window
        return first, end, left_out


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
    left_out: int
    """Comparisons that the windows on crowded buckets left out."""

    def without(self, those: np.ndarray) -> Candidates:
        """The others than bool (P,) ``those``."""
        rest = ~those
        return Candidates(
            self.query[rest], self.target[rest], self.view[rest], self.distance[rest], self.left_out
        )


def find_candidates(
    views: np.ndarray, known: np.ndarray, bands: Bands, indexes: Iterable[BandIndex], limits: tuple[int, int]
) -> Candidates:
    """Look up every view of some images among the codes of a set.

    views: uint8 (Q, V, 16), the codes of each query's views; known: ``code_halves`` of the codes indexed;
    indexes: one for each band, in order; limits: the radius in bits, and the window of crowded buckets.
    Memory: some 30 bytes for each of up to V * bands * window candidates of a query in a crowd.
    """
    radius, window = limits
    queries, count = views.shape[:2]
    flat = views.reshape(queries * count, 16)
    wanted = code_halves(flat)
    at_once = max(1, _COMPARISONS // window)
    nothing = np.zeros(0, np.int64)
    found: list[_Found] = [(nothing, nothing, nothing.astype(np.uint8))]
    left_out = 0
    for words, index in zip(bands.words(flat), indexes, strict=True):
        for start in range(0, len(words), at_once):
            first, end, skipped = index.windows(words[start : start + at_once], bands.bits, window)
            left_out += skipped
            query, target = _expand(first, end, index.order)
            found.append(_near(wanted, known, (query + start, target), radius))
        found = [_distinct(found, known.shape[1])]
    query, target, distance = found[0]
    return _nearest_views(query, target, distance, count, left_out)


def _distinct(found: list[_Found], codes: int) -> _Found:
    """Each (view of a query, target) once: many are found through several bands."""
    query, target, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    _, once = np.unique(query * codes + target, return_index=True)
    return query[once], target[once], distance[once]


def _nearest_views(
    query: np.ndarray, target: np.ndarray, distance: np.ndarray, views: int, left_out: int
) -> Candidates:
    image, view = query // views, query % views
    order = np.lexsort((view, distance, target, image))
    image, target, view, distance = image[order], target[order], view[order], distance[order]
    first = np.ones(len(order), bool)
    first[1:] = (image[1:] != image[:-1]) | (target[1:] != target[:-1])
    return Candidates(image[first], target[first], view[first].astype(np.int16), distance[first], left_out)


def nearest(candidates: Candidates, most: int) -> np.ndarray:
    """At most ``most`` candidates of each query, nearest codes first, then smallest target: int64 rows."""
    order = np.lexsort((candidates.target, candidates.distance, candidates.query))
    query = candidates.query[order]
    starts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.zeros(0, np.int64)
    rank = np.arange(len(query)) - np.repeat(starts, np.diff(np.r_[starts, len(query)]))
    return np.sort(order[rank < most])


def _expand(first: np.ndarray, end: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (query, target) of the windows: int64 (P,) each."""
    sizes = end - first
    query = np.repeat(np.arange(len(sizes)), sizes)
    offset = np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
    return query, order[np.arange(len(query)) + offset].astype(np.int64)


def _near(wanted: np.ndarray, known: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], radius: int) -> _Found:
    """Those (query, target) pairs within the radius, and their distances."""
    query, target = pairs
    distance = np.bitwise_count(wanted[0].take(query) ^ known[0].take(target))
    half = np.flatnonzero(distance <= radius)  # most end here, with half of the work
    query, target, distance = query[half], target[half], distance[half]
    distance += np.bitwise_count(wanted[1].take(query) ^ known[1].take(target))
    near = distance <= radius
    return query[near], target[near], distance[near]


def code_halves(codes: np.ndarray) -> np.ndarray:
    """uint8 (N, 16) as uint64 (2, N), in the machine's byte order: for counting differing bits."""
    return np.ascontiguousarray(np.ascontiguousarray(codes).view(np.uint64).T)


def _halves(codes: np.ndarray, permutation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 128 bits after a permutation, as two uint64 (N,), first bit foremost."""
    # A permutation of bits is an OR over the bytes of what each byte's value puts where.
    values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    halves = np.zeros((2, len(codes)), np.uint64)
    for byte in range(codes.shape[1]):
        spread = np.zeros((256, CODE_BITS), np.uint8)
        spread[:, 8 * byte : 8 * byte + 8] = values
        table = (
            np.ascontiguousarray(np.packbits(spread[:, permutation], axis=1)).view(">u8").astype(np.uint64)
        )
        column = codes[:, byte]
        halves[0] |= table[:, 0].take(column)
        halves[1] |= table[:, 1].take(column)
    return halves[0], halves[1]


def _rotated(high: np.ndarray, low: np.ndarray, by: int) -> np.ndarray:
    """The 64 bits that begin ``by`` bits into the code, going round its end."""
    if by >= 64:
        high, low, by = low, high, by - 64
    if by == 0:
        return high
    rotated: np.ndarray = (high << np.uint64(by)) | (low >> np.uint64(64 - by))
    return rotated
