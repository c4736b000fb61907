"""Image shards: plain ``.npy`` files, uint8 (n, S, S, 3) RGB, written in bounded memory."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.formats.arrays import read_array

NOT_DAMAGE = frozenset((errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO))
"""What the system says that is no fault of a file's contents: nobody should make a set anew for it."""


@dataclass(frozen=True)
class FileStamp:
    """Size and content hash of a file, as kept in ``dataset.json``."""

    bytes: int
    """Length of the file in bytes."""
    sha256: str
    """Hex digest of the whole file."""


def stamp_file(path: Path) -> FileStamp:
    """Hash a file in bounded memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileStamp(path.stat().st_size, digest)


class ShardWriter:
    """Append images to an ``.npy`` file whose length is known only at the end.

    Only ``batch`` images are in memory at a time. numpy pads the header so that its length does not
    depend on the number of rows; the header is therefore rewritten in place when the shard is closed.
    """

    def __init__(self, file: BinaryIO, image_size: int, batch: int = 256) -> None:
        self._file = file
        self._buffer = np.empty((batch, image_size, image_size, 3), np.uint8)
        self._filled = 0
        self.rows = 0
        self._write_header()

    def append(self, image: np.ndarray) -> int:
        """Add one uint8 (S, S, 3) image; returns its row number."""
        self._buffer[self._filled] = image
        self._filled += 1
        self.rows += 1
        if self._filled == len(self._buffer):
            self._flush()
        return self.rows - 1

    def close(self) -> None:
        """Write what is buffered and the final header; the file itself stays open."""
        self._flush()
        self._file.seek(0)
        self._write_header()
        self._file.flush()

    def _flush(self) -> None:
        self._file.write(self._buffer[: self._filled].data)
        self._filled = 0

    def _write_header(self) -> None:
        shape = (self.rows, *self._buffer.shape[1:])
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def open_shard(path: Path, rows: int, image_size: int) -> np.ndarray:
    """Memory-map a shard as uint8 (rows, S, S, 3), read-only.

    Raises BadInput when the file is missing, cut, or not of that shape.
    """
    expected = (rows, image_size, image_size, 3)
    try:
        images = read_array(path, mapped=True)
    except FileNotFoundError:
        raise BadInput(f"{path}: missing; {_REBUILD}") from None
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NOT_DAMAGE:
            raise
        raise BadInput(f"{path}: not a readable shard ({error}); {_REBUILD}") from None
    if images.shape != expected or images.dtype != np.uint8:
        found = f"{images.dtype} {images.shape}"
        raise BadInput(f"{path}: holds {found}, expected uint8 {expected}; {_REBUILD}")
    return images


_REBUILD = "run the command that made the set again with --overwrite to rebuild it"
