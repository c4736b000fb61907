"""Tar archives: plain ones, WebDataset's shards, and ImageNet's tar of class tars.

The headers are read once, the data never before a worker needs it. WebDataset: the files of a directory with
the same name up to the dot are one sample (Aizman et al., 2019), and the one that says what it shows is the
label. ImageNet: ``ILSVRC2012_img_train.tar`` holds a tar for each class, which is read where it lies.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dcgan_data.sources.access import OpenFile, Stamp
from dcgan_data.sources.archive import ArchiveShard, ArchiveSource, UnreadableMemberError, read_range
from dcgan_data.sources.base import directory_label, text_key
from dcgan_data.sources.folder import foreign_extension
from dcgan_data.sources.location import Location
from dcgan_data.sources.members import PLACE, Members, MembersBuilder, Problem, name_problem, settle
from dcgan_data.sources.side_files import SideFiles
from dcgan_data.sources.signatures import is_tar_start
from dcgan_data.sources.tar_headers import TarFile, walk_files

_MOST_LABEL_BYTES = 1 << 16
_NO_SIDE_FILE = (0, -1)


class TarSource(ArchiveSource):
    """The pictures of some tar archives."""

    kind = "tar"
    columns = np.dtype([*PLACE, ("label_offset", np.int64), ("label_bytes", np.int64)])
    """Where the side file lies that is the label; ``label_bytes`` is negative if there is none."""

    @staticmethod
    def walk(file: Location, opened: OpenFile) -> tuple[Members, Counter[str]]:
        """See ArchiveSource. BadInput if it is cut short inside a member, or damaged between members."""
        walk = _Walk(file, opened.stream)
        walk.run()
        return walk.members(), walk.passed_over

    @staticmethod
    def shard(file: Location, stamp: Stamp, prefix: str, members: Members) -> ArchiveShard:
        """See ArchiveSource."""
        return TarShard(file, stamp, prefix, members)


@dataclass(frozen=True, eq=False)
class TarShard(ArchiveShard):
    """Some members of one tar archive."""

    def read(self, file: OpenFile, row: np.void) -> bytes:
        """See ArchiveShard."""
        return read_range(file, int(row["offset"]), int(row["stored_bytes"]))

    def extents(self) -> np.ndarray:
        """See ArchiveShard: the side files too."""
        rows = self.members.rows
        sizes = np.clip(rows["label_bytes"], 0, _MOST_LABEL_BYTES)
        return np.concatenate([super().extents(), np.stack([rows["label_offset"], sizes], 1)])

    def read_label(self, file: OpenFile, row: np.void) -> str:
        """The text of the side file, at most 64 KiB of it."""
        if row["label_bytes"] < 0:
            return ""
        count = min(int(row["label_bytes"]), _MOST_LABEL_BYTES)
        try:
            text = read_range(file, int(row["label_offset"]), count).decode("utf-8", "replace").strip()
            return _label_of(text)
        except UnreadableMemberError:  # a fault of the disk: the picture may still be readable
            return ""


def _label_of(text: str) -> str:
    """What a side file says: of a JSON object that has a ``label`` only this, else all of its text."""
    if not text.startswith("{"):
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # cut at the most bytes, or no JSON
        return text
    if "label" not in content:
        return text
    label = content["label"]
    return "" if label is None else label if isinstance(label, str) else json.dumps(label)


class _Walk:
    """One pass over the headers of an archive."""

    def __init__(self, file: Location, stream: BinaryIO) -> None:
        self.passed_over: Counter[str] = Counter()
        self._file, self._stream = file, stream
        self._records = MembersBuilder(TarSource.columns)
        self._side_files = SideFiles()

    def run(self) -> None:
        """Take all members up. If there are tars but no pictures, it is a tar of class tars."""
        size = self._stream.seek(0, os.SEEK_END)
        pictures, tars = 0, []
        for member in walk_files(self._stream, str(self._file), (0, size), self.passed_over):
            if os.path.splitext(member.name)[1].lower() == b".tar":
                tars.append(member)
            elif extension := foreign_extension(member.name):
                if not self._side_files.add(*member):
                    self.passed_over[extension] += 1
            else:
                self._add(member.name, directory_label(member.name), member)
                pictures += 1
        if not pictures:
            for tar in tars:
                self._take_class(tar)
        elif tars:
            self.passed_over[".tar"] += len(tars)

    def members(self) -> Members:
        """Those that are records."""
        found = self._records.build()
        places, without_picture = self._side_files.match(found.names)
        self.passed_over += without_picture
        found.rows["label_offset"], found.rows["label_bytes"] = places.T
        return settle(found)

    def _take_class(self, tar: TarFile) -> None:
        """All pictures of a class: a tar inside the archive, whose name is their label."""
        stem = os.path.splitext(tar.name)[0]
        label = text_key(os.path.basename(stem))
        self._stream.seek(tar.offset)
        if not is_tar_start(self._stream.read(min(tar.bytes, tarfile.BLOCKSIZE))):
            self._add(tar.name, label, tar, Problem.NOT_A_TAR)
            return
        where = f"{self._file}: {text_key(tar.name)}"
        region = (tar.offset, tar.offset + tar.bytes)
        for member in walk_files(self._stream, where, region, self.passed_over):
            if extension := foreign_extension(member.name):
                self.passed_over[extension] += 1
            else:
                self._add(stem + b"/" + member.name, label, member, name_problem(member.name))

    def _add(self, name: bytes, label: str | None, member: TarFile, problem: Problem = Problem.NONE) -> None:
        problem = problem or name_problem(name)
        self._records.add(name, label, (member.offset, member.bytes, problem, *_NO_SIDE_FILE))
