"""Parquet files as Hugging Face writes them: a column of encoded images, and perhaps one of labels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Record, changed_file, file_prefixes, file_stamp, text_key

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "cls", "text", "caption")
_LABEL_LISTS = "label column of lists"
_MOST_LISTED = 20

_MAGIC = b"PAR1"
_ROWS_AT_A_TIME = 32
_READ_BUFFER = 1 << 18
"""Bytes. With a buffer (and no pre-buffering) pages are read one by one, never a whole column of a group."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read."""

    image: str
    """Its type is binary, or a struct with a binary ``bytes``."""
    label: str | None
    """Its type is integer, floating-point or string."""


class ParquetSource:
    """The rows of some parquet files. Opening reads the files' footers only."""

    kind = "parquet"

    def __init__(
        self,
        files: Sequence[Path],
        root: Path,
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
        for file, prefix in zip(files, file_prefixes(files, root), strict=True):
            with _open_table(file) as (table, footer):
                chosen = _choose_columns(file, table.schema_arrow, columns)
                passed_over[_LABEL_LISTS] += not columns[1] and _has_label_lists(table.schema_arrow)
                groups = _group_lengths(file, table.metadata)
            count = sum(groups) if left is None else min(sum(groups), left)
            name = text_key(os.fsencode(file.name))
            digest.update(f"{prefix or name}\0{count}\0{chosen}\0{footer}\0".encode())
            for start, end in _runs(groups, records_per_shard):
                if start < count:
                    run = (start, min(end, count))
                    self._shards.append(ParquetShard(str(file), footer, prefix, chosen, run))
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

    path: str
    """The file."""
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
        path = Path(self.path)
        with _open_table(path) as (table, footer):
            if footer != self.footer:
                raise changed_file(path)
            for number, batch in _batches(path, table, self.columns, self.run):
                yield from self._records(number, batch)

    def _records(self, number: int, batch: pa.RecordBatch) -> Iterator[Record]:
        """The rows of a batch whose first one has this number in the file."""
        images = _images(batch.column(self.columns.image))
        labels = _labels(batch.column(self.columns.label)) if self.columns.label else [None] * len(batch)
        for row, ((data, error), label) in enumerate(zip(images, labels, strict=True), number):
            yield Record(f"{self.prefix}{row:08d}", data, error, label)


@contextmanager
def _open_table(path: Path) -> Iterator[tuple[pq.ParquetFile, str]]:
    """The open file, and the digest of its size and footer; BadInput if it is no parquet file, or is changed
    meanwhile."""
    try:
        with path.open("rb") as file:
            stamp = file_stamp(os.fstat(file.fileno()))
            footer = _footer_digest(path, file)
            try:
                table = pq.ParquetFile(
                    file, pre_buffer=False, buffer_size=_READ_BUFFER, page_checksum_verification=True
                )
            except (pa.ArrowException, OSError, ValueError) as error:
                raise BadInput(f"{path}: damaged ({_one_line(error)}); fetch or copy it again") from None
            yield table, footer
            if file_stamp(os.fstat(file.fileno())) != stamp:
                raise changed_file(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({_one_line(error)}); make it readable") from None


def _footer_digest(path: Path, file: BinaryIO) -> str:
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


def _group_lengths(path: Path, metadata: pq.FileMetaData) -> list[int]:
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
    path: Path, table: pq.ParquetFile, columns: Columns, run: tuple[int, int]
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


def _choose_columns(path: Path, schema: pa.Schema, asked: tuple[str, str]) -> Columns:
    """The columns that are asked for, else what their names and types suggest."""
    images = [field.name for field in schema if _may_hold_images(field.type)]
    labels = [field.name for field in schema if _may_hold_labels(field.type)]
    listed = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:_MOST_LISTED])
    more = f" and {len(schema) - _MOST_LISTED} more" if len(schema) > _MOST_LISTED else ""
    for setting, name, usable in (("image", asked[0], images), ("label", asked[1], labels)):
        if name and usable.count(name) != 1:
            raise BadInput(
                f"{path}: no single column {name!r} that may hold {setting}s; it has {listed}{more}; "
                f"name one of them with {setting}_column in the recipe's [source]"
            )
    image = asked[0] or _first(_IMAGE_NAMES, images) or (images[0] if len(images) == 1 else "")
    if not image:
        found = "several columns may" if images else "no column can"
        raise BadInput(
            f"{path}: {found} hold the images; it has {listed}{more}; "
            "name one with image_column in the recipe's [source]"
        )
    return Columns(image, asked[1] or _first(_LABEL_NAMES, labels))


def _has_label_lists(schema: pa.Schema) -> bool:
    """Whether the column that has the name of a label holds several for a picture: then it is none."""
    lists = [field.name for field in schema if _is_list(field.type)]
    labels = [field.name for field in schema if _may_hold_labels(field.type)]
    return _first(_LABEL_NAMES, [*labels, *lists]) in lists


def _first(names: Iterable[str], among: Sequence[str]) -> str | None:
    return next((name for name in names if among.count(name) == 1), None)


def _may_hold_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _may_hold_labels(kind: pa.DataType) -> bool:
    types: Any = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return types.is_integer(kind) or types.is_floating(kind) or any(is_text(kind) for is_text in texts)


def _is_list(kind: pa.DataType) -> bool:
    types: Any = pa.types
    views = (types.is_list_view, types.is_large_list_view)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, *views)
    return any(is_list(kind) for is_list in lists)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
