"""Run independent tasks on several processes, through joblib; a process that dies does not end the run.

What a dead process was at is known by files: each task has one while it is worked on. As all processes of
a pool end with one of them, the tasks that were under way are suspects: each is done once more, in a
process of its own; then a new pool does the rest.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcgan_data.backends import on_a_cluster, worker_deaths
from dcgan_data.errors import BadInput
from dcgan_data.formats.lock import IN_FLIGHT, shared_by_worker, wait_for_workers

Result = TypeVar("Result")
_SECONDS_BETWEEN_LOOKS = 0.1
_MOST_POOLS_IN_VAIN = 3
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=lambda text: None)


def default_workers() -> int:
    """The number of processors that this process may use."""
    return int(joblib.cpu_count())


@contextmanager
def deaths_told_to(say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, ``say`` gets a line for a person whenever a worker process died."""
    token = _listener.set(say)
    try:
        yield
    finally:
        _listener.reset(token)


class Deaths:
    """What is done about tasks that end their process. A driver that knows more of its tasks has its own."""

    def __init__(self, names: Sequence[str] = (), own_process: Collection[int] = ()) -> None:
        """names: what a person calls each task, such as ``shard 12``.

        own_process: numbers of the tasks that are never done in this process, not even with one worker.
        """
        self._names = names
        self.own_process = own_process

    def name(self, number: int) -> str:
        """What a person calls a task."""
        return self._names[number] if self._names else f"task {number}"

    def suspect(self, number: int) -> str:
        """A task was under way when its process died, or one beside it; it is tried again.

        Returns why it died, if that is known, else nothing.
        """
        return ""

    def died_again(self, number: int) -> str:
        """A task ended a process that was its own. BadInput, or what is told before it is tried once more."""
        raise BadInput(
            f"{self.name(number)}: a worker process died twice while at it, the second time with no other "
            "beside it, perhaps for lack of memory; what is finished is kept: free memory, or use fewer "
            "--workers, and run the same command again"
        )


def run_tasks(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    hold: Path | None = None,
    deaths: Deaths | None = None,
) -> Generator[Result, None, None]:
    """Yield ``function(*task)`` of every task once, as it finishes, in any order.

    hold: a directory that every task writes into; the next run there waits until the last task let go of it,
    even if this process is killed. Closing the generator ends the workers.
    A task whose process dies is done again, so it must not mind being done twice. BadInput if it ends
    a process of its own too, and ``deaths`` knows nothing better.
    """
    processes = min(workers, max(len(tasks), 1))
    here = processes == 1 and not on_a_cluster()
    with _in_flight(hold) as notes:
        run = _Run(function, tasks, hold, notes, deaths or Deaths())
        yield from run.one_by_one() if here else run.in_pools(processes)


@dataclass(frozen=True)
class _Run(Generic[Result]):
    """One call of ``run_tasks``."""

    function: Callable[..., Result]
    tasks: Sequence[tuple[Any, ...]]
    hold: Path | None
    notes: Path
    """The directory that ``_in_flight`` gave."""
    deaths: Deaths

    def one_by_one(self) -> Iterator[Result]:
        """With one worker, which is this process but for tasks that may end it."""
        with _OwnProcess() as process:
            for number, task in enumerate(self.tasks):
                if number in self.deaths.own_process:
                    yield self._alone(process, number, suspected=False)
                else:
                    yield _run(self.function, task, self.hold)

    def in_pools(self, processes: int) -> Iterator[Result]:
        """With one pool, if no worker dies, and else with a new one after every death."""
        left = dict.fromkeys(range(len(self.tasks)))
        pools_in_vain = 0
        while left:
            before = len(left)
            try:
                calls = (joblib.delayed(_run_numbered)(number, *self._call(number)) for number in list(left))
                with closing(_pool(processes)(calls)) as results:
                    for number, result in results:
                        del left[number]
                        yield result
            except worker_deaths():
                if self.hold:
                    wait_for_workers(self.hold, _listener.get())  # a cluster does not end what else it is at
                suspects = [number for number in left if (self.notes / str(number)).exists()]
                pools_in_vain = 0 if suspects or len(left) < before else pools_in_vain + 1
                if pools_in_vain == _MOST_POOLS_IN_VAIN:
                    raise BadInput(
                        "worker processes die before they begin, perhaps for lack of memory; what is "
                        "finished is kept: free some, or use fewer --workers, and run the same command again"
                    ) from None
                yield from self._suspected(suspects, left)

    def _suspected(self, suspects: Sequence[int], left: dict[int, None]) -> Iterator[Result]:
        """Do each again in a process of its own; all others have ended by now."""
        self._tell_of(suspects)
        for number in suspects:
            with _OwnProcess() as process:
                result = self._alone(process, number, suspected=True)
            del left[number]
            yield result

    def _alone(self, process: _OwnProcess, number: int, suspected: bool) -> Result:
        while True:
            try:
                result: Result = process.run(_run, *self._call(number))
                return result
            except TerminatedWorkerError:
                if suspected:
                    _listener.get()(self.deaths.died_again(number))
                else:
                    self._tell_of([number])
                suspected = True

    def _call(self, number: int) -> tuple[Any, ...]:
        """The arguments of ``_run``."""
        return self.function, self.tasks[number], self.hold, self.notes / str(number)

    def _tell_of(self, suspects: Sequence[int]) -> None:
        if not suspects:
            _listener.get()("a worker process died between two tasks; going on with new ones")
            return
        names = " or ".join(self.deaths.name(number) for number in suspects)
        known = [cause for number in suspects if (cause := self.deaths.suspect(number))]
        again = "each of them again by itself" if len(suspects) > 1 else "it again by itself"
        _listener.get()(
            f"a worker process died while at {names} ({', '.join(known) or 'perhaps for lack of memory'}); "
            f"trying {again}"
        )


class _OwnProcess:
    """One process beside this one, started with its first task, and again after one that ended it."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> _OwnProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor:  # an interrupt does not wait for a task that may never end
            self._executor.shutdown(kill_workers=True)

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, initializer=_start_worker, initargs=(os.getpid(),))
        try:
            result: Result = self._executor.submit(function, *arguments).result()
        except TerminatedWorkerError:
            self._executor.shutdown(kill_workers=True)
            self._executor = None
            raise
        return result


def _pool(processes: int) -> joblib.Parallel:
    return joblib.Parallel(
        n_jobs=processes,
        return_as="generator_unordered",
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


@contextmanager
def _in_flight(hold: Path | None) -> Iterator[Path]:
    """An empty directory for the notes of a run; within ``hold``, which all machines see, if there is one."""
    if hold is None:
        with tempfile.TemporaryDirectory(prefix="dcgan-data-") as temporary:
            yield Path(temporary)
        return
    folder = hold.absolute() / IN_FLIGHT
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed: nobody else works here
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_numbered(number: int, *call: Any) -> tuple[int, Any]:
    return number, _run(*call)


def _run(
    function: Callable[..., Result], task: tuple[Any, ...], hold: Path | None, note: Path | None = None
) -> Result:
    with shared_by_worker(hold) if hold else nullcontext(), _noted(note) if note else nullcontext():
        return function(*task)


@contextmanager
def _noted(path: Path) -> Iterator[None]:
    """A file that is there while the block runs, and stays if the process dies in it."""
    path.touch()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _start_worker(parent: int) -> None:
    """What a worker process does before its first task, if it ever gets one."""
    if not faulthandler.is_enabled():  # by PYTHONFAULTHANDLER; else joblib would have it write to stderr
        faulthandler.enable(os.open(os.devnull, os.O_WRONLY))
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker as soon as its parent is gone: else it would go on writing beside the next run."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
