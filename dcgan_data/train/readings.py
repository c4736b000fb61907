"""Losses read from the device without waiting: copied when a line is due, looked at when they are there."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan_data.train.game import TrainState
from dcgan_data.train.guard import Failure, failure_of

_MOST_PENDING = 2
"""Then the oldest is waited for: the host must not run ahead of a GPU without bound."""


@dataclass(frozen=True)
class Measures:
    """What the newest update of each player measured, over all ranks; None before its first."""

    loss_d: float | None
    """Discriminator: cross-entropy on real plus cross-entropy on generated images, in nats."""
    loss_g: float | None
    """Generator: -log D(G(z)), in nats."""
    p_real: float | None
    """Mean of D on real images: the probability that it gives to real ones being real."""
    p_fake: float | None
    """Mean of D on generated images, in the discriminator's update."""


@dataclass(frozen=True)
class Reading:
    """The state of a run after a step."""

    step: int
    """Minibatches done."""
    measures: Measures
    """Losses."""
    failure: Failure | None
    """The first update that had to be skipped, at this step or before."""
    images_per_s: float
    """Real images consumed a second since the reading before, as the host saw it at this step."""
    seconds: float
    """Time spent on steps until then, over all sessions."""


@dataclass(frozen=True)
class _Pending:
    step: int
    images_per_s: float
    seconds: float
    values: Tensor
    """float64 (8,) on the host, once ``there``."""
    there: torch.cuda.Event | None


class Readings:
    """Copies that are under way, oldest first."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()

    def take(self, state: TrainState, images_per_s: float = 0.0) -> None:
        """Queue a copy of what ``state`` has measured. All ranks must come here together."""
        guard = state.guard
        measures = state.measures.double()
        state.ranks.take_mean(measures)
        values = torch.cat([measures, guard.skip.double().reshape(1), guard.seen])
        there = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            there.record()
        self._pending.append(_Pending(state.step, images_per_s, state.seconds, values, there))

    def drop(self) -> None:
        """Forget what is under way: it is of steps that are taken back."""
        self._pending.clear()

    def arrived(self, *, wait: bool) -> list[Reading]:
        """What has come in, oldest first; with ``wait`` everything, which waits for the device."""
        found = []
        while self._pending:
            oldest = self._pending[0]
            if oldest.there is not None and not oldest.there.query():  # type: ignore[no-untyped-call]
                if not wait and len(self._pending) <= _MOST_PENDING:
                    break
                oldest.there.synchronize()
            self._pending.popleft()
            found.append(_reading(oldest))
        return found


def read_now(state: TrainState) -> Reading:
    """What ``state`` has measured. Waits for the device."""
    readings = Readings()
    readings.take(state)
    return readings.arrived(wait=True)[-1]


def _reading(pending: _Pending) -> Reading:
    values = pending.values.tolist()
    measures = Measures(*(None if math.isnan(value) else value for value in values[:4]))
    failure = failure_of(values[4], values[5:])
    return Reading(pending.step, measures, failure, pending.images_per_s, pending.seconds)
