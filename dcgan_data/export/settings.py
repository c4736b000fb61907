"""What is asked of an export, what a format writes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcgan_data.errors import BadRequest
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.reporter import Reporter

FORMATS = ("stylegan-zip", "webdataset", "imagefolder", "parquet", "keys", "lmdb")


@dataclass(frozen=True)
class ExportSettings:
    """What to write, and where to."""

    format: str
    """One of FORMATS."""
    destination: Path
    """A new ``.zip`` file for ``stylegan-zip``, else a new or empty directory; what holds it must exist."""
    workers: int = 1
    """Processes that encode pictures. They change no byte of what is written."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadRequest(f"--format {self.format}: expected one of {', '.join(FORMATS)}")
        if self.workers < 1:
            raise BadRequest(f"--workers {self.workers}: expected 1 or more")


@dataclass(frozen=True)
class ExportJob:
    """What a format's writer is given."""

    prepared: PreparedSet
    """The set."""
    target: Path
    """Where to write: it does not exist yet, and gets its final name when all is written."""
    workers: int
    """Processes."""
    reporter: Reporter
    """Told how far it is."""


@dataclass(frozen=True)
class Written:
    """What a format's writer has done."""

    images: int
    """Pictures, records or keys."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""


@dataclass(frozen=True)
class ExportResult:
    """What was exported."""

    format: str
    """One of FORMATS."""
    destination: str
    """As it was asked for."""
    images: int
    """Pictures; for ``lmdb`` records and for ``keys`` kept keys: a photo with several faces counts once."""
    files: int
    """Files written."""
    bytes: int
    """Their sizes together."""
    notes: tuple[str, ...]
    """What a person should know of it."""
