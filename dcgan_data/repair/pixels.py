"""Rebuild shards and manifest rows: from another set that has the same files, or from the source."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data import prepare
from dcgan_data.cutting import cut_settings
from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.dataset import (
    MANIFEST,
    PAIRS,
    REMEDY,
    SOURCE_INDEX,
    read_info,
    shard_name,
    stamp_problem,
)
from dcgan_data.formats.manifest import open_parquet
from dcgan_data.formats.source_index import read_source_index, write_source_index
from dcgan_data.poisonous import TOO_SLOW, WORKER_DIED
from dcgan_data.repair.mending import Mending
from dcgan_data.sources import Shard

_DEADLY = (f"{TOO_SLOW}:", f"{WORKER_DIED}:")
_WITH_INDEX = ("tar", "zip")
"""Kinds of sources of which something is kept, to open them quickly."""


def copy_from_set(mending: Mending, donor: Path) -> None:
    """Copy the files that another prepared set has with the same bytes."""
    info, other = mending.prepared.info, read_info(donor)
    for name in mending.damaged:
        if other.files.get(name) != info.files.get(name):
            continue
        problem = stamp_problem(donor, name, other)
        if problem:
            mending.reporter.say(f"{donor / name}: {problem}; not copied")
            continue
        with atomic_path(mending.workshop.path / name) as temporary:
            shutil.copyfile(donor / name, temporary)
        if mending.workshop.is_right(name):
            mending.finish(name)
        else:  # changed between two looks
            (mending.workshop.path / name).unlink()


def rebuild_shards(mending: Mending) -> None:
    """Decode the source again, for the damaged shards, or for all if the manifest is to be rebuilt."""
    rows_are_lost = mending.is_bad(MANIFEST)
    needs_rows = rows_are_lost or mending.is_bad(PAIRS)
    _lay_out(mending, needs_rows and not rows_are_lost)
    if not (mending.bad_shards() or rows_are_lost):
        return
    lost = [shard_name(shard) for shard in mending.bad_shards()]
    try:
        _decode(mending, list(mending.opened_source.shards()))
    except BadInput as error:
        mending.fail([*lost, *([MANIFEST, PAIRS] if rows_are_lost else [])], str(error))


def rebuild_source_index(mending: Mending) -> None:
    """Make anew what was kept of an archive; no failure if that cannot be, as it can be done without."""
    out, kind = mending.prepared.path, mending.prepared.info.source["kind"]
    if read_source_index(out) is not None or not ((out / SOURCE_INDEX).exists() or kind in _WITH_INDEX):
        return
    try:
        arrays = mending.opened_source.index
    except BadInput:
        return
    if arrays:
        write_source_index(out, arrays)
        mending.rebuilt.append(SOURCE_INDEX)


def _lay_out(mending: Mending, stage_rows: bool) -> None:
    """Show the good shards in the workshop, with their rows from the manifest if that is good."""
    workshop, prepared = mending.workshop, mending.prepared
    bad = set(mending.bad_shards())
    rows = prepared.records_by_shard() if not mending.is_bad(MANIFEST) else None
    for shard, count in enumerate(prepared.info.shard_rows):
        if shard in bad:
            workshop.unlink(shard)
        else:
            workshop.link(shard)
        if rows is not None and shard in bad:
            _reject_again(mending, shard, rows[shard])
        if rows is not None and (stage_rows or shard not in bad):
            stamp = prepared.info.files[shard_name(shard)]
            workshop.staging.write_records(shard, rows[shard], stamp, count)


def _reject_again(mending: Mending, shard: int, rows: pa.Table) -> None:
    """Let nobody die again of the records that ended a process when the set was made."""
    known = mending.workshop.staging.rejected_records(shard)
    of_records = rows.filter(pc.equal(rows["part"], 0))  # a record with several faces has several rows
    for number, reason in enumerate(of_records["reason"].to_pylist()):
        if reason and reason.startswith(_DEADLY) and number not in known:
            mending.workshop.staging.reject_record(shard, number, reason)


def _decode(mending: Mending, shards: list[Shard]) -> None:
    settings, workshop = cut_settings(mending.recipe), mending.workshop
    total = sum(len(shard) for shard in shards)
    with mending.reporter.stage("decode", total, "images") as stage:
        limit = mending.recipe.image.max_seconds
        for done in prepare.prepare(shards, settings, workshop.path, mending.workers, limit):
            for shard in range(len(shards)):
                if workshop.made(shard):
                    _judge(mending, shard)
            stage.advance(done)


def _judge(mending: Mending, shard: int) -> None:
    """Put a shard that was made again in place if it is right; in any case it does not stay here."""
    workshop, name = mending.workshop, shard_name(shard)
    if mending.is_open(name) and workshop.is_right(name):
        mending.finish(name)
    elif mending.is_open(name):
        mending.failed[name] = _changed_record(mending, shard) or mending.came_out_otherwise()
    (workshop.path / name).unlink(missing_ok=True)
    if not mending.is_bad(name):
        workshop.link(shard)


def _changed_record(mending: Mending, shard: int) -> str:
    """Which record of the source has other bytes than when the set was made, if that can be told."""
    if mending.is_bad(MANIFEST):
        return ""
    columns = ["key", "sha256"]
    with open_parquet(mending.prepared.path / MANIFEST) as file:
        if file.num_row_groups != len(mending.prepared.info.shard_rows):  # else one is a shard
            return ""
        then = file.read_row_group(shard, columns=columns).to_pylist()
    now = mending.workshop.staging.read_records(shard, columns).to_pylist()
    for recorded, row in zip(then, now, strict=False):
        if row["sha256"] != recorded["sha256"]:
            return (
                f"the source was changed: its record {recorded['key']} has other bytes than when the set was "
                f"made; give an unchanged one with --source, or {REMEDY}"
            )
    return ""
