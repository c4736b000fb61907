"""Files that are either whole or absent: write to ``NAME.1a2b3c4d.tmp``, fsync, rename.

The temporary name is random and the file behind it nobody else's: two writers of one file, such as a task of
a cluster and its second copy on another machine, never write into one another's, and nobody can put a link
there before. Its writer holds the system's lock on it, which ends with the process: the next writer of NAME
removes what a killed one left, and nothing that is still being written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

TEMPORARY_SUFFIX = ".tmp"
LEFTOVER = "." + "[0-9a-f]" * 8 + TEMPORARY_SUFFIX
"""What follows NAME in the names of its temporary files: a pattern for ``glob`` and ``re``."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the path of an empty file; on success it becomes ``path``, on an exception it is removed.

    Until then only its owner can read it; afterwards who the umask says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary, descriptor, mode = _create(path)
    try:
        yield temporary
        os.chmod(temporary, mode)
        flush_to_disk(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            name_file(error, path)
        raise
    finally:
        os.close(descriptor)
    flush_to_disk(path.parent)


def is_leftover(name: str, of: Path) -> bool:
    """Whether a file's name is that of a temporary file of a path."""
    middle = LEFTOVER.replace(".", r"\.")
    return name.startswith(of.name) and re.fullmatch(middle, name[len(of.name) :]) is not None


def name_file(error: OSError, path: Path) -> None:
    """Say in an error that names no file, as those of writing to a full disk do, which one it was."""
    if error.errno is not None and error.filename is None:
        error.filename = str(path)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically: sorted keys, two spaces, a final newline."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array as ``.npy``, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array))


def flush_to_disk(path: Path) -> None:
    """fsync a file or a directory, so that a power cut cannot leave a renamed but empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path) -> tuple[Path, int, int]:
    """A locked new file beside ``path``: its path, its descriptor, and the mode that files have here."""
    while True:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            error.filename = str(path)  # the name that a person knows
            raise
        mode = os.fstat(descriptor).st_mode & 0o777  # as the umask has made it
        os.fchmod(descriptor, 0o600)
        with suppress(OSError):  # a file system without locks: then nobody removes anything either
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits for another writer who takes it for a leftover
        if temporary.exists():
            return temporary, descriptor, mode
        os.close(descriptor)  # and who was first


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of ``path`` that nobody is writing any more."""
    for name in os.listdir(path.parent):
        if is_leftover(name, path):
            with suppress(OSError):  # gone by now, or another user's
                descriptor = os.open(path.with_name(name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if _lock(descriptor):
                        path.with_name(name).unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock on a file; False if another process has it, or if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
