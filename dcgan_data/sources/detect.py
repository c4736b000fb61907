"""Which kind of source a path is, from what it holds."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Source
from dcgan_data.sources.folder import EXTENSIONS, FolderSource
from dcgan_data.sources.lsun import LsunSource, find_databases

SUPPORTED = "an LSUN LMDB (a directory with data.mdb, or with several such) or a folder of image files"


def open_source(path: Path, records_per_shard: int, limit: int = 0) -> Source:
    """Open ``path`` as what it is; BadInput says what was found and what is supported.

    limit: only the first so many records; 0 means all.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file or directory; expected {SUPPORTED}")
    if path.is_file() and path.name == "data.mdb":
        path = path.parent
    if not path.is_dir():
        raise BadInput(f"{path}: a single file; expected {SUPPORTED}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise BadInput(f"{path}: permission denied; make it readable")
    databases = find_databases(path)
    if databases and databases != [path]:
        _refuse_mixture(path, databases)
    kind: type[LsunSource] | type[FolderSource] = LsunSource if databases else FolderSource
    try:
        source = kind(path, records_per_shard, limit)
    except OSError as error:  # a directory below that may not be listed
        place = os.fsdecode(error.filename) if error.filename else path
        raise BadInput(f"{place}: cannot be read ({error.strerror}); make it readable") from None
    if not len(source):
        raise BadInput(f"{path}: holds no images; expected {SUPPORTED}")
    return source


def _refuse_mixture(path: Path, databases: list[Path]) -> None:
    """Databases beside pictures: one of the two would be dropped in silence."""
    others = (entry for entry in path.iterdir() if entry not in databases and not entry.name.startswith("."))
    pictures = sorted(entry.name for entry in others if _is_picture(entry) or _has_pictures(entry))
    if pictures:
        raise BadInput(
            f"{path}: holds LMDBs ({databases[0].name}, ...) and pictures beside them ({pictures[0]}, ...); "
            "name one of them as the source"
        )


def _is_picture(path: Path) -> bool:
    return path.is_file() and os.fsencode(path.suffix).lower() in EXTENSIONS


def _has_pictures(path: Path) -> bool:
    """Whether the first few entries of a directory show a picture."""
    return path.is_dir() and any(_is_picture(entry) for entry in islice(path.iterdir(), 100))
