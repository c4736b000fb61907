"""A Dask cluster on loopback, of real processes: the same bytes as here, also when some of it is killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib
import pytest
from set_contents import contents

from dcgan_data.backends import parallel_backend, worker_deaths
from dcgan_data.errors import BadRequest
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import Recipe

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None
    and not os.environ.get("CI"),  # there it must not be absent
    reason="distributed is not installed: pip install 'dcgan-data[dask]'",
)

PATIENCE_S = 120
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
BLOCK = """
from pathlib import Path
from dcgan_data import prepare

here, calls = Path({here!r}), 0

def blocking(*arguments):
    global calls
    calls += 1
    if calls == 4:  # in the middle of the second shard
        (here / "blocked").touch()
        (here / "fifo").read_text()
    return prepare.original(*arguments)

if not hasattr(prepare, "original"):  # Dask runs this twice
    prepare.original, prepare._prepare_record = prepare._prepare_record, blocking
"""


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Cluster:
    """A scheduler and workers, each a process in a directory of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = {**ENVIRONMENT, **settings}
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir()
        self.scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        wait_until(lambda: self._said("scheduler", "Scheduler at:"), "the scheduler does not start")
        lines = (folder / "scheduler.log").read_text().splitlines()
        self.address = next(line.split()[-1] for line in lines if "Scheduler at:" in line)

    def add_worker(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker in a directory of its own; returns when it has joined."""
        kept = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", "scratch")
        worker = self._start("worker", self.address, *kept, *options, name=name)
        wait_until(lambda: self._said(name, "Registered to"), f"{name} does not start")
        return worker

    def add_blocking_worker(self) -> subprocess.Popen[bytes]:
        """A worker that stays in the middle of its second shard until something is written to ``fifo``."""
        os.mkfifo(self.folder / "fifo")
        (self.folder / "block.py").write_text(BLOCK.format(here=str(self.folder)))
        return self.add_worker("blocking", "--preload", str(self.folder / "block.py"))

    def wait_until_blocked(self, run: subprocess.Popen[str]) -> None:
        wait_until(lambda: (self.folder / "blocked").exists() or run.poll() is not None, "nothing blocks")
        assert run.poll() is None

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, kind: str, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        name = name or kind
        (self.folder / name).mkdir()
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder / name, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def _said(self, name: str, text: str) -> bool:
        return text in (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    with ExitStack() as stack:

        def start_one(**settings: str) -> Cluster:
            cluster = Cluster(tmp_path_factory.mktemp("dask") / "cluster", **settings)
            stack.callback(cluster.close)
            return cluster

        yield start_one


@pytest.fixture(scope="module")
def cluster(start: Callable[..., Cluster]) -> Cluster:
    """Two workers."""
    cluster = start()
    for name in ("first", "second"):
        cluster.add_worker(name)
    return cluster


@pytest.fixture(scope="module")
def near_in_twelve(near: Callable[..., Recipe]) -> Recipe:
    """Of ``near_source`` 12 shards of two records."""
    return near(records_per_shard=2)


@pytest.fixture(scope="module")
def local_set(
    tmp_path_factory: pytest.TempPathFactory,
    make: Callable[..., Any],
    near_source: Path,
    near_in_twelve: Recipe,
) -> Path:
    """What is made here."""
    out = tmp_path_factory.mktemp("local") / "set"
    make(near_source, out, near_in_twelve)
    return out


@pytest.fixture
def run(
    tmp_path: Path, near_source: Path, near_in_twelve: Recipe
) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts the command on a cluster, in ``tmp_path``, with ``--out set``."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(as_toml(near_in_twelve))
    running = []

    def start(scheduler: str) -> subprocess.Popen[str]:
        words = ["run", str(recipe), "--source", str(near_source), "--out", "set", "--max-rejected", "100%"]
        words += ["--device", "cpu", "--backend", "dask", "--scheduler", scheduler]
        process = subprocess.Popen(
            [sys.executable, "-m", "dcgan_data", *words],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def as_toml(recipe: Recipe) -> str:
    values = recipe.as_dict()
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for section, fields in values.items():
        if isinstance(fields, dict):
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    return "\n".join(lines)


def test_the_same_bytes_as_here(
    cluster: Cluster, run: Callable[[str], subprocess.Popen[str]], tmp_path: Path, local_set: Path
) -> None:
    _, said = (done := run(cluster.address)).communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, said
    assert ", 2 workers\n" in said  # all that the cluster has
    assert contents(tmp_path / "set") == contents(local_set)
    for name in ("first", "second"):  # nothing was written where a worker happened to be
        assert [path.name for path in (cluster.folder / name).iterdir()] == ["scratch"]


def test_a_worker_killed_in_the_middle_of_a_shard(
    cluster: Cluster, run: Callable[[str], subprocess.Popen[str]], tmp_path: Path, local_set: Path
) -> None:
    doomed = cluster.add_blocking_worker()
    done = run(cluster.address)
    cluster.wait_until_blocked(done)
    assert list((tmp_path / "set" / "images").glob("*.tmp"))
    doomed.kill()
    _, said = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, said
    assert contents(tmp_path / "set") == contents(local_set)


def test_the_scheduler_killed_in_the_middle_of_a_shard(
    start: Callable[..., Cluster],
    run: Callable[[str], subprocess.Popen[str]],
    tmp_path: Path,
    local_set: Path,
    make: Callable[..., Any],
    near_source: Path,
    near_in_twelve: Recipe,
) -> None:
    cluster, out = start(), tmp_path / "set"
    cluster.add_blocking_worker()
    done = run(cluster.address)
    cluster.wait_until_blocked(done)
    cluster.scheduler.send_signal(signal.SIGKILL)
    _, said = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 1
    assert said.splitlines()[-1] == (
        f"error: --scheduler {cluster.address}: the connection to it was lost; what is finished is kept: "
        "give the same command again when it runs, with another --scheduler, or without --backend"
    )
    assert "Traceback" not in said
    first = (out / "images" / "00000.npy").stat()
    (cluster.folder / "fifo").write_text("go on")  # the next run waits for what the worker is at
    make(near_source, out, near_in_twelve)
    assert (out / "images" / "00000.npy").stat().st_ino == first.st_ino  # not done again
    assert contents(out) == contents(local_set)


def test_a_task_that_ends_its_worker_is_told_not_waited_for(start: Callable[..., Cluster]) -> None:
    cluster = start(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    cluster.add_worker("only")
    with parallel_backend("dask", cluster.address) as most:
        assert most == 1
        with pytest.raises(worker_deaths(), match="all those workers died while running it"):
            list(joblib.Parallel(1, return_as="generator_unordered")([joblib.delayed(os._exit)(1)]))


def test_one_task_at_once_is_not_done_here_either(cluster: Cluster) -> None:
    with parallel_backend("dask", cluster.address):
        found = list(run_tasks(os.getcwd, [()] * 4, workers=1))
    assert {Path(directory).parent for directory in found} == {cluster.folder}


def test_a_wrong_worker_that_joins_later_is_refused(start: Callable[..., Cluster]) -> None:
    cluster = start()
    cluster.add_worker("first")
    with parallel_backend("dask", cluster.address):
        assert set(run_tasks(os.getcwd, [()], workers=2)) == {str(cluster.folder / "first")}
        cluster.add_worker("wide", "--nthreads", "2")
        with pytest.raises(
            BadRequest, match=r"which joined later, runs 2 tasks in one process; start it with"
        ):
            list(run_tasks(time.sleep, [(0.01,)] * 50, workers=3))


def test_workers_of_another_version_are_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.versions.__version__", "0.0.0")
    with pytest.raises(BadRequest, match=r"its worker tcp://\S+ has dcgan_data \S+, here it is 0\.0\.0; the"):
        with parallel_backend("dask", cluster.address):
            pass


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:1", "127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1:x", "127.0.0.1", "tcp://"],
)
def test_no_scheduler_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.backends.dask_cluster._PATIENCE_S", 0.3)
    with pytest.raises(BadRequest) as caught, parallel_backend("dask", address):
        pass
    assert str(caught.value).startswith(f"--scheduler {address}: no Dask scheduler answers there (")
    assert str(caught.value).endswith("); 'dask scheduler' prints the address of the one that it starts")


def test_what_is_no_address_says_one_line() -> None:
    """And no more at the end of the program, where a client that was only half made would fail again."""
    script = """
from dcgan_data.backends import parallel_backend
from dcgan_data.errors import BadRequest
try:
    parallel_backend("dask", "127.0.0.1").__enter__()
except BadRequest as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout.startswith("--scheduler 127.0.0.1: no Dask scheduler answers there (missing port")
    assert done.stderr == ""


def test_a_cluster_without_workers_and_with_wrong_ones(
    start: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start()
    with monkeypatch.context() as patch:
        patch.setattr("dcgan_data.backends.dask_cluster._PATIENCE_S", 0.3)
        with pytest.raises(BadRequest, match=r"has no workers; start some with 'dask worker tcp://\S+ --nth"):
            with parallel_backend("dask", cluster.address):
                pass
    cluster.add_worker("wide", "--nthreads", "2")
    with pytest.raises(BadRequest, match=r"its worker tcp://\S+ runs 2 tasks in one process; start it with"):
        with parallel_backend("dask", cluster.address):
            pass
