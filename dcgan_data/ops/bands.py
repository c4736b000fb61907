"""Bands: runs of code bits, by which codes are sorted and looked up.

The 128 bits are cut into disjoint bands of about log2(N) bits, several times over, after different
permutations. What is said of one band, and of one range of its buckets, depends on no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcgan_data.ops.codes import CODE_BITS

_FEWEST_BITS, _MOST_BITS = 6, 30
_BYTES = CODE_BITS // 8
_CODE_BYTES, _START_BYTES = 8 + 8 + 4, 4  # of a BandIndex: word, rest and number of a code; start of a bucket


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

    @property
    def buckets(self) -> int:
        """Values that the bits of a band can have."""
        return 1 << self.bits

    def whole(self, codes: int) -> list[Part]:
        """All bands, uncut, of so many codes."""
        return [Part(band, 0, self.buckets, codes) for band in range(self.count)]

    def cut(self, codes: np.ndarray, bands: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each of some bands, in ascending order, two uint64 (N,) of uint8 (N, 16) codes.

        The word: the band's bits in front, then those that follow it, going round the end. The rest: the
        64 bits that are not in the word.
        """
        columns = [column.astype(np.intp) for column in codes.T]
        permuted, high, low = -1, np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        for band in bands:
            permutation, place = divmod(band, self.per_permutation)
            if permutation != permuted:
                high, low = _permute(columns, self._permutation(permutation))
                permuted = permutation
            by = place * self.bits
            yield _rotate(high, low, by), _rotate(low, high, by)

    def bucket(self, words: np.ndarray) -> np.ndarray:
        """The value of the band's bits: int64 (N,) of uint64 (N,) words."""
        return (words >> np.uint64(64 - self.bits)).view(np.int64)

    def _permutation(self, number: int) -> np.ndarray:
        if number == 0:
            return np.arange(CODE_BITS)
        return np.random.default_rng((self.seed, number)).permutation(CODE_BITS)


@dataclass(frozen=True)
class Part:
    """Buckets of one band that follow one another: the codes in them are a set of their own."""

    band: int
    """Number of the band."""
    first: int
    """The first bucket."""
    end: int
    """The bucket after the last."""
    codes: int
    """How many codes are in them."""

    @property
    def buckets(self) -> int:
        """How many."""
        return self.end - self.first

    @property
    def index_bytes(self) -> int:
        """Of its index, in memory and on disk."""
        return _CODE_BYTES * self.codes + _START_BYTES * (self.buckets + 1)


def _permute(columns: list[np.ndarray], permutation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 128 bits after a permutation, as two uint64 (N,), first bit foremost; columns: the code's bytes."""
    # A permutation of bits is an OR over the bytes of what each byte's value puts where.
    tables = _tables(permutation)
    halves = tables[0].take(columns[0], axis=0)
    for table, column in zip(tables[1:], columns[1:], strict=True):
        halves |= table.take(column, axis=0, mode="clip")  # a byte is never outside: this skips a check
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def _tables(permutation: np.ndarray) -> np.ndarray:
    """What each value of each byte of a code sets in the permuted halves: uint64 (16, 256, 2)."""
    place = np.empty(CODE_BITS, np.int64)
    place[permutation] = np.arange(CODE_BITS)
    bit = np.zeros((CODE_BITS, 2), np.uint64)
    bit[np.arange(CODE_BITS), place // 64] = np.uint64(1) << (63 - place % 64).astype(np.uint64)
    tables = np.zeros((_BYTES, 256, 2), np.uint64)
    for power in range(8):
        size = 1 << power
        tables[:, size : 2 * size] = tables[:, :size] | bit[7 - power :: 8, None]
    return tables


def _rotate(high: np.ndarray, low: np.ndarray, by: int) -> np.ndarray:
    """The 64 bits that begin ``by`` bits into the code, going round its end."""
    if by >= 64:
        high, low, by = low, high, by - 64
    if by == 0:
        return high
    rotated: np.ndarray = (high << np.uint64(by)) | (low >> np.uint64(64 - by))
    return rotated
