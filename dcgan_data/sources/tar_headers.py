"""The regular members of a tar archive, from its headers alone, and no damage passed over in silence.

``tarfile`` reads the headers. But it ends at a damaged one, or at zeros in place of one, as if the archive
ended there, and would take whatever memory a header asks for.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple

from dcgan_data.errors import BadInput
from dcgan_data.sources.members import clean_name, is_left_out

_BLOCK = tarfile.BLOCKSIZE
_MOST_HEADER_BYTES = 1 << 26
"""Of one read. Names take a few hundred bytes; macOS attributes may take megabytes."""
_END_BYTES = 2 * _BLOCK
"""Of the blocks of zeros that end an archive; tools add more, up to a round number."""
_NO_END = "missing end of archive"
_JOINED = "end of archive before another"
_READ_BYTES = 1 << 20
"""At a time, where zeros are skipped."""
_CUT_SHORT = {"truncated header", "empty header", "unexpected end of data"}
"""What ``tarfile`` says when a file ends too soon."""


class TarFile(NamedTuple):
    """A regular member."""

    name: bytes
    """Without a leading ``./``."""
    offset: int
    """Where its data begins in the file."""
    bytes: int
    """Length of its data."""


def walk_files(
    stream: BinaryIO, where: str, region: tuple[int, int], passed_over: Counter[str]
) -> Iterator[TarFile]:
    """The regular members of the tar that lies in a region (start, end) of a file, but for hidden ones.

    where: what to call it. Links, devices and sparse files are counted in ``passed_over``, and so is an end
    without zeros: it may be one, or the archive was cut short between two members. What follows the end is
    read on, as of archives that were put together with ``cat``. Raises BadInput if it is cut short inside a
    member, or damaged.
    """
    for member in _headers(stream, where, region, passed_over):
        name = clean_name(member.name.encode("utf-8", "surrogateescape"))
        if member.isdir() or is_left_out(name):
            continue
        if special := _special(member):
            passed_over[special] += 1
        else:
            yield TarFile(name, member.offset_data, member.size)


def _headers(
    stream: BinaryIO, where: str, region: tuple[int, int], passed_over: Counter[str]
) -> Iterator[tarfile.TarInfo]:
    """Those of one archive after another, as long as more than zeros follows."""
    place, end = region
    while True:
        place = yield from _headers_to_end(stream, where, (place, end))
        if place >= end:
            passed_over[_NO_END] += 1
            return
        following = _skip_zeros(stream, place, end)
        if following == end:
            return
        if following == place:
            raise _damage(where, place, "no header" if end - place >= _BLOCK else "truncated header")
        if following - place < _END_BYTES:  # too few for an end: a header that was lost
            raise _damage(where, place, "zeros in place of a header")
        passed_over[_JOINED] += 1  # or headers were lost: a person can tell
        place = following


def _headers_to_end(
    stream: BinaryIO, where: str, region: tuple[int, int]
) -> Generator[tarfile.TarInfo, None, int]:
    """Those of one archive; returns where what ``tarfile`` takes for its end begins, whatever that is."""
    place, end = region
    stream.seek(place)
    try:
        with tarfile.open(fileobj=_Region(stream, end), mode="r:", encoding="utf-8") as archive:
            while place < end and (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if archive.offset <= place:
                    raise tarfile.ReadError("a header that points back")
                if member.isreg() and not member.issparse() and member.offset_data + member.size > end:
                    raise tarfile.ReadError("unexpected end of data")
                place = archive.offset
                yield member
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise _damage(where, place, str(error)) from None
    return place


def _skip_zeros(stream: BinaryIO, place: int, end: int) -> int:
    """The first block at or after ``place`` that is not zero; ``end`` if there is none."""
    stream.seek(place)
    while place < end and (data := stream.read(min(_READ_BYTES, end - place))):
        if rest := data.lstrip(b"\0"):
            return place + (len(data) - len(rest)) // _BLOCK * _BLOCK
        place += len(data)
    return end


def _damage(where: str, place: int, error: str) -> BadInput:
    what = "cut short after" if error in _CUT_SHORT else "damaged at"
    return BadInput(f"{where}: {what} byte {place} ({error}); fetch or copy it again")


def _special(member: tarfile.TarInfo) -> str:
    """What a member is that is no regular file; empty for one that is."""
    if member.issym() or member.islnk():
        return "link"
    if member.isdev():
        return "device"
    if not member.isreg():
        return "unknown type"
    return "sparse" if member.issparse() else ""


class _Region(io.BufferedIOBase):
    """A file that ends where a region of it does, for ``tarfile`` to read."""

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end = stream, end

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size or 0:,} bytes")
        return self._stream.read(max(0, min(size, self._end - self._stream.tell())))
