"""Where an export goes: refused if it would overwrite anything, and whole or absent.

DEST.tmp/.lock                  held while an export runs
DEST.tmp/.dcgan-data-export     says whose directory it is: only what has this marker is ever removed
DEST.tmp/export.0a1b2c3d        what is being written; renamed to DEST when complete and on the disk
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import TEMPORARY_SUFFIX, flush_to_disk, name_file
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.formats.lock import IN_FLIGHT, LOCK, only_one, staying

_MARKER = ".dcgan-data-export"
_EXPORT, _REMOVED = "export.", "removed."
_MANY_FILES = 1000


def check_destination(destination: Path, is_file: bool, prepared: Path, info: DatasetInfo) -> Path:
    """The absolute path to write to; BadRequest unless something new can be made there.

    is_file: whether a ``.zip`` is made, not a directory. prepared, info: the set that is exported.
    """
    path = Path(os.path.realpath(destination))
    if path.exists():
        _clear_up_after(path)
        _refuse_existing(path, is_file)
    if is_file and path.suffix.lower() != ".zip":
        raise BadRequest(f"{path}: its readers know it by its name; give one that ends in .zip")
    if path.is_relative_to(prepared.resolve()):
        raise BadRequest(f"{path}: lies inside the prepared set {prepared}; choose a place outside of it")
    if path.is_relative_to(os.path.realpath(info.source["path"])):
        raise BadRequest(
            f"{path}: lies inside the source {info.source['path']}; choose a place outside of it"
        )
    if not path.parent.is_dir():
        raise BadRequest(f"{path.parent}: no such directory; make it first, or choose another DEST")
    return path


def check_space(destination: Path, needed: int) -> None:
    """BadRequest if ``needed`` bytes are not free where ``destination`` will be."""
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise BadRequest(
            f"{destination}: needs about {needed:,} bytes, {free:,} are free; "
            "make room, or choose another DEST"
        )


@contextmanager
def unfinished(destination: Path) -> Iterator[Path]:
    """Yield a path beside ``destination``; what was written there becomes ``destination`` on success.

    On an exception it is removed; what a kill left is removed by the next export to the same place.
    BadRequest if another export is writing there, or if the place is taken by something else.
    """
    directory = destination.with_name(destination.name + TEMPORARY_SUFFIX)
    _refuse_foreign(directory)
    with only_one(directory, "DEST"):
        # A name of its own: workers of a killed export may have work left, and do it before they notice.
        target = directory / f"{_EXPORT}{secrets.token_hex(4)}"
        try:
            with staying(directory):
                _remove_unfinished(directory)
                (directory / _MARKER).write_text("An unfinished export of dcgan-data; it may be removed.\n")
                yield target
                if destination.exists():  # made by someone else meanwhile
                    _refuse_existing(destination, target.is_file())
                os.rename(target, destination)
            flush_to_disk(destination.parent)
        except OSError as error:
            name_file(error, destination)
            raise
        finally:
            if directory.is_dir():
                _remove_unfinished(directory)
                _remove_directory(directory)


def flush_tree(path: Path) -> tuple[int, int]:
    """Bring a file or a directory tree to the disk; returns the number of files and their bytes."""
    files = size = 0
    for file in _walk(path):
        files += file.is_file()
        size += file.stat().st_size if file.is_file() else 0
    if files > _MANY_FILES:  # one by one, a million would take hours on a disk
        os.sync()
    else:
        for file in _walk(path):
            flush_to_disk(file)
    return files, size


def _walk(path: Path) -> Iterator[Path]:
    """A file or directory and all below it."""
    yield path
    if path.is_dir():
        for entry in os.scandir(path):
            yield from _walk(Path(entry))


def _clear_up_after(destination: Path) -> None:
    """Remove what is left beside a destination whose export was killed when that was already whole."""
    directory = destination.with_name(destination.name + TEMPORARY_SUFFIX)
    if not directory.is_dir() or directory.is_symlink():
        return
    if {entry.name for entry in directory.iterdir()} <= {_MARKER, LOCK}:
        with suppress(BadRequest), only_one(directory, "DEST"):
            _remove_directory(directory)


def _remove_directory(directory: Path) -> None:
    (directory / _MARKER).unlink(missing_ok=True)
    (directory / LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # someone else has put something there
        directory.rmdir()


def _refuse_existing(path: Path, is_file: bool) -> None:
    """An empty directory may be replaced by a directory; nothing else by anything."""
    if is_file or not path.is_dir():
        raise BadRequest(f"{path}: exists; choose another DEST, or remove it first")
    if any(path.iterdir()):
        raise BadRequest(f"{path}: a directory that is not empty; choose another DEST")
    if path.is_mount():
        raise BadRequest(f"{path}: a disk of its own; name a new directory on it")


def _refuse_foreign(directory: Path) -> None:
    """Never remove what may be a user's own: only an empty directory, or one with the marker."""
    if not os.path.lexists(directory):
        return
    is_directory = directory.is_dir() and not directory.is_symlink()
    names = {entry.name for entry in directory.iterdir()} if is_directory else {""}
    marked = _MARKER in names
    if any(not (name == LOCK or (marked and _is_ours(name))) for name in names):
        raise BadRequest(
            f"{directory}: is where the export would be made, but holds something else; "
            "move it away, or choose another DEST"
        )


def _is_ours(name: str) -> bool:
    return name in (_MARKER, IN_FLIGHT) or name.startswith((_EXPORT, _REMOVED))


def _remove_unfinished(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name.startswith((_EXPORT, IN_FLIGHT)):  # first out of the way of who may want to write there
            path.rename(directory / f"{_REMOVED}{path.name}")
    for path in directory.glob(f"{_REMOVED}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
