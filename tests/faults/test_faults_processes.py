"""Interrupted, stopped, run twice at once, with a clock that is wrong, or without the right to read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

COMMANDS = ("prepare", "dedup", "export parquet", "train")

Outcome = Callable[..., None]
Contents = Callable[[Path], dict[str, Any]]


def go_on(runs: Any, name: str, directory: Path, contents: Contents) -> None:
    """The same command again."""
    more = ("--resume",) if name == "train" and (directory / "made.zip" / "config.json").exists() else ()
    again = runs(name, directory, more=more)
    assert again.code == 0 or "exists; choose another" in again.err or "is not empty" in again.err, again.err
    assert contents(directory) == runs.made(name)


@pytest.mark.often(short=1, long=2)
@pytest.mark.each(short=["prepare"], long=COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str, number: int
) -> None:
    ended = runs.strike(name, tmp_path, moment, clock="calls", signal=int(number))
    assert ended.code in (0, 130, -signal.SIGTERM) and "Traceback" not in ended.err, (ended.code, ended.err)
    seen = ended.last if ended.code == 130 else ""
    assert not seen or seen.startswith("interrupted: ")
    if (tmp_path / "made.zip").exists() or ended.code:
        go_on(runs, name, tmp_path, contents)
    happened = {
        0: "it was at its end, and ends well",
        130: "exit code 130; the same command goes on to the same bytes",
        -signal.SIGTERM: "ends at once, as if killed; the same command goes on to the same bytes",
    }[ended.code]
    outcome(f"{signal.Signals(number).name}", f"{name}, at any moment", happened, 1, seen=seen)


@pytest.mark.often(short=1, long=2)
@pytest.mark.each(short=["prepare"], long=COMMANDS)
def test_stopped_and_continued(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str
) -> None:
    stops: list[int] = []
    ended = runs.strike(
        name, tmp_path, moment, clock="calls", signal=signal.SIGSTOP, when_stopped=lambda: stops.append(1)
    )
    assert ended.code == 0, ended.err
    assert stops
    assert contents(tmp_path) == runs.made(name)
    outcome("SIGSTOP, SIGCONT", f"{name}, at any moment", "goes on as if nothing had been", 1)


@pytest.mark.often(short=1, long=2)
@pytest.mark.each(short=["prepare"], long=COMMANDS)
def test_two_at_once(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str
) -> None:
    """The second begins while the first stands still."""
    words = [word.format(tmp_path / "made.zip") for word in runs.words[name]]
    second: list[subprocess.CompletedProcess[str]] = []

    def begin() -> None:
        more = ["--resume"] if name == "train" and (tmp_path / "made.zip" / "config.json").exists() else []
        line = [sys.executable, "-m", "dcgan_data", *words, *more]
        second.append(subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment))

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # From where it has the lock to where it is done with it.
    ended = runs.strike(
        name, tmp_path, 0.3 + 0.4 * moment, clock="calls", signal=signal.SIGSTOP, when_stopped=begin
    )
    assert ended.code == 0, ended.err
    assert contents(tmp_path) == runs.made(name)
    assert second[0].returncode == 1 and "Traceback" not in second[0].stderr, second[0].stderr
    last = second[0].stderr.splitlines()[-1]
    assert "another run is working on it; wait for it to end, or choose another" in last
    happened = "the second ends at once; the first ends in the same bytes"
    outcome("Two runs at once", f"{name}, twice to one place", happened, 1, seen=last)


@pytest.mark.parametrize("year", [1970, 2100])
def test_the_clock_was_wrong(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, year: int
) -> None:
    """What a killed run has left is of another time than now: that of the files decides nothing."""
    assert runs.strike("dedup", tmp_path, 0.6, clock="files").code == -signal.SIGKILL
    seconds = (year - 1970) * 31_557_600
    before = {path: path.stat().st_ino for path in tmp_path.rglob("images/*.npy")}
    assert before
    for path in tmp_path.rglob("*"):
        os.utime(path, (seconds, seconds))
    go_on(runs, "dedup", tmp_path, contents)
    assert {path: path.stat().st_ino for path in before} == before  # not made again
    outcome("The clock was wrong", f"dedup goes on with files of {year}", "ends in the same bytes", 1)


def test_some_files_may_not_be_read(
    tmp_path: Path, command: Any, runs: Any, near_records: dict[bytes, bytes], outcome: Outcome
) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    for key, data in near_records.items():
        (source / f"{key.decode()}.png").write_bytes(data)
    for name in ("00.png", "05.png"):
        (source / name).chmod(0)
    words = [*runs.words["prepare"][:2], f"--source={source}", "--device=cpu", "--workers=1"]
    strict = command(*words, f"--out={tmp_path}/made", directory=tmp_path, bound_by_permissions=True)
    assert strict.code == 3 and "Traceback" not in strict.err
    assert "3 of 24 records were rejected (" in strict.last and "unreadable" in strict.last, strict.last
    table = pq.read_table(tmp_path / "made" / "manifest.parquet").to_pylist()
    reasons = {row["key"]: row["reason"] for row in table if row["status"] == "rejected"}
    assert reasons["00.png"] == reasons["05.png"] == "unreadable: Permission denied"
    assert len(table) == 24
    happened = "these are rejected, and all others read; exit code 3 as they are more than 1 %"
    outcome("Some files may not be read", "2 of 24 files of a folder", happened, 2, seen=strict.last)
    shutil.rmtree(tmp_path / "made")
    (source / "locked").mkdir(0)
    refused = command(*words, f"--out={tmp_path}/made", directory=tmp_path, bound_by_permissions=True)
    assert refused.code == 1 and "Traceback" not in refused.err
    assert refused.last == f"error: {source}/locked: cannot be read (Permission denied); make it readable"
    outcome("Some files may not be read", "a directory of a folder", "ends at once", 1, seen=refused.last)
