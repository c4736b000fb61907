"""Build a synthetic set, de-duplicate it in a process of its own, and say what each stage took."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor

from dcgan_data.bench.scale.truth import TruthScore, draw_truth, record_keys, score_set
from dcgan_data.bench.scale.watching import StageClock, StageUse, Watcher
from dcgan_data.bench.scale.workshop import Workshop, lmdb_path, open_workshop
from dcgan_data.errors import BadInput, BadRequest, DcganDataError
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job, free_bytes
from dcgan_data.recipe import Recipe
from dcgan_data.reporter import Reporter, SilentReporter, Stage

_BYTES_A_RECORD = 45_000
"""Some 15 kB of the LMDB, 12 of 64x64 pixels, 3 that the search needs while it runs, and room."""
_END = ""


@dataclass(frozen=True)
class ScaleSettings:
    """What is measured."""

    images: tuple[int, ...]
    """Numbers of records."""
    work: Path
    """Directory in which the LMDBs and the sets are made, and removed afterwards."""
    source: Path | None = None
    """Photos to make the records from; None: drawn bedrooms."""
    workers: int = 1
    """Processes."""
    memory: int = 0
    """Limit for the search in bytes; 0: none."""
    recipe: Recipe = field(default_factory=Recipe)
    """What is done; its seed is that of everything random here, too."""
    keep: bool = False
    """Leave LMDBs and sets where they are; a later run uses the LMDBs again."""

    def __post_init__(self) -> None:
        if min(self.images) < 100:
            raise BadRequest(f"--images {min(self.images)}: expected 100 or more")


@dataclass(frozen=True)
class StageLine:
    """One stage of one set."""

    stage: str
    """Its name, as in the progress lines; ``all`` for the whole."""
    seconds: float
    """How long it took."""
    images_per_s: float
    """Records of the set a second."""
    all_mb: float | None
    """Most memory of all processes together; shared pages count once. None: too short to be seen."""
    main_mb: float | None
    """Most memory of the main process's own."""
    worker_mb: float | None
    """Most memory of any worker's own; None also if there was none."""
    read_mb: float
    """Read from the disk, mapped files included; what is still in the system's cache costs nothing."""
    written_mb: float
    """Written to the disk, at once or later."""


@dataclass(frozen=True)
class SetLines:
    """One set."""

    images: int
    """Records of its LMDB."""
    lmdb_mb: float
    """Its size."""
    build_seconds: float
    """To write it."""
    stages: list[StageLine]
    """In order; the last one is the whole."""
    score: TruthScore
    """Removals against what was planted."""


@dataclass(frozen=True)
class ScaleResult:
    """``bench scale``."""

    workers: int
    """Processes."""
    sets: list[SetLines]
    """By number of images."""
    exponents: dict[str, float]
    """By stage: the power of N that its time grows with; empty for one size."""


def bench_scale(settings: ScaleSettings, reporter: Reporter) -> ScaleResult:
    """Build and de-duplicate a set of every size.

    BadRequest if there is no room, or no psutil; BadInput if there are no photos.
    """
    _check(settings)
    with open_workshop(settings.work, settings.source, settings.workers, settings.keep) as workshop:
        sets = [_measure(settings, images, workshop, reporter) for images in sorted(settings.images)]
    return ScaleResult(settings.workers, sets, _exponents(sets))


def _check(settings: ScaleSettings) -> None:
    if importlib.util.find_spec("psutil") is None:
        raise BadRequest("bench scale needs psutil: pip install 'dcgan-data[bench]'")
    there = (lmdb_path(settings.work, images) / "data.mdb" for images in settings.images)
    kept = sum(path.stat().st_size for path in there if path.exists())
    needed, free = max(settings.images) * _BYTES_A_RECORD - kept, free_bytes(settings.work)
    if needed > free:
        raise BadRequest(
            f"--work {settings.work}: {max(settings.images):,} images need about {needed:,} bytes, {free:,} "
            "are free; make room, choose another --work, or fewer --images"
        )


def _measure(settings: ScaleSettings, images: int, workshop: Workshop, reporter: Reporter) -> SetLines:
    seed = settings.recipe.seed
    truth, keys = draw_truth(images, seed), record_keys(images, seed)
    lmdb, build_seconds = workshop.lmdb(truth, keys, seed, reporter)
    lmdb_mb = _forget_cached(lmdb / "data.mdb") / 1e6
    out = workshop.new_set(images)
    job = Job(settings.recipe, lmdb, out, settings.workers, memory=settings.memory)
    stages = _run_watched(job, images, reporter)
    score = score_set(out, truth, keys)
    if not settings.keep:
        workshop.remove(lmdb)
        workshop.remove(out)
    return SetLines(images, round(lmdb_mb), build_seconds, stages, score)


def _forget_cached(path: Path) -> int:
    """Let the operating system drop a file from its cache, so that it is read from the disk; its size."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return os.fstat(file.fileno()).st_size


def _run_watched(job: Job, images: int, reporter: Reporter) -> list[StageLine]:
    """Run the job in a new process, which has nothing of ours in its memory."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(job, theirs))
    process.start()
    theirs.close()
    clock, error = StageClock(), "ended without a word"
    assert process.pid
    with Watcher(process.pid, "open") as watcher:
        for stage, said in _messages(ours):
            error = said
            if stage == _END:
                break
            clock.begin(stage)
            watcher.stage = stage
            reporter.say(f"{images:,} images: {stage}")
        clock.begin(_END)
    process.join()
    if error:
        raise BadInput(f"{job.source}: {error}")
    return _lines(images, clock.seconds(), watcher.use, process.pid)


def _messages(connection: Connection) -> Iterator[tuple[str, str]]:
    try:
        while True:
            yield connection.recv()
    except EOFError:
        yield _END, "the process ended before its work did, perhaps for lack of memory"


def _run(job: Job, connection: Connection) -> None:
    """The process that is measured."""
    connection.send(("open", ""))
    try:
        run_job(job, _Telling(connection))
        connection.send((_END, ""))
    except DcganDataError as error:
        connection.send((_END, str(error)))
    finally:
        get_reusable_executor().shutdown(kill_workers=True)  # else their idle time is waited for: minutes


class _Telling(SilentReporter):
    """Tells the stages to the process that measures."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        self._connection.send((name, ""))
        return super().stage(name, total, unit)


def _lines(images: int, seconds: dict[str, float], use: dict[str, StageUse], main: int) -> list[StageLine]:
    lines = [_line(stage, images, spent, use[stage], main) for stage, spent in seconds.items()]
    whole = StageUse(
        all_mb=max(of.all_mb for of in use.values()),
        peaks_mb={
            pid: max(of.peaks_mb.get(pid, 0) for of in use.values())
            for of in use.values()
            for pid in of.peaks_mb
        },
        read_bytes=sum(of.read_bytes for of in use.values()),
        written_bytes=sum(of.written_bytes for of in use.values()),
    )
    return [*lines, _line("all", images, sum(seconds.values()), whole, main)]


def _line(stage: str, images: int, seconds: float, use: StageUse, main: int) -> StageLine:
    return StageLine(
        stage=stage,
        seconds=round(seconds, 1),
        images_per_s=round(images / max(seconds, 1e-9)),
        all_mb=round(use.all_mb) or None,
        main_mb=round(use.peaks_mb.get(main, 0)) or None,
        worker_mb=round(max((mb for pid, mb in use.peaks_mb.items() if pid != main), default=0)) or None,
        read_mb=round(use.read_bytes / 1e6),
        written_mb=round(use.written_bytes / 1e6),
    )


def _exponents(sets: list[SetLines]) -> dict[str, float]:
    if len(sets) < 2:
        return {}
    sizes = [math.log(one.images) for one in sets]
    found = {}
    for number, line in enumerate(sets[0].stages):
        seconds = [math.log(max(one.stages[number].seconds, 0.05)) for one in sets]
        found[line.stage] = round(float(np.polyfit(sizes, seconds, 1)[0]), 2)
    return found
