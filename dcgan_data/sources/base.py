"""What a source is: count, split into shards, iterate a shard. New kinds plug in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Record:
    """One record of a source."""

    key: str
    """Unique within the source; text even if the source's own key is not UTF-8 (then backslash-escaped)."""
    data: bytes
    """The encoded image, untouched."""
    error: str = ""
    """Why ``data`` could not be read; empty if it was."""


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
    """For people and for ``dataset.json``: ``lsun`` or ``folder``."""
    path: str
    """Where it is, as an absolute path."""
    fingerprint: str
    """Hex digest of the keys and of file sizes: it changes when records are added, removed, renamed or
    replaced by others of another size."""
    passed_over: dict[str, int]
    """Files that are no images by their name, counted by extension; never silent."""

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
