"""One file of a source, wherever it lies: its stamp, and reading it by range."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import changed_file, file_stamp
from dcgan_data.sources.location import Location, Url

Stamp = tuple[int, int]
"""Size, and time of change (ns) or a number made of an object's version."""
_AT_ONCE = 4
"""Objects. Of each some blocks are in memory."""
Result = TypeVar("Result")


class OpenFile(Protocol):
    """A file that is being read."""

    @property
    def stream(self) -> BinaryIO:
        """It as a stream, with a position of its own."""

    def expect(self, extents: np.ndarray) -> None:
        """Say what will be read: int64 (N, 2), offset and length. A disk needs no such hint."""

    def read_at(self, offset: int, count: int) -> bytes:
        """So many bytes, fewer at the end of the file. OSError from a disk, BadInput from elsewhere."""


class LocalFile:
    """One on this machine's disks."""

    def __init__(self, stream: BufferedReader) -> None:
        self.stream: BinaryIO = stream
        self._descriptor = stream.fileno()

    def expect(self, extents: np.ndarray) -> None:
        """See OpenFile."""

    def read_at(self, offset: int, count: int) -> bytes:
        """See OpenFile."""
        return os.pread(self._descriptor, count, offset)


def in_turn(
    function: Callable[[Location, Stamp], Result], files: Sequence[Location], lazily: bool
) -> Iterator[Result]:
    """``function`` of each file and its stamp, in their order. Objects that lie elsewhere are mostly waited
    for: several are worked on at once, unless the caller may stop early (``lazily``)."""

    def call(file: Location) -> Result:
        return function(file, _stamp_of(file))

    if lazily or not any(isinstance(file, Url) for file in files):
        yield from map(call, files)
        return
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        yield from pool.map(call, files)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def opened(file: Location, stamp: Stamp | None = None) -> Iterator[OpenFile]:
    """Open for reading. BadInput if that cannot be done, if it is another than the one with this stamp, or
    if it changes before it is closed."""
    with _opened_remote(file, stamp) if isinstance(file, Url) else _opened_local(file, stamp) as found:
        yield found


def _stamp_of(file: Location) -> Stamp:
    if isinstance(file, Url):
        from dcgan_data.sources.remote import object_stamp

        return object_stamp(file)
    return file_stamp(os.stat(file))


@contextmanager
def _opened_local(file: Path, stamp: Stamp | None) -> Iterator[OpenFile]:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror}); make it readable") from None
    with stream:
        before = file_stamp(os.fstat(stream.fileno()))
        if before != (stamp or before):
            raise changed_file(file)
        yield LocalFile(stream)
        if file_stamp(os.fstat(stream.fileno())) != before:  # it may have changed while it was read
            raise changed_file(file)


@contextmanager
def _opened_remote(url: Url, stamp: Stamp | None) -> Iterator[OpenFile]:
    from dcgan_data.sources.remote import object_stamp, open_object
    from dcgan_data.sources.remote_reader import RemoteReader

    file, before = open_object(url)
    reader = RemoteReader(url, file, before[0])
    try:
        if before != (stamp or before):
            raise changed_file(url)
        yield reader
        if object_stamp(url) != before:
            raise changed_file(url)
    finally:
        reader.close()
