"""A Ray cluster of this machine alone: the same bytes as processes, and an end when a worker dies."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from set_contents import contents

from dcgan_data.backends import parallel_backend
from dcgan_data.errors import BadRequest
from dcgan_data.recipe import Recipe

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None and not os.environ.get("CI"),  # there it must not be absent
    reason="ray is not installed: pip install 'dcgan-data[ray]'",
)

PATIENCE_S = 120
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
HEAD = """
import sys, ray
started = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(started.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
RUN = """
import json, sys
from pathlib import Path
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job
from dcgan_data.recipe import recipe_from_dict
from dcgan_data.reporter import SilentReporter

source, out, address, recipe = sys.argv[1:]
how = {"backend": "ray", "scheduler": address, "workers": 0, "device": "cpu", "max_rejected": 1.0}
run_job(Job(recipe_from_dict(json.loads(recipe)), Path(source), Path(out), **how), SilentReporter())
"""
DIE = """
import os, sys
import joblib
from dcgan_data.backends import parallel_backend, worker_deaths
from dcgan_data.parallel import run_tasks

with parallel_backend("ray", sys.argv[1]) as most:
    assert most == 2
    for workers in (1, 5):  # it has two processors
        assert os.getpid() not in set(run_tasks(os.getpid, [()] * 4, workers))
    several = joblib.Parallel(2, return_as="generator_unordered")
    try:
        list(several(joblib.delayed(os._exit)(1) for _ in range(3)))
    except worker_deaths():
        print("told")
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster with two processors, which ends with its standard input."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Its sockets' names must be short, which those of pytest's directories are not.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        words = [sys.executable, "-c", HEAD, folder]
        with subprocess.Popen(words, env=ENVIRONMENT, text=True, **pipes) as head:
            address = head.stdout.readline().strip()
            assert address, head.communicate()[1]
            yield address
            head.communicate("", timeout=PATIENCE_S)


def run_script(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_the_same_bytes_as_here(
    tmp_path: Path, address: str, near_source: Path, near_set: Path, near_recipe: Recipe
) -> None:
    recipe = json.dumps(near_recipe.as_dict())
    done = run_script(RUN, str(near_source), near_set.name, address, recipe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / near_set.name) == contents(near_set)


def test_tasks_are_done_by_its_workers_and_a_death_is_told(tmp_path: Path, address: str) -> None:
    done = run_script(DIE, address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "told" in done.stdout.splitlines()  # beside what Ray itself says of it


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:x"])
def test_no_cluster_there(address: str) -> None:
    with pytest.raises(BadRequest) as caught, parallel_backend("ray", address):
        pass
    assert str(caught.value).startswith(f"--scheduler {address}: no Ray cluster answers there (")
