"""Where tasks run: in processes of this machine, or on a cluster, by joblib's backends for Dask and Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend

from dcgan_data.errors import BadRequest

_MODULES = {"dask": "dask_cluster", "ray": "ray_cluster"}


@contextmanager
def parallel_backend(name: str, scheduler: str = "") -> Iterator[int]:
    """All tasks of ``run_tasks`` within run there; yields how many at once if every worker is used.

    name: loky, dask or ray. scheduler: the address of Dask's scheduler, or of Ray's head, where empty means
    the one that runs on this machine.
    BadRequest if the cluster cannot be used: its library or itself is not there, it has no workers, they have
    other versions of what the result depends on, or it is lost on the way.
    """
    if name not in _MODULES:
        yield int(joblib.cpu_count())
        return
    try:
        cluster = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed", "ray"):
            raise
        raise BadRequest(
            f"--backend {name}: {error.name} is not installed; pip install 'dcgan-data[{name}]', "
            "or leave --backend out"
        ) from None
    with cluster.connected(scheduler) as (backend, most), joblib.parallel_config(backend=backend):
        yield most


def on_a_cluster() -> bool:
    """Whether tasks are for a cluster: then none is done in this process, not even with one worker."""
    return hasattr(get_active_backend()[0], "worker_deaths")


def worker_deaths() -> tuple[type[BaseException], ...]:
    """The exceptions by which the active backend says that a worker died of a task."""
    found: tuple[type[BaseException], ...] = getattr(
        get_active_backend()[0], "worker_deaths", (TerminatedWorkerError,)
    )
    return found
