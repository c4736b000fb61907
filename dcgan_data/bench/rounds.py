"""Ways of training taking turns, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import torch

from dcgan_data.bench.memory import peak_mb_of
from dcgan_data.bench.roofline import matrix_rate, wait_for
from dcgan_data.bench.ways import Training, Way, Workload
from dcgan_data.reporter import Reporter

_PAIR = 2
"""Steps come in pairs, so that an alternating way moves both players equally often."""
_WARM_UP_PAIRS = {"cuda": 10, "cpu": 1}
"""On a GPU, algorithms are chosen and graphs are recorded during the first steps."""


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    """Turns of each way that count."""
    seconds: float
    """About how long a turn is."""


@dataclass
class Runner:
    """One way of training, set up, and what was measured of it so far."""

    way: Way
    """What is measured."""
    training: Training
    """What does its steps."""
    work: Workload
    """What it is given."""
    peak_mb: float = 0.0
    """Largest memory that it took."""
    pairs: int = 1
    """Pairs of steps in a turn."""
    step_seconds: list[float] = field(default_factory=list)
    """Seconds a step, in each turn."""

    @property
    def images_per_s(self) -> float:
        """Images consumed a second in the median turn."""
        return self.work.batch_size / statistics.median(self.step_seconds)

    def warm_up(self, seconds: float) -> None:
        """Get the first, slower steps over with, and see how many fill a turn."""
        device = self.work.device
        self._run(_WARM_UP_PAIRS[device.type])
        # In few pieces: waiting for a GPU after every pair of steps would make them look slower.
        taken, pairs = 0.0, 0
        while taken < seconds / 4:
            more = max(1, pairs)
            taken += self._run(more)
            pairs += more
        self.pairs = max(1, round(seconds * pairs / taken))

    def turn(self) -> None:
        """Measure one round."""
        self.step_seconds.append(self._run(self.pairs) / (self.pairs * _PAIR))

    def _run(self, pairs: int) -> float:
        device = self.work.device
        with self.way.numerics(device):
            wait_for(device)
            start = time.perf_counter()
            for _ in range(pairs * _PAIR):
                self.training.step()
            wait_for(device)
            return time.perf_counter() - start


def take_turns(
    ways: Sequence[Way], work: Workload, plan: Plan, reporter: Reporter
) -> tuple[list[Runner], dict[str, list[float]]]:
    """Measure all ways; returns them in their order, and the device's matrix rates in each round, in FLOP/s.

    The rates are by precision. Torch's global random numbers are put back where they were.
    """
    precisions = sorted({way.precision(work.device) for way in ways})
    rates: dict[str, list[float]] = {precision: [] for precision in precisions}
    gpus = [torch.cuda.current_device()] if work.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(gpus))
        runners = []
        for way in ways:
            reporter.say(f"set up and warm up: {way.name}")
            runners.append(_set_up(way, work, plan, stack))
        for number in range(plan.rounds):
            reporter.say(f"round {number + 1} of {plan.rounds}")
            for runner in runners:
                runner.turn()
            for precision in precisions:
                rates[precision].append(matrix_rate(work.device, precision))
    return runners, rates


def _set_up(way: Way, work: Workload, plan: Plan, stack: ExitStack) -> Runner:
    if work.device.type == "cpu":
        peak = peak_mb_of(train_a_little, way, work, torch.get_num_threads())
    else:
        before = torch.cuda.memory_allocated(work.device)
        torch.cuda.reset_peak_memory_stats(work.device)
    with way.numerics(work.device):
        training = stack.enter_context(closing(way.start(work)))
    runner = Runner(way, training, work)
    runner.warm_up(plan.seconds)
    if work.device.type == "cuda":
        # From the set-up on: a recorded graph takes its memory while it is recorded, and none when it runs.
        peak = (torch.cuda.max_memory_allocated(work.device) - before) / 1e6
    runner.peak_mb = peak
    return runner


def train_a_little(way: Way, work: Workload, threads: int) -> None:
    """In a new process: set up and take a few steps, which need all the memory that many steps need."""
    torch.set_num_threads(threads)
    with way.numerics(work.device), closing(way.start(work)) as training:
        for _ in range(2 * _PAIR):
            training.step()
