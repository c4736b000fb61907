"""A Dask cluster: a client of its scheduler, and joblib's backend for it with what that lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import distributed
import joblib
from distributed.comm.addressing import get_address_host_port
from distributed.comm.core import CommClosedError
from joblib._dask import DaskDistributedBackend
from joblib.parallel import BatchedCalls

from dcgan_data.errors import BadRequest
from dcgan_data.versions import library_versions

_PATIENCE_S = 5
"""For the scheduler to answer, and for its first worker."""


class DaskBackend(DaskDistributedBackend):  # type: ignore[misc]
    """Hands out ``n_jobs`` tasks at a time, and says so if one ends by an error of the cluster's own."""

    worker_deaths = (distributed.KilledWorker,)

    def __init__(self, client: distributed.Client) -> None:
        super().__init__(client=client)
        self.here = library_versions()

    def configure(self, n_jobs: int = 1, parallel: joblib.Parallel = None, **_: Any) -> int:
        """Dask knows no ``n_jobs``: how many tasks run at once is how many it is given at a time.

        What else there is, such as what a process does at its start, is of other backends.
        """
        if self.client.status != "running":  # lost between two stages: nothing would ever come back
            raise CommClosedError(f"the client is {self.client.status}")
        parallel.pre_dispatch = n_jobs
        return int(super().configure(n_jobs, parallel))

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Never 1, for which joblib would run the tasks in this process."""
        return max(n_jobs, 2)

    def submit(self, func: BatchedCalls, callback: Callable[[Any], None]) -> Future[Any]:
        """Also calls back if the cluster gives a task up: joblib 1.6 would wait for it for ever."""

        def give_up(done: Future[Any]) -> None:
            if error := done.exception():
                callback(error)

        func.items = [(_checked, (self.here, *call), {}) for call in func.items]
        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(give_up)
        return future


@contextmanager
def connected(scheduler: str) -> Iterator[tuple[DaskBackend, int]]:
    """A backend on the cluster of this scheduler, and how many workers it has."""
    if not scheduler:
        raise BadRequest(
            "--backend dask: give the address of its scheduler as --scheduler tcp://HOST:8786; "
            "'dask scheduler' starts one, 'dask worker tcp://HOST:8786 --nthreads 1' a worker"
        )
    with _silent("distributed"), _silent("distributed.client"):  # of what they log we raise what matters
        try:
            get_address_host_port(scheduler)  # of what is no address a half-made client would log a traceback
            client = distributed.Client(scheduler, timeout=_PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise BadRequest(
                f"--scheduler {scheduler}: no Dask scheduler answers there ({error}); "
                "'dask scheduler' prints the address of the one that it starts"
            ) from None
        with client:
            _check_workers(client, scheduler)
            try:
                yield DaskBackend(client=client), len(client.nthreads())
            except (CancelledError, CommClosedError) as error:
                raise BadRequest(
                    f"--scheduler {scheduler}: the connection to it was lost; what is finished is kept: give "
                    "the same command again when it runs, with another --scheduler, or without --backend"
                ) from error


def _check_workers(client: distributed.Client, scheduler: str) -> None:
    """Refuse what would fail later, or make other bytes than this machine."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TimeoutError:
        raise BadRequest(
            f"--scheduler {scheduler}: has no workers; start some with 'dask worker {scheduler} --nthreads 1'"
        ) from None
    threads, here = client.nthreads(), library_versions()
    for worker, there in client.run(library_versions, on_error="return").items():
        if isinstance(there, Exception):
            raise BadRequest(
                f"--scheduler {scheduler}: its worker {worker} cannot run dcgan-data ({there}); "
                "install the same version there as here"
            )
        if wrong := _unfit(threads.get(worker, 1), there, here):
            raise BadRequest(f"--scheduler {scheduler}: its worker {worker} {wrong}")


def _unfit(threads: int, there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """What is wrong with a worker of so many threads and these versions; nothing if it may be used."""
    if threads > 1:  # LMDB opens a file once in a process, and the limit of a record's time is a process's
        return f"runs {threads} tasks in one process; start it with --nthreads 1, for several with --nworkers"
    for name, version in here.items():
        if there.get(name) != version:
            return (
                f"has {name} {there.get(name)}, here it is {version}; the images could differ: "
                "install the same version there as here"
            )
    return ""


def _checked(
    here: Mapping[str, str], function: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """A task, on a worker that may have joined later. BadRequest if it would have been refused before."""
    worker = distributed.get_worker()
    if wrong := _unfit(worker.state.nthreads, library_versions(), here):
        raise BadRequest(
            f"{worker.scheduler.address}: worker {worker.address}, which joined later, {wrong}; "
            "then run the same command again to go on"
        )
    return function(*args, **options)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
