"""Tasks on several processes: all results, errors as they were raised, and a clear word for a dead worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cloudpickle import register_pickle_by_value

from dcgan_data.errors import BadInput
from dcgan_data.formats.lock import locked
from dcgan_data.parallel import default_workers, run_tasks

# torch-fidelity installs a package named "tests": workers would look there for the tasks of this module.
register_pickle_by_value(sys.modules[__name__])


def square(number: int, note: Path) -> tuple[int, int]:
    (note / f"{number}").write_text(str(os.getpid()))
    return number, number**2


def fail_on(number: int, bad: int) -> int:
    if number == bad:
        raise BadInput(f"record {number}: bad")
    return number


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupts_are_ignored(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(tmp_path: Path, workers: int) -> None:
    found = list(run_tasks(square, [(number, tmp_path) for number in range(9)], workers))
    assert sorted(found) == [(number, number**2) for number in range(9)]
    processes = {path.read_text() for path in tmp_path.iterdir()}
    assert (str(os.getpid()) in processes) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_tasks(workers: int) -> None:
    assert list(run_tasks(square, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_as_it_was_raised(workers: int) -> None:
    with pytest.raises(BadInput, match=r"^record 3: bad$"):
        list(run_tasks(fail_on, [(number, 3) for number in range(6)], workers))


def test_one_worker_yields_as_it_goes(tmp_path: Path) -> None:
    """Progress is shown after every task, and no task is done before it is asked for."""
    results = run_tasks(square, [(number, tmp_path) for number in range(3)], 1)
    next(results)
    assert len(list(tmp_path.iterdir())) == 1
    results.close()


def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(BadInput) as caught:
        list(run_tasks(die, [(0,), (1,)], 2))
    assert str(caught.value) == (
        "a worker process died, perhaps for lack of memory; what is finished is kept: "
        "run the same command again to go on, with fewer --workers if it dies again"
    )
    assert list(run_tasks(fail_on, [(1, 0), (2, 0)], 2))  # new workers take over


def test_workers_leave_interrupts_to_their_parent() -> None:
    assert list(run_tasks(interrupts_are_ignored, [(0,), (1,)], 2)) == [True, True]
    handler = signal.getsignal(signal.SIGINT)
    assert list(run_tasks(interrupts_are_ignored, [(0,)], 1)) == [False]
    assert signal.getsignal(signal.SIGINT) is handler


def test_default_workers() -> None:
    assert 1 <= default_workers() <= (os.cpu_count() or 1)


ORPHANS = """
import os, sys
from pathlib import Path
from dcgan_data.parallel import run_tasks

def wait_for_ever(directory):
    (directory / f"{os.getpid()}.pid").touch()
    os.mkfifo(fifo := directory / f"{os.getpid()}.fifo")
    open(fifo).read()

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    list(run_tasks(wait_for_ever, [(directory,), (directory,)], 2, hold=directory))
"""


def test_workers_end_with_their_parent_and_the_next_run_waits_for_them(tmp_path: Path) -> None:
    script, directory = tmp_path / "orphans.py", tmp_path / "out"
    script.write_text(ORPHANS)
    directory.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, str(script), str(directory)], env=environment) as parent:
        while len(list(directory.glob("*.fifo"))) < 2:
            assert parent.poll() is None
        parent.kill()
    workers = [int(path.stem) for path in directory.glob("*.pid")]
    with locked(directory, "--out"):
        # They let go of the directory while they exit: what is left of that takes no more than some looks.
        assert not all(any(is_running(worker) for worker in workers) for _ in range(20_000))


def is_running(process: int) -> bool:
    """Whether it still does anything: one that ended but was not waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
