"""``dcgan-data demo``: the whole way on drawn bedrooms, where the truth is known. The real code path."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.compute as pc

from dcgan_data.demo import DemoScore, DemoTruth, make_demo_lmdb
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.formats.manifest import DUPLICATE
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job
from dcgan_data.recipe import ImageRecipe, Recipe
from dcgan_data.reporter import Reporter
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.loop import train
from dcgan_data.train.progress import StepReport, TrainSummary

RECIPE = Recipe(name="demo", image=ImageRecipe(size=32))
"""The same as ``pipelines/demo.toml``."""
WIDTH, BATCH_SIZE = 32, 64
"""A quarter of the paper's width and half its batch: thousands of updates in two minutes on a processor."""


class TourReporter(Reporter, Protocol):
    """A reporter that can also show a training run."""

    def training(self) -> AbstractContextManager[Callable[[StepReport], None]]:
        """Show a training run; the callback takes its step reports."""


@dataclass(frozen=True)
class TourSettings:
    """What the demo is asked to do."""

    directory: Path
    """Holds ``lsun`` (the drawn LMDB), ``out`` (the prepared set) and ``run`` (the trained model)."""
    images: int
    """Records to draw, copies included."""
    steps: int
    """Minibatches to train for."""
    seed: int
    """Of the drawing."""
    workers: int
    """Processes."""


@dataclass(frozen=True)
class Tour:
    """What came out."""

    info: DatasetInfo
    """Index of the prepared set."""
    score: DemoScore
    """Planted copies found, and wrong removals."""
    training: TrainSummary
    """The training run."""


def draw(settings: TourSettings, reporter: Reporter) -> DemoTruth:
    """Draw the LMDB, unless it is there already; returns what is planted in it."""
    with reporter.stage("draw", settings.images, "images") as stage:
        done = 0

        def on_progress(drawn: int, _total: int) -> None:
            nonlocal done
            stage.advance(drawn - done)
            done = drawn

        return make_demo_lmdb(
            settings.directory / "lsun",
            settings.images,
            settings.seed,
            on_progress=on_progress,
            workers=settings.workers,
        )


def take_tour(settings: TourSettings, reporter: TourReporter) -> Tour:
    """Draw, de-duplicate, score, train; a step that is done already is not done again."""
    truth = draw(settings, reporter)
    out, run = settings.directory / "out", settings.directory / "run"
    info = run_job(Job(RECIPE, settings.directory / "lsun", out, settings.workers), reporter)
    score = truth.score(removals(out))
    lengths = {"steps": settings.steps, "width": WIDTH, "batch_size": BATCH_SIZE}
    config = TrainConfig.of_preset("fast", prepared=out, run_dir=run, **lengths)
    with reporter.training() as on_step:
        summary = train(config, resume=(run / "config.json").exists(), on_step=on_step)
    return Tour(info, score, summary)


def removals(out: Path) -> dict[str, str]:
    """Key of every removed image -> key of the kept one."""
    table = PreparedSet.open(out).manifest(["key", "status", "duplicate_of"])
    removed = table.filter(pc.equal(table["status"], DUPLICATE))
    return dict(zip(removed["key"].to_pylist(), removed["duplicate_of"].to_pylist(), strict=True))
