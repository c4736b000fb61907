"""How much memory a process has used."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage would count what the parent used before the fork
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def peak_mb_of(function: Callable[..., None], *arguments: Any) -> float:
    """Largest resident memory of a new process that does nothing but call ``function(*arguments)``.

    In a process that did other work before, memory that was freed and never given back would hide the need.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(function, *arguments).result()
        return process.submit(peak_mb).result()
