"""What a run tells while it goes on and when it has ended; importable without torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """Progress after one minibatch; the losses are those of the last line of the log."""

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
    messages: tuple[str, ...] = ()
    """What a person should know since the last report: warnings, rollbacks."""


@dataclass(frozen=True)
class TrainSummary:
    """How a run ended."""

    run_dir: Path
    """The run."""
    steps: int
    """Minibatches done, over all sessions."""
    seconds: float
    """Time spent on steps, over all sessions; drawing, scoring and saving do not count."""
    images_per_s: float
    """Real images consumed a second of it in this session; 0 if nothing was left to do."""
    loss_d: float | None
    """Discriminator's last loss in nats; None if it was never updated."""
    loss_g: float | None
    """Generator's last loss in nats."""
    checkpoint: Path
    """The last checkpoint."""
    grid: Path
    """The last grid of samples."""
    page: Path
    """The whole run to look at."""
    best: Path | None = None
    """The checkpoint whose samples are hardest to tell from held-out images; None if there are none."""
    best_score: float | None = None
    """Its score, 0 to 0.5: see ``checkpoint.Facts``."""
    warnings: list[str] = field(default_factory=list)
    """What the watchdog said, over all sessions."""


class Pace:
    """Measures the time that steps take, and real images a second of it."""

    def __init__(self, step: int, earlier_seconds: float, batch_size: int) -> None:
        self._batch_size = batch_size
        self._earlier_seconds = earlier_seconds
        self._away = 0.0
        self._start = self._mark = (step, self._now())

    @contextmanager
    def paused(self, when: bool) -> Iterator[None]:
        """What is done inside the block does not count, if ``when``: the device must be waited for before."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            if when:
                self._away += time.perf_counter() - begin

    def seconds(self) -> float:
        """Time spent on steps, over all sessions."""
        return self._earlier_seconds + self._now() - self._start[1]

    def since_start(self, step: int) -> float:
        """Images a second in this session."""
        return self._rate(self._start, step)

    def since_mark(self, step: int) -> float:
        """Images a second since the last call."""
        rate = self._rate(self._mark, step)
        self._mark = (step, self._now())
        return rate

    def _rate(self, begin: tuple[int, float], step: int) -> float:
        return (step - begin[0]) * self._batch_size / (self._now() - begin[1])

    def _now(self) -> float:
        return time.perf_counter() - self._away
