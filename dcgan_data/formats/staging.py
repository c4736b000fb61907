"""The state of an unfinished run, kept in ``out/.staging`` until ``dataset.json`` is written.

    .staging/plan.json              what is being made: recipe, source, library versions
    .staging/records/00000.parquet  manifest rows of shard 0; its presence means that the shard is done
    .staging/codes/00000.npy        codes of shard 0; beside it views/, structure/ and index/ for the search
    .staging/pairs/00000.npy        checked pairs of shard 0

A killed run leaves this directory; the same command reads it and goes on. Who works on
``out`` holds its lock (``formats.lock``).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import TEMPORARY_SUFFIX, atomic_path, write_json
from dcgan_data.formats.dataset import AUTOENCODER, IMAGES, INDEX, MANIFEST, PAIRS, SOURCE_INDEX
from dcgan_data.formats.manifest import open_parquet
from dcgan_data.formats.shards import FileStamp

STAGING = ".staging"
_REMOVED_INDEX = f"{INDEX}.removed"
"""The index of a set while ``--overwrite`` removes it."""
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

    def read_plan(self) -> dict[str, Any] | None:
        """What the run in progress is making; None when there is none."""
        try:
            plan: dict[str, Any] = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise BadInput(
                f"{self.path}/plan.json: damaged ({error}); start afresh with --overwrite"
            ) from None
        return plan

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
        with open_parquet(self.records(shard)) as file:
            return file.read(columns=columns).replace_schema_metadata(None)

    def shard_stamp(self, shard: int) -> tuple[FileStamp, int]:
        """Stamp of a finished shard's pixels, and how many images it holds."""
        with open_parquet(self.records(shard)) as file:
            notes = file.schema_arrow.metadata
        return FileStamp(**json.loads(notes[b"stamp"])), int(notes[b"rows"])

    def forget_search(self) -> None:
        """Drop all but the records: what a search worked on and found."""
        for kind in ("codes", "views", "structure", "index", "pairs", "found"):
            shutil.rmtree(self.path / kind, ignore_errors=True)

    def remove(self) -> None:
        """Drop the state of a finished run, and temporary files that a kill left behind."""
        for leftover in _own_files(self.out, TEMPORARY_SUFFIX):
            leftover.unlink()
        shutil.rmtree(self.path)


def remove_own_files(out: Path) -> bool:
    """Remove what this program wrote into ``out``, and nothing else (``--overwrite``).

    Returns False, with nothing touched, if neither an index nor a plan proves that ``out`` is a set.
    """
    if not is_set(out):
        return False
    if (out / INDEX).exists():  # renamed, no longer complete; removed last, still the proof after a kill
        (out / INDEX).replace(out / _REMOVED_INDEX)
    for path in (*_own_files(out), *_own_files(out, TEMPORARY_SUFFIX)):
        path.unlink()
    for directory in (IMAGES, REPORT):
        if (out / directory).is_dir() and not any((out / directory).iterdir()):
            (out / directory).rmdir()
    shutil.rmtree(out / STAGING, ignore_errors=True)
    (out / _REMOVED_INDEX).unlink(missing_ok=True)
    return True


def is_set(out: Path) -> bool:
    """Whether ``out`` is a prepared set of this program's, complete or not."""
    if (out / STAGING / "plan.json").exists():
        return True
    return _is_index(out / INDEX) or _is_index(out / _REMOVED_INDEX)


def _is_index(path: Path) -> bool:
    try:
        return "schema_version" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _own_files(out: Path, suffix: str = "") -> list[Path]:
    """This program's files in a prepared set, or what a kill left of them."""
    shards = f"{IMAGES}/[0-9][0-9][0-9][0-9][0-9].npy"
    reports = (f"{REPORT}/{name}" for name in REPORT_FILES)
    return [
        path
        for name in (INDEX, MANIFEST, PAIRS, AUTOENCODER, SOURCE_INDEX, shards, *reports)
        for path in out.glob(name + suffix)
    ]
