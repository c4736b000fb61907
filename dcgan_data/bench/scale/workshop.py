"""The directory in which ``bench scale`` makes its LMDBs and sets, and what of it a later run uses again."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.bench.scale.building import build_lmdb, collect_photos
from dcgan_data.bench.scale.truth import Truth
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.lock import LOCK, locked
from dcgan_data.formats.shards import stamp_file
from dcgan_data.reporter import Reporter

_OURS = re.compile(r"drawn|photos\.npy|(lmdb|set)-\d+")
_NAME = "bench-scale"
_DRAWN = 1000


def lmdb_path(work: Path, images: int) -> Path:
    """Where the LMDB of so many records is."""
    return work / _NAME / f"lmdb-{images}"


@dataclass(frozen=True)
class Workshop:
    """A directory of ours."""

    path: Path
    """``--work/bench-scale``."""
    photos: Path
    """uint8 (P, 256, 352, 3), what the records are made from."""
    workers: int
    """Processes that make them."""
    kept: frozenset[str]
    """Names of what earlier runs have left there: not this one's to remove."""

    def lmdb(self, truth: Truth, keys: np.ndarray, seed: int, reporter: Reporter) -> tuple[Path, float]:
        """An LMDB of these records, and the seconds that it took, now or in an earlier run, to write it."""
        directory = lmdb_path(self.path.parent, len(keys))
        made = directory / "made.json"
        wanted = {"seed": seed, "photos": stamp_file(self.photos).sha256}
        if made.exists():
            found = json.loads(made.read_text("utf-8"))
            if {name: found[name] for name in wanted} == wanted:
                return directory, found["seconds"]
        shutil.rmtree(directory, ignore_errors=True)
        start = time.perf_counter()
        with reporter.stage("build", len(keys), "images") as stage:
            build_lmdb(directory, self.photos, truth, keys, (seed, self.workers), stage)
        seconds = round(time.perf_counter() - start, 1)
        write_json(made, {**wanted, "seconds": seconds})
        return directory, seconds

    def remove(self, path: Path) -> None:
        """Remove what this run has made."""
        if path.name not in self.kept:
            shutil.rmtree(path)

    def new_set(self, images: int) -> Path:
        """Where a set is made; what an earlier run left there is removed."""
        path = self.path / f"set-{images}"
        shutil.rmtree(path, ignore_errors=True)
        return path


@contextmanager
def open_workshop(work: Path, source: Path | None, workers: int, keep: bool) -> Iterator[Workshop]:
    """Make the directory or find it, with photos of the source or drawn bedrooms; removed without ``keep``.

    BadRequest if there is something in it that is not ours; BadInput if there are no photos.
    """
    path = work / _NAME
    try:
        with locked(path, "--work"):
            before = frozenset(entry.name for entry in path.iterdir()) - {LOCK}
            try:
                yield _furnished(path, source, workers, before)
            finally:
                if not keep:
                    _remove_new(path, before)
    finally:
        if path.exists() and {entry.name for entry in path.iterdir()} == {LOCK}:
            shutil.rmtree(path)


def _furnished(path: Path, source: Path | None, workers: int, before: frozenset[str]) -> Workshop:
    """Put the photos there."""
    foreign = sorted(name for name in before if not _OURS.fullmatch(name))
    if foreign:
        raise BadRequest(f"{path}: holds {foreign[0]}, which is not of this command; choose another --work")
    if source is None:
        source = path / "drawn"
        make_demo_lmdb(source, _DRAWN, copy_share=0.0)
    collect_photos(source, path / "photos.npy")
    return Workshop(path, path / "photos.npy", workers, before)


def _remove_new(path: Path, before: frozenset[str]) -> None:
    """Remove what was not there before."""
    for entry in path.iterdir():
        if entry.name not in before | {LOCK}:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
