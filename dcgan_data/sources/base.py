"""What a source is: count, split into shards, iterate a shard. New kinds plug in here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.sources.location import Location, relative_path

FORMATS = ("lsun", "folder", "tar", "zip", "parquet", "cifar", "svhn")


@dataclass(frozen=True)
class SourceOptions:
    """How to open a source, where its content does not say enough."""

    format: str = ""
    """One of FORMATS; empty: found out from the content."""
    image_column: str = ""
    """Of parquet: the column of encoded images; empty: found by name and type."""
    label_column: str = ""
    """Of parquet: the column that becomes the label; empty: found by name, or none."""

    def __post_init__(self) -> None:
        if self.format and self.format not in FORMATS:
            raise BadRequest(f"format {self.format!r}: unknown; expected one of {', '.join(FORMATS)}")


@dataclass(frozen=True)
class Record:
    """One record of a source."""

    key: str
    """Unique within the source; text even if the source's own key is not UTF-8 (then backslash-escaped)."""
    data: bytes
    """The encoded image, untouched."""
    error: str = ""
    """Why ``data`` could not be read, as ``word: text``; empty if it was. The manifest's ``reason``."""
    label: str | None = None
    """What the source says the picture is: a class, a person's name, a caption; None if it says nothing."""


class Shard(Protocol):
    """A fixed run of consecutive records. Small and picklable: it travels to a worker, which opens the
    source there and walks only its own range."""

    def __len__(self) -> int:
        """Number of records."""

    def __iter__(self) -> Iterator[Record]:
        """The records, in source order."""


class Source(Protocol):
    """A set of encoded images in a stable order."""

    kind: str
    """For people and for ``dataset.json``: one of FORMATS."""
    path: str
    """Where it is, as an absolute path; the pattern if one was given."""
    fingerprint: str
    """Hex digest of the keys and of file sizes: it changes when records are added, removed, renamed or
    replaced by others of another size."""
    passed_over: dict[str, int]
    """Files that are no images by their name, counted by extension, members of archives that are no files
    (``link``, ``device``), and what else may be missed (``missing end of archive``); never silent."""

    @property
    def index(self) -> dict[str, np.ndarray]:
        """What opening had to work out, to open the same source quickly again; empty if that is quick anyway.

        Plain arrays, for the caller to keep: a source itself never writes anything.
        """

    def __len__(self) -> int:
        """Number of records."""

    def shards(self) -> Sequence[Shard]:
        """The records split into shards of the size that the source was opened with."""


def source_summary(source: Source) -> dict[str, Any]:
    """What ``dataset.json`` says about the source."""
    return {
        "kind": source.kind,
        "path": source.path,
        "records": len(source),
        "fingerprint": source.fingerprint,
        "passed_over": source.passed_over,
    }


def text_key(raw: bytes) -> str:
    """A source's own key as text: bytes that are not UTF-8 become escapes, and a backslash becomes two.

    So two keys never become one.
    """
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def file_prefixes(files: Sequence[Location], root: Location) -> list[str]:
    """What goes before the keys of each file: nothing if there is one, else its path below ``root``, ``/``.

    So that the members of two archives never have the same key.
    """
    if len(files) == 1:
        return [""]
    return [f"{text_key(os.fsencode(relative_path(file, root)))}/" for file in files]


def directory_label(path: bytes) -> str | None:
    """The directory of a relative path as its label, as in folders of classes or persons; or None."""
    directory = os.path.dirname(path)
    return text_key(directory) if directory else None


def file_stamp(status: os.stat_result) -> tuple[int, int]:
    """Size and time of change (ns): what tells a file from the one that was there before."""
    return status.st_size, status.st_mtime_ns


def changed_file(path: str | Location) -> BadInput:
    """What to raise when a file is another than at the beginning of the run."""
    return BadInput(f"{path}: changed since this run began; leave it as it is and run again")
