"""A folder of image files, recursive, in the order of their relative paths' bytes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.sources.base import Record, directory_label, text_key

EXTENSIONS = frozenset(
    b".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .j2k".split()
)
"""Files with these extensions are records, and so are files without any (their content is sniffed).
Others (labels, archives) are passed over and counted by extension."""


class FolderSource:
    """All image files below a directory. In memory is one bytes object a file, its relative path."""

    kind = "folder"

    def __init__(self, root: Path, records_per_shard: int, limit: int = 0) -> None:
        self.path = str(root.resolve())
        passed_over: Counter[str] = Counter()
        self._paths = sorted(_walk(os.fsencode(root), b"", passed_over, ()))
        if limit:
            del self._paths[limit:]
        self.passed_over = dict(sorted(passed_over.items()))
        self.index: dict[str, np.ndarray] = {}
        digest = hashlib.sha256()
        for path in self._paths:
            digest.update(b"%s\0%d\0" % (path, _size(os.path.join(os.fsencode(root), path))))
        self.fingerprint = digest.hexdigest()
        self._records_per_shard = records_per_shard

    def __len__(self) -> int:
        return len(self._paths)

    def shards(self) -> Sequence[FolderShard]:
        """Runs of consecutive paths."""
        step = self._records_per_shard
        starts = range(0, len(self._paths), step)
        return [FolderShard(self.path, tuple(self._paths[start : start + step])) for start in starts]


@dataclass(frozen=True)
class FolderShard:
    """Some files of a folder, read one after another."""

    root: str
    """The folder."""
    paths: tuple[bytes, ...]
    """Paths relative to it."""

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Record]:
        root = os.fsencode(self.root)
        for path in self.paths:
            key, label = text_key(path), directory_label(path)
            try:
                with open(os.path.join(root, path), "rb") as file:
                    yield Record(key, file.read(), label=label)
            except OSError as error:
                yield Record(key, b"", f"unreadable: {error.strerror or type(error).__name__}", label)


def foreign_extension(name: bytes) -> str:
    """The extension of a file that is no image by its name, for counting; empty if it may be one."""
    extension = os.path.splitext(name)[1].lower()
    if not extension or extension in EXTENSIONS or extension[1:].isdigit():  # photo.0001 has none
        return ""
    return text_key(extension)


def is_hidden(name: bytes) -> bool:
    """Whether a file or directory is left out as if it were not there: ``.x``, and macOS's own."""
    return name.startswith(b".") or name == b"__MACOSX"


def _walk(
    root: bytes, below: bytes, passed_over: Counter[str], ancestors: tuple[tuple[int, int], ...]
) -> Iterator[bytes]:
    """Relative paths of the image files under ``root/below``. Links are followed, but never in a circle."""
    directory = os.path.join(root, below)
    identity = os.stat(directory)
    here = (identity.st_dev, identity.st_ino)
    if here in ancestors:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            path = os.path.join(below, entry.name)
            if _is_directory(entry):
                yield from _walk(root, path, passed_over, (*ancestors, here))
            elif _is_record(entry, passed_over):
                yield path


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead only to one another
        return False


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a dangling link: its record will say so
        return -1


def _is_record(entry: os.DirEntry[bytes], passed_over: Counter[str]) -> bool:
    if extension := foreign_extension(entry.name):
        passed_over[extension] += 1
        return False
    # A link that leads nowhere is a record that cannot be read; pipes and devices are none at all.
    try:
        return stat.S_ISREG(entry.stat().st_mode) if entry.is_symlink() else entry.is_file()
    except OSError:
        return True
