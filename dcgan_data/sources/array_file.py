"""Files that hold all their images as one array: what the CIFAR and the SVHN source share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Record, changed_file, file_prefixes, file_stamp, text_key


@dataclass(frozen=True)
class FileIdentity:
    """What tells a file from another of its name."""

    path: str
    """Where it is."""
    size: int
    """Bytes."""
    changed: int
    """Nanoseconds since 1970."""


@dataclass(frozen=True)
class OpenFile:
    """A file that is being read."""

    identity: FileIdentity
    """Which one it is."""
    file: BufferedReader
    """Its bytes."""


Picture = tuple[np.ndarray, int]
"""uint8 (H, W, 3), RGB, in whatever order the file has it; and its label."""


@dataclass(frozen=True)
class ArrayFormat:
    """How files of one kind are read. Both functions raise BadInput with the path of the file."""

    key_digits: int
    """A picture's key is its number in the file, zero-padded to so many digits."""
    count: Callable[[OpenFile], int]
    """The number of pictures."""
    read: Callable[[OpenFile, int, int], Iterator[Picture]]
    """So many pictures from this number on."""


class ArrayFileSource:
    """The pictures of some files, in the order of the files. A record is a binary PPM: lossless, and made
    only when it is read."""

    kind: str
    format: ArrayFormat

    def __init__(self, files: Sequence[Path], root: Path, records_per_shard: int, limit: int = 0) -> None:
        self.path = str(files[0] if len(files) == 1 else root)
        self.passed_over: dict[str, int] = {}
        self.index: dict[str, np.ndarray] = {}
        digest = hashlib.sha256()
        self._shards: list[ArrayShard] = []
        left = limit or None
        for file, prefix in zip(files, file_prefixes(files, root), strict=True):
            with open_file(file) as opened:
                count = self.format.count(opened)
                opened.file.seek(0)
                contents = hashlib.file_digest(opened.file, "sha256").hexdigest()
            count = count if left is None else min(count, left)
            name = text_key(os.fsencode(file.name))
            digest.update(f"{prefix or name}\0{count}\0{contents}\0".encode())
            for start in range(0, count, records_per_shard):
                length = min(records_per_shard, count - start)
                self._shards.append(ArrayShard(opened.identity, prefix, start, length, self.format))
            left = None if left is None else left - count
            if left == 0:
                break
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def shards(self) -> Sequence[ArrayShard]:
        """Runs of consecutive pictures of one file."""
        return self._shards


@dataclass(frozen=True)
class ArrayShard:
    """Some pictures of one file."""

    file: FileIdentity
    """The file as it was when the source was opened: a later one has other pictures."""
    prefix: str
    """Put before every key."""
    start: int
    """Number of the first picture."""
    count: int
    """Number of pictures."""
    format: ArrayFormat
    """How the file is read."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Record]:
        with open_same(self.file) as opened:
            pictures = self.format.read(opened, self.start, self.count)
            for number, (pixels, label) in enumerate(pictures, self.start):
                key = f"{self.prefix}{number:0{self.format.key_digits}d}"
                yield Record(key, encode_ppm(pixels), label=str(label))


def encode_ppm(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) RGB -> a binary PPM: a line of text, then the samples as they are."""
    height, width, _ = pixels.shape
    return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()


@contextmanager
def open_file(path: Path) -> Iterator[OpenFile]:
    """Open for reading; BadInput if that cannot be done, or if the file is changed meanwhile."""
    try:
        with path.open("rb") as file:
            opened = OpenFile(_identity(path, file), file)
            yield opened
            if _identity(path, file) != opened.identity:
                raise changed_file(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); make it readable") from None


@contextmanager
def open_same(file: FileIdentity) -> Iterator[OpenFile]:
    """The same for a file that was open before; BadInput also if it is another by now."""
    with open_file(Path(file.path)) as opened:
        if opened.identity != file:
            raise changed_file(file.path)
        yield opened


def _identity(path: Path, file: BufferedReader) -> FileIdentity:
    return FileIdentity(str(path), *file_stamp(os.fstat(file.fileno())))
