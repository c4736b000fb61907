"""Staged rows and decisions -> ``manifest.parquet`` and ``duplicates.parquet``, shard by shard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.formats.dataset import MANIFEST, PAIRS
from dcgan_data.formats.manifest import (
    DECISION_SCHEMA,
    DUPLICATE,
    KEPT,
    MANIFEST_SCHEMA,
    PAIR_SCHEMA,
    RECORD_SCHEMA,
    REJECTED,
    Counts,
    empty_decisions,
    table_writer,
)
from dcgan_data.formats.staging import Staging

_NAMES = pa.schema([RECORD_SCHEMA.field("key"), RECORD_SCHEMA.field("part")])
_NO_NAMES = _NAMES.empty_table()


@dataclass(frozen=True)
class Decisions:
    """What was decided about the N images of a set, numbered through all shards in source order."""

    codes: np.ndarray
    """uint8 (N, 16)."""
    group: np.ndarray
    """int64 (N,): number of the group, -1 if alone."""
    kept_by: np.ndarray
    """int64 (N,): the kept image that this removed image was checked against, -1 if it is kept."""
    view: np.ndarray
    """str (N,): how ``kept_by`` and the removed image were laid over each other."""
    distance: np.ndarray
    """int32 (N,): differing code bits to ``kept_by``; meaningless where that is -1."""
    score: np.ndarray
    """float32 (N,): similarity to ``kept_by``, NaN where the rule has none."""
    weight: np.ndarray | None
    """int32 (N,): images that a kept image stands for; None if not asked for."""
    pairs: dict[str, np.ndarray]
    """Every checked pair: a, b (int64 image numbers), view, distance, score, found."""
    findings: dict[str, Any]
    """For ``dataset.json``: rule, thresholds, code health."""
    other_names: pa.Table | None = None
    """Columns key and part of the images of the set that ``kept_by`` and ``pairs["a"]`` are numbers of, if
    that is another than this one."""


@dataclass(frozen=True)
class Totals:
    """What the manifest adds up to."""

    counts: Counts
    """Rows by status."""
    reasons: dict[str, int]
    """Rejected rows by the first word of their reason."""
    records: int
    """Source records; a record with several faces has several rows."""


def write_manifest(staging: Staging, shards: int, decisions: Decisions | None) -> Totals:
    """Write both tables.

    One shard is in memory at a time, besides the decisions and the keys of the images that stay.
    """
    names = _image_names(staging, shards) if decisions else _NO_NAMES
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    offset = source_records = 0
    with table_writer(staging.out / MANIFEST, MANIFEST_SCHEMA) as writer:
        for shard in range(shards):
            records = staging.read_records(shard)
            rows = len(records) - records["row"].null_count
            table = _decide(records, decisions, offset, names)
            writer.write_table(table)
            offset += rows
            source_records += pc.sum(pc.equal(records["part"], 0)).as_py() or 0
            statuses.update(_counts(table["status"]))
            reasons.update(_counts(pc.split_pattern(table["reason"].drop_null(), ":", max_splits=1)))
    with table_writer(staging.out / PAIRS, PAIR_SCHEMA) as writer:
        if decisions:
            writer.write_table(_pair_table(decisions, names))
    counts = Counts(statuses.total(), statuses[KEPT], statuses[DUPLICATE], statuses[REJECTED])
    return Totals(counts, dict(sorted(reasons.items())), source_records)


def _decide(records: pa.Table, decisions: Decisions | None, offset: int, names: pa.Table) -> pa.Table:
    """The manifest rows of one shard, whose first image is number ``offset``."""
    if decisions is None:
        columns = empty_decisions(len(records))
        return pa.table({**_columns(records), **columns}, schema=MANIFEST_SCHEMA)
    valid = records["row"].is_valid().to_numpy()
    images = np.full(len(records), -1)
    images[valid] = offset + np.arange(valid.sum())
    removed = valid & (decisions.kept_by[images] >= 0)
    kept_by = pa.array(decisions.kept_by[images], mask=~removed)
    named = _names_of_kept(decisions, names).take(kept_by)
    group = decisions.group[images]
    score = decisions.score[images]
    columns = {
        "code": _binary_column(decisions.codes[images], valid),
        "group": pa.array(group, mask=~valid | (group < 0)),
        "duplicate_of": named["key"],
        "duplicate_of_part": named["part"],
        "view": pa.array(decisions.view[images], pa.string(), mask=~removed),
        "distance": pa.array(decisions.distance[images], mask=~removed),
        "score": pa.array(score, mask=~removed | np.isnan(score)),
        "weight": _weight_column(decisions.weight, images, valid & ~removed),
    }
    status = np.where(removed, DUPLICATE, np.where(valid, KEPT, REJECTED))
    table = {**_columns(records), "status": pa.array(status.tolist()), **columns}
    return pa.table({name: table[name] for name in MANIFEST_SCHEMA.names}, schema=MANIFEST_SCHEMA)


def _names_of_kept(decisions: Decisions, names: pa.Table) -> pa.Table:
    return names if decisions.other_names is None else decisions.other_names


def _weight_column(weight: np.ndarray | None, images: np.ndarray, kept: np.ndarray) -> pa.Array:
    if weight is None:
        return pa.nulls(len(images), DECISION_SCHEMA.field("weight").type)
    return pa.array(weight[images], mask=~kept)


def _columns(records: pa.Table) -> dict[str, Any]:
    return {name: records[name] for name in RECORD_SCHEMA.names}


def _binary_column(codes: np.ndarray, valid: np.ndarray) -> pa.Array:
    """uint8 (n, 16) as a fixed-size binary column, null where not ``valid``."""
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    data = pa.py_buffer(np.ascontiguousarray(codes).tobytes())
    kind = DECISION_SCHEMA.field("code").type
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [bitmap, data])


def _image_names(staging: Staging, shards: int) -> pa.Table:
    """Columns key and part of all images, in order of their numbers."""
    tables = [_NO_NAMES]
    for shard in range(shards):
        table = staging.read_records(shard, ["key", "part", "row"])
        tables.append(table.filter(table["row"].is_valid()).select(["key", "part"]).cast(_NAMES))
    return pa.concat_tables(tables).combine_chunks()


def _pair_table(decisions: Decisions, names: pa.Table) -> pa.Table:
    pairs = decisions.pairs
    first = _names_of_kept(decisions, names).take(pa.array(pairs["a"]))
    second = names.take(pa.array(pairs["b"]))
    score = pairs["score"]
    columns = {
        "key_a": first["key"],
        "part_a": first["part"],
        "key_b": second["key"],
        "part_b": second["part"],
        "view": pa.array(pairs["view"].tolist(), pa.string()),
        "distance": pa.array(pairs["distance"], pa.int32()),
        "score": pa.array(score, pa.float32(), mask=np.isnan(score)),
        "found": pa.array(pairs["found"].tolist(), pa.string()),
    }
    return pa.table(columns, schema=PAIR_SCHEMA)


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    if pa.types.is_list(values.type):  # a reason's first word
        values = pc.list_element(values, 0)
    return {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}
