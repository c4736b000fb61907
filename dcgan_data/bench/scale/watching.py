"""Memory, bytes read and bytes written of a process and all its descendants, stage by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from dcgan_data.bench.polling import Poller

_SECONDS_BETWEEN_LOOKS = 0.25


@dataclass
class StageUse:
    """What the processes used while a stage ran."""

    all_mb: float = 0.0
    """Most memory of all processes together; pages that several share count once (PSS)."""
    peaks_mb: dict[int, float] = field(default_factory=dict)
    """Most memory of each process (by its number) that it would give back by ending (USS)."""
    read_bytes: int = 0
    """Read from the disk, mapped files included; what is still in the system's cache costs nothing."""
    written_bytes: int = 0
    """Written to the disk, at once or later."""


class Watcher(Poller):
    """Looks at a process tree several times a second, by psutil; ``stage`` may be changed at any moment."""

    def __init__(self, process: int, stage: str) -> None:
        super().__init__(_SECONDS_BETWEEN_LOOKS)
        self.stage = stage
        self.use: dict[str, StageUse] = defaultdict(StageUse)
        self._root = process
        self._counted: dict[int, tuple[int, int]] = {}

    def look(self) -> None:
        """Look now; of a tree whose root has ended, nothing more is seen."""
        import psutil

        try:
            root = psutil.Process(self._root)
            self._count([root, *root.children(recursive=True)])
        except psutil.NoSuchProcess:
            return

    def _count(self, processes: list[Any]) -> None:
        import psutil

        use, together = self.use[self.stage], 0.0
        for process in processes:
            try:
                memory, counters = process.memory_full_info(), process.io_counters()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            together += memory.pss / 1e6
            use.peaks_mb[process.pid] = max(use.peaks_mb.get(process.pid, 0.0), memory.uss / 1e6)
            read, written = self._counted.get(process.pid, (0, 0))
            use.read_bytes += counters.read_bytes - read
            use.written_bytes += counters.write_bytes - written
            self._counted[process.pid] = (counters.read_bytes, counters.write_bytes)
        use.all_mb = max(use.all_mb, together)


class StageClock:
    """When each stage began, as told by another process."""

    def __init__(self) -> None:
        self._began: list[tuple[str, float]] = []

    def begin(self, stage: str) -> None:
        """A stage begins now, and the one before it ends."""
        self._began.append((stage, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Of each stage that another one followed, in order; of the same name: together."""
        spent: dict[str, float] = {}
        for (stage, began), (_, ended) in zip(self._began, self._began[1:], strict=False):
            spent[stage] = spent.get(stage, 0.0) + ended - began
        return spent
