"""A Ray cluster that this machine is part of, and joblib's backend for it with what that lacks."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import ray
from ray.util.joblib.ray_backend import RayBackend as _JoblibsRayBackend

from dcgan_data.errors import BadRequest

_PATIENCE_S = 5
"""For the cluster to answer."""


class RayBackend(_JoblibsRayBackend):  # type: ignore[misc]
    """Yields results as they come, a task a processor at a time."""

    supports_return_generator = True  # not of processes' pools, but Ray's calls back for every task
    worker_deaths = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)

    def configure(self, n_jobs: int = 1, parallel: joblib.Parallel = None, **options: Any) -> int:
        """A pool of so many workers, but no more than there are processors: Ray would refuse that.

        Never of one, for which joblib would run the tasks in this process.
        """
        for name in ("initializer", "initargs"):  # meant for processes of this machine
            options.pop(name, None)
        processes = min(n_jobs, _processors())
        parallel.pre_dispatch = processes  # a second task would be given to a worker, not to the first free
        return int(super().configure(max(processes, 2), parallel, **options))


@contextmanager
def connected(scheduler: str) -> Iterator[tuple[RayBackend, int]]:
    """A backend on the cluster of this address, and how many processors it has."""
    if scheduler:
        _check_address(scheduler)
    try:
        ray.init(address=scheduler or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadRequest(
            f"--backend ray: cannot join the cluster ({error}); 'ray start --head' on one machine and "
            "'ray start --address HOST:6379' on all others make one"
        ) from None
    try:
        if _processors() < 2:
            raise BadRequest("--backend ray: the cluster has a single processor; leave --backend out")
        yield RayBackend(ray_remote_args={"num_cpus": 1}), _processors()
    finally:
        ray.shutdown()


def _processors() -> int:
    return int(ray.cluster_resources().get("CPU", 1))


def _check_address(scheduler: str) -> None:
    """Ray itself would wait for a minute."""
    host, _, port = scheduler.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"--scheduler {scheduler}: no Ray cluster answers there ({error}); "
            "expected HOST:PORT as 'ray start --head' has printed it"
        ) from None
