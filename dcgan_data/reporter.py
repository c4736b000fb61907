"""How a driver tells what it does, without knowing who listens."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Stage(Protocol):
    """A running stage, as a progress display sees it."""

    def advance(self, amount: int, note: str = "") -> None:
        """So much more is done."""


class Reporter(Protocol):
    """Where a run tells what it does; the CLI shows it, a library user may pass ``SilentReporter``."""

    def say(self, text: str) -> None:
        """One line for a person."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """A stage of ``total`` units begins; it ends with the context."""


class SilentReporter:
    """Says nothing: for use as a library, and for tests."""

    def say(self, text: str) -> None:
        """Ignored."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """A stage that nobody watches."""
        return nullcontext(_SilentStage())


class _SilentStage:
    def advance(self, amount: int, note: str = "") -> None:
        """Ignored."""
