"""Parquet files as Hugging Face writes them: a column of encoded images, and perhaps one of labels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dcgan_data.errors import BadInput
from dcgan_data.sources.access import OpenFile, in_turn, opened
from dcgan_data.sources.base import Record, changed_file, file_prefixes, text_key
from dcgan_data.sources.location import Location
from dcgan_data.sources.parquet_columns import Columns, choose_columns, has_label_lists

_LABEL_LISTS = "label column of lists"
_MAGIC = b"PAR1"
_ROWS_AT_A_TIME = 32
_READ_BUFFER = 1 << 18
"""Bytes. With a buffer (and no pre-buffering) pages are read one by one, never a whole column of a group."""
_READ_WHOLE_BYTES = 1 << 22
"""Up to this the whole column of a group is read at once."""


class ParquetSource:
    """The rows of some parquet files. Opening reads the files' footers only."""

    kind = "parquet"

    def __init__(
        self,
        files: Sequence[Location],
        root: Location,
        records_per_shard: int,
        limit: int = 0,
        columns: tuple[str, str] = ("", ""),
    ) -> None:
        """columns: the names of the image and the label column; empty: found by type and name."""
        self.path = str(files[0] if len(files) == 1 else root)
        passed_over: Counter[str] = Counter()
        self.index: dict[str, np.ndarray] = {}
        digest = hashlib.sha256()
        self._shards: list[ParquetShard] = []
        left = limit or None
        looked_into = in_turn(lambda file, _: _look_into(file, columns), files, lazily=bool(limit))
        for found, prefix in zip(looked_into, file_prefixes(files, root), strict=True):
            file, footer, chosen, groups = found.file, found.footer, found.columns, found.groups
            passed_over[_LABEL_LISTS] += found.label_lists
            count = sum(groups) if left is None else min(sum(groups), left)
            name = text_key(os.fsencode(file.name))
            digest.update(f"{prefix or name}\0{count}\0{chosen}\0{footer}\0".encode())
            for start, end in _runs(groups, records_per_shard):
                if start < count:
                    run = (start, min(end, count))
                    self._shards.append(ParquetShard(file, footer, prefix, chosen, run))
            left = None if left is None else left - count
            if left == 0:
                break
        self.passed_over = dict(+passed_over)
        self.fingerprint = digest.hexdigest()
        if not self._shards:
            raise BadInput(f"{self.path}: holds no rows; name parquet files that do")

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def shards(self) -> Sequence[ParquetShard]:
        """Runs of consecutive rows of one file: whole row groups, or parts of one that is too large."""
        return self._shards


@dataclass(frozen=True)
class ParquetShard:
    """Some rows of one file. Of the file, only their row groups and their two columns are read."""

    file: Location
    """Which one."""
    footer: str
    """Hex digest of its size and footer when the source was opened."""
    prefix: str
    """Put before every key."""
    columns: Columns
    """What is read."""
    run: tuple[int, int]
    """Number of the first row, and of the first row after it."""

    def __len__(self) -> int:
        return self.run[1] - self.run[0]

    def __iter__(self) -> Iterator[Record]:
        with _open_table(self.file) as opened:
            if opened.footer != self.footer:
                raise changed_file(self.file)
            try:
                opened.file.expect(_extents(opened.table.metadata, self.columns, self.run))
            except ValueError as error:  # a name that is no text
                raise BadInput(f"{self.file}: damaged ({_one_line(error)}); fetch or copy it again") from None
            for number, batch in _batches(self.file, opened.table, self.columns, self.run):
                yield from self._records(number, batch)

    def _records(self, number: int, batch: pa.RecordBatch) -> Iterator[Record]:
        """The rows of a batch whose first one has this number in the file."""
        try:
            images = list(_images(batch.column(self.columns.image)))
            labels = _labels(batch.column(self.columns.label)) if self.columns.label else [None] * len(batch)
        except pa.ArrowException as damage:  # numbers of a dictionary that has no such entry
            reason = _one_line(damage)
            raise BadInput(f"{self.file}: damaged (row {number}: {reason}); fetch or copy it again") from None
        for row, ((data, why), label) in enumerate(zip(images, labels, strict=True), number):
            yield Record(f"{self.prefix}{row:08d}", data, why, label)


@dataclass(frozen=True)
class _OpenTable:
    """A file that is being read."""

    file: OpenFile
    """Its bytes."""
    table: pq.ParquetFile
    """Its rows."""
    footer: str
    """Hex digest of its size and footer."""


@contextmanager
def _open_table(path: Location) -> Iterator[_OpenTable]:
    """BadInput if it is no parquet file, or is changed meanwhile."""
    try:
        with opened(path) as file:
            footer = _footer_digest(path, file.stream)
            try:
                metadata = pq.read_metadata(file.stream)
                table = pq.ParquetFile(
                    file.stream,
                    metadata=metadata,
                    pre_buffer=False,
                    buffer_size=_read_buffer(metadata),
                    page_checksum_verification=True,
                )
            except (pa.ArrowException, OSError, ValueError) as error:
                raise BadInput(f"{path}: damaged ({_one_line(error)}); fetch or copy it again") from None
            yield _OpenTable(file, table, footer)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({_one_line(error)}); make it readable") from None


def _read_buffer(metadata: pq.FileMetaData) -> int:
    """With a buffer pyarrow takes, and fills, what a damaged page says that it has: up to 2 GB. So none is
    used where the columns of a group are small enough to be read whole."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    largest = max((chunk.total_compressed_size for chunk in chunks), default=0)
    return _READ_BUFFER if largest > _READ_WHOLE_BYTES else 0


@dataclass(frozen=True)
class _FoundTable:
    """What opening a file tells of it."""

    file: Location
    """Which one."""
    footer: str
    """Hex digest of its size and footer."""
    columns: Columns
    """What is to be read."""
    groups: list[int]
    """Rows of every row group."""
    label_lists: bool
    """Whether its labels are lists, and passed over."""


def _look_into(file: Location, asked: tuple[str, str]) -> _FoundTable:
    with _open_table(file) as opened:
        schema = opened.table.schema_arrow
        columns = choose_columns(file, schema, asked)
        groups = _group_lengths(file, opened.table.metadata)
    return _FoundTable(file, opened.footer, columns, groups, not asked[1] and has_label_lists(schema))


def _extents(metadata: pq.FileMetaData, columns: Columns, run: tuple[int, int]) -> np.ndarray:
    """int64 (N, 2): where the run's columns lie in the file, offset and length."""
    found: list[tuple[int, int]] = []
    end = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        at, end = end, end + group.num_rows
        if end <= run[0] or at >= run[1]:
            continue
        for place in range(group.num_columns):
            chunk = group.column(place)
            if chunk.path_in_schema.partition(".")[0] in (columns.image, columns.label):
                starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
                found.append((min(start for start in starts if start), chunk.total_compressed_size))
    return np.array(found, np.int64).reshape(-1, 2)


def _footer_digest(path: Location, file: BinaryIO) -> str:
    """The footer says where every column lies, and how long it is: another file has another footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != _MAGIC:
        raise BadInput(f"{path}: not a parquet file; expected one, or name another --format")
    file.seek(max(size - 8, 0))
    length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != _MAGIC or length + 12 > size:
        raise BadInput(f"{path}: cut short (no footer at its end); fetch or copy it again")
    file.seek(size - 8 - length)
    digest = hashlib.sha256(b"%d\0" % size + file.read(length)).hexdigest()
    file.seek(0)
    return digest


def _group_lengths(path: Location, metadata: pq.FileMetaData) -> list[int]:
    """The number of rows of every row group."""
    lengths = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if min(lengths, default=0) < 0 or sum(lengths) != metadata.num_rows:
        raise BadInput(f"{path}: damaged (its row groups are not its rows); fetch or copy it again")
    return lengths


def _runs(groups: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """First row of every shard, and the first after it: row groups stay whole unless one is too large."""
    start = end = 0
    for rows in groups:
        if end > start and end + rows - start > most:
            yield start, end
            start = end
        end += rows
        while end - start > most:
            yield start, start + most
            start += most
    if end > start:
        yield start, end


def _batches(
    path: Location, table: pq.ParquetFile, columns: Columns, run: tuple[int, int]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of the run, a few at a time, with the number of the first."""
    names = [columns.image] if columns.label is None else [columns.image, columns.label]
    end = 0
    for group, rows in enumerate(_group_lengths(path, table.metadata)):
        at, end = end, end + rows
        if end <= run[0] or at >= run[1]:
            continue
        try:
            for batch in table.iter_batches(_ROWS_AT_A_TIME, [group], names, use_threads=False):
                first, last = max(run[0], at), min(run[1], at + len(batch))
                if first < last:
                    yield first, batch.slice(first - at, last - first)
                at += len(batch)
                if at >= run[1]:
                    return
            if at != end:
                raise pa.ArrowInvalid(f"{end - at} rows are missing")
        except (pa.ArrowException, OSError) as error:
            reason = _one_line(error)
            raise BadInput(f"{path}: damaged (row group {group}: {reason}); fetch or copy it again") from None


def _images(column: pa.Array) -> Iterator[tuple[bytes, str]]:
    """Data and error of every row."""
    if pa.types.is_struct(column.type):
        path = column.type.get_field_index("path")
        named = (
            pc.is_valid(pc.struct_field(column, [path])).to_pylist() if path >= 0 else [False] * len(column)
        )
        column = pc.struct_field(column, "bytes")
    else:
        named = [False] * len(column)
    for data, has_path in zip(column.to_pylist(), named, strict=True):
        if data is None:
            yield b"", "unreadable: no bytes, only a path" if has_path else "unreadable: no image"
        else:
            yield data, ""


def _labels(column: pa.Array) -> list[str | None]:
    """Numbers and text as text. Whole numbers stored as floats, as pandas does where some are missing, stay
    ``1.0``. What is missing, NaN too, is None. Text that is not UTF-8 gets escapes."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_floating(column.type):  # as numpy's: 0.1 in 32 bits is 0.1, not 0.10000000149011612
        return [None if np.isnan(value) else str(value) for value in column.to_numpy(zero_copy_only=False)]
    values = column.cast(pa.large_binary()).to_pylist()
    return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
