"""Look at something again and again from a thread, while the work that it is about goes on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Poller(ABC):
    """Calls ``look`` every so many seconds while its block runs, and once more at the end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    @abstractmethod
    def look(self) -> None:
        """Look now."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.look()

    def _poll(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()
