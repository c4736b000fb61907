"""What tar and zip sources share: files that hold the images as members, found once and read by range."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dcgan_data.sources.access import OpenFile, Stamp, in_turn, opened
from dcgan_data.sources.base import Record, file_prefixes, text_key
from dcgan_data.sources.location import Location
from dcgan_data.sources.members import REASONS, Members, Problem, Texts

INDEX_VERSION = 2
"""Goes up when the same archive is walked to another result: then an older index counts for nothing."""
_MOST_BYTES = 1 << 30
"""A larger member is no photo: it is rejected unread."""


@dataclass(frozen=True, eq=False)
class Archive:
    """One file, walked."""

    file: str
    """Absolute, without what may be a secret."""
    stamp: Stamp
    """``access.Stamp``, before the walk."""
    members: Members
    """Those that are records."""
    passed_over: dict[str, int]
    """The others, counted."""


class UnreadableMemberError(Exception):
    """A member's data cannot be had; says why as ``word: text``."""


class ArchiveSource(ABC):
    """The members of some archives that are images by their names, in the order of the files."""

    kind: str
    columns: ClassVar[np.dtype]
    """What a member's row is made of."""

    def __init__(
        self,
        files: Sequence[Location],
        root: Location,
        records_per_shard: int,
        limit: int = 0,
        index: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """files: absolute, sorted by path bytes. index: that of a source opened before; what in it is not of
        these files as they are now counts for nothing."""
        self.path = str(files[0] if len(files) == 1 else root)
        archives = self._archives(files, limit, index or {})
        self.index = pack_archives(archives, self.columns)
        passed_over: Counter[str] = Counter()
        for archive in archives:
            passed_over.update(archive.passed_over)
        self.passed_over = dict(sorted(passed_over.items()))
        archives = unpack_archives(self.index)  # views of its arrays: nothing is held twice
        digest = hashlib.sha256()
        self._shards: list[ArchiveShard] = []
        left = limit or None
        for file, archive, prefix in zip(files, archives, file_prefixes(files, root), strict=False):
            count = len(archive.members) if left is None else min(left, len(archive.members))
            members = archive.members.cut(0, count)
            digest.update(f"{prefix}\0{count}\0".encode())
            for numbers in (members.names.bounds, members.names.blob, members.rows["stored_bytes"]):
                digest.update(np.ascontiguousarray(numbers).data)
            for start in range(0, count, records_per_shard):
                part = members.cut(start, start + records_per_shard)
                self._shards.append(self.shard(file, archive.stamp, prefix, part))
            left = None if left is None else left - count
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def shards(self) -> Sequence[ArchiveShard]:
        """Runs of consecutive members of one archive."""
        return self._shards

    @staticmethod
    @abstractmethod
    def walk(file: Location, opened: OpenFile) -> tuple[Members, Counter[str]]:
        """The members of an archive that are records, and the others, counted. BadInput if it is damaged."""

    @staticmethod
    @abstractmethod
    def shard(file: Location, stamp: Stamp, prefix: str, members: Members) -> ArchiveShard:
        """Some of them, to be read."""

    def _archives(
        self, files: Sequence[Location], limit: int, index: Mapping[str, np.ndarray]
    ) -> list[Archive]:
        """As many as hold ``limit`` records: each from the index if that knows it as it is, or walked."""
        known = {archive.file: archive for archive in _known_archives(index, self.columns)}

        def take(file: Location, stamp: Stamp) -> Archive:
            archive = known.get(str(file))
            if archive is not None and archive.stamp == stamp:
                return archive
            with opened(file, stamp) as open_file:
                members, passed_over = self.walk(file, open_file)
            return Archive(str(file), stamp, members, dict(sorted(passed_over.items())))

        archives: list[Archive] = []
        found = 0
        for archive in in_turn(take, files, lazily=bool(limit)):
            archives.append(archive)
            found += len(archive.members)
            if limit and found >= limit:
                break
        return archives


@dataclass(frozen=True, eq=False)
class ArchiveShard(ABC):
    """Some members of one archive. The file is opened where the shard is read."""

    file: Location
    """The archive."""
    stamp: Stamp
    """Its own when it was walked: in another one the members lie elsewhere."""
    prefix: str
    """Put before every key."""
    members: Members
    """Only those of this shard."""

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Record]:
        with opened(self.file, self.stamp) as file:
            file.expect(self.extents())
            for name, label, row in zip(
                self.members.names, self.members.labels, self.members.rows, strict=True
            ):
                key = self.prefix + text_key(name)
                said = self.read_label(file, row) or label.decode() or None
                try:
                    yield Record(key, self._data(file, row), label=said)
                except UnreadableMemberError as error:
                    yield Record(key, b"", str(error), said)

    def extents(self) -> np.ndarray:
        """int64 (N, 2): offset and length of all that will be read, as far as it is known."""
        rows = self.members.rows[self.members.rows["problem"] == Problem.NONE]
        return np.stack([rows["offset"], rows["stored_bytes"]], 1)

    def _data(self, file: OpenFile, row: np.void) -> bytes:
        problem = Problem(int(row["problem"]))
        if problem != Problem.NONE:
            raise UnreadableMemberError(REASONS[problem])
        return self.read(file, row)

    @abstractmethod
    def read(self, file: OpenFile, row: np.void) -> bytes:
        """A member's data, given the open file; raises UnreadableMemberError."""

    def read_label(self, file: OpenFile, row: np.void) -> str:
        """What another member says of this one; empty if there is none such."""
        return ""


def check_size(size: int) -> None:
    """UnreadableMemberError if a member is too large to be taken into memory."""
    if size > _MOST_BYTES:
        raise UnreadableMemberError(f"too_large: {size:,} bytes, at most {_MOST_BYTES:,} are read")


def read_range(file: OpenFile, offset: int, count: int) -> bytes:
    """``count`` bytes at ``offset``; UnreadableMemberError unless they are all there, and not too many."""
    check_size(count)
    try:
        data = file.read_at(offset, count)
    except OSError as error:
        raise UnreadableMemberError(f"unreadable: {error.strerror}") from None
    if len(data) < count:
        raise UnreadableMemberError(f"truncated: {len(data):,} of {count:,} bytes are there")
    return data


def pack_archives(archives: Sequence[Archive], columns: np.dtype) -> dict[str, np.ndarray]:
    """Walked archives as plain arrays, the members of all of them in one table."""
    files = Texts.of(os.fsencode(archive.file) for archive in archives)
    passed_over = Texts.of(json.dumps(archive.passed_over).encode() for archive in archives)
    members = [archive.members for archive in archives]
    arrays = {
        "files": files.blob,
        "file_bounds": files.bounds,
        "passed_over": passed_over.blob,
        "passed_over_bounds": passed_over.bounds,
        "stamps": np.array([archive.stamp for archive in archives], np.int64),
        "counts": np.array([len(part) for part in members], np.int64),
        **(members[0] if len(members) == 1 else Members.join(members, columns)).arrays(),
    }
    return {**arrays, "digest": _digest(arrays, columns)}


def unpack_archives(arrays: Mapping[str, np.ndarray]) -> list[Archive]:
    """The reverse."""
    members = Members.from_arrays(arrays)
    files = Texts(arrays["files"], arrays["file_bounds"])
    passed_over = Texts(arrays["passed_over"], arrays["passed_over_bounds"])
    archives = []
    start = 0
    for file, (size, changed), others, count in zip(
        files, arrays["stamps"].tolist(), passed_over, arrays["counts"].tolist(), strict=True
    ):
        part = members.cut(start, start + count)
        archives.append(Archive(os.fsdecode(file), (size, changed), part, json.loads(others)))
        start += count
    return archives


def _known_archives(index: Mapping[str, np.ndarray], columns: np.dtype) -> list[Archive]:
    """What an index knows: nothing unless it is, to the last bit, what was packed with these columns."""
    arrays = {name: array for name, array in index.items() if name != "digest"}
    whole = np.array_equal(index.get("digest", np.empty(0)), _digest(arrays, columns))
    return unpack_archives(arrays) if whole else []


def _digest(arrays: Mapping[str, np.ndarray], columns: np.dtype) -> np.ndarray:
    """uint8 (32,): of the arrays' bytes, their types and shapes, and of how archives are walked."""
    digest = hashlib.sha256(f"{INDEX_VERSION} {columns}".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
