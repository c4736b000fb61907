"""``lmdb``: the original records without the duplicates and rejects, byte for byte, in LSUN's layout."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.export.raw_keys import raw_key
from dcgan_data.export.settings import ExportJob, Written
from dcgan_data.formats.manifest import KEPT
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.reporter import Stage
from dcgan_data.sources import Record, Source, open_source
from dcgan_data.sources.base import SourceOptions

_LONGEST_KEY = 511
"""LMDB's limit, in bytes."""
_ROOM_TO_START = 1 << 24
_BYTES_IN_A_TRANSACTION = 1 << 25


def write_lmdb(job: ExportJob) -> Written:
    """Read the set's source again, and write every record that has a kept image.

    BadInput if the source is not the one that the set was made from, or a record has other bytes than then.
    BadRequest for a key that an LMDB cannot hold, before anything is written.
    """
    table = _records(job.prepared)
    kept = table.filter(table["kept"])
    _check_keys(kept["key"])
    source = _open_source(job.prepared)
    with (
        closing(_LmdbWriter(job.target, lmdb_bytes(job.prepared))) as writer,
        job.reporter.stage("export", len(table), "records") as stage,
    ):
        for record in _kept_records(source, table, job.prepared.path, stage):
            writer.put(raw_key(record.key), record.data)
        writer.finish()
    return Written(len(kept))


def lmdb_bytes(prepared: PreparedSet) -> int:
    """About how large the copy will be: long values have pages of their own, keys lie in half-filled ones."""
    table = _records(prepared)
    table = table.filter(table["kept"])
    sizes = table["bytes"].to_numpy()
    pages = -(-(sizes + 16) // mmap.PAGESIZE) * mmap.PAGESIZE
    values = np.where(sizes < mmap.PAGESIZE // 2, sizes, pages).sum()
    keys = 2 * (pc.sum(pc.binary_length(table["key"])).as_py() or 0) + 64 * len(table)
    return int(values) + keys


def _records(prepared: PreparedSet) -> pa.Table:
    """key, bytes, sha256 and kept of every record of the source, in its order.

    A photo with several faces is one record, kept if any of its faces is.
    """
    table = prepared.manifest(["key", "part", "status", "bytes", "sha256"])
    begins = pc.equal(table["part"], 0).to_numpy()
    record = np.cumsum(begins) - 1
    kept = np.zeros(int(begins.sum()), bool)
    kept[record[pc.equal(table["status"], KEPT).to_numpy()]] = True
    records = table.filter(pa.array(begins)).select(["key", "bytes", "sha256"])
    return records.append_column("kept", pa.array(kept))


def _check_keys(keys: pa.ChunkedArray) -> None:
    long = pc.greater(pc.binary_length(keys), _LONGEST_KEY)  # as text they are longer, if anything
    for key in keys.filter(long).to_pylist():
        length = len(raw_key(key))
        if length > _LONGEST_KEY:
            raise BadRequest(
                f"{key[:60]}...: a key of {length:,} bytes, an LMDB's have at most {_LONGEST_KEY}; "
                "use --format keys, or shorter names in the source"
            )


def _open_source(prepared: PreparedSet) -> Source:
    """The source as it was opened for the set; BadInput if it is another by now."""
    recipe, was = prepared.info.recipe, prepared.info.source
    wanted = recipe["source"]
    options = SourceOptions(was["kind"], wanted["image_column"], wanted["label_column"])
    index = read_source_index(prepared.path)
    source = open_source(Path(was["path"]), recipe["records_per_shard"], wanted["limit"], options, index)
    if source.fingerprint != was["fingerprint"]:
        raise _changed(was["path"], prepared.path, "other keys or sizes")
    return source


def _kept_records(source: Source, table: pa.Table, prepared: Path, stage: Stage) -> Iterator[Record]:
    rows = (row for batch in table.to_batches(max_chunksize=1000) for row in batch.to_pylist())
    for shard in source.shards():
        for record, row in zip(shard, rows):  # noqa: B905  (a shard ends before the rows do)
            difference = _difference(record, row)
            if difference:
                raise _changed(source.path, prepared, f"{record.key}: {difference}")
            if row["kept"]:
                yield record
        stage.advance(len(shard))
    if next(rows, None):
        raise _changed(source.path, prepared, "fewer records")


def _difference(record: Record, row: dict[str, Any]) -> str:
    """What of a record is not as the manifest says; empty if it is the same, or could not be read then."""
    if record.key != row["key"]:
        return f"was {row['key']}"
    if row["sha256"] is None or hashlib.sha256(record.data).hexdigest() == row["sha256"]:
        return ""
    return record.error or "other bytes"


def _changed(source: str, prepared: Path, what: str) -> BadInput:
    return BadInput(f"{source}: has changed since {prepared} was made from it ({what}); prepare it anew")


class _LmdbWriter:
    """Writes an LMDB in transactions of bounded size; the file is as large as its records."""

    def __init__(self, directory: Path, expected_bytes: int) -> None:
        self._directory = directory
        directory.mkdir()
        pages = -(-(expected_bytes + _ROOM_TO_START) // mmap.PAGESIZE)
        with self._clear_errors():
            self._environment = lmdb.open(str(directory), pages * mmap.PAGESIZE, lock=False, sync=False)
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        self._last_key = b""

    def put(self, key: bytes, data: bytes) -> None:
        """Add a record."""
        self._waiting.append((key, data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _BYTES_IN_A_TRANSACTION:
            self._commit()

    def finish(self) -> None:
        """Write what is waiting."""
        self._commit()

    def close(self) -> None:
        """Let go of the file."""
        self._environment.close()

    def _commit(self) -> None:
        with self._clear_errors():
            while not self._try_commit():
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._waiting.clear()
        self._waiting_bytes = 0

    def _try_commit(self) -> bool:
        """Write what is waiting in one transaction; False, with nothing written, if the map is too small."""
        last = self._last_key
        try:
            with self._environment.begin(write=True) as transaction:
                for key, data in self._waiting:
                    # Keys of one LMDB come in order: appended, they fill their pages.
                    transaction.put(key, data, append=key > last)
                    last = max(last, key)
        except lmdb.MapFullError:
            return False
        self._last_key = last
        return True

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise BadRequest(
                f"{self._directory}: cannot be written ({error}); make room, or choose another DEST"
            ) from None
