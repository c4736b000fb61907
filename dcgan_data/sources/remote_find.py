"""What a URL names: a tar or parquet file, several by a pattern, or a directory of them in a bucket."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.sources.access import opened
from dcgan_data.sources.base import Source, SourceOptions, text_key
from dcgan_data.sources.expand import expand_braces, is_wild, pattern_start
from dcgan_data.sources.folder import EXTENSIONS, is_hidden
from dcgan_data.sources.location import Url, copy_command, parse_url
from dcgan_data.sources.remote import explained, file_system
from dcgan_data.sources.signatures import HEAD_BYTES, compressed_message, compression, content_format

_EXPECTED = "tar archives or parquet files"
_NAMES = {"tar": "tar archives", "parquet": "parquet files"}
_LOCAL_ONLY = {
    "lsun": "an LMDB, which is mapped into memory and so needs a local disk",
    "zip": "a zip archive, which is read from a local disk only",
    "cifar": "one of CIFAR's batches, which are read from a local disk only",
    "svhn": "a MATLAB file, which is read from a local disk only",
    "folder": "single picture files, each of which would be a request of its own",
    "set": "a prepared set, which is mapped into memory and so needs a local disk",
}
_BY_EXTENSION = {".tar": "tar", ".parquet": "parquet", ".mdb": "lsun", ".zip": "zip", ".mat": "svhn"}


@dataclass(frozen=True)
class _Found:
    """What is to be opened."""

    format: str
    root: Url
    """What the keys of several files are relative to."""
    files: Sequence[Url]
    """Sorted by their bytes."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Files beside them, counted by extension."""


def open_remote(
    url: Url,
    records_per_shard: int,
    limit: int,
    options: SourceOptions,
    index: Mapping[str, np.ndarray] | None,
) -> Source:
    """As ``open_source``; only tar archives and parquet files are read from elsewhere."""
    wanted = options.format
    if wanted and wanted not in _NAMES:
        raise BadInput(f"{url}: {_local_only(wanted, url)}")
    found = _find(url, wanted)
    where = (found.files, found.root, records_per_shard, limit)
    source: Source
    if found.format == "parquet":
        from dcgan_data.sources.parquet import ParquetSource

        source = ParquetSource(*where, (options.image_column, options.label_column))
    elif options.image_column or options.label_column:
        raise BadRequest(f"{url}: has no columns to choose ({found.format}); leave their names out")
    else:
        from dcgan_data.sources.tar import TarSource

        source = TarSource(*where, index)
    source.path = str(url)
    source.passed_over = dict(sorted((Counter(source.passed_over) + Counter(found.others)).items()))
    if not len(source):
        raise BadInput(f"{url}: holds no images; expected {_EXPECTED} with images")
    return source


def _find(url: Url, wanted: str) -> _Found:
    names = expand_braces(url.address)
    if names != [url.address] or (url.has_buckets and is_wild(url.address)):
        return _find_pattern(url, names, wanted)
    if not url.has_buckets:
        if url.address.endswith("/"):
            raise BadInput(
                f"{url}: a directory, which cannot be listed over {url.protocol}; "
                f"name its files, such as {url}{{00000..00099}}.tar"
            )
        return _Found(_file_format(url, wanted), url.parent, (url,))
    with explained(url):
        kind = file_system(url).info(url.address.rstrip("/"))["type"]
    if kind == "directory":
        return _find_directory(url, wanted)
    return _Found(_file_format(url, wanted), url.parent, (url,))


def _find_pattern(url: Url, names: Sequence[str], wanted: str) -> _Found:
    above = pattern_start(url.address).rpartition("/")[0]
    if above.count("/") < 2:
        raise BadInput(f"{url}: a pattern for buckets or hosts; name the one")
    root = parse_url(above)
    files: dict[str, Url] = {}
    for name in names:
        if not (url.has_buckets and is_wild(name)):
            file = parse_url(name)
            files[file.address] = file
            continue
        pattern = parse_url(name)
        with explained(pattern):
            listed = file_system(url).glob(name, detail=True)
        matches = [path for path, details in listed.items() if details["type"] == "file"]
        if not matches:
            raise BadInput(f"{pattern}: matches no object; expected one or more")
        found = (url.with_path(path) for path in matches if not is_hidden(os.fsencode(path.split("/")[-1])))
        files.update((file.address, file) for file in found)
    ordered = sorted(files.values(), key=lambda file: os.fsencode(file.path))
    if len({file.path for file in ordered}) < len(ordered):
        raise BadInput(f"{url}: its files differ only after the question mark; their keys would be the same")
    kinds: dict[str, Url] = {}
    for file in {file.path.suffix.lower(): file for file in reversed(ordered)}.values():
        kinds[_file_format(file, wanted)] = file
    if len(kinds) > 1:
        both = " and ".join(f"{_NAMES[kind]} ({file.name}, ...)" for kind, file in sorted(kinds.items()))
        raise BadInput(f"{url}: names {both}; name files of one kind")
    return _Found(next(iter(kinds)), root, ordered)


def _find_directory(url: Url, wanted: str) -> _Found:
    """The files of a directory of a bucket, and of those directly below it, by their extensions."""
    root = parse_url(url.address.rstrip("/"))
    with explained(url):
        listed = file_system(url).find(root.address, maxdepth=2, detail=True)
    found: dict[str, list[Url]] = {}
    others: Counter[str] = Counter()
    for path in sorted(listed, key=os.fsencode):
        file = url.with_path(path)
        parts = file.path.relative_to(root.path).parts
        if listed[path]["type"] != "file" or any(is_hidden(os.fsencode(part)) for part in parts):
            continue
        if parts == ("dataset.json",):
            raise BadInput(f"{url}: {_local_only('set', url)}")
        extension = file.path.suffix.lower()
        kind = _BY_EXTENSION.get(extension) or ("folder" if extension.encode() in EXTENSIONS else "")
        found.setdefault(kind, []).append(file)
        if kind not in _NAMES:
            others[text_key(os.fsencode(extension)) or "no extension"] += 1
    kind = wanted or _only_kind(url, found)
    if kind not in found:
        raise BadInput(f"{url}: holds no {_NAMES[kind]}; leave --format out to have it found out")
    for other in set(_NAMES) - {kind}:
        others.update(file.path.suffix.lower() for file in found.get(other, ()))
    _file_format(found[kind][0], kind)
    return _Found(kind, root, found[kind], others)


def _only_kind(url: Url, found: Mapping[str, Sequence[Url]]) -> str:
    kinds = [kind for kind in (*_NAMES, *_LOCAL_ONLY) if kind in found]
    if kinds == ["tar", "parquet"]:
        raise BadInput(
            f"{url}: holds tar archives ({found['tar'][0].name}, ...) and parquet files beside them "
            f"({found['parquet'][0].name}, ...); name one of them as the source, or choose with --format"
        )
    if not kinds:
        raise BadInput(f"{url}: holds no {_EXPECTED}; {_copy_first(url, directory=True)}")
    if kinds[0] not in _NAMES:
        raise BadInput(f"{url}: holds {_local_only(kinds[0], url)}")
    if len(kinds) > 1:
        raise BadInput(
            f"{url}: holds {_NAMES[kinds[0]]} ({found[kinds[0]][0].name}, ...) and other images beside them "
            f"({found[kinds[1]][0].name}, ...); choose with --format {kinds[0]}"
        )
    return kinds[0]


def _file_format(url: Url, wanted: str) -> str:
    """The format of an object by its content. BadInput unless it is one that is read from elsewhere."""
    with opened(url) as file:
        head = file.read_at(0, HEAD_BYTES)
    if url.name == "data.mdb":
        raise BadInput(f"{url}: {_local_only('lsun', url.parent)}")
    found = content_format(url.name, head)
    if not found and compression(head):
        raise BadInput(compressed_message(url, head))
    if found in _LOCAL_ONLY:
        raise BadInput(f"{url}: {_local_only(found, url, directory=False)}")
    if found not in _NAMES or (wanted and wanted != found):
        what = _NAMES.get(found, "an empty object" if not head else "something else")
        raise BadInput(f"{url}: {what} by its content; expected {_NAMES.get(wanted, _EXPECTED)}")
    return found


def _local_only(kind: str, url: Url, directory: bool = True) -> str:
    return f"{_LOCAL_ONLY[kind]}; {_copy_first(url, directory)}"


def _copy_first(url: Url, directory: bool) -> str:
    return f"copy it there first: {copy_command(url, directory)}"
