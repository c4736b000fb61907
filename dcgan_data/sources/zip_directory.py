"""A zip archive's central directory: where its members lie, in the layout of PKWARE's APPNOTE, with ZIP64.

Not ``zipfile``: it keeps some 600 bytes a member, and refuses an archive in which one name is not the UTF-8
that it is said to be.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_END = struct.Struct("<4s4H2IH")  # signature, disk, disk, entries, entries, bytes, offset, length of comment
_END_64 = struct.Struct(
    "<4sQ2H2I4Q"
)  # signature, length, versions, disk, disk, entries, entries, bytes, offset
_LOCATOR_64 = struct.Struct("<4sIQI")  # signature, disk, offset, disks
_ENTRY = struct.Struct("<4s6H3I5H2I")
_ENTRY_SIGNATURE = b"PK\1\2"
_LOCAL = struct.Struct("<4s5H3I2H")
_MOST_COMMENT = (1 << 16) - 1
_FULL = (1 << 32) - 1
_MOST_OFFSET = (1 << 62) - 1
_ENCRYPTED = 1


class DamagedError(Exception):
    """No central directory, or one that makes no sense."""


class ZipEntry(NamedTuple):
    """What the central directory says of a member."""

    name: bytes
    """As stored: UTF-8, or whatever the machine that made it used."""
    encrypted: bool
    """Only a password gives the data."""
    method: int
    """Of compression: 0 stored, 8 deflated."""
    crc: int
    """CRC-32 of the data."""
    stored_bytes: int
    """Length in the archive."""
    bytes: int
    """Length of the data."""
    mode: int
    """Of Unix, with the kind of file; 0 if it was made elsewhere."""
    offset: int
    """Where its local header begins."""


def read_directory(stream: BinaryIO) -> Iterator[ZipEntry]:
    """All entries, in the directory's order. Raises DamagedError."""
    start, size, count, shift = _find_directory(stream)
    stream.seek(start)
    left = size
    found = 0
    while left >= _ENTRY.size:
        fields = _ENTRY.unpack(_read(stream, _ENTRY.size))
        signature, _, _, flags, method, _, _, crc = fields[:8]
        if signature != _ENTRY_SIGNATURE:
            raise DamagedError("an entry does not begin as one")
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        name = _read(stream, name_bytes)
        extra = _read(stream, extra_bytes + comment_bytes)[:extra_bytes]
        full, stored, offset = _wide(extra, (fields[9], fields[8], fields[16]))
        mode = fields[15] >> 16
        yield ZipEntry(name, bool(flags & _ENCRYPTED), method, crc, stored, full, mode, offset + shift)
        left -= _ENTRY.size + name_bytes + extra_bytes + comment_bytes
        found += 1
    if left or (found - count) % (1 << 16):  # some tools count more than 65,535 without ZIP64
        raise DamagedError(f"{found:,} entries, its end says {count:,}")


def ends_with_directory(stream: BinaryIO) -> bool:
    """Whether a file ends with a central directory that has entries."""
    try:
        start, size, _, _ = _find_directory(stream)
        stream.seek(start)
        return size >= _ENTRY.size and _read(stream, 4) == _ENTRY_SIGNATURE
    except DamagedError:
        return False


def local_data_offset(header: bytes) -> int | None:
    """Bytes from the beginning of a member's local header to its data; None if it is no such header."""
    if len(header) < _LOCAL.size:
        return None
    fields = _LOCAL.unpack_from(header)
    return _LOCAL.size + fields[9] + fields[10] if fields[0] == b"PK\3\4" else None


LOCAL_HEADER_BYTES = _LOCAL.size


def _find_directory(stream: BinaryIO) -> tuple[int, int, int, int]:
    """Start and length of the directory, its number of entries, and what all offsets have to be shifted by:
    archives may have something put before them, and many tools do not correct the offsets."""
    file_bytes = stream.seek(0, os.SEEK_END)
    tail_start = max(0, file_bytes - _END.size - _MOST_COMMENT)
    stream.seek(tail_start)
    tail = stream.read()
    place = _find_end(tail)
    end = tail_start + place
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(tail, place)
    wide = _find_wide_end(stream, end)
    if wide:
        end, disk, count, size, offset = wide
    if disk:
        raise DamagedError("a part of an archive in several files, which is not supported")
    start = end - size
    if start < offset:
        raise DamagedError("its central directory does not fit in the file")
    return start, size, count, start - offset


def _find_end(tail: bytes) -> int:
    """Where the end record begins: the last one that a comment follows up to the end of the file. What looks
    like one may be in that comment, or in an archive that is a member. If there is none such, the last."""
    places = [match.start() for match in re.finditer(b"PK\5\6", tail[: 4 - _END.size])]
    if not places:
        raise DamagedError("no central directory at its end")
    for place in reversed(places):
        if place + _END.size + _END.unpack_from(tail, place)[-1] == len(tail):
            return place
    return places[-1]


def _find_wide_end(stream: BinaryIO, end: int) -> tuple[int, int, int, int, int] | None:
    """Start, disk, entries, length and offset as ZIP64 says; None if the archive does without."""
    place = end - _LOCATOR_64.size - _END_64.size
    if place < 0:
        return None
    stream.seek(place)
    record = _END_64.unpack(_read(stream, _END_64.size))
    locator = _LOCATOR_64.unpack(_read(stream, _LOCATOR_64.size))
    if locator[0] != b"PK\6\7":
        return None
    if record[0] != b"PK\6\6":
        raise DamagedError("its ZIP64 end record is not where it should be")
    return place, record[4], record[7], record[8], record[9]


def _wide(extra: bytes, fields: tuple[int, int, int]) -> tuple[int, int, int]:
    """The three numbers of an entry, those that do not fit in 32 bits from the ZIP64 field."""
    if _FULL not in fields:
        return fields
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, place)
        place += 4
        if kind == 1:
            whole = range(place, min(place + size, len(extra)) - 7, 8)
            wide = [int.from_bytes(extra[at : at + 8], "little") for at in whole]
            if len(wide) < fields.count(_FULL) or any(number > _MOST_OFFSET for number in wide):
                raise DamagedError("an entry's ZIP64 field makes no sense")
            numbers = iter(wide)
            full, stored, offset = (next(numbers) if field == _FULL else field for field in fields)
            return full, stored, offset
        place += size
    return fields


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise DamagedError("its central directory is cut short")
    return data
