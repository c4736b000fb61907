"""Tasks on several processes: all results, errors as they were raised, and a clear word for a dead worker."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cloudpickle import register_pickle_by_value

from dcgan_data.errors import BadInput
from dcgan_data.formats.lock import locked
from dcgan_data.parallel import Deaths, deaths_told_to, default_workers, run_tasks

# torch-fidelity installs a package named "tests": workers would look there for the tasks of this module.
register_pickle_by_value(sys.modules[__name__])


def square(number: int, note: Path) -> tuple[int, int]:
    (note / f"{number}").write_text(str(os.getpid()))
    return number, number**2


def fail_on(number: int, bad: int) -> int:
    if number == bad:
        raise BadInput(f"record {number}: bad")
    return number


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_on(number: int, bad: int) -> int:
    if number == bad:
        die()
    return number


def die_once(number: int, note: Path, mortal: bool) -> int:
    if mortal and not (note / "died").exists():
        (note / "died").touch()
        die()
    return number


class DiesWhenRead:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return die, ()


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


@pytest.mark.parametrize("held", [True, False])
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path, held: bool) -> None:
    """Every result comes once: of the task that died, of those beside it, and of the rest."""
    told: list[str] = []
    hold = tmp_path / "out" if held else None
    (tmp_path / "out").mkdir()
    tasks = [(number, tmp_path, number == 1) for number in range(7)]
    with deaths_told_to(told.append):
        found = list(
            run_tasks(die_once, tasks, 2, hold=hold, deaths=Deaths([f"shard {n}" for n in range(7)]))
        )
    assert sorted(found) == list(range(7))
    assert len(told) == 1
    expected = (
        r"a worker process died while at (shard \d or )*shard \d \(perhaps for lack of memory\); trying"
    )
    assert re.match(expected, told[0])
    assert "shard 1" in told[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_task_that_dies_again_is_named() -> None:
    told: list[str] = []
    with deaths_told_to(told.append), pytest.raises(BadInput) as caught:
        list(run_tasks(die_on, [(number, 2) for number in range(3)], 2, deaths=Deaths(["a", "b", "band 2"])))
    assert str(caught.value) == (
        "band 2: a worker process died twice while at it, the second time with no other beside it, perhaps "
        "for lack of memory; what is finished is kept: free memory, or use fewer --workers, and run the same "
        "command again"
    )
    assert "band 2" in told[0]
    assert sorted(run_tasks(fail_on, [(1, 0), (2, 0)], 2)) == [1, 2]  # new workers take over


def test_workers_that_die_before_they_begin() -> None:
    with pytest.raises(
        BadInput, match=r"^worker processes die before they begin, perhaps for lack of memory"
    ):
        list(run_tasks(fail_on, [(DiesWhenRead(), 0), (DiesWhenRead(), 0)], 2))


def test_a_task_that_is_never_done_in_this_process(tmp_path: Path) -> None:
    tasks = [(number, tmp_path) for number in range(4)]
    list(run_tasks(square, tasks, 1, deaths=Deaths(own_process=[1, 2])))
    here = str(os.getpid())
    assert [(tmp_path / f"{number}").read_text() == here for number in range(4)] == [True, False, False, True]
    assert (tmp_path / "1").read_text() == (tmp_path / "2").read_text()  # one process for both


def test_one_worker_dies_in_its_own_process(tmp_path: Path) -> None:
    told: list[str] = []
    with deaths_told_to(told.append):
        found = list(run_tasks(die_once, [(0, tmp_path, True)], 1, deaths=Deaths(own_process=[0])))
    assert found == [0]
    assert told == [
        "a worker process died while at task 0 (perhaps for lack of memory); trying it again by itself"
    ]


def test_a_crash_is_told_in_words(capfd: pytest.CaptureFixture[str]) -> None:
    """Not by the traceback that joblib's workers print otherwise."""
    told: list[str] = []
    with deaths_told_to(told.append), pytest.raises(BadInput, match=r"^task 0: a worker process died twice"):
        list(run_tasks(ctypes.string_at, [(0,)], 1, deaths=Deaths(own_process=[0])))
    assert len(told) == 1
    assert capfd.readouterr().err == ""


def test_what_a_killed_run_was_at_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / ".in_flight").mkdir()
    (tmp_path / ".in_flight" / "7").touch()
    assert list(run_tasks(fail_on, [(1, 0)], 1, hold=tmp_path)) == [1]
    assert list(tmp_path.iterdir()) == []


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
