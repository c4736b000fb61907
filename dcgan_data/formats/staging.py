"""The state of an unfinished run, kept in ``out/.staging`` until ``dataset.json`` is written.

    .staging/plan.json              what is being made: recipe, source, library versions
    .staging/records/00000.parquet  manifest rows of shard 0; its presence means that the shard is done
    .staging/at_work/00000          where the process is that works on shard 0 (``record_note``)
    .staging/rejected/00000.json    records of shard 0 that are not to be decoded, and why
    .staging/codes/00000.npy        codes of shard 0; beside it views/, structure/ and index/ for the search
    .staging/pairs/00000.npy        checked pairs of shard 0

A killed run leaves this directory; the same command reads it and goes on. Who works on
``out`` holds its lock (``formats.lock``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dcgan_data.errors import BadInput
from dcgan_data.formats.arrays import read_array
from dcgan_data.formats.atomic import LEFTOVER, atomic_path, write_json
from dcgan_data.formats.dataset import (
    AUTOENCODER,
    IMAGES,
    INDEX,
    INDEX_COPY,
    MANIFEST,
    PAIRS,
    REMOVED_INDEX,
    SOURCE_INDEX,
    STAGING,
)
from dcgan_data.formats.manifest import RECORD_SCHEMA, open_parquet
from dcgan_data.formats.plain import build, checked, parse_json, read_json, read_object
from dcgan_data.formats.shards import FileStamp

REPAIR = ".repair"
"""What an unfinished repair works on."""
_AFRESH = "start afresh with --overwrite"
REPORT = "report"
REPORT_FILES = ("index.html", "contact_sheet.png", "audit.json")


class Staging:
    """Paths and small files of a run in progress; every file in it is written atomically."""

    def __init__(self, out: Path) -> None:
        self.out = out.absolute()  # tasks travel to workers, whose current directory may be another
        self.path = self.out / STAGING

    def records(self, shard: int) -> Path:
        """Manifest rows of one shard."""
        return self.path / "records" / f"{shard:05d}.parquet"

    def codes(self, shard: int) -> Path:
        """Codes of the rows of one shard."""
        return self.path / "codes" / f"{shard:05d}.npy"

    def part(self, kind: str, part: int) -> Path:
        """Arrays that the search works on: ``views``, ``structure`` and ``pairs`` of one shard."""
        return self.path / kind / f"{part:05d}.npy"

    def note(self, shard: int) -> Path:
        """Which record of a shard is worked on; there is none when nobody works on the shard."""
        return self.path / "at_work" / f"{shard:05d}"

    def rejected_records(self, shard: int) -> dict[int, str]:
        """Numbers of records of a shard that are not to be decoded, and each one's reason."""
        try:
            with _damage(self._rejected(shard)):
                known = checked(dict[str, str], read_object(self._rejected(shard)), "the file")
                return {int(record): reason for record, reason in known.items()}
        except FileNotFoundError:
            return {}

    def reject_record(self, shard: int, record: int, reason: str) -> None:
        """Add one, before the shard is done again."""
        known = {**self.rejected_records(shard), record: reason}
        write_json(self._rejected(shard), {str(number): text for number, text in known.items()})

    def _rejected(self, shard: int) -> Path:
        return self.path / "rejected" / f"{shard:05d}.json"

    def read_plan(self) -> dict[str, Any] | None:
        """What the run in progress is making; None when there is none."""
        try:
            return read_object(self.path / "plan.json")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise BadInput(f"{self.path}/plan.json: damaged ({error}); {_AFRESH}") from None

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Record what is being made, before anything else is written."""
        write_json(self.path / "plan.json", plan)

    def write_records(self, shard: int, table: pa.Table, stamp: FileStamp, rows: int) -> None:
        """Mark a shard as done: its manifest rows, and beside them the stamp of its pixels."""
        notes = {"stamp": json.dumps(asdict(stamp)), "rows": str(rows)}
        with atomic_path(self.records(shard)) as temporary, temporary.open("wb") as file:
            pq.write_table(table.replace_schema_metadata(notes), file, compression="zstd")

    def read_records(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        """The manifest rows of a finished shard."""
        with _damage(self.records(shard)), open_parquet(self.records(shard)) as file:
            table = file.read(columns=columns).replace_schema_metadata(None)
            expected = RECORD_SCHEMA if columns is None else pa.schema(map(RECORD_SCHEMA.field, columns))
            if not table.schema.equals(expected):
                raise ValueError("not the expected columns")
            return table

    def shard_stamp(self, shard: int) -> tuple[FileStamp, int]:
        """Stamp of a finished shard's pixels, and how many images it holds."""
        with _damage(self.records(shard)), open_parquet(self.records(shard)) as file:
            notes = file.schema_arrow.metadata or {}
            return build(FileStamp, parse_json(notes[b"stamp"])), int(notes[b"rows"])

    def forget_search(self) -> None:
        """Drop all but the records: what a search worked on and found."""
        for kind in ("codes", "views", "structure", "index", "pairs", "found"):
            shutil.rmtree(self.path / kind, ignore_errors=True)

    def remove(self) -> None:
        """Drop the state of a finished run, and temporary files that a kill left behind."""
        remove_leftovers(self.out)


def load_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """An array that was saved here, read-only if ``mapped``, else in memory; BadInput if it is damaged."""
    with _damage(path):
        return read_array(path, mapped=mapped)


def load_notes(path: Path) -> Any:
    """What was written here as JSON; BadInput if it is damaged."""
    with _damage(path):
        return read_json(path)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What no kill leaves, as every file is whole or absent: something else has been here."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: damaged ({error}); {_AFRESH}") from None


def leftovers(out: Path) -> list[Path]:
    """What a killed run or repair left in a complete set."""
    work = (out / REPAIR, out / STAGING)
    return [*_own_files(out, LEFTOVER), *(path for path in work if path.exists())]


def remove_leftovers(out: Path) -> None:
    """Drop what a killed run or repair left; only of a complete set, whose index is there."""
    for path in leftovers(out):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_own_files(out: Path) -> bool:
    """Remove what this program wrote into ``out``, and nothing else (``--overwrite``).

    Returns False, with nothing touched, if neither an index nor a plan proves that ``out`` is a set.
    """
    if not is_set(out):
        return False
    if (out / INDEX).exists():  # renamed, no longer complete; removed last, still the proof after a kill
        (out / INDEX).replace(out / REMOVED_INDEX)
    for path in (*_own_files(out), *_own_files(out, LEFTOVER)):
        path.unlink()
    for directory in (IMAGES, REPORT):
        if (out / directory).is_dir() and not any((out / directory).iterdir()):
            (out / directory).rmdir()
    for directory in (REPAIR, STAGING):
        shutil.rmtree(out / directory, ignore_errors=True)
    (out / REMOVED_INDEX).unlink(missing_ok=True)
    return True


def is_set(out: Path) -> bool:
    """Whether ``out`` is a prepared set of this program's, complete or not."""
    if (out / STAGING / "plan.json").exists():
        return True
    return _is_index(out / INDEX) or _is_index(out / REMOVED_INDEX)


def _is_index(path: Path) -> bool:
    try:
        return "schema_version" in read_object(path)
    except (OSError, ValueError):
        return False


def _own_files(out: Path, ending: str = "") -> list[Path]:
    """This program's files in a prepared set, or with LEFTOVER as their ending what a kill left of them."""
    reports = (f"{REPORT}/{name}" for name in REPORT_FILES)
    names = (INDEX, INDEX_COPY, MANIFEST, PAIRS, AUTOENCODER, SOURCE_INDEX, *reports)
    shards = out.glob(f"{IMAGES}/[0-9][0-9][0-9][0-9][0-9]*.npy{ending}")
    return [
        *(path for name in names for path in out.glob(name + ending)),
        *(path for path in shards if path.name.partition(".")[0].isdigit()),
    ]
