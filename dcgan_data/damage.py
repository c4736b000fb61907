"""Which files of a prepared set are not as its index says, and what lies there that is none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.formats.dataset import (
    AUTOENCODER,
    IMAGES,
    INDEX,
    INDEX_COPY,
    MANIFEST,
    PAIRS,
    SOURCE_INDEX,
    DatasetInfo,
    index_was_changed,
    read_index_copy,
    shard_name,
    stamp_problem,
)
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.formats.staging import leftovers


@dataclass(frozen=True)
class Damage:
    """A file that is not as it should be."""

    name: str
    """Path within the set."""
    what: str
    """What is wrong with it, for a person."""


def find_damage(out: Path, info: DatasetInfo, workers: int = 1) -> list[Damage]:
    """All files that are missing, cut, changed, unreadable or no files at all, in the order of their names.

    Every file is read once, by threads: hashing lets go of the interpreter's lock.
    """
    if index_was_changed(out):  # then nothing says what the others should be
        return [Damage(INDEX, f"was changed ({INDEX_COPY}, its copy, says otherwise)")]
    names = sorted({*needed_files(info), *info.files})
    with ThreadPoolExecutor(workers) as pool:
        problems = list(pool.map(lambda name: stamp_problem(out, name, info), names))
    return [Damage(name, what) for name, what in zip(names, problems, strict=True) if what]


def needed_files(info: DatasetInfo) -> list[str]:
    """The files that a set of its kind has."""
    names = [MANIFEST, PAIRS, *(shard_name(shard) for shard in range(len(info.shard_rows)))]
    return [*names, AUTOENCODER] if info.deduplication.get("rule") else names


def find_oddities(out: Path, info: DatasetInfo) -> list[str]:
    """What does no harm, but should be known: a line for each."""
    found = [f"{path.relative_to(out)}: left by a run that was killed" for path in leftovers(out)]
    return [*found, *_links(out, info), *_strangers(out, info), *_lost_spares(out)]


def _links(out: Path, info: DatasetInfo) -> Iterator[str]:
    for name in (IMAGES, *sorted(info.files)):
        if (out / name).is_symlink():
            yield f"{name}: a link to {os.readlink(out / name)}, without which the set is not whole"


def _strangers(out: Path, info: DatasetInfo) -> Iterator[str]:
    known = {*info.files, *(str(path.relative_to(out)) for path in leftovers(out))}
    for path in sorted((out / IMAGES).glob("*")):
        name = str(path.relative_to(out))
        if name not in known:
            yield f"{name}: none of the set's files"


def _lost_spares(out: Path) -> Iterator[str]:
    """Files that a set is good without."""
    if read_index_copy(out) is None:
        yield f"{INDEX_COPY}: no whole copy of {INDEX}; 'dcgan-data verify {out} --repair' makes one"
    if (out / SOURCE_INDEX).exists() and read_source_index(out) is None:
        yield f"{SOURCE_INDEX}: cannot be read; it only makes opening the source quicker"
