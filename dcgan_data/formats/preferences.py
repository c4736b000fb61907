"""A user's own column, by which copies are preferred: a CSV or parquet file with ``key`` and that column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv

from dcgan_data.errors import BadRequest
from dcgan_data.formats.manifest import open_parquet


def read_preferences(path: Path, column: str) -> pa.Table:
    """``key`` as text, and ``column`` as ``value``, float64; BadRequest if the file has them not."""
    try:
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
        missing = {"key", column} - set(table.column_names)
        if missing:
            raise BadRequest(f"--keep: {path} has no column {' and '.join(sorted(missing))}")
        return pa.table({"key": table["key"].cast(pa.string()), "value": table[column].cast(pa.float64())})
    except FileNotFoundError:
        raise BadRequest(f"--keep: {path}: no such file; expected best, first or FILE:COLUMN") from None
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise BadRequest(f"--keep: {path}: {column} is not a column of numbers ({error})") from None


def _read_parquet(path: Path) -> pa.Table:
    with open_parquet(path) as file:
        return file.read()


def _read_csv(path: Path) -> pa.Table:
    # A key such as 00017 is text, whatever it looks like.
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types={"key": pa.string()}))
