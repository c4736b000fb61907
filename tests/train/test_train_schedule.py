"""What is due after a step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.schedule import Due, due_after

MakeConfig = Callable[..., TrainConfig]
FAR = 1_000_000
"""No step of these tests is the last, nor at an epoch's end."""


def steps_at(
    config: TrainConfig, what: Callable[[Due], object], until: int, total: int = FAR, epoch: int = FAR
) -> list[int]:
    return [step for step in range(1, until + 1) if what(due_after(step, config, total, epoch))]


def test_lines_come_at_their_interval_and_with_everything_else(make_config: MakeConfig) -> None:
    config = make_config(log_every=10, checkpoint_every=25, sample_every=15)
    assert steps_at(config, lambda due: due.log, 50) == [10, 15, 20, 25, 30, 40, 45, 50]


def test_checkpoints(make_config: MakeConfig) -> None:
    config = make_config(checkpoint_every=7)
    assert steps_at(config, lambda due: due.save, 20) == [7, 14]
    assert steps_at(config, lambda due: due.save, 20, total=20) == [7, 14, 20]


def test_grids_at_an_interval_replace_those_at_the_end_of_epochs(make_config: MakeConfig) -> None:
    config = make_config(sample_every=6)
    assert steps_at(config, lambda due: due.draw, 13, epoch=5) == [6, 12]
    assert steps_at(config, lambda due: due.draw, 13, epoch=5, total=13) == [6, 12, 13]


def test_grids_at_the_end_of_epochs_and_within_long_ones(make_config: MakeConfig) -> None:
    config = make_config(sample_every=None)
    assert steps_at(config, lambda due: due.draw, 2500, epoch=1200) == [1000, 1200, 2000, 2400]


def test_scores_of_few_samples_come_with_checkpoints(make_config: MakeConfig) -> None:
    config = make_config(checkpoint_every=4)
    assert due_after(4, config, FAR, FAR).scores == (1_000,)
    assert due_after(5, config, FAR, FAR).scores == ()
    assert due_after(5, config, total_steps=5, per_epoch=FAR).scores == (1_000,)


def test_costly_scores_come_after_so_many_epochs(make_config: MakeConfig) -> None:
    config = make_config(checkpoint_every=6, score_every=2)
    every = (1_000, 10_000, 100_000)
    scores = {step: due_after(step, config, FAR, 3).scores for step in range(1, 13)}
    assert {step: found for step, found in scores.items() if found} == {6: every, 12: every}
    assert due_after(5, make_config(score_every=None), FAR, 5).scores == ()


def test_the_last_step_does_everything_but_the_costly_scores(make_config: MakeConfig) -> None:
    config = make_config(checkpoint_every=500, sample_every=300, log_every=100, score_every=3)
    assert due_after(7, config, total_steps=7, per_epoch=5) == Due(True, True, True, (1_000,))
    assert due_after(15, config, total_steps=15, per_epoch=5).scores == (1_000, 10_000, 100_000)


@pytest.mark.parametrize(
    ("due", "halts"),
    [
        (Due(False, False, False, ()), False),
        (Due(True, False, False, ()), False),
        (Due(True, True, False, ()), True),
        (Due(True, False, True, ()), True),
        (Due(True, False, False, (1_000,)), True),
    ],
)
def test_a_line_alone_does_not_make_the_host_wait(due: Due, halts: bool) -> None:
    assert due.halts is halts


def test_whatever_halts_is_logged(make_config: MakeConfig) -> None:
    """A reading of the very step is then there, which the loop relies on."""
    config = make_config(log_every=13, checkpoint_every=7, sample_every=5, score_every=1)
    for step in range(1, 200):
        due = due_after(step, config, 199, 11)
        assert due.log or not due.halts
