"""Nearest images by their pixels, by brute force: exact, in bounded memory, the same on any machine.

Distances are counted in integers, by matrix products that cannot round. A pixel less 128 has 8 bits, so
float32 holds it exactly (and so do TF32 and bfloat16, should torch have been told to multiply by these). A
product of two is at most 2^14, and 768 of them stay below 2^24, where float32 knows every integer: whatever
the order in which a library or a GPU adds them up, each partial sum is exact. Such products over 768 pixels
at a time are added up in float64. Nor does anything depend on how queries and references are cut into tiles.

Ties go to the earlier reference. Bits (0 and 1) are pixels too: their squared distance is Hamming's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GREY_LEVELS = 127.5
"""Grey levels in one unit of pixels that are scaled to [-1, 1]."""
_TERMS = 768
"""Pixels in one float32 product; see above."""
_QUERIES, _REFERENCES = 1024, 2048
"""Of a tile: its sums and keys take some 50 MB, its pixels at 64 px 200 MB."""
_POSITION_BITS = 28
"""A key holds a squared distance (35 bits) above a position, so that the smallest key is the nearest image
and, of equally near ones, the earliest. 63 bits in all."""
_NONE = 2**63 - 1
"""The key of no reference."""


@dataclass(frozen=True)
class Nearest:
    """The nearest references of each query, nearest first."""

    positions: np.ndarray
    """int64 (Q, k): where they are in the stream of references."""
    squared: np.ndarray
    """int64 (Q, k): squared Euclidean distance in grey levels; of bits, how many differ."""

    @property
    def distances(self) -> np.ndarray:
        """float64 (Q, k): Euclidean distance of pixels in [-1, 1]."""
        distances: np.ndarray = np.sqrt(self.squared) / GREY_LEVELS
        return distances


class NearestSearch:
    """Finds the k nearest of a stream of references to each query.

    queries: uint8 (Q, ...), on ``device`` until the end; exclude: int64 (Q,), a position in the stream that
    is no answer to a query (its own, to leave it out), -1 for none.
    """

    def __init__(
        self, queries: np.ndarray, k: int, device: torch.device, exclude: np.ndarray | None = None
    ) -> None:
        if k < 1:
            raise ValueError(f"k={k}: must be 1 or more")
        self._queries = _flat(queries).to(device)
        self._exclude = np.full(len(queries), -1, np.int64) if exclude is None else exclude
        self._best = torch.full((len(queries), k), _NONE, dtype=torch.int64, device=device)
        self._searched = 0
        self._waiting: list[np.ndarray] = []
        self.seen = 0
        """References added so far."""
        assert self._queries.shape[1] * 255**2 < 1 << (63 - _POSITION_BITS)
        assert len(self._exclude) == len(queries)

    def add(self, references: np.ndarray) -> None:
        """Go on with the next references, uint8 (R, ...), however few or many."""
        self._waiting.append(references)
        self.seen += len(references)
        assert self.seen <= 1 << _POSITION_BITS
        if self.seen - self._searched >= _REFERENCES:
            self._search()

    def result(self) -> Nearest:
        """What is nearest so far; ValueError if there were fewer than k references to choose from."""
        self._search()
        keys = self._best.cpu().numpy()
        if (keys == _NONE).any():
            raise ValueError(f"{self.seen} references are too few for {keys.shape[1]} nearest ones")
        return Nearest(keys & ((1 << _POSITION_BITS) - 1), keys >> _POSITION_BITS)

    def _search(self) -> None:
        """Compare with the references that wait, a full tile at a time if possible: small ones are slow."""
        if not self._waiting:
            return
        for tile in torch.split(_flat(np.concatenate(self._waiting)), _REFERENCES):
            self._compare(_centred(tile.to(self._queries.device)))
            self._searched += len(tile)
        self._waiting.clear()

    def _compare(self, references: Tensor) -> None:
        squares = _squares(references)
        positions = torch.arange(len(references), device=references.device) + self._searched
        k = self._best.shape[1]
        for start in range(0, len(self._queries), _QUERIES):
            rows = slice(start, start + _QUERIES)
            queries = _centred(self._queries[rows])
            squared = _products(queries, references).mul_(-2).add_(squares).add_(_squares(queries)[:, None])
            keys = squared.to(torch.int64).bitwise_left_shift_(_POSITION_BITS).add_(positions)
            self._strike_out(keys, rows)
            best_here = keys.topk(min(k, len(references)), dim=1, largest=False).values
            best = torch.cat([self._best[rows], best_here], dim=1)
            self._best[rows] = best.topk(k, dim=1, largest=False).values

    def _strike_out(self, keys: Tensor, rows: slice) -> None:
        """Leave out what is excluded of a tile."""
        place = self._exclude[rows] - self._searched
        here = np.flatnonzero((place >= 0) & (place < keys.shape[1]))
        if len(here):
            keys[torch.from_numpy(here), torch.from_numpy(place[here])] = _NONE


def nearest(
    queries: np.ndarray,
    references: Iterable[np.ndarray],
    k: int,
    device: torch.device,
    exclude: np.ndarray | None = None,
) -> Nearest:
    """Find the k nearest references of each query: see ``NearestSearch``.

    queries: uint8 (Q, ...); references: uint8 (R, ...) in chunks of any size, numbered as they come. Memory:
    the queries, one chunk, and some 250 MB at 64 px.
    """
    search = NearestSearch(queries, k, device, exclude)
    for chunk in references:
        search.add(chunk)
    return search.result()


def told_apart(real: np.ndarray, generated: np.ndarray, device: torch.device) -> tuple[float, float]:
    """Shares of real and of generated images whose nearest other image, of both kinds, is of their own kind.

    Half and half is what equal distributions give. Smooth samples are nearest to one another (a share of 1
    for the generated), samples far from everything let the real images find one another. Leave-one-out
    nearest-neighbour two-sample test: Lopez-Paz and Oquab, ICLR 2017; by kind as in Xu et al., 2018.
    real, generated: uint8 (N, ...), as many of each.
    """
    count = len(real)
    assert count == len(generated) >= 1, (count, len(generated))
    both = np.concatenate([real, generated])
    found = nearest(both, [both], 1, device, exclude=np.arange(len(both)))
    is_real = found.positions[:, 0] < count
    return float(is_real[:count].mean()), float((~is_real[count:]).mean())


class NearestMeans:
    """Mean distance from queries to their nearest among the first n of a stream, for several n in one pass.

    With held-out real images as queries and generated ones as the stream this is the score that the DCGAN
    authors logged, at n = 1,000, 10,000 and 100,000.
    """

    def __init__(self, queries: np.ndarray, counts: Sequence[int], device: torch.device) -> None:
        if not len(queries) or not counts or min(counts) < 1:
            raise ValueError(f"{len(queries)} queries, counts {list(counts)}: need one or more of each")
        self._search = NearestSearch(queries, 1, device)
        self._ahead = sorted(set(counts))
        self.means: dict[int, float] = {}
        """Mean distance of pixels in [-1, 1] by n, as far as the stream has come."""

    def add(self, references: np.ndarray) -> None:
        """Go on with the next references, uint8 (R, ...); those beyond the largest n are not looked at."""
        while self._ahead and len(references):
            some = references[: self._ahead[0] - self._search.seen]
            references = references[len(some) :]
            self._search.add(some)
            if self._search.seen == self._ahead[0]:
                distances = self._search.result().distances
                # fsum: rounded once, so that the mean too is the same on any machine.
                self.means[self._ahead.pop(0)] = math.fsum(distances[:, 0]) / len(distances)


def _flat(images: np.ndarray) -> Tensor:
    """uint8 (N, D) of uint8 (N, ...)."""
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, not {images.dtype}")
    return torch.from_numpy(images.reshape(len(images), -1))


def _centred(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).sub_(128)


def _products(queries: Tensor, references: Tensor) -> Tensor:
    """Inner products of centred pixels: float64 (Q, R) integers."""
    shape = len(queries), len(references)
    total = torch.zeros(shape, dtype=torch.float64, device=queries.device)
    parts = zip(torch.split(queries, _TERMS, dim=1), torch.split(references, _TERMS, dim=1), strict=True)
    for some, others in parts:
        total += some @ others.T
    return total


def _squares(centred: Tensor) -> Tensor:
    """Squared lengths of centred pixels: float64 (N,) integers."""
    total = torch.zeros(len(centred), dtype=torch.float64, device=centred.device)
    for some in torch.split(centred, _TERMS, dim=1):
        total += some.square().sum(dim=1)
    return total
