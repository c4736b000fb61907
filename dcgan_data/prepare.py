"""The per-image driver: source -> image shards and manifest rows, in parallel, resumable.

One shard of the source is one task. A task writes its pixels, then its rows; the rows' file marks the
shard as done, so that a killed run redoes only the shards that were in flight. A process that a record
ends is no end of the run: see ``poisonous``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import pyarrow as pa

from dcgan_data.cutting import Cut, CutSettings, cutter
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.manifest import KEPT, RECORD_SCHEMA, REJECTED
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.faces import Face
from dcgan_data.ops.stored import BadImage
from dcgan_data.parallel import run_tasks
from dcgan_data.poisonous import ShardDeaths
from dcgan_data.record_note import record_note
from dcgan_data.sources import Record, Shard

_NO_BOX = (None, None, None, None)


class Row(NamedTuple):
    """One row of RECORD_SCHEMA, in its order: ``box`` and ``face`` stand for four columns each."""

    key: str
    part: int
    status: str
    reason: str | None
    shard: int
    row: int | None
    width: int | None
    height: int | None
    box: tuple[int | None, ...] = _NO_BOX
    bytes: int | None = None
    sha256: str | None = None
    label: str | None = None
    face: tuple[int | None, ...] = _NO_BOX
    landmarks: list[float] | None = None
    confidence: float | None = None
    padding: float | None = None


def prepare(
    shards: Sequence[Shard], settings: CutSettings, out: Path, workers: int, max_seconds: float = 0
) -> Iterator[int]:
    """Decode every shard that is not done yet; yields the number of records of each as it finishes.

    max_seconds: a record that takes longer is rejected; 0: no limit. With a limit even one worker is another
    process: it is what ends when the time is over.
    """
    staging = Staging(out)
    todo = [index for index in range(len(shards)) if not shard_is_done(staging, index)]
    yield sum(len(shards[index]) for index in set(range(len(shards))) - set(todo))
    tasks = [(shards[index], index, settings, staging.out, max_seconds) for index in todo]
    # Who died at a shard left a note. It may have been a run without workers, which would die again.
    own = [number for number, index in enumerate(todo) if max_seconds or staging.note(index).exists()]
    deaths = ShardDeaths(staging, todo, max_seconds, own)
    yield from run_tasks(prepare_shard, tasks, workers, hold=staging.out, deaths=deaths)


def shard_is_done(staging: Staging, index: int) -> bool:
    """Whether a shard's rows are there and its pixels have the size that they had when written."""
    try:
        stamp, _ = staging.shard_stamp(index)
        return (staging.out / shard_name(index)).stat().st_size == stamp.bytes
    except FileNotFoundError:
        return False


def prepare_shard(shard: Shard, index: int, settings: CutSettings, out: Path, max_seconds: float = 0) -> int:
    """Decode one shard into ``images/`` and its rows into the staging area; returns its number of records.

    max_seconds: a record that takes longer ends this process, and so does want of memory; 0: neither.
    """
    path, staging = out / shard_name(index), Staging(out)
    rejected = staging.rejected_records(index)
    rows: list[Row] = []
    records = 0
    with _one_opencv_thread(), record_note(staging.note(index), max_seconds) as note:
        with atomic_path(path) as temporary:
            cut = cutter(settings)
            with temporary.open("wb") as file:
                writer = ShardWriter(file, settings.image_size)
                with _dying_without_memory(may_die=max_seconds > 0):
                    for number, record in note.follow(shard):
                        rows += _prepare_record(record, index, writer, cut, rejected.get(number))
                        records += 1
                writer.close()
            stamp = stamp_file(temporary)
        staging.write_records(index, _table(rows), stamp, writer.rows)
    return records


@contextmanager
def _dying_without_memory(may_die: bool) -> Iterator[None]:
    """End this process where memory is too short, as the system might; the shard is tried again alone."""
    try:
        yield
    except MemoryError:
        if may_die:
            os._exit(1)  # nothing is tidied up: the note says at which record
        raise


def _prepare_record(
    record: Record, shard: int, writer: ShardWriter, cut: Callable[[bytes], Cut], rejected: str | None
) -> list[Row]:
    """Decode one record into the shard; returns its manifest rows: one for every image, or one that says why
    there is none.

    rejected: why the record is not to be decoded at all, if it is not.
    """
    key, label = record.key, record.label
    if record.error:
        return [Row(key, 0, REJECTED, record.error, shard, None, None, None, label=label)]
    count, sha256 = len(record.data), hashlib.sha256(record.data).hexdigest()
    try:
        if rejected:
            raise BadImage(rejected)
        found = cut(record.data)
    except BadImage as bad:
        size = (bad.width, bad.height)
        return [Row(key, 0, REJECTED, bad.reason, shard, None, *size, _NO_BOX, count, sha256, label)]
    rows = []
    for part, image in enumerate(found.images):
        row = None if image.pixels is None else writer.append(image.pixels)
        status = REJECTED if row is None else KEPT
        facts = (found.width, found.height, image.crop, count, sha256, label, *_face_columns(image))
        rows.append(Row(key, part, status, image.reason, shard, row, *facts))
    return rows


def _face_columns(
    image: Face,
) -> tuple[tuple[int | None, ...], list[float] | None, float | None, float | None]:
    landmarks = None if image.landmarks is None else image.landmarks.ravel().tolist()
    return image.box or _NO_BOX, landmarks, image.confidence, image.padding


def _table(rows: Sequence[Row]) -> pa.Table:
    columns: list[Sequence[object]] = []
    for name, values in zip(Row._fields, zip(*rows, strict=True), strict=True):
        columns += zip(*values, strict=True) if name in ("box", "face") else [values]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, RECORD_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Workers are processes: threads inside them only get in each other's way. Restored afterwards."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
