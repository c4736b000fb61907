"""Which of several copies stays: an order of preference that depends on the images alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.formats.preferences import read_preferences
from dcgan_data.ops.sharpness import sharpness

_CHUNK = 512
_CLEARLY_SHARPER = np.array([math.isqrt(2**step) for step in range(126)], np.int64)
"""Steps of sharpness, each the square root of 2 times the one before: within a step no image counts as
sharper. What recompression and resampling add is less than that, and then the least compressed stays."""


def preference(images: ImageSet, members: np.ndarray, keep: str) -> np.ndarray:
    """Rank of every image, 0 the first choice; all different. Only ``members`` are looked at, ascending.

    keep: see ``recipe.DedupRecipe.keep``. BadRequest if a column of the user's cannot be read.
    """
    rank = np.arange(len(images))
    if keep == "first" or not len(members):
        return rank
    facts = _facts(images, members)
    keys: list[np.ndarray] = [_key_rank(facts)]  # of np.lexsort: the last counts most
    area = facts["width"].to_numpy().astype(np.int64) * facts["height"].to_numpy()
    keys.append(-facts["bytes"].to_numpy() / area)
    keys.append(-np.searchsorted(_CLEARLY_SHARPER, _sharpness(images, members), side="right"))
    keys.append(-area)
    if keep != "best":
        keys.append(-_user_values(facts["key"], keep))
    ordered = members[np.lexsort(keys)]
    rank[ordered] = np.arange(len(ordered))
    others = np.ones(len(images), bool)
    others[members] = False
    rank[others] = len(members) + np.arange(len(images) - len(members))
    return rank


def _facts(images: ImageSet, members: np.ndarray) -> pa.Table:
    parts = []
    for shard, _, rows in images.by_shard(members):
        table = images.staging.read_records(shard, ["key", "part", "row", "width", "height", "bytes"])
        parts.append(table.filter(table["row"].is_valid()).take(rows))
    return pa.concat_tables(parts)


def _key_rank(facts: pa.Table) -> np.ndarray:
    """Place of each row when (key, part) are sorted."""
    order = pc.sort_indices(facts, [("key", "ascending"), ("part", "ascending")]).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _sharpness(images: ImageSet, members: np.ndarray) -> np.ndarray:
    found = np.empty(len(members), np.int64)
    for start in range(0, len(members), _CHUNK):
        found[start : start + _CHUNK] = sharpness(images.gather(members[start : start + _CHUNK]))
    return found


def _user_values(keys: pa.ChunkedArray, keep: str) -> np.ndarray:
    """The values of the user's column, float64 (N,); keys that the file does not have count as lowest."""
    name, _, column = keep.rpartition(":")
    table = read_preferences(Path(name), column)
    place = pc.index_in(keys.cast(pa.string()), table["key"].combine_chunks())
    values = table["value"].take(place)
    filled: np.ndarray = pc.fill_null(values, -np.inf).to_numpy()
    return np.where(np.isnan(filled), -np.inf, filled)
