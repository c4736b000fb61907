"""Which images of a prepared set are trained on, and which are held out for the nearest-neighbour score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadRequest
from dcgan_data.formats.manifest import DUPLICATE, KEPT, image_names
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.train.seeds import Stream, numpy_rng

_MOST_HELD_OUT, _HELD_OUT_SHARE = 10_000, 0.05
"""The authors held out 10,000 images."""


@dataclass(frozen=True)
class Split:
    """Images to train on, and images that training never sees; both in manifest order."""

    train: ImageRows
    """Trained on."""
    held_out: ImageRows
    """Kept images that are not trained on, nor is any duplicate of them."""
    train_rows: np.ndarray
    """int64 (N,): the manifest row of each image of ``train``."""


def split_set(prepared: PreparedSet, include_duplicates: bool, held_out: int | None, seed: int) -> Split:
    """Choose ``held_out`` kept images at random (None: 5 %, at most 10,000); the rest is trained on.

    Which ones depends on the kept rows and the seed alone, so that two runs, with and without duplicates,
    are held against the same images. BadRequest if nothing is left to train on.
    """
    table = prepared.manifest(["key", "part", "status", "shard", "row", "duplicate_of", "duplicate_of_part"])
    kept = np.flatnonzero(pc.equal(table["status"], KEPT).to_numpy())
    count = min(_MOST_HELD_OUT, int(len(kept) * _HELD_OUT_SHARE)) if held_out is None else held_out
    if count and count >= len(kept):
        raise BadRequest(
            f"--held-out {count}: {prepared.path} has {len(kept)} kept images; hold out fewer, or 0 for none"
        )
    out = np.sort(numpy_rng(seed, Stream.HELD_OUT, 0).choice(kept, count, replace=False))
    rows = np.setdiff1d(kept, out, assume_unique=True)
    if include_duplicates:
        rows = np.union1d(rows, _duplicates_of_others(table, out))
    shards = prepared.shards()
    size = prepared.info.image_size

    def images(chosen: np.ndarray) -> ImageRows:
        places = table.select(["shard", "row"]).take(pa.array(chosen))
        shard, row = (places[name].to_numpy().astype(np.int32) for name in ("shard", "row"))
        return ImageRows(shards, shard, row, size)

    return Split(images(rows), images(out), rows.astype(np.int64))


def _duplicates_of_others(table: pa.Table, held_out: np.ndarray) -> np.ndarray:
    """Manifest rows of the removed duplicates whose kept image is not held out."""
    removed = np.flatnonzero(pc.equal(table["status"], DUPLICATE).to_numpy())
    originals = table.take(pa.array(removed))
    kept_apart = table.take(pa.array(held_out))
    of_held_out = pc.is_in(
        image_names(originals["duplicate_of"], originals["duplicate_of_part"]),
        image_names(kept_apart["key"], kept_apart["part"]).combine_chunks(),
    )
    others: np.ndarray = removed[~of_held_out.to_numpy()]
    return others
