"""Run independent tasks on several processes, through joblib, and turn its failures into clear errors."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcgan_data.errors import BadInput
from dcgan_data.formats.lock import shared_by_worker

Result = TypeVar("Result")
_SECONDS_BETWEEN_LOOKS = 0.1


def default_workers() -> int:
    """The number of processors that this process may use."""
    return int(joblib.cpu_count())


def run_tasks(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    hold: Path | None = None,
) -> Generator[Result, None, None]:
    """Yield ``function(*task)`` of every task as it finishes, in any order.

    hold: a directory that every task writes into; the next run there waits until the last task let go of it,
    even if this process is killed. Closing the generator ends the workers.
    BadInput if a worker process dies, for example because memory ran out.
    """
    try:
        yield from _pool(min(workers, max(len(tasks), 1)))(
            joblib.delayed(_run)(function, task, hold) for task in tasks
        )
    except TerminatedWorkerError:
        raise BadInput(
            "a worker process died, perhaps for lack of memory; what is finished is kept: "
            "run the same command again to go on, with fewer --workers if it dies again"
        ) from None


def _pool(processes: int) -> joblib.Parallel:
    return joblib.Parallel(
        n_jobs=processes,
        return_as="generator_unordered",
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


def _run(function: Callable[..., Result], task: tuple[Any, ...], hold: Path | None) -> Result:
    with shared_by_worker(hold) if hold else nullcontext():
        return function(*task)


def _start_worker(parent: int) -> None:
    """What a worker process does before its first task, if it ever gets one."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker as soon as its parent is gone: else it would go on writing beside the next run."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
