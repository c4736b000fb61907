"""How much memory this process and its children take together, watched from a thread."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dcgan_data.bench.polling import Poller

_SECONDS_BETWEEN_LOOKS = 2.0  # a look at 3 GB takes 50 ms


class ResidentWatch(Poller):
    """Most resident memory of a process and all its descendants; pages that several share count once (PSS).

    Stays 0 where the system has no ``/proc``.
    """

    def __init__(self) -> None:
        super().__init__(_SECONDS_BETWEEN_LOOKS)
        self.anonymous_mb = 0.0
        """Of the processes' own, when most was resident ..."""
        self.mapped_mb = 0.0
        """... and pages of mapped files."""

    def look(self) -> None:
        """Look now, twice: what one process lets go of while another maps it would be counted for both."""
        sums = [[_anonymous_and_mapped(process) for process in _family(os.getpid())] for _ in range(2)]
        anonymous, mapped = (min(sum(of[kind] for of in one) for one in sums) for kind in range(2))
        if anonymous + mapped > self.anonymous_mb + self.mapped_mb:
            self.anonymous_mb, self.mapped_mb = anonymous, mapped


def _family(process: int) -> list[int]:
    """A process and all its descendants."""
    found = [process]
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            numbers = children.read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in numbers:
            found += _family(int(child))
    return found


def _anonymous_and_mapped(process: int) -> tuple[float, float]:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    sizes = {name: int(kilobytes) / 1e3 for name, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return sizes.get("Pss_Anon", 0.0), sizes.get("Pss", 0.0) - sizes.get("Pss_Anon", 0.0)
