"""Writes a demo set: an LMDB in LSUN's layout, drawn in parallel, and the truth about its copies."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import lmdb
import numpy as np

from dcgan_data.demo.plant import KINDS, SHORT_SIDE, PlantedCopy, encode_bedroom, encode_copy
from dcgan_data.demo.truth import DemoTruth, load_truth, write_truth
from dcgan_data.errors import BadInput, BadRequest

_ASPECTS = ((4, 3), (3, 2), (1, 1), (3, 4))
_ASPECT_SHARES = (0.55, 0.2, 0.1, 0.15)
_WEBP_SHARE = 0.05  # LSUN's names promise JPEG, and some of its records are WebP
_CHUNK_RECORDS = 32  # drawn by one worker and written in one transaction
_LARGEST_RECORD_BYTES = (
    512 * 1024
)  # far above any record; the map is only address space, the file stays small


@dataclass(frozen=True)
class _Record:
    """One record to be drawn."""

    key: str
    """40 hex digits."""
    index: int
    """Selects its random numbers."""
    size: tuple[int, int]
    """Width and height of the original in pixels."""
    suffix: str
    """Format of the original, '.jpg' or '.webp'."""
    copy_index: int | None = None
    """Selects the random numbers of the change, for a copy; ``index`` is then the original's."""
    kind: str = ""
    """What is done to a copy."""


def make_demo_lmdb(
    out: Path,
    count: int = 3000,
    seed: int = 0,
    copy_share: float = 0.1,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    workers: int = 1,
) -> DemoTruth:
    """Draw a demo set into the new directory ``out``: ``data.mdb`` and ``truth.json``.

    count: records, of which round(count * copy_share) are copies of others; copy_share is 0..0.5. The same
    count, seed and copy_share give the same keys and, with the same library versions, the same bytes,
    whatever the number of workers (processes; -1 is one a core). on_progress is called with (records
    written, count). If ``out`` already holds this very set, only its truth is read.
    Raises BadRequest for parameters out of range and if ``out`` is anything else.
    """
    _check(count, seed, copy_share, workers)
    if out.exists():
        return _existing(out, (count, seed, copy_share))
    records, copies = _plan(count, seed, copy_share)
    truth = DemoTruth(count, seed, copy_share, copies)
    chunks = [records[start : start + _CHUNK_RECORDS] for start in range(0, count, _CHUNK_RECORDS)]
    with _directory_when_done(out) as unfinished:
        drawn = joblib.Parallel(n_jobs=workers, return_as="generator")(
            joblib.delayed(_encode_records)(seed, chunk) for chunk in chunks
        )
        _write_lmdb(unfinished, zip(chunks, drawn, strict=True), count, on_progress)
        write_truth(unfinished, truth)
    return truth


def _check(count: int, seed: int, copy_share: float, workers: int) -> None:
    if count < 2:
        raise BadRequest(f"demo: count is {count}, it must be at least 2")
    if seed < 0:
        raise BadRequest(f"demo: seed is {seed}, it must not be negative")
    if not 0 <= copy_share <= 0.5:
        raise BadRequest(f"demo: copy_share is {copy_share}, it must be from 0 to 0.5")
    if workers < 1 and workers != -1:
        raise BadRequest(f"demo: workers is {workers}, it must be at least 1, or -1 for one a core")


def _existing(out: Path, asked: tuple[int, int, float]) -> DemoTruth:
    """The truth of a complete set with the parameters asked for; BadRequest for anything else."""
    try:
        truth = load_truth(out)
        with lmdb.open(str(out), readonly=True, lock=False) as environment:
            entries = environment.stat()["entries"]
    except (BadInput, lmdb.Error) as error:
        raise BadRequest(
            f"{out}: exists and is not a complete demo set ({error}); choose another directory"
        ) from None
    found = truth.count, truth.seed, truth.copy_share
    if found != asked or entries != truth.count:
        raise BadRequest(
            f"{out}: holds a demo set of {entries} records with (count, seed, copy_share) = {found}, "
            f"not the {asked} asked for; choose another directory"
        )
    return truth


def _plan(count: int, seed: int, copy_share: float) -> tuple[list[_Record], dict[str, PlantedCopy]]:
    """All records in the order of their keys, and the truth about the copies."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    keys = [hashlib.sha1(f"{seed}:{index}".encode()).hexdigest() for index in range(count)]
    originals = count - round(count * copy_share)
    sizes = [_size(*_ASPECTS[k]) for k in rng.choice(len(_ASPECTS), originals, p=_ASPECT_SHARES)]
    webp = set(rng.permutation(originals)[: round(_WEBP_SHARE * originals)].tolist())
    records = [
        _Record(keys[index], index, sizes[index], ".webp" if index in webp else ".jpg")
        for index in range(originals)
    ]
    copies = {}
    for index, source in zip(
        range(originals, count), rng.integers(originals, size=count - originals), strict=True
    ):
        original, kind = records[int(source)], KINDS[(index - originals) % len(KINDS)]
        records.append(_Record(keys[index], original.index, original.size, original.suffix, index, kind))
        copies[keys[index]] = PlantedCopy(original.key, kind)
    return sorted(records, key=lambda record: record.key), copies


def _size(wide: int, tall: int) -> tuple[int, int]:
    """(width, height) of an aspect with the short side of LSUN."""
    short = min(wide, tall)
    return round(SHORT_SIDE * wide / short), round(SHORT_SIDE * tall / short)


def _encode_records(seed: int, records: Sequence[_Record]) -> list[bytes]:
    """Draw and encode; a copy draws its original again, so that no record waits for another."""
    encoded = []
    for record in records:
        image = encode_bedroom(_generator(seed, record.index), record.size, record.suffix)
        if record.copy_index is not None:
            image = encode_copy(_generator(seed, record.copy_index), record.kind, image)
        encoded.append(image)
    return encoded


def _generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one record, the same wherever and in whatever order it is drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def _write_lmdb(
    directory: Path,
    chunks: Iterator[tuple[Sequence[_Record], Sequence[bytes]]],
    count: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write the chunks, which come in the order of the keys, into one unnamed database as LSUN has it."""
    map_size = (count + 64) * _LARGEST_RECORD_BYTES
    written = 0
    with lmdb.open(str(directory), map_size=map_size, lock=False, sync=False, writemap=False) as environment:
        for records, images in chunks:
            with environment.begin(write=True) as transaction:
                for record, image in zip(records, images, strict=True):
                    transaction.put(record.key.encode(), image, append=True)
            written += len(records)
            if on_progress is not None:
                on_progress(written, count)
        environment.sync(True)


@contextmanager
def _directory_when_done(out: Path) -> Iterator[Path]:
    """A new directory beside ``out`` that becomes ``out`` on success and is removed on an exception."""
    unfinished = out.with_name(f"{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise BadRequest(f"{out}: cannot be written ({error.strerror}); choose another directory") from None
    try:
        yield unfinished
        os.rename(unfinished, out)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
