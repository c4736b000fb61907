"""Which kind of source a path is, from what it holds."""

from __future__ import annotations

import os
from pathlib import Path

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Source
from dcgan_data.sources.folder import FolderSource
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
    kind: type[LsunSource] | type[FolderSource] = LsunSource if find_databases(path) else FolderSource
    try:
        source = kind(path, records_per_shard, limit)
    except OSError as error:  # a directory below that may not be listed
        place = os.fsdecode(error.filename) if error.filename else path
        raise BadInput(f"{place}: cannot be read ({error.strerror}); make it readable") from None
    if not len(source):
        raise BadInput(f"{path}: holds no images; expected {SUPPORTED}")
    return source
