"""Which kind of source a path is, from what it holds."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.sources.base import Source, SourceOptions, text_key
from dcgan_data.sources.expand import expand_pattern, is_pattern, pattern_root
from dcgan_data.sources.folder import FolderSource
from dcgan_data.sources.location import Location, Url
from dcgan_data.sources.lsun import LsunSource, find_databases
from dcgan_data.sources.signatures import (
    compressed_message,
    compression,
    content_format,
    has_zip_end,
    read_head,
)
from dcgan_data.sources.survey import Survey, survey_directory

SUPPORTED = (
    "an LSUN LMDB (a directory with data.mdb, or with several such), tar archives (WebDataset's and "
    "ImageNet's too), zip archives, parquet files (Hugging Face's), CIFAR's python version, "
    "SVHN's .mat files, or a folder of image files"
)
_DEFAULTS = SourceOptions()
_SINGULARS = {
    "lsun": "an LMDB",
    "tar": "a tar archive",
    "zip": "a zip archive",
    "parquet": "a parquet file",
    "cifar": "one of CIFAR's batches",
    "svhn": "a MATLAB file",
}
_PLURALS = {
    "lsun": "LMDBs",
    "tar": "tar archives",
    "zip": "zip archives",
    "parquet": "parquet files",
    "cifar": "CIFAR's batches",
    "svhn": ".mat files",
}


@dataclass(frozen=True)
class _Found:
    """What is to be opened."""

    format: str
    root: Path
    """The directory, absolute; of files the one that they lie below."""
    files: Sequence[Path] = ()
    """Of the formats that are files; absolute, sorted by their bytes."""
    shown: str = ""
    """What was asked for, if not a directory."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Files beside them that are no images, counted by extension."""
    obstacle: str = ""
    """What to say if there turn out to be no images."""


def open_source(
    path: Location,
    records_per_shard: int,
    limit: int = 0,
    options: SourceOptions = _DEFAULTS,
    index: Mapping[str, np.ndarray] | None = None,
) -> Source:
    """Open ``path`` as what it is: a directory, a file, or a pattern (``{00000..00099}.tar``, ``*.zip``); of
    tar archives and parquet files also a URL.

    limit: only the first so many records; 0 means all. index: ``Source.index`` of the same source opened
    before; where it does not fit what is there it counts for nothing. Raises BadInput, which says what was
    found and what is supported, and BadRequest for options that the source has no use for.
    """
    if isinstance(path, Url):
        from dcgan_data.sources.remote_find import open_remote

        return open_remote(path, records_per_shard, limit, options, index)
    try:
        found = _find(path, options.format)
        if found.format != "parquet" and (options.image_column or options.label_column):
            raise BadRequest(f"{path}: has no columns to choose ({found.format}); leave their names out")
        source = _open(found, records_per_shard, limit, options, index)
    except OSError as error:  # a directory below that may not be listed
        place = os.fsdecode(error.filename) if error.filename else path
        raise BadInput(f"{place}: cannot be read ({error.strerror}); make it readable") from None
    if found.files:
        source.path = found.shown or str(found.root)
        passed_over = Counter(source.passed_over) + Counter(found.others)
        source.passed_over = dict(sorted(passed_over.items()))
    if not len(source):
        raise BadInput(found.obstacle or f"{path}: holds no images; expected {SUPPORTED}")
    return source


def _open(
    found: _Found,
    records_per_shard: int,
    limit: int,
    options: SourceOptions,
    index: Mapping[str, np.ndarray] | None,
) -> Source:
    """Modules of formats are imported only when they are needed: scipy and pyarrow take their time."""
    where = (found.files, found.root, records_per_shard, limit)
    match found.format:
        case "lsun":
            return LsunSource(found.root, records_per_shard, limit)
        case "folder":
            return FolderSource(found.root, records_per_shard, limit)
        case "tar":
            from dcgan_data.sources.tar import TarSource

            return TarSource(*where, index)
        case "zip":
            from dcgan_data.sources.zip_archive import ZipSource

            return ZipSource(*where, index)
        case "parquet":
            from dcgan_data.sources.parquet import ParquetSource

            return ParquetSource(*where, (options.image_column, options.label_column))
        case "cifar":
            from dcgan_data.sources.cifar import CifarSource

            return CifarSource(*where)
        case _:
            from dcgan_data.sources.svhn import SvhnSource

            return SvhnSource(*where)


def _find(path: Path, wanted: str) -> _Found:
    """What a path stands for; a name that exists is taken as it is, even if it could be a pattern."""
    if is_pattern(str(path)) and not os.path.lexists(path):
        return _find_pattern(path, wanted)
    mode = _check_readable(path)
    if stat.S_ISDIR(mode):
        return _find_directory(path, wanted)
    kind = _file_format(path, wanted)
    if kind == "lsun":
        if path.name != "data.mdb":
            raise BadInput(f"{path}: an LMDB by another name; put it into a directory of its own as data.mdb")
        return _find_directory(path.parent, wanted)
    if kind == "folder":
        raise BadInput(f"{path}: a single file, not a folder of image files; name its directory")
    file = path.parent.resolve() / path.name
    return _Found(kind, file.parent, (file,), str(file))


def _check_readable(path: Path) -> int:
    """The mode of a file or directory that may be read; BadInput says why it cannot be."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadInput(f"{path}: links that lead only to one another; name the data itself") from None
        if error.errno == errno.EACCES:
            raise BadInput(f"{path}: permission denied; make it readable") from None
        if os.path.islink(path):
            target = os.fsdecode(os.readlink(path))
            raise BadInput(f"{path}: a link to {target}, which is not there; name the data itself") from None
        raise BadInput(f"{path}: no such file or directory; expected {SUPPORTED}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise BadInput(f"{path}: a pipe or a device, which cannot be read by range; name a file or directory")
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise BadInput(f"{path}: permission denied; make it readable")
    return mode


def _file_format(path: Path, wanted: str) -> str:
    """The format of a single file by its content, or the one that is wanted if it can be that."""
    head = read_head(path)
    found = content_format(path.name, head)
    if not found and compression(head):
        raise BadInput(compressed_message(path, head))
    if not found and has_zip_end(path):
        found = "zip"
    if found and wanted in _SINGULARS and wanted != found:
        raise BadInput(
            f"{path}: {_SINGULARS[found]} by its content, not {_SINGULARS[wanted]}; "
            "leave --format out, or give the right one"
        )
    if not (wanted or found):
        raise BadInput(f"{path}: {'a single file' if head else 'an empty file'}; expected {SUPPORTED}")
    return wanted or found


def _find_pattern(path: Path, wanted: str) -> _Found:
    files = expand_pattern(str(path))
    for file in files:
        if stat.S_ISDIR(_check_readable(file)):
            raise BadInput(f"{file}: a directory; patterns name files, such as {path}/*.tar")
    kinds = {_file_format(file, wanted): file for file in reversed(files)}
    if len(kinds) > 1:
        names = " and ".join(f"{_PLURALS[kind]} ({file.name}, ...)" for kind, file in sorted(kinds.items()))
        raise BadInput(f"{path}: names {names}; name files of one kind")
    (kind,) = kinds
    if kind in ("lsun", "folder"):
        raise BadInput(f"{path}: names single files; give the directory of {_PLURALS.get(kind, 'pictures')}")
    return _Found(kind, pattern_root(str(path)), files, os.path.abspath(path))


def _find_directory(path: Path, wanted: str) -> _Found:
    root = path.resolve()  # shards travel to workers, whose current directory may be another
    databases = find_databases(root)
    if wanted == "folder" or (databases == [root] and wanted in ("", "lsun")):
        return _Found(wanted or "lsun", root)
    survey = survey_directory(root, databases)
    containers = {kind: files for kind, files in survey.containers.items() if kind != "lsun"}
    if databases:
        containers["lsun"] = databases
    kind = wanted or _only_kind(path, containers, survey)
    if kind == "folder":
        return _Found(kind, root, obstacle=_obstacle(survey))
    if kind not in containers:
        raise BadInput(f"{path}: holds no {_PLURALS[kind]}; leave --format out to have it found out")
    if kind == "lsun":
        return _Found(kind, root)
    survey.check_like(kind, containers[kind])
    others = survey.others + Counter(_extensions(containers, kind))
    return _Found(kind, root, sorted(containers[kind], key=os.fsencode), others=others)


def _only_kind(path: Path, containers: dict[str, list[Path]], survey: Survey) -> str:
    """The one kind of thing that a directory holds; of several, all but one would be dropped in silence."""
    kinds = sorted(containers)
    if "svhn" in kinds and (len(kinds) > 1 or survey.picture):
        kinds.remove("svhn")  # MATLAB's files then are lists of labels
    examples = [(_PLURALS[kind], containers[kind][0]) for kind in kinds]
    if survey.picture:
        examples.append(("pictures", survey.picture))
    if len(examples) > 1:
        (first, here), (second, there) = examples[:2]
        raise BadInput(
            f"{path}: holds {first} ({here.name}, ...) and {second} beside them ({there.name}, ...); "
            "name one of them as the source, or choose with --format"
        )
    if kinds and survey.compressed:
        raise BadInput(compressed_message(survey.compressed, read_head(survey.compressed)))
    return kinds[0] if kinds else "folder"


def _obstacle(survey: Survey) -> str:
    """Why a directory may hold no images that can be read; empty if nothing was in the way."""
    if survey.compressed:
        return compressed_message(survey.compressed, read_head(survey.compressed))
    return f"{survey.unreadable}; make it readable, or move it away" if survey.unreadable else ""


def _extensions(containers: Mapping[str, Sequence[Path]], without: str) -> Iterator[str]:
    """Of the files of all formats but one."""
    for kind, files in containers.items():
        if kind != without:
            yield from (text_key(os.fsencode(file.suffix.lower())) or "no extension" for file in files)
