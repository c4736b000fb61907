"""What a directory holds, itself and one level below: files of images by their content, pictures, others."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import text_key
from dcgan_data.sources.folder import EXTENSIONS, is_hidden
from dcgan_data.sources.signatures import (
    compressed_message,
    compression,
    content_format,
    has_zip_end,
    is_batch_name,
    read_head,
)

_TEXTS = frozenset(
    b".txt .csv .tsv .json .jsonl .cls .xml .html .md .rst .yaml .yml .toml .log .py .sh .ini .cfg".split()
)
"""Never opened: a folder may have a caption beside every picture."""
_OTHER_ZIPS = frozenset(
    b".npz .pt .pth .ckpt .docx .xlsx .pptx .odt .ods .odp .epub .jar .whl .egg .apk .kra .ora".split()
)
"""Zip archives by their content, but of something else."""
_COMPRESSED = "compressed"
_COMPRESSED_ARCHIVE = re.compile(rb"\.(tar(\.\w+)?|tgz|tbz2?|txz|tzst|7z|rar)$", re.IGNORECASE)
_MOST_UNKNOWN = 1000
"""Once so many files were opened and none held images, the rest is left: in a folder of pictures without
extensions every one would be opened once more."""


@dataclass
class Survey:
    """What was found."""

    containers: dict[str, list[Path]] = field(default_factory=dict)
    """By format: files that hold images."""
    picture: Path | None = None
    """The first file with a picture's extension."""
    compressed: Path | None = None
    """The first archive that would have to be decompressed."""
    unknown: dict[bytes, tuple[Path, str]] = field(default_factory=dict)
    """By extension: the first file that is nothing known, and what it is instead."""
    no_batches: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are named as CIFAR's batches, which have no extension, but are none; and what instead."""
    unreadable: str = ""
    """The first file that cannot be opened, and why."""
    others: Counter[str] = field(default_factory=Counter)
    """Files that are neither containers nor pictures, counted by extension."""

    def check_like(self, kind: str, containers: Sequence[Path]) -> None:
        """BadInput if a file is named as these are, but is none of them: it would be left out in silence."""
        extensions = sorted({_extension(os.fsencode(path.name)) for path in containers} - {b""})
        unlike = [self.unknown[extension] for extension in extensions if extension in self.unknown]
        if kind == "cifar":
            unlike += self.no_batches
        for path, what in unlike:
            if what == _COMPRESSED:
                raise BadInput(compressed_message(path, read_head(path)))
            raise BadInput(
                f"{path}: {what}, unlike {containers[0].name} beside it; "
                "fetch or copy it again, or move it away"
            )


def survey_directory(root: Path, without: Sequence[Path]) -> Survey:
    """Look at the files of a directory and of those directly below it, but for the directories ``without``.

    Raises OSError for a directory that may not be listed.
    """
    survey = Survey()
    opened = 0
    for entry in _files(os.fsencode(root), {os.fsencode(path) for path in without}):
        extension = _extension(entry.name)
        if extension in EXTENSIONS:
            survey.picture = survey.picture or Path(os.fsdecode(entry.path))
            continue
        if extension not in _TEXTS and (survey.containers or opened < _MOST_UNKNOWN):
            if _take_container(entry, extension, survey):
                continue
            opened += 1
        survey.others[text_key(extension) or "no extension"] += 1
    return survey


def _files(root: bytes, without: set[bytes]) -> Iterator[os.DirEntry[bytes]]:
    """All but hidden ones, in the order of their names' bytes, first those of the directory itself."""
    below = []
    for entry in _listed(root):
        if not _is_directory(entry):
            yield entry
        elif entry.path not in without:
            below.append(entry.path)
    for directory in below:
        yield from (entry for entry in _listed(directory) if not _is_directory(entry))


def _listed(directory: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(directory) as entries:
        return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead only to one another
        return False


def _take_container(entry: os.DirEntry[bytes], extension: bytes, survey: Survey) -> bool:
    """Note a file by its content; False unless it is one that holds images."""
    path = Path(os.fsdecode(entry.path))
    head, kind, what = b"", "", "a pipe or a device"
    try:
        if stat.S_ISREG(path.stat().st_mode):  # another would be waited for
            head = read_head(path)
            what = _COMPRESSED if compression(head) else "unknown content" if head else "empty"
            kind = content_format(path.name, head)
            if not kind and extension == b".zip" and has_zip_end(path):  # not of a program beside pictures
                kind = "zip"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        survey.unreadable = survey.unreadable or f"{path}: {what}"
    if kind and not (kind == "zip" and extension in _OTHER_ZIPS):
        survey.containers.setdefault(kind, []).append(path)
        return True
    if what == _COMPRESSED and _COMPRESSED_ARCHIVE.search(entry.name):
        survey.compressed = survey.compressed or path
    survey.unknown.setdefault(extension, (path, what))
    if is_batch_name(path):
        survey.no_batches.append((path, what))
    return False


def _extension(name: bytes) -> bytes:
    return os.path.splitext(name)[1].lower()
