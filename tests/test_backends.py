"""Which backend tasks run on, and what is said when it cannot be used; no cluster is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcgan_data.backends import on_a_cluster, parallel_backend, worker_deaths
from dcgan_data.errors import BadRequest
from dcgan_data.formats.lock import shared_by_worker
from dcgan_data.plan import Job
from dcgan_data.recipe import Recipe


def test_processes_of_this_machine_are_what_runs_anyway() -> None:
    with parallel_backend("loky") as most:
        assert most == joblib.cpu_count()
        assert worker_deaths() == (TerminatedWorkerError,)
        assert not on_a_cluster()


@pytest.mark.parametrize(("name", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_a_library_that_is_not_installed(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"dcgan_data.backends.{name}_cluster", raising=False)
    with pytest.raises(BadRequest) as caught, parallel_backend(name, "127.0.0.1:1"):
        pass
    assert str(caught.value) == (
        f"--backend {name}: {library} is not installed; pip install 'dcgan-data[{name}]', "
        "or leave --backend out"
    )


def test_dask_is_not_looked_for() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(
        BadRequest, match=r"^--backend dask: give the address of its scheduler as --scheduler"
    ):
        with parallel_backend("dask"):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://x:1"}, "--scheduler tcp://x:1: give --backend dask or --backend ray with it"),
        ({"backend": "spark"}, "--backend spark: expected one of loky, dask, ray"),
        ({"workers": 0}, "--workers 0: expected 1 or more"),
        ({"workers": -1, "backend": "ray"}, "--workers -1: expected 1 or more"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Job(Recipe(), Path("in"), Path("out"), **options)
    assert str(caught.value) == message


def test_a_machine_that_does_not_see_the_directory(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"/set: not there on \S+; all machines of a cluster must see"):
        with shared_by_worker(tmp_path / "set"):
            pass


def test_a_cluster_that_is_not_used_is_not_loaded() -> None:
    script = "import sys, dcgan_data.pipeline; print({'distributed', 'dask', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
