"""Everything that a run writes, draws and scores while it goes on: the first rank's work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcgan_data.errors import TrainingStopped
from dcgan_data.ops.nearest import NearestMeans, told_apart
from dcgan_data.train.checkpoint import Facts, best_checkpoint, checkpoints_in, read_facts, save_checkpoint
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import ImageSource
from dcgan_data.train.game import TrainState
from dcgan_data.train.norm import Statistics, standing
from dcgan_data.train.page import write_page
from dcgan_data.train.progress import Pace, TrainSummary
from dcgan_data.train.readings import Measures, Reading
from dcgan_data.train.rundir import RESUMED, RunDirectory, TrainingData
from dcgan_data.train.sample import draw_chunks, draw_images, image_grid, standing_statistics, write_png
from dcgan_data.train.schedule import FEW_SAMPLES, Due
from dcgan_data.train.seeds import Stream, torch_rng
from dcgan_data.train.watchdog import Event, Watchdog, mean_pairwise_distance

if TYPE_CHECKING:
    from dcgan_data.train.tensorboard import TensorBoardLog

GRID_COLUMNS = 8
_FIXED = GRID_COLUMNS**2
_PAGE_SHARE = 50
"""The page takes at most a fiftieth of the time: writing it is work that grows with the run."""


class Recorder:
    """Writes a run's lines, grids, scores, checkpoints and page, and shows its numbers to the watchdog."""

    def __init__(self, config: TrainConfig, run: RunDirectory, state: TrainState, data: TrainingData) -> None:
        self.watchdog = Watchdog()
        """Judges the numbers; restored with a checkpoint."""
        self.attempt = 0
        """How often the run was rolled back."""
        self.messages: list[str] = []
        """What a person should know and has not been told yet."""
        self._config, self._run, self._state, self._data = config, run, state, data
        self._board: TensorBoardLog | None = None
        self._held_out: np.ndarray | None = None
        self._real_spread: float | None = None
        self._statistics: tuple[int, Statistics] | None = None
        self._score: tuple[int, float] | None = None
        self._next_page = 0.0

    def begin(self) -> None:
        """The state is where training begins; BadRequest if TensorBoard is asked for and not installed."""
        if self._config.tensorboard:
            from dcgan_data.train.tensorboard import TensorBoardLog

            self._board = TensorBoardLog(self._run.path, self._state.step)

    def record(self, due: Due, readings: list[Reading], per_epoch: int) -> list[Event]:
        """Write what is due after the state's step, and the lines that have come in; returns warnings.

        The last of ``readings`` is of this very step if anything but a line is due.
        """
        with _disk_errors(self._run):
            measured: dict[str, float] = self._score_samples(due.scores)
            if due.draw:
                measured |= self._draw_grid()
            events: list[Event] = []
            for reading in readings:
                of_now = reading.step == self._state.step
                events += self._write_line(reading, per_epoch, measured if of_now else {})
            for event in events:
                self.tell(event)
        return events

    def save(self) -> Path:
        """Write a checkpoint of the state."""
        state = self._state
        score = self._score[1] if self._score and self._score[0] == state.step else None
        facts = Facts(state.step, state.seconds, score, self.attempt, self.watchdog.as_dict())
        with _disk_errors(self._run):
            return save_checkpoint(
                self._run.checkpoints, state, self._standing(), facts, self._config.keep_checkpoints
            )

    def tell(self, event: Event) -> None:
        """Note something that a person should know."""
        self._run.append_event(event.step, event.kind, event.message)
        if self._board:
            self._board.event(event.step, event.kind, event.message)
        self.messages.append(event.message)

    def write_page(self, *, at_once: bool) -> None:
        """Bring the page up to date, if that is not too soon after the last time."""
        begin = time.monotonic()
        if at_once or begin >= self._next_page:
            with _disk_errors(self._run):
                write_page(self._run)
            end = time.monotonic()
            self._next_page = end + _PAGE_SHARE * (end - begin)

    def restore(self, facts: Facts) -> None:
        """The state was brought to a checkpoint's."""
        self.watchdog = Watchdog.from_dict(facts.watchdog) if facts.watchdog else Watchdog()
        self.attempt = facts.attempt
        self._statistics = self._score = None
        if self._board:
            self._board.return_to(facts.step)

    def summary(self, pace: Pace, measures: Measures) -> TrainSummary:
        """How the run stands. The other ranks may have left: nothing is shared with them here."""
        state, checkpoints = self._state, self._run.checkpoints
        best = best_checkpoint(checkpoints)
        return TrainSummary(
            run_dir=self._run.path,
            steps=state.step,
            seconds=state.seconds,
            images_per_s=pace.since_start(state.step),
            loss_d=measures.loss_d,
            loss_g=measures.loss_g,
            checkpoint=checkpoints_in(checkpoints)[-1],
            grid=self._run.grid(state.step),
            page=self._run.page,
            best=best,
            best_score=None if best is None else read_facts(best).score,
            warnings=[event["message"] for event in self._run.read_events() if event["kind"] != RESUMED],
        )

    def close(self) -> None:
        """Close what is open."""
        if self._board:
            self._board.close()

    def _write_line(self, reading: Reading, per_epoch: int, measured: dict[str, float]) -> list[Event]:
        position = {"step": reading.step, "epoch": 1 + (reading.step - 1) // per_epoch}
        rate = {"images_per_s": reading.images_per_s, "seconds": reading.seconds}
        line = {**position, **asdict(reading.measures), **rate, **measured}
        self._run.append_metrics(line)
        if self._board:
            self._board.scalars(line)
        return self.watchdog.see(line)

    def _draw_grid(self) -> dict[str, float]:
        """Draw the same latent vectors at every call, so that the grids show one set of samples changing."""
        state = self._state
        z = state.generator.shape.draw_z(torch_rng(self._config.seed, Stream.GRID), _FIXED)
        with standing(state.drawing, self._standing()):
            images = draw_images(state.drawing, z)
        grid = image_grid(images, GRID_COLUMNS)
        write_png(self._run.grid(state.step), grid)
        if self._board:
            self._board.grid(state.step, grid)
        return {"spread": mean_pairwise_distance(images) / self._spread_of_data()}

    def _spread_of_data(self) -> float:
        """Mean pairwise distance of as many real images as a grid has."""
        if self._real_spread is None:
            train = self._data.train
            chosen = np.linspace(0, len(train) - 1, min(_FIXED, len(train))).astype(np.int64)
            self._real_spread = max(mean_pairwise_distance(train.gather(chosen)), 1e-6)
        return self._real_spread

    def _score_samples(self, counts: tuple[int, ...]) -> dict[str, float]:
        """Mean distance from the held-out images to their nearest of so many samples, and how well the
        nearest of both tells held-out images and samples apart."""
        if not counts or not len(self._data.held_out):
            return {}
        state, real = self._state, self._held_out_images()
        means = NearestMeans(real, counts, state.device)
        rng = torch_rng(self._config.seed, Stream.SCORE)
        first: list[np.ndarray] = []
        with standing(state.drawing, self._standing()):
            for images in draw_chunks(state.drawing, rng, max(counts)):
                means.add(images)
                if len(first) * len(images) < FEW_SAMPLES:
                    first.append(images)
        few = min(len(real), FEW_SAMPLES)
        told_real, told_fake = told_apart(real[:few], np.concatenate(first)[:few], state.device)
        self._score = state.step, (abs(told_real - 0.5) + abs(told_fake - 0.5)) / 2
        distances = {f"nnd_{count}": mean for count, mean in means.means.items()}
        return {**distances, "told_real": told_real, "told_fake": told_fake}

    def _held_out_images(self) -> np.ndarray:
        if self._held_out is None:
            self._held_out = _all_of(self._data.held_out)
        return self._held_out

    def _standing(self) -> Statistics:
        """Standing statistics of the generator that draws, measured once a step."""
        state, config = self._state, self._config
        if self._statistics is None or self._statistics[0] != state.step:
            batch = config.batch_size // state.ranks.count
            self._statistics = state.step, standing_statistics(state.drawing, config.seed, batch)
        return self._statistics[1]


def _all_of(images: ImageSource) -> np.ndarray:
    return images.gather(np.arange(len(images)))


@contextmanager
def _disk_errors(run: RunDirectory) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        saved = checkpoints_in(run.checkpoints)
        last = saved[-1] if saved else "none"
        raise TrainingStopped(
            f"{error.filename or run.path}: cannot be written ({error.strerror}); last checkpoint: {last}; "
            "make room or mend this, and go on with --resume"
        ) from None
