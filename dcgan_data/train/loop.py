"""The training loop (DCGAN paper, sec. 4)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadRequest, TrainingStopped
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches, ImageSource
from dcgan_data.train.game import (
    TrainState,
    new_state,
    read_measures,
    update_discriminator,
    update_generator,
)
from dcgan_data.train.interrupt import deferred_interrupts
from dcgan_data.train.models import IMAGE_SIZES
from dcgan_data.train.rundir import RunDirectory, RunRecord, describe_run
from dcgan_data.train.sample import generate, image_grid, write_png
from dcgan_data.train.seeds import Stream, draw_z, torch_rng

GRID_COLUMNS = 8


@dataclass(frozen=True)
class StepReport:
    """Progress after one minibatch; on a GPU the losses are those of the last log, not to keep it waiting."""

    step: int
    """Minibatches done."""
    total_steps: int
    """Minibatches of the whole run."""
    epoch: int
    """The pass over the set that the minibatch belongs to, from 1."""
    loss_d: float | None
    """Discriminator's loss in nats; None before it is known."""
    loss_g: float | None
    """Generator's loss in nats; None before it is known."""
    images_per_s: float
    """Real images consumed a second since this session began."""


@dataclass(frozen=True)
class TrainSummary:
    """How a run ended."""

    run_dir: Path
    """The run."""
    steps: int
    """Minibatches done, over all sessions."""
    seconds: float
    """Time spent training, over all sessions."""
    images_per_s: float
    """Real images consumed a second in this session; 0 if nothing was left to do."""
    loss_d: float | None
    """Discriminator's last loss in nats; None if it was never updated."""
    loss_g: float | None
    """Generator's last loss in nats."""
    checkpoint: Path
    """The last checkpoint."""
    grid: Path
    """The last grid of samples."""


def train(
    config: TrainConfig, resume: bool = False, on_step: Callable[[StepReport], None] | None = None
) -> TrainSummary:
    """Train on the kept rows of ``config.prepared``, into ``config.run_dir``.

    ``on_step`` is called after every minibatch. Ctrl-C ends the run after the minibatch in hand: a
    checkpoint is written, then KeyboardInterrupt raised. With ``resume`` the newest checkpoint is
    continued: on the CPU to the same bits as a run that was never interrupted.

    Raises BadRequest if the request does not fit the set, the machine or what is in the run
    directory, BadInput for an unreadable set or checkpoint, and TrainingStopped when a loss or
    gradient is not finite.
    """
    prepared = PreparedSet.open(config.prepared)
    return train_on(config, prepared.rows(), prepared.info.content_sha256, resume, on_step)


def train_on(
    config: TrainConfig,
    images: ImageSource,
    set_sha256: str,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainSummary:
    """Do as ``train``, on images from anywhere; ``set_sha256`` stands for their contents."""
    device = resolve_device(config.device)
    _check_set(config, images)
    run = RunDirectory(config.run_dir)
    if resume and config.steps is None and config.epochs is None and run.config.exists():
        before = run.read().config  # what was asked when the run was started
        config = replace(config, steps=before["steps"], epochs=before["epochs"])
    total_steps = config.total_steps(len(images) // config.batch_size)
    record = describe_run(config, set_sha256, len(images), images.image_size, total_steps)
    run.check_continues(record) if resume else run.check_free()
    with locked(run.path, "--run-dir"):
        state = new_state(config, images.image_size, device)
        if resume:
            _resume(run, record, state)
        run.write(record)
        batches = Batches(images, config.batch_size, config.seed, device)
        return _run(config, total_steps, run, state, batches, on_step)


def _run(
    config: TrainConfig,
    total_steps: int,
    run: RunDirectory,
    state: TrainState,
    batches: Batches,
    on_step: Callable[[StepReport], None] | None,
) -> TrainSummary:
    measures = read_measures(state)
    pace = _Pace(state, config.batch_size)
    with deferred_interrupts() as interrupted:
        while state.step < total_steps:
            z = send(draw_z(state.z_rng, config.batch_size, config.z_dim), state.device)
            # The authors' alternation: a minibatch moves one player only, the generator first.
            # Its minibatch is passed over unread, as theirs is unused.
            if state.step % 2 == 0:
                update_generator(state, z)
            else:
                update_discriminator(state, batches.images(state.step), z)
            epoch = 1 + state.step // batches.per_epoch
            state.step += 1

            log, draw, save = _due(config, state.step, total_steps)
            if log or draw or save or state.device.type == "cpu":
                # The host's only waits for a GPU; guard.py says why a bad update is no less prevented.
                _require_finite(config, run, state)
                measures = read_measures(state)
            state.seconds = pace.seconds()
            if log:
                position = {"step": state.step, "epoch": epoch}
                rate = {"images_per_s": pace.since_mark(state.step), "seconds": state.seconds}
                run.append_metrics({**position, **asdict(measures), **rate})
            if draw:
                _draw_grid(config, run, state)
            if save:
                save_checkpoint(run.checkpoints, state, config.keep_checkpoints)

            try:
                if on_step:
                    losses = measures.loss_d, measures.loss_g
                    on_step(StepReport(state.step, total_steps, epoch, *losses, pace.since_start(state.step)))
                if interrupted.is_set():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                _require_finite(config, run, state)
                save_checkpoint(run.checkpoints, state, config.keep_checkpoints)
                raise
    return TrainSummary(
        run_dir=run.path,
        steps=state.step,
        seconds=state.seconds,
        images_per_s=pace.since_start(state.step),
        loss_d=measures.loss_d,
        loss_g=measures.loss_g,
        checkpoint=checkpoints_in(run.checkpoints)[-1],
        grid=run.grid(state.step),
    )


class _Pace:
    """Measures time and real images a second."""

    def __init__(self, state: TrainState, batch_size: int) -> None:
        self._batch_size = batch_size
        self._earlier_seconds = state.seconds
        self._start = self._mark = (state.step, time.perf_counter())

    def seconds(self) -> float:
        """Time spent training, over all sessions."""
        return self._earlier_seconds + time.perf_counter() - self._start[1]

    def since_start(self, step: int) -> float:
        """Images a second in this session."""
        return self._rate(self._start, step)

    def since_mark(self, step: int) -> float:
        """Images a second since the last call."""
        rate = self._rate(self._mark, step)
        self._mark = (step, time.perf_counter())
        return rate

    def _rate(self, begin: tuple[int, float], step: int) -> float:
        return (step - begin[0]) * self._batch_size / (time.perf_counter() - begin[1])


def _due(config: TrainConfig, step: int, total_steps: int) -> tuple[bool, bool, bool]:
    """Whether ``step`` is to be logged, drawn and saved; the last one is all three."""
    last = step == total_steps
    log, draw, save = (
        last or step % every == 0
        for every in (config.log_every, config.sample_every, config.checkpoint_every)
    )
    return log, draw, save


def _check_set(config: TrainConfig, images: ImageSource) -> None:
    if images.image_size not in IMAGE_SIZES:
        sizes = ", ".join(map(str, IMAGE_SIZES))
        raise BadRequest(
            f"{config.prepared}: images of {images.image_size} px; the model is made for {sizes}: "
            "prepare the set again with one of these as --image-size"
        )
    if len(images) < config.batch_size:
        raise BadRequest(
            f"{config.prepared}: {len(images)} images to train on, less than a batch of {config.batch_size}; "
            "prepare more, or give a smaller --batch-size"
        )


def _resume(run: RunDirectory, record: RunRecord, state: TrainState) -> None:
    """Bring ``state`` to the newest checkpoint, and the run directory back to its step.

    A run that ended before its first checkpoint starts again from step 0.
    """
    saved = checkpoints_in(run.checkpoints)
    if saved:
        load_checkpoint(saved[-1], state)
    if state.step > record.total_steps:
        raise BadRequest(
            f"{run.path}: already at step {state.step}, past the {record.total_steps} asked for; "
            "ask for more --steps or --epochs"
        )
    run.truncate_metrics(state.step)


def _require_finite(config: TrainConfig, run: RunDirectory, state: TrainState) -> None:
    failure = state.guard.failure()
    if failure is None:
        return
    player = "generator" if failure.step % 2 else "discriminator"
    what = f"gradient of the {player}'s loss ({failure.loss:g}) is not finite"
    if not math.isfinite(failure.loss):
        what = f"{player}'s loss is {failure.loss}"
    saved = checkpoints_in(run.checkpoints)
    raise TrainingStopped(
        f"{run.path}: the {what} at step {failure.step}, which was not applied; "
        f"last checkpoint: {saved[-1] if saved else 'none'}; "
        f"try a smaller learning rate than {config.learning_rate:g} or another --seed, in another --run-dir"
    )


def _draw_grid(config: TrainConfig, run: RunDirectory, state: TrainState) -> None:
    """Draw the same latent vectors at every call, so that the grids show one set of samples changing."""
    rng = torch_rng(config.seed, Stream.GRID)
    images = generate(state.generator, rng, GRID_COLUMNS**2, config.batch_size)
    write_png(run.grid(state.step), image_grid(images, GRID_COLUMNS))
