"""The time that steps take, on a clock that the test turns."""

from __future__ import annotations

import pytest

from dcgan_data.train import progress
from dcgan_data.train.progress import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_rates_are_of_steps_alone(clock: Clock) -> None:
    pace = Pace(step=10, earlier_seconds=7.0, batch_size=4)
    clock.now += 2
    assert pace.since_mark(20) == 20.0
    with pace.paused(True):
        clock.now += 1000  # 100,000 samples are scored
    clock.now += 1
    assert pace.since_mark(30) == 40.0
    assert pace.since_start(30) == pytest.approx(80 / 3)
    assert pace.seconds() == 10.0


def test_a_pause_counts_where_the_device_goes_on_meanwhile(clock: Clock) -> None:
    pace = Pace(step=0, earlier_seconds=0.0, batch_size=4)
    with pace.paused(False):
        clock.now += 2
    assert pace.seconds() == 2.0


def test_a_pause_that_fails_ends(clock: Clock) -> None:
    pace = Pace(step=0, earlier_seconds=0.0, batch_size=4)
    with pytest.raises(OSError), pace.paused(True):
        clock.now += 2
        raise OSError
    clock.now += 1
    assert pace.seconds() == 1.0
