"""What a person sees while a command runs: progress bars on a terminal, plain lines elsewhere. On stderr;
stdout is for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dcgan_data.errors import one_line
from dcgan_data.reporter import Stage

if TYPE_CHECKING:
    from dcgan_data.train.progress import StepReport

_SECONDS_BETWEEN_LINES = 5.0


class ConsoleReporter:
    """Shows stages on stderr: live bars if it is a terminal, else a line every few seconds."""

    def say(self, text: str) -> None:
        """Print one line."""
        print(one_line(text), file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Show a stage until the context ends."""
        if sys.stderr.isatty():
            with _live_stage(name, total, unit) as stage:
                yield stage
        else:
            plain = _PlainStage(name, total, unit)
            yield plain
            plain.finish()

    @contextmanager
    def training(self) -> Iterator[Callable[[StepReport], None]]:
        """Show a training run; the callback takes its step reports."""
        stage: Stage | None = None
        done = 0
        with ExitStack() as stack:

            def on_step(report: StepReport) -> None:
                nonlocal stage, done
                if stage is None:
                    stage = stack.enter_context(self.stage("train", report.total_steps, "steps"))
                    done = report.step - 1
                    stage.advance(done)
                for message in report.messages:
                    self.say(message)
                stage.advance(report.step - done, _training_note(report))
                done = report.step

            yield on_step


def _training_note(report: StepReport) -> str:
    losses = (("D", report.loss_d), ("G", report.loss_g))
    known = [f"loss {name} {value:.3f}" for name, value in losses if value is not None]
    return ", ".join([f"epoch {report.epoch}", *known, f"{report.images_per_s:,.0f} images/s"])


@contextmanager
def _live_stage(name: str, total: int, unit: str) -> Iterator[Stage]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _LiveStage(progress, name, total, unit)


class _LiveStage:
    def __init__(self, progress: object, name: str, total: int, unit: str) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self._progress = progress
        self._pace = _Pace(total, unit)
        self._task = progress.add_task(name, total=total, rate="", note="")

    def advance(self, amount: int, note: str = "") -> None:
        self._pace.add(amount)
        self._progress.update(self._task, advance=amount, rate=self._pace.rate_text(), note=note)


class _PlainStage:
    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name = name
        self._pace = _Pace(total, unit)
        self._last_line = time.monotonic()
        self._note = ""

    def advance(self, amount: int, note: str = "") -> None:
        self._pace.add(amount)
        self._note = f", {note}" if note else ""
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._print(f"{self._pace.rate_text()}, {self._pace.remaining_text()}")

    def finish(self) -> None:
        """Print the closing line; without a rate if an earlier run has done it all."""
        if not self._pace.done:
            print(f"{self._name}: nothing left to do", file=sys.stderr, flush=True)
            return
        rate = f"{self._pace.rate_text()}, " if self._pace.rate() else ""
        self._print(f"{rate}{self._pace.seconds():.1f} s")

    def _print(self, tail: str) -> None:
        print(f"{self._name}: {self._pace.done_text()}, {tail}{self._note}", file=sys.stderr, flush=True)


class _Pace:
    """Counts units and seconds. What was done before this run does not count towards the rate."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self.done = 0
        self._first: int | None = None
        self._start = time.monotonic()

    def add(self, amount: int) -> None:
        if self._first is None and self.seconds() < 0.05:
            self._first = amount  # found finished at the start of a resumed run
        self.done += amount

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def rate(self) -> float:
        return (self.done - (self._first or 0)) / max(self.seconds(), 1e-9)

    def rate_text(self) -> str:
        return (
            f"{self.rate():,.0f} {self._unit}/s" if self.rate() >= 10 else f"{self.rate():.2f} {self._unit}/s"
        )

    def done_text(self) -> str:
        return f"{self.done:,} of {self._total:,} {self._unit}"

    def remaining_text(self) -> str:
        if not self.rate():
            return "time left unknown"
        minutes, seconds = divmod(round((self._total - self.done) / self.rate()), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
