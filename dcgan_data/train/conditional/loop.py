"""The training loop of the conditional DCGAN (DCGAN paper, appendix; the authors' MNIST script)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadInput, TrainingStopped
from dcgan_data.formats.lock import locked
from dcgan_data.train.conditional.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from dcgan_data.train.conditional.classify import NearestErrors
from dcgan_data.train.conditional.draw import (
    draw_digits,
    draw_latents,
    draw_rows,
    grid_of,
    standing_statistics,
)
from dcgan_data.train.conditional.game import (
    move_discriminator,
    move_generator,
    new_state,
    resolved_precision,
    set_learning_rate,
)
from dcgan_data.train.conditional.labelled import LabelledImages, split
from dcgan_data.train.conditional.models import one_hot
from dcgan_data.train.conditional.record import (
    ConditionalRecord,
    continued,
    library_versions,
    read_record,
    settings_as_json,
    write_record,
)
from dcgan_data.train.conditional.settings import ConditionalSettings
from dcgan_data.train.guard import failure_of
from dcgan_data.train.interrupt import deferred_interrupts
from dcgan_data.train.norm import Statistics, standing
from dcgan_data.train.order import epoch_order
from dcgan_data.train.progress import Pace, StepReport
from dcgan_data.train.rundir import RunDirectory
from dcgan_data.train.sample import write_png
from dcgan_data.train.seeds import Stream, torch_rng

GRID_COLUMNS = 20
"""Images of each class on a grid, as in the authors'."""
SCORE_SAMPLES = 1_000
"""The fewest of the three numbers that the authors logged."""
SCORE = f"nn_accuracy_{SCORE_SAMPLES}"
"""In metrics.jsonl: percentage of held-out images that so many samples classify correctly (1-NN)."""
_MEASURES = ("loss_d", "loss_g", "p_real", "p_fake")
OnStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class ConditionalSummary:
    """How a run ended."""

    run_dir: Path
    """The run."""
    steps: int
    """Minibatches done, over all sessions."""
    seconds: float
    """Time spent on steps in this session."""
    images_per_s: float
    """Images a second of it; 0 if nothing was left to do."""
    loss_d: float | None
    """Discriminator's last loss in nats; None if it was never updated."""
    loss_g: float | None
    """Generator's last loss in nats."""
    accuracy: float | None
    """Percentage of held-out images that 1,000 samples classify correctly; None if it was not measured."""
    checkpoint: Path
    """The last checkpoint."""
    grid: Path
    """The last grid of samples."""


def train_conditional(
    settings: ConditionalSettings,
    data: LabelledImages,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> ConditionalSummary:
    """Train on ``data`` without the images held out of it, into ``settings.run_dir``.

    ``on_step`` is called after every minibatch. Ctrl-C or SIGTERM ends the run after the minibatch in hand: a
    checkpoint is written, then KeyboardInterrupt raised. With ``resume`` the newest readable checkpoint is
    continued, on a CPU to the same bytes as a run that was never interrupted.

    Raises BadRequest if the request does not fit the data, the machine or what is in the run directory,
    BadInput for an unreadable checkpoint, and TrainingStopped when training cannot go on.
    """
    device = resolve_device(settings.device)
    training, held_out = split(data, settings.held_out, settings.seed)
    record = ConditionalRecord(
        settings=settings_as_json(settings),
        data_sha256=data.sha256,
        images=len(training),
        held_out=len(held_out),
        total_steps=settings.all_epochs * settings.steps_per_epoch(len(training)),
        libraries=library_versions(),
        machine={"device": device.type, "precision": resolved_precision(settings, device)},
    )
    run = RunDirectory(settings.run_dir)
    if resume:
        record = continued(run, record)
    else:
        run.check_free()
    with locked(run.path, "--run-dir"):
        session = _Session(settings, run, record, (training, held_out), device)
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            return session.go(resume, on_step)


def resumed_settings(run_dir: Path, **given: Any) -> ConditionalSettings:
    """What a run was begun with, and what is ``given`` instead; BadInput if it is no conditional run."""
    run = RunDirectory(run_dir)
    return ConditionalSettings(**{**read_record(run).settings, **given, "run_dir": run_dir})


class _Session:
    """One session of a run."""

    def __init__(
        self,
        settings: ConditionalSettings,
        run: RunDirectory,
        record: ConditionalRecord,
        data: tuple[LabelledImages, LabelledImages],
        device: torch.device,
    ) -> None:
        self.settings, self.run, self.record = settings, run, record
        training, self.held_out = data
        self.state = new_state(settings, device)
        self.pixels, self.labels = (
            torch.from_numpy(part).to(device) for part in (training.images, training.labels)
        )
        self.per_epoch = settings.steps_per_epoch(len(training))
        self.order: Tensor | None = None
        self.statistics: tuple[int, Statistics] | None = None
        self.accuracy: float | None = None
        self.messages = [
            f"{len(training):,} images to train on, {len(self.held_out):,} held out; "
            f"{self.per_epoch:,} steps an epoch; {device.type}, {resolved_precision(settings, device)}"
        ]

    def go(self, resume: bool, on_step: OnStep | None) -> ConditionalSummary:
        """Train to the end."""
        if resume:
            self._resume()
        write_record(self.run, self.record)
        try:
            return self._loop(on_step)
        except OSError as error:
            name = error.filename or self.run.path
            raise TrainingStopped(
                f"{name}: cannot be written ({error.strerror}); last checkpoint: {self._last_saved()}; "
                "make room or mend this, and go on with --resume"
            ) from None

    def _loop(self, on_step: OnStep | None) -> ConditionalSummary:
        settings, state, total_steps = self.settings, self.state, self.record.total_steps
        pace = Pace(state.step, 0.0, settings.batch_size)
        losses = self._measures()
        with deferred_interrupts() as interrupted:
            while state.step < total_steps:
                epoch = self._minibatch()
                draw = state.step % self.per_epoch == 0
                save = state.step == total_steps or state.step % settings.checkpoint_every == 0
                if draw or save or state.step % settings.log_every == 0:
                    losses = self._measures()
                    line = {"step": state.step, "epoch": epoch, **losses}
                    line["learning_rate"] = settings.learning_rate_in(epoch)
                    line["images_per_s"] = pace.since_mark(state.step)
                    with pace.paused(draw or save):
                        line |= self._look(draw, save)
                        self.run.append_metrics(line)
                        if save:
                            self._save()

                try:
                    self._report(on_step, epoch, losses, pace.since_start(state.step))
                except KeyboardInterrupt:
                    interrupted.set()
                if interrupted.is_set():
                    self._measures()  # stops if an update was skipped since the last line
                    self._save()
                    saved = f"step {state.step} is saved in {self.run.checkpoints}"
                    raise KeyboardInterrupt(f"{saved}; --resume goes on")
        return self._summary(losses, pace)

    def _minibatch(self) -> int:
        """Let one player learn from the next images; returns the number of the epoch, from 1."""
        settings, state = self.settings, self.state
        epoch, batch = divmod(state.step, self.per_epoch)
        if batch == 0 or self.order is None:
            self.order = epoch_order(settings.seed, epoch, len(self.labels), state.device)
            set_learning_rate(state, settings.learning_rate_in(epoch + 1))
        chosen = self.order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        state.guard.step.fill_(state.step + 1)
        z = send(draw_latents(state.rng, len(chosen), settings.z_dim), state.device)
        labels = one_hot(self.labels[chosen])
        if state.generators_turn:  # of its minibatch it sees the labels only
            move_generator(state, z, labels)
        else:
            move_discriminator(state, self.pixels[chosen, None].float() / 255, z, labels)
        state.step += 1
        return epoch + 1

    def _measures(self) -> dict[str, float]:
        """Losses that are known by now; waits for the device. TrainingStopped if one was not finite."""
        guard = self.state.guard
        read = torch.cat([self.state.measures.double(), guard.skip.double()[None], guard.seen]).tolist()
        values = dict(zip(_MEASURES, read, strict=False))
        if (failure := failure_of(read[4], read[5:])) is not None:
            raise TrainingStopped(
                f"{self.run.path}: the {failure.player}'s loss ({failure.loss:g}) or its gradient is not "
                f"finite at step {failure.step}, which was not applied; last checkpoint: "
                f"{self._last_saved()}; try another --seed or a smaller --learning-rate than "
                f"{self.settings.learning_rate:g}, in another --run-dir"
            )
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def _look(self, draw: bool, save: bool) -> dict[str, float]:
        """Draw the grid, and measure how well samples classify the held-out images, where these are due."""
        if not (draw or save):
            return {}
        state, seed = self.state, self.settings.seed
        with standing(state.generator, self._standing()):
            if draw:
                rows = draw_rows(state.generator, GRID_COLUMNS, seed)
                write_png(self.run.grid(state.step), grid_of(rows, GRID_COLUMNS))
            if not (save and len(self.held_out)):
                return {}
            judge = NearestErrors(self.held_out, [SCORE_SAMPLES], state.device)
            for digits in draw_digits(state.generator, torch_rng(seed, Stream.SCORE), SCORE_SAMPLES):
                judge.add(digits)
        self.accuracy = 100 * (1 - judge.errors[SCORE_SAMPLES] / len(self.held_out))
        return {SCORE: self.accuracy}

    def _save(self) -> None:
        keep = self.settings.keep_checkpoints
        save_checkpoint(self.run.checkpoints, self.state, self._standing(), keep)

    def _standing(self) -> Statistics:
        """The generator's standing statistics, measured once a step."""
        state, settings = self.state, self.settings
        if self.statistics is None or self.statistics[0] != state.step:
            measured = standing_statistics(state.generator, settings.seed, settings.batch_size)
            self.statistics = state.step, measured
        return self.statistics[1]

    def _report(self, on_step: OnStep | None, epoch: int, losses: dict[str, float], rate: float) -> None:
        if on_step is None:
            return
        messages = tuple(self.messages)
        self.messages.clear()
        step, total_steps = self.state.step, self.record.total_steps
        on_step(
            StepReport(step, total_steps, epoch, losses.get("loss_d"), losses.get("loss_g"), rate, messages)
        )

    def _summary(self, losses: dict[str, float], pace: Pace) -> ConditionalSummary:
        return ConditionalSummary(
            run_dir=self.run.path,
            steps=self.state.step,
            seconds=pace.seconds(),
            images_per_s=pace.since_start(self.state.step),
            loss_d=losses.get("loss_d"),
            loss_g=losses.get("loss_g"),
            accuracy=self.accuracy,
            checkpoint=checkpoints_in(self.run.checkpoints)[-1],
            grid=self.run.grid(self.state.step),
        )

    def _resume(self) -> None:
        """Bring the state to the newest checkpoint that can be read, and the run directory back to its step.

        A run that ended before its first checkpoint starts again from step 0.
        """
        saved, damaged = checkpoints_in(self.run.checkpoints), []
        while saved:
            try:
                load_checkpoint(saved[-1], self.state)
                break
            except BadInput as error:
                if len(saved) == 1:
                    raise
                self.messages.append(str(error).replace("remove this file to use", "going on from"))
                damaged.append(saved.pop())
        for checkpoint in damaged:  # only now that there is another to go on from
            checkpoint.unlink(missing_ok=True)
        self.run.return_to(self.state.step)

    def _last_saved(self) -> Path | str:
        saved = checkpoints_in(self.run.checkpoints)
        return saved[-1] if saved else "none"
