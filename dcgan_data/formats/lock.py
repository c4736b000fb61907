"""One process at a time in a directory that is being written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from dcgan_data.errors import BadRequest

LOCK = ".lock"
"""An empty file that stays; the operating system holds the lock on it, and lets go when its holder dies."""


@contextmanager
def locked(directory: Path, option: str) -> Iterator[None]:
    """Make ``directory`` and hold it; BadRequest if another process works on it or it cannot be written.

    option: the command's option that names the directory, for the message.
    """
    lock = filelock.FileLock(directory / LOCK, timeout=0)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise BadRequest(
            f"{directory}: another run is working on it; wait for it to end, or choose another {option}"
        ) from None
    except OSError as error:
        raise BadRequest(
            f"{directory}: cannot be written ({error.strerror}); choose another {option}"
        ) from None
    try:
        _wait_for_orphans(directory)
        yield
    finally:
        lock.release()


@contextmanager
def shared_by_worker(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for one task of a worker, so that a run that comes next waits for its end."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _wait_for_orphans(directory: Path) -> None:
    """Wait for workers whose parent was killed; they notice within a moment, and end."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)
