"""Which record a process is at, in a file that outlives it; and its end if the record takes too long.

A decoder that hangs, hangs in C, where nothing in Python can interrupt it. The system can: its alarm ends the
process, whoever holds the interpreter's lock. As for a process that died, the file says at which record.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
_PLACE = struct.Struct("<q?")
"""A record's number, and whether it was being worked on, or still being read."""


@dataclass(frozen=True)
class Place:
    """Where a process was when it died."""

    record: int
    """Number of the record within its shard, from 0."""
    decoding: bool
    """Whether it worked on the record; False: it was still reading it."""
    slow: bool
    """Whether the record's time was over."""


class RecordNote:
    """An open note; ``follow`` writes it."""

    def __init__(self, descriptor: int, max_seconds: float) -> None:
        self._descriptor = descriptor
        self._max_seconds = max_seconds

    def follow(self, records: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """The records and their numbers. The caller's time between two of them is the limited one.

        Two calls of the system for the note and two for the alarm: some 3 microseconds a record.
        """
        number = 0
        self._write(0, decoding=False)
        for number, record in enumerate(records):
            self._write(number, decoding=True)
            if self._max_seconds:
                signal.setitimer(signal.ITIMER_REAL, self._max_seconds)
            yield number, record
            if self._max_seconds:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self._write(number + 1, decoding=False)

    def _write(self, record: int, decoding: bool) -> None:
        os.pwrite(self._descriptor, _PLACE.pack(record, decoding), 0)


@contextmanager
def record_note(path: Path, max_seconds: float = 0) -> Iterator[RecordNote]:
    """A note that is there while the block runs, and stays if the process dies in it.

    max_seconds: a record that takes longer ends this process, which must be a worker's; 0: no limit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.lseek(descriptor, _PLACE.size, os.SEEK_SET)
        if max_seconds:
            # Writes behind the place, whatever the process is stuck in; then the signal ends it as ever.
            faulthandler.register(signal.SIGALRM, descriptor, all_threads=False, chain=True)
        yield RecordNote(descriptor, max_seconds)
    finally:
        if max_seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.unregister(signal.SIGALRM)
        os.close(descriptor)
        path.unlink(missing_ok=True)


def read_place(path: Path) -> Place | None:
    """Where the process was that left a note; None if it left none, or had not begun to read."""
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(note) < _PLACE.size:
        return None
    record, decoding = _PLACE.unpack_from(note)
    return Place(record, decoding, slow=len(note) > _PLACE.size)
