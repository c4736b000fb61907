"""The regular members of a tar archive, from its headers alone, and no damage passed over in silence.

``tarfile`` reads the headers. But it ends at a damaged one as if the archive ended there, and would take
whatever memory a header asks for.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dcgan_data.errors import BadInput
from dcgan_data.sources.members import clean_name, is_left_out

_BLOCK = tarfile.BLOCKSIZE
_MOST_HEADER_BYTES = 1 << 26
"""Of one read. Names take a few hundred bytes; macOS attributes may take megabytes."""
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

    where: what to call it. Links, devices and sparse files are counted in ``passed_over``. Raises BadInput if
    it is cut short inside a member, or damaged; blocks of zeros missing at its end are no harm.
    """
    for member in _headers(stream, where, region):
        name = clean_name(member.name.encode("utf-8", "surrogateescape"))
        if member.isdir() or is_left_out(name):
            continue
        if special := _special(member):
            passed_over[special] += 1
        else:
            yield TarFile(name, member.offset_data, member.size)


def _headers(stream: BinaryIO, where: str, region: tuple[int, int]) -> Iterator[tarfile.TarInfo]:
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
    if place < end:
        stream.seek(place)
        block = stream.read(min(_BLOCK, end - place))
        if block.strip(b"\0"):
            raise _damage(where, place, "truncated header" if len(block) < _BLOCK else "no header")


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
