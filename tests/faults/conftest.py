"""The fault suite's frame: how often each thing goes wrong, and the table of what came of it.

``pytest`` runs the short form. ``make faults`` runs the long one, and writes the table.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dcgan_data

ROW = "fault"
"""The name under which a test's report carries a row, also from xdist's workers."""
INTRODUCTION = """\
# Things going wrong

What was done to the tool, how often, and what came of it. `make faults` does it all and writes this page;
`make test` does each a few times. A fault whose outcome is not the one named here fails its test, and then
this page is not written. After every fault whose cause can be taken away the same command is given again, and
what it makes is compared, byte by byte, with what an undisturbed run makes.

*n* is how often it was done; *lost* is what was good before and is not there after. This page is of the
FORM form.
"""


class Row(NamedTuple):
    """One row of the table, but for how often."""

    fault: str
    done: str
    happened: str
    seen: str
    lost: str


Outcome = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "each(short, long): the values of `name` in each form")
    config.addinivalue_line("markers", "often(short, long): how often a test with `nth` runs in each form")
    if not hasattr(config, "workerinput"):  # not in one of xdist's workers
        config.pluginmanager.register(Table(config), "faults-table")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    form = metafunc.config.getoption("faults")
    if often := metafunc.definition.get_closest_marker("often"):
        metafunc.parametrize("nth", range(_times(often, metafunc.config)))
    if each := metafunc.definition.get_closest_marker("each"):
        metafunc.parametrize("name", each.kwargs[form])


def _times(often: pytest.Mark, config: pytest.Config) -> int:
    """How often a test runs."""
    form = config.getoption("faults")
    return int(often.kwargs[form]) * (config.getoption("faults_times") if form == "long" else 1)


@pytest.fixture
def nth() -> int:
    """Which of the times this is; given by the mark ``often``."""
    raise AssertionError("a test with nth is marked often(short=..., long=...)")


@pytest.fixture
def moment(nth: int, request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> float:
    """A share of a run's length, 0 to 1: random, the same every time, and all parts have their turn."""
    return (nth + random.Random(nth).random()) / _times(
        request.node.get_closest_marker("often"), pytestconfig
    )


@pytest.fixture(scope="session")
def long_form(pytestconfig: pytest.Config) -> bool:
    """Whether this is ``make faults``."""
    return bool(pytestconfig.getoption("faults") == "long")


@pytest.fixture
def outcome(record_property: Callable[[str, object], None], tmp_path: Path) -> Outcome:
    """Record a row of the table; rows that are the same but for their count are added up.

    seen: what the command said at last; what differs from one time to the next is taken out of it.
    """

    def record(
        fault: str, done: str, happened: str, count: int, lost: str = "nothing", seen: str = ""
    ) -> None:
        row = Row(fault, done, happened, _without_chance(seen.replace(str(tmp_path), "/")), lost)
        record_property(ROW, [*row, count])

    return record


def _without_chance(said: str) -> str:
    """A message without names of files, numbers of steps and bytes, and what a library says of damage."""
    said = re.sub(r"(?<!\w)/[^\s:;,()']*", "FILE", said)
    said = re.sub(r"(damaged|readable LMDB) \(.*\);", r"\1 (...);", said)
    said = re.sub(r"\bstep \d+", "step N", said)
    return re.sub(r"[\d,]+ of [\d,]+ bytes", "N of N bytes", said)


PATIENCE_S = 120
"""Then a command counts as hanging, and is killed."""
BELOW = Path(__file__).parent / "below"
"""What is loaded into the processes below a test."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Exit code; the negative number of a signal that ended it."""
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of stderr: where errors are."""
        return (self.err.splitlines() or [""])[-1]


@dataclass(frozen=True)
class At:
    """A moment of a run; at it, a signal."""

    count: int = 0
    """How far the run is; 0: never, only count."""
    clock: str = "calls"
    """What is counted: ``calls`` of the package, or ``files`` opened, renamed, made or removed."""
    signal: int = signal.SIGKILL
    worker: bool = False
    """Sent to a worker, and counted by the workers."""


@dataclass
class Asked:
    """One command, and what is to be unlike an ordinary run of it."""

    words: list[str]
    directory: Path
    at: At | None = None
    limits: dict[str, int] = field(default_factory=dict)
    """By name, such as RLIMIT_FSIZE."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Other values for constants of the package, by full name."""
    bound_by_permissions: bool = False
    """Also when the tests are root's."""
    when_stopped: Callable[[], object] | None = None
    """Called while the process stands still, which then goes on."""


def _state(process: int) -> str:
    """One letter, as in the manual of proc; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Commands:
    """Runs commands in processes of their own, forked from one that has all libraries loaded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        paths = os.pathsep.join([str(BELOW), str(Path(dcgan_data.__file__).parents[1])])
        self.server = subprocess.Popen(
            [sys.executable, BELOW / "forking.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, *words: object, directory: Path, **unlike: Any) -> Ended:
        """Run ``dcgan-data words``, in ``directory``, to its end; ``unlike`` is fields of Asked."""
        if at := unlike.pop("at", None):
            unlike["at"] = At(**at)
        return self.run(Asked([str(word) for word in words], directory, **unlike))

    def run(self, asked: Asked) -> Ended:
        streams = {name: str(self.directory / name) for name in ("stdout", "stderr")}
        for path in streams.values():
            Path(path).unlink(missing_ok=True)
        spec = self._spec(asked)
        whom = "of_workers" if asked.at and asked.at.worker else "of_parent"
        hooks = {"of_workers": None, "of_parent": None, whom: spec}
        plain = {name: value for name, value in vars(asked).items() if name not in ("at", "when_stopped")}
        self._say({**plain, "directory": str(asked.directory), **streams, **hooks})
        process = self._hear()["process"]
        alarm = threading.Timer(PATIENCE_S, os.kill, (process, signal.SIGKILL))
        alarm.start()
        if asked.at and asked.at.worker and asked.when_stopped and self._worker_stops(process):
            asked.when_stopped()
            os.kill(self.struck, signal.SIGCONT)
        try:
            while "ended" not in (heard := self._hear()):
                assert asked.when_stopped
                asked.when_stopped()
                os.kill(process, signal.SIGCONT)
        finally:
            alarm.cancel()
        return Ended(heard["ended"], *(Path(path).read_text(errors="replace") for path in streams.values()))

    @property
    def counted(self) -> int:
        """How far the last run with ``at`` came."""
        return int(struct.unpack("qq", (self.directory / "counter").read_bytes())[0])

    @property
    def struck(self) -> int:
        """The process that got the signal in the last run with ``at``; 0 if it did not come so far."""
        return int(struct.unpack("qq", (self.directory / "counter").read_bytes())[1])

    def _worker_stops(self, process: int) -> bool:
        """Wait until a worker has stopped; False if the run ends before."""
        while not (self.struck and _state(self.struck) == "T"):
            if _state(process) in ("", "Z"):
                return False
        return True

    def close(self) -> None:
        assert self.server.stdin and self.server.stdout
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def _spec(self, asked: Asked) -> dict[str, Any] | None:
        if asked.at is None:
            return None
        counter = self.directory / "counter"
        counter.write_bytes(bytes(16))
        facts = {"at": asked.at.count, "clock": asked.at.clock, "signal": int(asked.at.signal)}
        places = {"below": str(asked.directory), "package": str(Path(dcgan_data.__file__).parent)}
        return {**facts, **places, "counter": str(counter)}

    def _say(self, value: object) -> None:
        assert self.server.stdin
        self.server.stdin.write(json.dumps(value) + "\n")
        self.server.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self.server.stdout
        return dict(json.loads(self.server.stdout.readline()))


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """``command("prepare", source, "--out", out, directory=tmp_path)`` runs it and returns how it ended."""
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


FORMATS = ("stylegan-zip", "webdataset", "imagefolder", "parquet", "keys", "lmdb")
SMALL_PARTS = {
    "dcgan_data.export.webdataset.IMAGES_PER_TAR": 3,
    "dcgan_data.export.image_folder.IMAGES_PER_TASK": 3,
    "dcgan_data.export.parquet.MOST_ROWS_OF_A_GROUP": 3,
    "dcgan_data.export.parquet.PIXEL_BYTES_PER_FILE": 32 * 32 * 9,
    "dcgan_data.export.stylegan_zip.IMAGES_AT_A_TIME": 3,
}
"""So that a few pictures are several tasks."""
TRAINING = ("--steps=12", "--width=2", "--batch-size=4", "--checkpoint-every=3", "--sample-every=6")
OF_CLOCK = frozenset(("seconds", "images_per_s", "timings"))
"""Keys whose values differ between two runs of one job."""
Contents = dict[str, Any]


def contents_of(root: Path) -> Contents:
    """Every file and directory below ``root`` but the lock, which stays; without what a clock has said."""
    paths = [path for path in sorted(root.rglob("*")) if path.name != ".lock"]
    found = {str(path.relative_to(root)): path.is_file() and _meant(path) for path in paths}
    return {name: value for name, value in found.items() if value != []}  # a log of nothing but resumes


def _meant(path: Path) -> Any:
    if path.name in ("metrics.jsonl", "events.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [_untimed(line) for line in lines if line.get("kind") != "resumed"]
    if path.suffix == ".json":
        values = _untimed(json.loads(path.read_text()))
        values.get("config", {}).pop("run_dir", None)
        return values
    if path.name == "index.html" and path.with_name("config.json").exists():
        return "a run's page, which shows its directory and its speed"
    return path.read_bytes()


def _untimed(values: Contents) -> Contents:
    return {name: value for name, value in values.items() if name not in OF_CLOCK}


@dataclass
class Runs:
    """Small runs of each command, which make ``made.zip``, and what they make when nothing happens."""

    command: Commands
    directory: Path
    words: dict[str, list[str]]
    """The words of each command; ``{}`` stands for the destination."""

    def __post_init__(self) -> None:
        self._made: dict[str, Contents] = {}
        self._lengths: dict[str, int] = {}

    def __call__(
        self, name: str, directory: Path, workers: int = 1, more: tuple[str, ...] = (), **unlike: Any
    ) -> Ended:
        """Run one in ``directory``."""
        words = [word.format(directory / "made.zip") for word in self.words[name]]
        if name != "train":
            words.append(f"--workers={workers}")
        return self.command(*words, *more, directory=directory, constants=SMALL_PARTS, **unlike)

    def made(self, name: str) -> Contents:
        """What is in the directory after an undisturbed run."""
        if name not in self._made:
            self.length(name)
        return self._made[name]

    def length(self, name: str, workers: int = 1, **at: Any) -> int:
        """How far an undisturbed run counts."""
        key = f"{name} {workers} {at}"
        if key not in self._lengths:
            directory = self.directory / str(len(self._lengths))
            directory.mkdir()
            ended = self(name, directory, workers, at=at or {"count": 0})
            assert ended.code == 0, ended.err
            self._lengths[key] = self.command.counted
            made = contents_of(directory)
            assert self._made.setdefault(name, made) == made
        return self._lengths[key]

    def strike(
        self,
        name: str,
        directory: Path,
        moment: float,
        workers: int = 1,
        when_stopped: Callable[[], object] | None = None,
        **at: Any,
    ) -> Ended:
        """Send it the signal when that share of it is done."""
        clock = {what: value for what, value in at.items() if what != "signal"}
        count = 1 + int(moment * self.length(name, workers, **clock))
        while count:
            ended = self(name, directory, workers, at={**at, "count": count}, when_stopped=when_stopped)
            if self.command.struck:
                return ended
            assert workers > 1 or at.get("worker"), ended.err  # in one process it always counts the same
            _empty(directory)
            count //= 2
        raise AssertionError(f"{name}: not struck")


def _empty(directory: Path) -> None:
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], Contents]:
    return contents_of


@pytest.fixture(scope="session")
def recipe_file() -> Callable[[Path, Any], Path]:
    """Write a recipe as TOML."""

    def write(path: Path, recipe: Any) -> Path:
        values = recipe.as_dict()
        tables = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    command: Commands,
    near_source: Path,
    finished_set: Path,
    recipe: Callable[..., Any],
    near_recipe: Any,
    recipe_file: Callable[[Path, Any], Path],
) -> Runs:
    """Of ``prepare``, ``dedup``, ``export FORMAT`` and ``train``."""
    directory = tmp_path_factory.mktemp("undisturbed")
    words = {
        "train": ["train", f"--prepared={finished_set}", "--run-dir={}", "--device=cpu", *TRAINING],
        **{f"export {kind}": ["export", str(finished_set), f"--format={kind}", "{}"] for kind in FORMATS},
    }
    for name, chosen in (("prepare", recipe("none")), ("dedup", near_recipe)):
        file = recipe_file(directory / f"{name}.toml", chosen)
        made = ["run", str(file), f"--source={near_source}", "--out={}"]
        words[name] = [*made, "--device=cpu", "--max-rejected=100%"]
    return Runs(command, directory, words)


class Table:
    """Collects the rows of all tests, and writes them when all has gone as it should."""

    def __init__(self, config: pytest.Config) -> None:
        self.path: Path | None = config.getoption("faults_table")
        self.form: str = config.getoption("faults")
        self.counts: Counter[Row] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == ROW:
                    *texts, count = value
                    self.counts[Row(*texts)] += count

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.path is not None and exitstatus == pytest.ExitCode.OK:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(table(self.counts).replace("FORM", self.form, 1), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        if self.path is not None:
            good = exitstatus == pytest.ExitCode.OK
            said = (
                f"{sum(self.counts.values()):,} faults, written to" if good else "not written, for a failure:"
            )
            terminalreporter.write_line(f"{said} {self.path}")


def table(counts: Counter[Row]) -> str:
    """The page: rows by fault and then by what was done, the same for the same rows in any order."""
    parts = [INTRODUCTION]
    for fault, rows in groupby(sorted(counts), key=lambda row: row.fault):
        parts.append(f"\n## {fault}\n")
        parts.append("| done | n | what happened | what is seen | lost |\n|---|---:|---|---|---|")
        parts += [
            f"| {_cell(row.done)} | {counts[row]:,} | {_cell(row.happened)} | "
            f"{f'`{_cell(row.seen)}`' if row.seen else ''} | {_cell(row.lost)} |"
            for row in rows
        ]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
