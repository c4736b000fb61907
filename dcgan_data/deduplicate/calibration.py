"""How often do unrelated images score as high as copies do? From the set's own unrelated images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dcgan_data.deduplicate.checking import check, load_structure
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.pairs import CODE, make_pairs
from dcgan_data.formats.staging import load_array

_SAMPLE = 2000
_NEIGHBOURS = 4
_FEWEST = 200
"""Pairs; fewer say nothing about a tail."""
_LEVELS = (0.8, 0.95)
"""Quantiles between which the tail's slope is measured: some percent of copies among the pairs do no harm."""


def null_scores(
    images: ImageSet, searched: np.ndarray, views: np.ndarray, radius: int, seed: int
) -> dict[str, float] | None:
    """The distribution of unrelated pairs' scores, as the tail of atanh(score) above its 0.8 quantile.

    A sample of images, each with its nearest codes in the sample beyond the radius: look-alikes that the
    search would not even compare, and therefore, with few exceptions, no copies. None for tiny sets.
    """
    rng = np.random.default_rng((seed, 3))
    sample = np.sort(rng.choice(searched, min(_SAMPLE, len(searched)), replace=False))
    pairs = _look_alikes(images, sample, views, radius)
    if len(pairs) < _FEWEST:
        return None
    scores = check(pairs, load_structure(images), load_structure(images))["score"].astype(np.float64)
    low, high = np.quantile(scores, _LEVELS)
    slope = (math.atanh(high) - math.atanh(low)) / math.log((1 - _LEVELS[0]) / (1 - _LEVELS[1]))
    return {"pairs": len(pairs), "level": round(math.atanh(low), 6), "slope": round(max(slope, 1e-3), 6)}


def expected_false_pairs(null: dict[str, Any] | None, checked: int, threshold: float) -> float | None:
    """How many of so many checked pairs would score at least ``threshold`` if all were unrelated.

    atanh(score) is taken to fall off exponentially beyond the quantiles that were seen; correlations of
    unrelated images fall off faster, so that the figure is more likely too high than too low.
    """
    if null is None:
        return None
    beyond = math.atanh(min(threshold, 1 - 1e-9)) - null["level"]
    return checked * (1 - _LEVELS[0]) * math.exp(-max(beyond, 0.0) / null["slope"])


def _look_alikes(images: ImageSet, sample: np.ndarray, views: np.ndarray, radius: int) -> np.ndarray:
    """PAIR: each sampled image with its nearest others of the sample that are farther than the radius."""
    codes = np.empty((len(sample), len(views), 16), np.uint8)
    for shard, here, rows in images.by_shard(sample):
        codes[here] = load_array(images.staging.part("views", shard), mapped=True)[rows]
    words = codes.view(np.uint64)
    nearest = np.full((len(sample), len(sample)), 255, np.uint8)
    view = np.zeros((len(sample), len(sample)), np.uint8)
    for number in range(len(views)):
        distance = np.bitwise_count(words[:, None, number, 0] ^ words[None, :, 0, 0])
        distance += np.bitwise_count(words[:, None, number, 1] ^ words[None, :, 0, 1])
        view[distance < nearest] = number
        np.minimum(nearest, distance, out=nearest)
    np.fill_diagonal(nearest, 255)
    nearest[nearest <= radius] = 255
    chosen = np.argsort(nearest, axis=1, kind="stable")[:, :_NEIGHBOURS]
    seen = np.repeat(np.arange(len(sample)), chosen.shape[1])
    other = chosen.ravel()
    real = nearest[seen, other] < 255
    seen, other = seen[real], other[real]
    pairs = make_pairs(sample[other], sample[seen], CODE)
    pairs["view"], pairs["distance"] = views[view[seen, other]], nearest[seen, other]
    return pairs
