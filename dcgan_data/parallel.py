"""Run independent tasks on several processes, through joblib, and turn its failures into clear errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcgan_data.errors import BadInput

Result = TypeVar("Result")


def default_workers() -> int:
    """The number of processors that this process may use."""
    return int(joblib.cpu_count())


def run_tasks(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Result]:
    """Yield ``function(*task)`` of every task as it finishes, in any order.

    BadInput if a worker process dies, for example because memory ran out.
    """
    parallel = joblib.Parallel(n_jobs=min(workers, max(len(tasks), 1)), return_as="generator_unordered")
    try:
        yield from parallel(joblib.delayed(_in_worker)(function, task) for task in tasks)
    except TerminatedWorkerError:
        raise BadInput(
            "a worker process died, perhaps for lack of memory; what is finished is kept: "
            "run the same command again to go on, with fewer --workers if it dies again"
        ) from None


def _in_worker(function: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    if multiprocessing.parent_process() is not None or os.environ.get("LOKY_WORKER"):
        # Ctrl-C reaches the whole process group; the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return function(*task)
