"""The per-image driver: source -> image shards and manifest rows, in parallel, resumable.

One shard of the source is one task. A task writes its pixels, then its rows; the rows' file marks the
shard as done, so that a killed run redoes only the shards that were in flight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa

from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.manifest import KEPT, RECORD_SCHEMA, REJECTED
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.decode import BadImage, DecodeSettings, decode_square
from dcgan_data.parallel import run_tasks
from dcgan_data.sources import Record, Shard


def prepare(shards: Sequence[Shard], settings: DecodeSettings, out: Path, workers: int) -> Iterator[int]:
    """Decode every shard that is not done yet; yields the number of records of each as it finishes."""
    staging = Staging(out)
    todo = [index for index in range(len(shards)) if not shard_is_done(staging, index)]
    yield sum(len(shards[index]) for index in set(range(len(shards))) - set(todo))
    tasks = [(shards[index], index, settings, staging.out) for index in todo]
    yield from run_tasks(prepare_shard, tasks, workers, hold=staging.out)


def shard_is_done(staging: Staging, index: int) -> bool:
    """Whether a shard's rows are there and its pixels have the size that they had when written."""
    try:
        stamp, _ = staging.shard_stamp(index)
        return (staging.out / shard_name(index)).stat().st_size == stamp.bytes
    except FileNotFoundError:
        return False


def prepare_shard(shard: Shard, index: int, settings: DecodeSettings, out: Path) -> int:
    """Decode one shard into ``images/`` and its rows into the staging area; returns its number of records."""
    path = out / shard_name(index)
    rows: list[tuple[Any, ...]] = []
    with _one_opencv_thread(), atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            writer = ShardWriter(file, settings.image_size)
            for record in shard:
                rows.append(_prepare_record(record, index, writer, settings))
            writer.close()
        stamp = stamp_file(temporary)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, RECORD_SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)
    Staging(out).write_records(index, table, stamp, writer.rows)
    return len(rows)


def _prepare_record(
    record: Record, shard: int, writer: ShardWriter, settings: DecodeSettings
) -> tuple[Any, ...]:
    """Decode one record into the shard; returns its manifest row, in the order of RECORD_SCHEMA."""
    no_box = (None, None, None, None)
    if record.error:
        return (
            record.key,
            0,
            REJECTED,
            f"unreadable: {record.error}",
            shard,
            None,
            None,
            None,
            *no_box,
            None,
            None,
        )
    sha256 = hashlib.sha256(record.data).hexdigest()
    try:
        image = decode_square(record.data, settings)
    except BadImage as bad:
        size = (bad.width, bad.height)
        return (record.key, 0, REJECTED, bad.reason, shard, None, *size, *no_box, len(record.data), sha256)
    row = writer.append(image.pixels)
    x, y, side = image.box
    size = (image.width, image.height)
    return (record.key, 0, KEPT, None, shard, row, *size, x, y, side, side, len(record.data), sha256)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Workers are processes: threads inside them only get in each other's way. Restored afterwards."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
