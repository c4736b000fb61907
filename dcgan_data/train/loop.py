"""The training loop (DCGAN paper, sec. 4)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest, TrainingStopped
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches, Share
from dcgan_data.train.distributed import joined
from dcgan_data.train.engine import Stepper, numerics, resolve_precision
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.interrupt import deferred_interrupts
from dcgan_data.train.models import IMAGE_SIZES
from dcgan_data.train.progress import Pace, StepReport, TrainSummary
from dcgan_data.train.readings import Readings, read_now
from dcgan_data.train.recorder import Recorder
from dcgan_data.train.recovery import Recovery, Verdict, failure_event
from dcgan_data.train.rundir import RunDirectory, RunRecord, TrainingData, describe_run
from dcgan_data.train.schedule import Due, due_after
from dcgan_data.train.split import split_set
from dcgan_data.train.watchdog import Event

OnStep = Callable[[StepReport], None]


def train(config: TrainConfig, resume: bool = False, on_step: OnStep | None = None) -> TrainSummary:
    """Train on the kept rows of ``config.prepared``, into ``config.run_dir``.

    ``on_step`` is called after every minibatch. Ctrl-C or SIGTERM ends the run after the minibatch in
    hand: a checkpoint is written, then KeyboardInterrupt raised. With ``resume`` the newest readable
    checkpoint is continued: on the CPU, or on a GPU with ``deterministic``, to the same bits as a run that
    was never interrupted. Under torchrun this is one of several processes, of which the first writes.

    Raises BadRequest if the request does not fit the set, the machine or what is in the run directory,
    BadInput for an unreadable set or checkpoint, and TrainingStopped when training cannot go on.
    """
    prepared = PreparedSet.open(config.prepared)
    _check_size(config, prepared.info.image_size)
    split = split_set(prepared, config.include_duplicates, config.held_out, config.seed)
    return train_on(
        config, TrainingData(split.train, split.held_out, prepared.info.content_sha256), resume, on_step
    )


def resumed_config(prepared: Path | None, run_dir: Path, **given: Any) -> TrainConfig:
    """What a run was begun with, with what is ``given`` put in its place; BadInput if it is not a run.

    prepared: where the set is now; None: where it was.
    """
    run = RunDirectory(run_dir)
    run.check_there()
    before = run.read().config
    if "steps" in given or "epochs" in given:
        before |= {"steps": None, "epochs": None}
    known = {field.name for field in fields(TrainConfig)}
    values = {name: value for name, value in before.items() if name in known}
    paths = {"prepared": prepared or Path(values["prepared"]), "run_dir": run_dir}
    return TrainConfig(**{**values, **given, **paths})


def train_on(
    config: TrainConfig, data: TrainingData, resume: bool = False, on_step: OnStep | None = None
) -> TrainSummary:
    """Do as ``train``, on images from anywhere."""
    asked = resolve_device(config.device)
    _check_size(config, data.train.image_size)
    _check_count(config, data)
    run = RunDirectory(config.run_dir)
    with joined(asked, config.batch_size) as (ranks, device):
        if resume and config.steps is None and config.epochs is None and run.config.exists():
            before = run.read().config  # what was asked when the run was started
            config = replace(config, steps=before["steps"], epochs=before["epochs"])
        total_steps = config.total_steps(len(data.train) // config.batch_size)
        precision = resolve_precision(config.precision, device)
        machine = {"device": device.type, "precision": precision, "processes": ranks.count}
        record = describe_run(config, data, total_steps, machine)
        with ExitStack() as stack:
            if ranks.first:
                run.check_continues(record) if resume else run.check_free()
                stack.enter_context(locked(run.path, "--run-dir"))
            stack.enter_context(numerics(config, device))
            state = new_state(config, data.train.image_size, device, ranks)
            return _Run(config, run, record, data, state).go(resume, on_step if ranks.first else None)


class _Run:
    """One session of a run, on one rank."""

    def __init__(
        self, config: TrainConfig, run: RunDirectory, record: RunRecord, data: TrainingData, state: TrainState
    ) -> None:
        self.config, self.run, self.record, self.data, self.state = config, run, record, data, state
        self.recorder = Recorder(config, run, state, data)
        self.recovery = Recovery(config, run, state, self.recorder)
        self.readings = Readings()
        self.on_step: OnStep | None = None

    def go(self, resume: bool, on_step: OnStep | None) -> TrainSummary:
        """Train to the end."""
        config, state, ranks = self.config, self.state, self.state.ranks
        self.on_step = on_step
        if resume:
            self.recovery.resume(self.record)
        if ranks.first:
            self.recorder.begin()
            self.run.write(self.record)
        share = Share(ranks.rank, ranks.count, 2 if config.alternate else 1)
        batches = Batches(self.data.train, config.batch_size, config.seed, state.device, share)
        try:
            return self._loop(batches)
        finally:
            batches.close()
            self.recorder.close()

    def _loop(self, batches: Batches) -> TrainSummary:
        config, state, recorder, readings = self.config, self.state, self.recorder, self.readings
        total_steps, per_epoch = self.record.total_steps, batches.per_epoch
        self.recorder.messages.append(_described(self.record, per_epoch))
        stepper = self._new_stepper()
        measures = read_now(state).measures
        pace = Pace(state.step, state.seconds, config.batch_size)
        with deferred_interrupts() as interrupted:
            while state.step < total_steps:
                stepper.step(batches.pixels(state.step) if stepper.reads_pixels else None)
                state.seconds = pace.seconds()
                due = due_after(state.step, config, total_steps, per_epoch)
                if due.log:
                    readings.take(state, pace.since_mark(state.step))
                # Several ranks must see the same readings at the same step; one alone need not wait for them.
                arrived = readings.arrived(wait=due.halts or state.ranks.count > 1)
                failure = next((reading.failure for reading in arrived if reading.failure), None)
                events: list[Event] = []
                if failure:
                    events = [failure_event(failure)]
                elif state.ranks.first:
                    with pace.paused(due.halts):
                        events = recorder.record(due, arrived, per_epoch)
                measures = arrived[-1].measures if arrived else measures

                verdict = self._agreed(self.recovery.judge(failure, events), due)
                if verdict == Verdict.STOP:
                    raise TrainingStopped(self.recovery.last_words(events))
                if verdict == Verdict.ROLL_BACK:
                    self.recovery.roll_back(events)
                    readings.drop()
                    stepper = self._new_stepper()
                    pace = Pace(state.step, state.seconds, config.batch_size)
                elif state.ranks.first:
                    with pace.paused(due.halts):
                        if due.save:
                            recorder.save()
                        if due.log:
                            recorder.write_page(at_once=state.step == total_steps)

                try:
                    self._report(measures.loss_d, measures.loss_g, per_epoch, pace)
                except KeyboardInterrupt:  # of the first rank only: the others learn of it where they meet
                    interrupted.set()
                if self._any_interrupted(interrupted.is_set(), due):
                    self._save_interrupted()
                    saved = f"step {state.step} is saved in {self.run.checkpoints}"
                    raise KeyboardInterrupt(f"{saved}; --resume goes on")
        state.ranks.meet()  # the first may still be writing
        return recorder.summary(pace, measures)

    def _new_stepper(self) -> Stepper:
        steps = self.record.total_steps - self.state.step
        return Stepper(self.config, self.state, steps, self.recorder.messages)

    def _report(self, loss_d: float | None, loss_g: float | None, per_epoch: int, pace: Pace) -> None:
        if self.on_step is None:
            return
        step, messages = self.state.step, tuple(self.recorder.messages)
        self.recorder.messages.clear()
        rate, epoch = pace.since_start(step), 1 + max(step - 1, 0) // per_epoch
        self.on_step(StepReport(step, self.record.total_steps, epoch, loss_d, loss_g, rate, messages))

    def _agreed(self, verdict: Verdict, due: Due) -> Verdict:
        """The first rank's verdict, which has seen the most."""
        if self.state.ranks.count == 1:
            return verdict
        if not due.log:  # ranks meet where lines are due
            return Verdict.GO_ON
        shared = torch.tensor(verdict, device=self.state.device)
        self.state.ranks.take_first(shared)
        return Verdict(int(shared))

    def _any_interrupted(self, interrupted: bool, due: Due) -> bool:
        """Whether any rank was, told to all where they meet."""
        if self.state.ranks.count == 1:
            return interrupted
        if not due.log:
            return False
        shared = torch.tensor(int(interrupted), device=self.state.device)
        self.state.ranks.take_largest(shared)
        return bool(shared)

    def _save_interrupted(self) -> None:
        """Write a checkpoint, unless an update was skipped in the steps that nobody has looked at yet."""
        failure = read_now(self.state).failure
        if failure:
            raise TrainingStopped(self.recovery.last_words([failure_event(failure)]))
        if self.state.ranks.first:
            self.recorder.save()
            self.recorder.write_page(at_once=True)
        self.state.ranks.meet()  # torchrun ends the first, which may still be writing, when another has left


def _described(record: RunRecord, per_epoch: int) -> str:
    """What begins, in a line."""
    several = f" x {record.machine['processes']}" if record.machine["processes"] > 1 else ""
    return (
        f"{record.images:,} images to train on, {record.held_out:,} held out; {per_epoch:,} steps an epoch; "
        f"{record.machine['device']}{several}, {record.machine['precision']}"
    )


def _check_size(config: TrainConfig, image_size: int) -> None:
    if image_size not in IMAGE_SIZES:
        sizes = ", ".join(map(str, IMAGE_SIZES))
        raise BadRequest(
            f"{config.prepared}: images of {image_size} px; the model is made for {sizes}: "
            "prepare the set again with one of these as --image-size"
        )


def _check_count(config: TrainConfig, data: TrainingData) -> None:
    if len(data.train) < config.batch_size:
        aside = f" beside {len(data.held_out)} held out" if len(data.held_out) else ""
        raise BadRequest(
            f"{config.prepared}: {len(data.train)} images to train on{aside}, less than a batch of "
            f"{config.batch_size}; prepare more, or give a smaller --batch-size"
        )
