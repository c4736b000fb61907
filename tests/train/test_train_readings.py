"""What the host reads of the device's measures: copies of the moment, in order, and the first failure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.engine import Stepper
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.guard import Failure
from dcgan_data.train.loop import train
from dcgan_data.train.readings import Measures, Reading, Readings, read_now
from dcgan_data.train.rundir import RunDirectory

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def state(make_config: MakeConfig) -> TrainState:
    return new_state(make_config(), 32, torch.device("cpu"))


def at_step(state: TrainState, step: int, *measures: float) -> TrainState:
    state.step = step
    state.measures.copy_(torch.tensor(measures))
    return state


def test_before_the_first_update_nothing_is_known(state: TrainState) -> None:
    reading = read_now(state)
    assert (reading.step, reading.failure) == (0, None)
    assert reading.measures == Measures(None, None, None, None)


def test_each_measure_has_its_name_and_may_be_unknown(state: TrainState) -> None:
    reading = read_now(at_step(state, 7, 1.5, math.nan, 0.75, 0.25))
    assert reading.step == 7
    assert reading.measures == Measures(loss_d=1.5, loss_g=None, p_real=0.75, p_fake=0.25)


def test_readings_are_of_the_step_at_which_they_were_taken_and_come_in_order(state: TrainState) -> None:
    readings = Readings()
    assert readings.arrived(wait=False) == readings.arrived(wait=True) == []
    for step in (10, 20, 30):
        readings.take(at_step(state, step, step / 8, 0.0, 0.5, 0.5))
    at_step(state, 31, math.inf, math.inf, 1.0, 1.0)
    arrived = readings.arrived(wait=True)
    assert [(reading.step, reading.measures.loss_d) for reading in arrived] == [
        (10, 1.25),
        (20, 2.5),
        (30, 3.75),
    ]
    assert readings.arrived(wait=True) == []


def test_taking_changes_nothing(state: TrainState) -> None:
    at_step(state, 3, 1.0, 2.0, 0.5, math.nan)
    Readings().take(state)
    assert state.measures.dtype == torch.float32
    assert state.measures[:3].tolist() == [1.0, 2.0, 0.5]
    assert state.measures[3].isnan()


def fail(state: TrainState, step: int, player: str, loss: float) -> None:
    state.guard.step.fill_(step)
    state.guard.check(player, torch.tensor(loss), [torch.tensor([math.nan])])


def test_the_first_failure_is_told_however_late_it_is_read(state: TrainState) -> None:
    readings = Readings()
    readings.take(at_step(state, 4, 1.0, 1.0, 0.5, 0.5))
    fail(state, 6, "generator", math.inf)
    fail(state, 7, "discriminator", 3.0)
    readings.take(at_step(state, 10, 2.0, 2.0, 0.5, 0.5))
    before, after = readings.arrived(wait=True)
    assert before.failure is None
    assert after.failure == Failure(step=6, player="generator", loss=math.inf)
    assert read_now(state).failure == after.failure


def test_a_failure_of_the_gradient_alone_has_a_finite_loss(state: TrainState) -> None:
    fail(state, 2, "discriminator", 0.25)
    assert read_now(state).failure == Failure(step=2, player="discriminator", loss=0.25)


def test_a_step_beyond_what_float32_counts(state: TrainState) -> None:
    fail(state, 2**24 + 1, "generator", 1.0)
    failure = read_now(state).failure
    assert failure is not None
    assert failure.step == 16_777_217


def test_what_is_under_way_can_be_dropped(state: TrainState) -> None:
    readings = Readings()
    readings.take(state)
    readings.drop()
    assert readings.arrived(wait=True) == []


class LateReadings(Readings):
    """As on a GPU: the newest is still on its way unless somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[Reading] = []

    def arrived(self, *, wait: bool) -> list[Reading]:
        found = self._late + super().arrived(wait=True)
        self._late = [] if wait else found[-1:]
        return found[: len(found) - len(self._late)]

    def drop(self) -> None:
        super().drop()
        self._late = []


def test_a_rollback_forgets_readings_of_the_steps_that_it_takes_back(
    make_set: Callable[..., Path], make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same failure would be read again, and cost another of the few rollbacks."""
    step, spoilt = Stepper.step, []

    def spoiling(self: Stepper, pixels: torch.Tensor | None) -> None:
        step(self, pixels)
        if self._state.step == 6 and not spoilt:
            spoilt.append(6)
            self._state.guard.check("generator", torch.tensor(math.nan), [torch.ones(1)])

    monkeypatch.setattr(Stepper, "step", spoiling)
    monkeypatch.setattr("dcgan_data.train.loop.Readings", LateReadings)
    config = make_config(make_set(kept=22), steps=12, checkpoint_every=4, on_collapse="rollback")
    train(config)
    run = RunDirectory(config.run_dir)
    assert [event["message"] for event in run.read_events() if event["kind"] == "rollback"] == [
        "rolled back from step 7 to 4, attempt 1"
    ]
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_taking_does_not_wait(make_config: MakeConfig) -> None:
    state = new_state(make_config(device="cuda"), 32, torch.device("cuda"))
    readings = Readings()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in (1, 2):
            state.step = step
            readings.take(state)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [reading.step for reading in readings.arrived(wait=True)] == [1, 2]
