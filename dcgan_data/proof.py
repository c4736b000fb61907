"""Prove removals again from a set's files: is each removed image a copy of the one that it names?"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadInput
from dcgan_data.formats.dataset import AUTOENCODER, REMEDY
from dcgan_data.formats.manifest import DUPLICATE, KEPT, KEPT_IS_SEEN, image_names, shown_name
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.hashing import read_encoder
from dcgan_data.ops.codes import encode, to_luma
from dcgan_data.ops.similarity import score, structure
from dcgan_data.ops.views import parse_views

_CHUNK_BYTES = 1 << 25
_MOST_PAIRS = 2048
"""Pairs at a time: so many, or as many as fit into those bytes of pixels of either side."""


@dataclass(frozen=True)
class _Removals:
    """All removals of a set, and the pixels of both images of each."""

    rows: pa.Table
    """Manifest rows of the removed images."""
    removed: ImageRows
    """Their pixels."""
    kept: ImageRows
    """Those of the images that they name; of another size, perhaps."""

    def chunks(self) -> list[np.ndarray]:
        """int64: numbers of the removals, some at a time."""
        size = max(self.removed.image_size, self.kept.image_size) ** 2 * 3
        step = min(max(_CHUNK_BYTES // size, 1), _MOST_PAIRS)
        return np.split(np.arange(len(self.rows)), range(step, len(self.rows), step))


def prove_removals(prepared: PreparedSet, workers: int = 1) -> None:
    """Raise BadInput, naming the image, unless every removal holds by the set's own rule.

    ``near``: the recorded score is what the two images' pixels give at the recorded view, and not under the
    threshold. ``exact``: the pixels' codes are equal. With either, equal pixels are enough.
    workers: threads; numpy lets go of the interpreter's lock.
    """
    removals = _removals(prepared) if prepared.info.deduplication.get("rule") else None
    if removals is None:
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda chunk: _prove(prepared, removals, chunk), removals.chunks()):
            pass  # of several that are wrong the first is named


def _prove(prepared: PreparedSet, removals: _Removals, chunk: np.ndarray) -> None:
    """Prove some removals, whose pixels are in memory meanwhile."""
    removed, kept = removals.removed.gather(chunk), removals.kept.gather(chunk)
    holds = np.zeros(len(chunk), bool)
    if removed.shape == kept.shape:
        holds = (removed == kept).all(axis=(1, 2, 3))
    rest = np.flatnonzero(~holds)
    if not len(rest):
        return
    rows = removals.rows.take(chunk[rest])
    by_rule = _codes_equal if prepared.info.deduplication["rule"] == "exact" else _scores_hold
    holds = by_rule(prepared, rows, removed[rest], kept[rest])
    if not holds.all():
        _refuse(prepared, rows.slice(int(np.argmin(holds)), 1))


def other_set(prepared: PreparedSet) -> PreparedSet:
    """The set that kept images are in: itself, or the one it was de-duplicated against.

    BadInput if that is gone or another one by now.
    """
    against = prepared.info.deduplication.get("against")
    if not against:
        return prepared
    path = Path(against["path"])
    try:
        other = PreparedSet.open(path)
    except BadInput as error:
        raise BadInput(f"{prepared.path}: was compared with another set, which is needed: {error}") from None
    if other.info.content_sha256 != against["content_sha256"]:
        raise BadInput(
            f"{prepared.path}: was compared with {path}, which has changed since; compare with it again"
        )
    return other


def _removals(prepared: PreparedSet) -> _Removals | None:
    columns = ["key", "part", "status", "shard", "row"]
    removal = ["duplicate_of", "duplicate_of_part", "view", "score"]
    table = prepared.manifest([*columns, *removal]).combine_chunks()
    removed = table.filter(pc.equal(table["status"], DUPLICATE))
    if not len(removed):
        return None
    other = other_set(prepared)
    kept = other.manifest(columns).combine_chunks()
    kept = kept.filter(pc.equal(kept["status"], KEPT))
    named = image_names(removed["duplicate_of"], removed["duplicate_of_part"])
    place = pc.index_in(named, image_names(kept["key"], kept["part"]).combine_chunks())
    if place.null_count:
        wrong = removed.filter(pc.is_null(place)).slice(0, 1).to_pylist()[0]
        raise BadInput(f"{prepared.path}: {_removal(wrong)}, which is not a kept row")
    return _Removals(removed, _images(prepared, removed), _images(other, kept.take(place)))


def _images(prepared: PreparedSet, table: pa.Table) -> ImageRows:
    shard, row = (table[name].to_numpy().astype(np.int32) for name in ("shard", "row"))
    return ImageRows(prepared.shards(), shard, row, prepared.info.image_size)


def _codes_equal(prepared: PreparedSet, rows: pa.Table, removed: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """bool: both images have the same code, by the set's own encoder."""
    encoder = read_encoder(prepared.path / AUTOENCODER)
    codes, others = (encode(images, encoder)[0] for images in (removed, kept))
    equal: np.ndarray = (codes == others).all(axis=1)
    return equal


def _scores_hold(prepared: PreparedSet, rows: pa.Table, removed: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """bool: the recorded score is that of the pixels, to the last bit, and reaches the threshold."""
    removed, kept = (structure(to_luma(images)) for images in (removed, kept))
    names = rows["view"].to_numpy().astype(str)
    kept_is_seen = np.char.startswith(names, KEPT_IS_SEEN)[:, None, None]
    try:
        views = parse_views(np.char.replace(names, KEPT_IS_SEEN, ""))
    except ValueError as error:
        raise BadInput(f"{prepared.path}: the manifest has {error}; {REMEDY}") from None
    found = score(np.where(kept_is_seen, kept, removed), np.where(kept_is_seen, removed, kept), views)
    recorded = rows["score"].to_numpy()
    threshold = np.float32(prepared.info.deduplication["threshold"])
    holds: np.ndarray = (found.astype(np.float32) == recorded) & (recorded >= threshold)
    return holds


def _refuse(prepared: PreparedSet, row: pa.Table) -> None:
    values = row.to_pylist()[0]
    claim = "equal codes" if values["score"] is None else f"{values['score']:.3f} at '{values['view']}'"
    raise BadInput(
        f"{prepared.path}: {_removal(values)} ({claim}), but their pixels do not bear that out; {REMEDY}"
    )


def _removal(row: Mapping[str, Any]) -> str:
    removed = shown_name(row["key"], row["part"])
    return f"{removed} is removed for {shown_name(row['duplicate_of'], row['duplicate_of_part'])}"
