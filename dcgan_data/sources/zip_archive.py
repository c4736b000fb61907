"""Zip archives, the ``dataset.zip`` of StyleGAN's dataset tool among them.

Its ``dataset.json`` holds the labels: ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none.
In a zip of the whole folder it lies in that folder, and the names are relative to it.
"""

from __future__ import annotations

import json
import stat
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.access import OpenFile, Stamp
from dcgan_data.sources.archive import (
    ArchiveShard,
    ArchiveSource,
    UnreadableMemberError,
    check_size,
    read_range,
)
from dcgan_data.sources.base import directory_label, text_key
from dcgan_data.sources.folder import foreign_extension
from dcgan_data.sources.location import Location
from dcgan_data.sources.members import (
    PLACE,
    Members,
    MembersBuilder,
    Problem,
    Texts,
    clean_name,
    is_left_out,
    name_problem,
    settle,
)
from dcgan_data.sources.zip_directory import (
    LOCAL_HEADER_BYTES,
    DamagedError,
    ZipEntry,
    local_data_offset,
    read_directory,
)

_LABEL_FILE = b"dataset.json"
_EXPECTED = '{"labels": [[name, label], ...]}, or null for none'
_STORED, _DEFLATED = 0, 8


class ZipSource(ArchiveSource):
    """The pictures of some zip archives."""

    kind = "zip"
    columns = np.dtype([*PLACE, ("bytes", np.int64), ("crc", np.int64), ("method", np.int64)])
    """``offset`` is that of the local header; ``bytes`` and ``crc`` are of the data when it is inflated."""

    @staticmethod
    def walk(file: Location, opened: OpenFile) -> tuple[Members, Counter[str]]:
        """See ArchiveSource. BadInput if the central directory is not whole, or ``dataset.json`` damaged."""
        try:
            found, label_files, passed_over = _records(opened.stream)
        except DamagedError as error:
            raise BadInput(f"{file}: cut short or damaged ({error}); fetch or copy it again") from None
        chosen = _choose_label_file(found.names, label_files)
        listed = None if chosen is None else _read_labels(file, opened, *chosen)
        found = settle(found)
        if chosen is None or listed is None:
            labels = Texts.of((directory_label(name) or "").encode() for name in found.names)
            passed_over[".json"] += len(label_files)
        else:
            directory = chosen[0].removesuffix(_LABEL_FILE)
            labels = Texts.of(_take_label(listed, directory, name) for name in found.names)
            passed_over[".json"] += len(label_files) - 1
            passed_over["label of no picture"] = len(listed)
        passed_over = +passed_over  # without those that are 0
        return Members(found.names, labels, found.rows), passed_over

    @staticmethod
    def shard(file: Location, stamp: Stamp, prefix: str, members: Members) -> ArchiveShard:
        """See ArchiveSource."""
        return ZipShard(file, stamp, prefix, members)


@dataclass(frozen=True, eq=False)
class ZipShard(ArchiveShard):
    """Some members of one zip archive."""

    def read(self, file: OpenFile, row: np.void) -> bytes:
        """See ArchiveShard."""
        return _read_member(file, row)


def _records(stream: BinaryIO) -> tuple[Members, Members, Counter[str]]:
    """All members that are records, without labels; those that may be StyleGAN's ``dataset.json``; and the
    others, counted."""
    builder, label_files = MembersBuilder(ZipSource.columns), MembersBuilder(ZipSource.columns)
    passed_over: Counter[str] = Counter()
    for entry in read_directory(stream):
        name = clean_name(entry.name)
        if entry.name.endswith(b"/") or is_left_out(name):
            continue
        if special := _special(entry.mode):
            passed_over[special] += 1
        elif _may_be_label_file(name):
            label_files.add(name, None, _row(entry, name))
        elif extension := foreign_extension(name):
            passed_over[extension] += 1
        else:
            builder.add(name, None, _row(entry, name))
    return builder.build(), label_files.build(), passed_over


def _may_be_label_file(name: bytes) -> bool:
    """Whether it is named ``dataset.json``, at the top or one directory down."""
    if not name.endswith(_LABEL_FILE) or name_problem(name):
        return False
    return name == _LABEL_FILE or (name.endswith(b"/" + _LABEL_FILE) and name.count(b"/") == 1)


def _choose_label_file(pictures: Texts, candidates: Members) -> tuple[bytes, np.void] | None:
    """Name and row of the list of labels: the one at the top, else the only one if pictures lie beside or
    below it; None if there is none."""
    last = {name: number for number, name in enumerate(candidates.names)}
    if _LABEL_FILE in last:
        return _LABEL_FILE, candidates.rows[last[_LABEL_FILE]]
    if len(last) != 1:
        return None
    ((name, number),) = last.items()
    directory = name.removesuffix(_LABEL_FILE)
    below = any(picture.startswith(directory) for picture in pictures)
    return (name, candidates.rows[number]) if below else None


def _special(mode: int) -> str:
    """What a member is that is no regular file; empty for one that is, and where no Unix made the archive."""
    if stat.S_IFMT(mode) in (0, stat.S_IFREG):
        return ""
    return "link" if stat.S_ISLNK(mode) else "device"


def _row(entry: ZipEntry, name: bytes) -> tuple[int, ...]:
    problem = name_problem(name) or (Problem.ENCRYPTED if entry.encrypted else Problem.NONE)
    return (entry.offset, entry.stored_bytes, problem, entry.bytes, entry.crc, entry.method)


def _read_member(file: OpenFile, row: np.void) -> bytes:
    """A member's data, inflated and checked; raises UnreadableMemberError."""
    offset, stored_bytes, _, size, crc, method = row.tolist()
    if method not in (_STORED, _DEFLATED):
        raise UnreadableMemberError(f"unreadable: compression method {method}; only deflate is supported")
    check_size(size)
    header = read_range(file, offset, LOCAL_HEADER_BYTES)
    start = local_data_offset(header)
    if start is None:
        raise UnreadableMemberError("corrupt: there is no member where the central directory says")
    data = read_range(file, offset + start, stored_bytes)
    if method == _DEFLATED:
        data = _inflate(data, size)
    if len(data) != size:
        raise UnreadableMemberError(f"corrupt: {len(data):,} bytes, the central directory says {size:,}")
    if zlib.crc32(data) != crc:
        raise UnreadableMemberError("corrupt: its data has another checksum than the central directory says")
    return data


def _inflate(data: bytes, size: int) -> bytes:
    """At most one byte more than ``size``, so that a small member cannot fill the memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise UnreadableMemberError(f"corrupt: {error}") from None
    if len(inflated) > size:
        raise UnreadableMemberError(f"corrupt: more than the {size:,} bytes that the central directory says")
    return inflated


def _read_labels(file: Location, opened: OpenFile, name: bytes, row: np.void) -> dict[str, Any] | None:
    """Names and labels as ``dataset.json`` lists them; None if it is not StyleGAN's, having no ``labels``."""
    try:
        if row["problem"] == Problem.ENCRYPTED:
            raise ValueError("encrypted")
        content = json.loads(_read_member(opened, row))
        if not isinstance(content, dict):
            raise ValueError("no object")
        if "labels" not in content:
            return None
        pairs = [] if content["labels"] is None else content["labels"]
        if not isinstance(pairs, list) or not all(map(_is_label, pairs)):
            raise ValueError("other labels")
        return dict(pairs) if not (names := content.get("label_names")) else _named(pairs, names)
    except (UnreadableMemberError, ValueError, RecursionError) as error:
        raise BadInput(f"{file}: {text_key(name)}: damaged ({error}); expected {_EXPECTED}") from None


def _named(pairs: list[Any], names: Any) -> dict[str, Any]:
    """Numbers as the names that ``export --format stylegan-zip`` lists beside them."""
    if not isinstance(names, list):
        raise ValueError("label_names is no list")
    return {
        name: names[label] if isinstance(label, int) and 0 <= label < len(names) else label
        for name, label in pairs
    }


def _is_label(pair: Any) -> bool:
    """Whether it is a name and a number, a text or a list (of numbers)."""
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return isinstance(pair[0], str) and isinstance(pair[1], int | float | str | list)


def _take_label(listed: dict[str, Any], directory: bytes, name: bytes) -> bytes:
    """The label of a picture, taken out of the list for ``directory``; empty if it has none."""
    if not name.startswith(directory):
        return b""
    label = listed.pop(name.removeprefix(directory).decode("utf-8", "surrogateescape"), "")
    return (label if isinstance(label, str) else json.dumps(label)).encode("utf-8", "backslashreplace")
