"""Check pairs by their pixels: the score that decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.formats.staging import load_array
from dcgan_data.ops.codes import Encoder, encode_views, to_luma
from dcgan_data.ops.similarity import align, structure

_CHUNK = 8192
"""Pairs at a time: their structures take 16 MB."""
_PIXELS = 512
"""Images whose pixels are in memory at a time: 100 MB at 256x256."""

Structures = Callable[[np.ndarray], np.ndarray]
"""From int64 (B,) image numbers to their int8 (B, 32, 32) structures."""


def check(pairs: np.ndarray, structures_a: Structures, structures_b: Structures) -> np.ndarray:
    """Align every pair from its view: the same PAIR (P,) with the best view and the score."""
    checked = pairs.copy()
    order = np.lexsort((pairs["b"], pairs["a"]))  # neighbours on disk are then read together
    for start in range(0, len(order), _CHUNK):
        here = order[start : start + _CHUNK]
        chunk = pairs[here]
        seen, target = structures_b(chunk["b"]), structures_a(chunk["a"])
        checked["view"][here], checked["score"][here] = align(seen, target, chunk["view"])
    return checked


def load_structure(images: ImageSet) -> Structures:
    """Structures as ``encode_all`` staged them."""

    def load(numbers: np.ndarray) -> np.ndarray:
        result = np.empty((len(numbers), 32, 32), np.int8)
        for shard, here, rows in images.by_shard(numbers):
            result[here] = load_array(images.staging.part("structure", shard), mapped=True)[rows]
        return result

    return load


def pixel_structure(gather: Callable[[np.ndarray], np.ndarray]) -> Structures:
    """Structures from stored pixels; gather: int64 (B,) -> uint8 (B, S, S, 3)."""

    def load(numbers: np.ndarray) -> np.ndarray:
        result = np.empty((len(numbers), 32, 32), np.int8)
        for start in range(0, len(numbers), _PIXELS):
            some = slice(start, start + _PIXELS)
            result[some] = structure(to_luma(gather(numbers[some])))
        return result

    return load


def check_directly(
    pairs: np.ndarray, gather: Callable[[np.ndarray], np.ndarray], encoder: Encoder, views: np.ndarray
) -> np.ndarray:
    """Check pairs that no search has found, from the pixels, from the view under which codes are nearest.

    Either image may be the one that is seen through a view; ``a`` and ``b`` are swapped where that is nearer.
    """
    pairs = pairs.copy()
    for start in range(0, len(pairs), _PIXELS):
        block = pairs[start : start + _PIXELS]
        codes_a, _ = encode_views(gather(block["a"]), encoder)
        codes_b, _ = encode_views(gather(block["b"]), encoder)
        forth = np.bitwise_count(codes_b ^ codes_a[:, :1]).sum(axis=2, dtype=np.uint8)
        back = np.bitwise_count(codes_a ^ codes_b[:, :1]).sum(axis=2, dtype=np.uint8)
        swap = back.min(axis=1) < forth.min(axis=1)
        block["a"][swap], block["b"][swap] = block["b"][swap], block["a"][swap]
        nearest = np.where(swap[:, None], back, forth)
        block["view"], block["distance"] = views[nearest.argmin(axis=1)], nearest.min(axis=1)
    structures = pixel_structure(gather)
    return check(pairs, structures, structures)
