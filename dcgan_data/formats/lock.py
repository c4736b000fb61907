"""One process at a time in a directory that is being written."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from dcgan_data.errors import BadRequest, DcganDataError

LOCK = ".lock"
"""An empty file that stays; the operating system holds the lock on it, and lets go when its holder dies."""
IN_FLIGHT = ".in_flight"
"""A directory with an empty file for each task that workers are at, named by its number (``parallel``)."""
_SECONDS_BEFORE_A_WORD = 2.0
_SECONDS_BETWEEN_TRIES = 0.05
Tell = Callable[[str], None]


def _to_nobody(text: str) -> None:
    pass


@contextmanager
def locked(directory: Path, option: str, tell: Tell = _to_nobody) -> Iterator[None]:
    """Make ``directory`` and hold it; BadRequest if another process works on it or it cannot be written,
    or if what is done within failed because it was taken away.

    option: the command's option that names the directory, for the message; tell: what says to a person that
    workers of a killed run are waited for.
    """
    with only_one(directory, option, tell), staying(directory):
        yield


@contextmanager
def only_one(directory: Path, option: str, tell: Tell = _to_nobody) -> Iterator[None]:
    """Do as ``locked``, for those who remove the directory themselves."""
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
        wait_for_workers(directory, tell)
        yield
    finally:
        lock.release()


@contextmanager
def staying(directory: Path) -> Iterator[None]:
    """BadRequest if the block fails and the directory, which is held, is another than before, or gone."""
    held = _identity(directory)
    try:
        yield
    except (OSError, DcganDataError):
        if _identity(directory) == held:
            raise
        raise BadRequest(
            f"{directory}: was removed or renamed while this run worked on it; put it back, or remove what "
            "is there now, and give the same command again"
        ) from None


def _identity(directory: Path) -> tuple[int, int] | None:
    """Device and inode of the lock; None if it is gone, and with it the directory."""
    try:
        status = os.stat(directory / LOCK)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def shared_by_worker(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for one task of a worker, so that a run that comes next waits for its end.

    BadRequest if it is not there, for example on another machine.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        raise BadRequest(
            f"{directory}: not there on {socket.gethostname()}; all machines of a cluster must see the "
            "source and --out by the same paths, on a shared file system"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def wait_for_workers(directory: Path, tell: Tell = _to_nobody) -> None:
    """Wait for the end of all tasks there; workers whose parent was killed notice that and end.

    tell: gets a line if that takes more than two seconds.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if not _held_soon(descriptor):
            tell(f"{directory}: waiting until workers of an earlier run, which still write there, have ended")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _held_soon(descriptor: int) -> bool:
    """Try to hold a file alone, for as long as nobody would wonder."""
    deadline = time.monotonic() + _SECONDS_BEFORE_A_WORD
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_SECONDS_BETWEEN_TRIES)
        else:
            return True
