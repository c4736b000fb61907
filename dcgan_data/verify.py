"""Re-check a prepared set from its files alone; needs neither torch nor cv2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.damage import find_damage, find_oddities
from dcgan_data.errors import BadInput, DamagedSet
from dcgan_data.formats.dataset import PAIRS, REMEDY, read_info, repair_remedy, shard_name
from dcgan_data.formats.manifest import (
    DUPLICATE,
    KEPT,
    KEPT_IS_SEEN,
    PAIR_SCHEMA,
    REJECTED,
    image_names,
    read_table,
    shown_name,
)
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import open_shard
from dcgan_data.proof import prove_removals

_COLUMNS = ["key", "part", "status", "shard", "row", "group", "duplicate_of", "duplicate_of_part"]


@dataclass(frozen=True)
class Verification:
    """What was checked; every check passed, or BadInput would have been raised."""

    files: int
    """Files whose size and hash are as in ``dataset.json``."""
    rows: int
    """Manifest rows."""
    removals: int
    """Removed rows, each of which names a kept row of its own group and was proved to be its copy."""
    notes: tuple[str, ...] = ()
    """What lies there that should be known, but does no harm: links, and what a killed run has left."""


def verify(path: Path, workers: int = 1) -> Verification:
    """Check a set's files, counts, pixels and removals.

    workers: threads. DamagedSet tells all files that are not as recorded; BadInput names the first
    thing that is wrong within them.
    """
    info = read_info(path)
    damage = find_damage(path, info, workers)
    if damage:
        first, others = damage[0], len(damage) - 1
        more = (
            f", and {others} more {'files are' if others > 1 else 'file is'} damaged (-v)" if others else ""
        )
        raise DamagedSet(
            f"{path / first.name}: {first.what}{more}; {repair_remedy(path)}",
            {file.name: file.what for file in damage},
        )
    return check_contents(PreparedSet(path, info), workers)


def check_contents(prepared: PreparedSet, workers: int = 1) -> Verification:
    """Check a set whose files have their recorded bytes; BadInput names the first thing that is wrong."""
    table = prepared.manifest(_COLUMNS)
    _check_counts(prepared, table)
    _check_rows(prepared, table)
    removals = _check_removals(prepared, table)
    prove_removals(prepared, workers)
    _check_pairs(prepared)
    notes = tuple(find_oddities(prepared.path, prepared.info))
    return Verification(len(prepared.info.files), len(table), removals, notes)


def _check_counts(prepared: PreparedSet, table: pa.Table) -> None:
    counts = prepared.info.counts
    found = {row["values"]: row["counts"] for row in pc.value_counts(table["status"]).to_pylist()}
    expected = {KEPT: counts.kept, DUPLICATE: counts.duplicate, REJECTED: counts.rejected}
    if found != {status: number for status, number in expected.items() if number}:
        raise BadInput(
            f"{prepared.path}: the manifest has {dict(found)}, dataset.json says {expected}; {REMEDY}"
        )


def _check_rows(prepared: PreparedSet, table: pa.Table) -> None:
    """Every image belongs to exactly one manifest row, in order; only rejected rows have none."""
    rejected = pc.equal(table["status"], REJECTED)
    wrong = table.filter(pc.not_equal(rejected, pc.is_null(table["row"])))
    if len(wrong):
        has = "pixels" if wrong["row"][0].is_valid else "no pixels"
        raise BadInput(f"{prepared.path}: {wrong['key'][0]} is {wrong['status'][0]}, but has {has}")
    pixels = table.filter(table["row"].is_valid())
    shard, row = pixels["shard"].to_numpy(), pixels["row"].to_numpy()
    ends = np.searchsorted(shard, np.arange(len(prepared.info.shard_rows)), side="right")
    for number, rows in enumerate(prepared.info.shard_rows):
        open_shard(prepared.path / shard_name(number), rows, prepared.info.image_size)
        here = slice(ends[number - 1] if number else 0, ends[number])
        in_order = np.array_equal(row[here], np.arange(rows)) and (shard[here] == number).all()
        if not in_order:
            raise BadInput(
                f"{prepared.path}: the manifest does not list the {rows} images of shard {number} in order"
            )
    beyond = pixels.slice(sum(prepared.info.shard_rows))
    if len(beyond):
        raise BadInput(
            f"{prepared.path}: the manifest has an image, {beyond['key'][0]}, of shard {beyond['shard'][0]}, "
            f"which there is not; {REMEDY}"
        )


def _check_removals(prepared: PreparedSet, table: pa.Table) -> int:
    """Every removed row names a kept row of the same group, unless that is in another set."""
    removed = _named(table.filter(pc.equal(table["status"], DUPLICATE)))
    if prepared.info.deduplication.get("against"):
        return len(removed)
    kept = table.filter(pc.equal(table["status"], KEPT))
    kept = pa.table({"named": image_names(kept["key"], kept["part"]), "kept_group": kept["group"]})
    joined = removed.select(["key", "part", "named", "group"]).join(kept, "named")
    wrong = joined.filter(pc.invert(pc.fill_null(pc.equal(joined["group"], joined["kept_group"]), False)))
    if len(wrong):
        first = wrong.slice(0, 1).to_pylist()[0]
        name = shown_name(first["key"], first["part"])
        raise BadInput(
            f"{prepared.path}: {name} is removed for {first['named']}, which is not a kept row of its group"
        )
    return len(removed)


def _named(removed: pa.Table) -> pa.Table:
    """Removed rows with their own name and that of the kept image as one text each."""
    removed = removed.append_column("name", image_names(removed["key"], removed["part"]))
    kept = image_names(removed["duplicate_of"], removed["duplicate_of_part"])
    return removed.append_column("named", kept)


def _check_pairs(prepared: PreparedSet) -> None:
    """Every removal is one of the recorded pairs, and of two recorded copies at most one is kept."""
    columns = ["key", "part", "status", "duplicate_of", "duplicate_of_part", "view", "distance", "score"]
    rows = prepared.manifest(columns)
    pairs = read_table(prepared.path / PAIRS, PAIR_SCHEMA)
    first, second = (image_names(pairs[f"key_{x}"], pairs[f"part_{x}"]) for x in "ab")
    removed = _named(rows.filter(pc.equal(rows["status"], DUPLICATE)))
    view = pc.replace_substring(removed["view"], KEPT_IS_SEEN, "", max_replacements=1)
    removed = removed.set_column(removed.schema.get_field_index("view"), "view", view)
    claimed = _unordered(removed, removed["name"], removed["named"])
    recorded = _unordered(pairs, first, second)
    unknown = claimed.join(recorded, recorded.column_names, join_type="left anti")
    if len(unknown):
        pair = " and ".join(unknown.slice(0, 1).to_pylist()[0][name] for name in ("first", "second"))
        raise BadInput(
            f"{prepared.path}: a removal rests on the pair of {pair}, but {PAIRS} has none like it; {REMEDY}"
        )
    kept = rows.filter(pc.equal(rows["status"], KEPT))
    kept = image_names(kept["key"], kept["part"]).combine_chunks()
    threshold = pa.scalar(prepared.info.deduplication.get("threshold", -1.0), pa.float32())
    both = pc.and_(pc.is_in(second, kept), pc.greater_equal(_scores(pairs), threshold))
    if not prepared.info.deduplication.get("against"):  # else ``key_a`` is a kept image of that set
        both = pc.and_(both, pc.is_in(first, kept))
    if pc.any(both).as_py():
        pair = pairs.filter(both).slice(0, 1).to_pylist()[0]
        names = " and ".join(shown_name(pair[f"key_{x}"], pair[f"part_{x}"]) for x in "ab")
        raise BadInput(f"{prepared.path}: {names} are both kept, but {PAIRS} has them as copies; {REMEDY}")


def _unordered(pairs: pa.Table, name: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.Table:
    """Pairs as they can be compared, whichever of the two is named first."""
    columns = {
        "first": pc.min_element_wise(name, other),
        "second": pc.max_element_wise(name, other),
        "view": pairs["view"],
        "distance": pairs["distance"],
        "score": _scores(pairs),
    }
    return pa.table(columns)


def _scores(pairs: pa.Table) -> pa.ChunkedArray:
    """The exact rule has no scores: -1, as nulls would not be equal."""
    return pc.fill_null(pairs["score"], pa.scalar(-1.0, pa.float32()))
