"""Prove removals again from a set's files: is each removed image a copy of the one that it names?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

_CHUNK = 512


@dataclass(frozen=True)
class _Removals:
    """Some removals, and the pixels of both images of each."""

    rows: pa.Table
    """Manifest rows of the removed images."""
    removed: np.ndarray
    """uint8 (n, S, S, 3)."""
    kept: np.ndarray
    """uint8 (n, S', S', 3), of the images that they name."""


def prove_removals(prepared: PreparedSet) -> None:
    """Raise BadInput, naming the image, unless every removal holds by the set's own rule.

    ``near``: the recorded score is what the two images' pixels give at the recorded view, and not under the
    threshold. ``exact``: the pixels' codes are equal. With either, equal pixels are enough.
    """
    rule = prepared.info.deduplication.get("rule")
    for removals in _removals(prepared) if rule else ():
        holds = _codes_equal(prepared, removals) if rule == "exact" else _scores_hold(prepared, removals)
        if removals.removed.shape == removals.kept.shape:
            holds |= (removals.removed == removals.kept).all(axis=(1, 2, 3))
        if not holds.all():
            _refuse(prepared, removals.rows.slice(int(np.argmin(holds)), 1))


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


def _removals(prepared: PreparedSet) -> Iterator[_Removals]:
    columns = ["key", "part", "status", "shard", "row"]
    removal = ["duplicate_of", "duplicate_of_part", "view", "score"]
    table = prepared.manifest([*columns, *removal]).combine_chunks()
    removed = table.filter(pc.equal(table["status"], DUPLICATE))
    if not len(removed):
        return
    other = other_set(prepared)
    kept = other.manifest(columns).combine_chunks()
    kept = kept.filter(pc.equal(kept["status"], KEPT))
    named = image_names(removed["duplicate_of"], removed["duplicate_of_part"])
    place = pc.index_in(named, image_names(kept["key"], kept["part"]).combine_chunks())
    if place.null_count:
        wrong = removed.filter(pc.is_null(place)).slice(0, 1).to_pylist()[0]
        raise BadInput(f"{prepared.path}: {_removal(wrong)}, which is not a kept row")
    images = _images(prepared, removed), _images(other, kept.take(place))
    for start in range(0, len(removed), _CHUNK):
        here = np.arange(start, min(start + _CHUNK, len(removed)))
        yield _Removals(removed.slice(start, _CHUNK), images[0].gather(here), images[1].gather(here))


def _images(prepared: PreparedSet, table: pa.Table) -> ImageRows:
    shard, row = (table[name].to_numpy().astype(np.int32) for name in ("shard", "row"))
    return ImageRows(prepared.shards(), shard, row, prepared.info.image_size)


def _codes_equal(prepared: PreparedSet, removals: _Removals) -> np.ndarray:
    encoder = read_encoder(prepared.path / AUTOENCODER)
    codes, others = (encode(images, encoder)[0] for images in (removals.removed, removals.kept))
    equal: np.ndarray = (codes == others).all(axis=1)
    return equal


def _scores_hold(prepared: PreparedSet, removals: _Removals) -> np.ndarray:
    """bool: the recorded score is that of the pixels, to the last bit, and reaches the threshold."""
    removed, kept = (structure(to_luma(images)) for images in (removals.removed, removals.kept))
    names = removals.rows["view"].to_numpy().astype(str)
    kept_is_seen = np.char.startswith(names, KEPT_IS_SEEN)[:, None, None]
    try:
        views = parse_views(np.char.replace(names, KEPT_IS_SEEN, ""))
    except ValueError as error:
        raise BadInput(f"{prepared.path}: the manifest has {error}; {REMEDY}") from None
    found = score(np.where(kept_is_seen, kept, removed), np.where(kept_is_seen, removed, kept), views)
    recorded = removals.rows["score"].to_numpy()
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
