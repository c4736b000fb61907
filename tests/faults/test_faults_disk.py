"""Disks that are full, read-only, or taken away: one clear line, and later the same command goes on."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ("prepare", "dedup", "export parquet", "export stylegan-zip", "export lmdb", "train")
GOES_ON = "ends at once; with the cause gone, the same command ends in the same bytes"
WHOLE = "ends as if nothing had been: it had no more to write"

Outcome = Callable[..., None]
Contents = Callable[[Path], dict[str, Any]]


def assert_told(ended: Any, wording: str) -> None:
    """One line that says what, where and what to do; no traceback."""
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert re.search(wording, ended.last) and ended.last.startswith("error: /"), ended.err
    assert ended.err.count("error: ") == 1


def go_on(runs: Any, name: str, directory: Path, contents: Contents) -> None:
    """The same command, now that the cause is gone."""
    more = ("--resume",) if name == "train" and (directory / "made.zip" / "config.json").exists() else ()
    again = runs(name, directory, more=more)
    assert again.code == 0, again.err
    assert contents(directory) == runs.made(name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own. Root may mount it; else the limit on the size of files has to do."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.often(short=1, long=4)
@pytest.mark.each(short=["prepare", "export parquet"], long=COMMANDS)
def test_the_disk_is_full(
    small_disk: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str
) -> None:
    """Somebody fills it while the command runs."""
    filler, work = small_disk / "filler", small_disk / "work"
    work.mkdir()

    def fill() -> None:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    ended = runs.strike(name, work, moment, clock="files", signal=signal.SIGSTOP, when_stopped=fill)
    filler.unlink()
    if ended.code:
        assert_told(ended, "No space left on device")
        go_on(runs, name, work, contents)
        outcome("Disk full", f"{name}, at any moment", GOES_ON, 1, seen=ended.last)
    else:
        assert contents(work) == runs.made(name)
        outcome("Disk full", f"{name}, at any moment", WHOLE, 1)


@pytest.mark.often(short=1, long=2)
@pytest.mark.each(short=["prepare", "export lmdb"], long=COMMANDS)
def test_files_may_not_be_large(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str
) -> None:
    """A limit on the size of files, which every user can set: the first file that is larger fails."""
    limit = int(256 * 2 ** (9 * moment))
    ended = runs(name, tmp_path, limits={"RLIMIT_FSIZE": limit})
    done = f"{name}, files of at most 256 bytes to 128 kB"
    if ended.code:
        assert_told(ended, "File too large|No space left|mdb_txn_commit: Input/output error")
        go_on(runs, name, tmp_path, contents)
        outcome("Disk full (a limit on files)", done, GOES_ON, 1, seen=ended.last)
    else:
        assert contents(tmp_path) == runs.made(name)
        outcome("Disk full (a limit on files)", done, WHOLE, 1)


@pytest.mark.each(short=["prepare", "export parquet"], long=COMMANDS)
def test_the_destination_may_not_be_written(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, name: str
) -> None:
    """A directory of somebody else's; a disk that is mounted read-only is told in the same way."""
    work = tmp_path / "work"
    work.mkdir(0o555)
    ended = runs(name, work, bound_by_permissions=True)
    assert_told(ended, r"cannot be written \(Permission denied\); choose another (--out|--run-dir|DEST)$")
    assert list(work.iterdir()) == []
    work.chmod(0o755)
    go_on(runs, name, work, contents)
    outcome("The destination may not be written", name, "ends before anything is done", 1, seen=ended.last)


@pytest.mark.each(short=["prepare"], long=["prepare", "dedup", "train", "export parquet"])
def test_the_disk_becomes_read_only(
    small_disk: Path, runs: Any, contents: Contents, outcome: Outcome, name: str
) -> None:
    """As Linux makes it after a fault; no file is open for writing at this moment, else it would refuse."""
    work = small_disk / "work"
    work.mkdir()

    def mount(how: str) -> int:
        return subprocess.run(["mount", "-o", f"remount,{how}", small_disk], capture_output=True).returncode

    refused: list[int] = []
    ended = runs.strike(
        name,
        work,
        0.4,
        clock="files",
        signal=signal.SIGSTOP,
        when_stopped=lambda: refused.append(mount("ro")),
    )
    mount("rw")
    if refused == [0]:
        assert_told(ended, "Read-only file system")
        go_on(runs, name, work, contents)
        outcome("The disk becomes read-only", name, GOES_ON, 1, seen=ended.last)


@pytest.mark.often(short=1, long=2)
@pytest.mark.each(short=["prepare", "export parquet"], long=COMMANDS)
@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_the_destination_goes_away(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, moment: float, name: str, how: str
) -> None:
    places = (tmp_path / "made.zip", tmp_path / "made.zip.tmp")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def away() -> None:
        for path in filter(Path.exists, places):
            path.rename(elsewhere / path.name)
        if how == "removed":
            shutil.rmtree(elsewhere)

    ended = runs.strike(name, tmp_path, moment, clock="files", signal=signal.SIGSTOP, when_stopped=away)
    if ended.code:
        assert_told(ended, "was removed or renamed while this run worked on it; put it back, or")
    else:  # it was made anew, or already whole
        assert "Traceback" not in ended.err
    for path in filter(Path.exists, places):  # "remove what is there now"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in elsewhere.glob("*"):  # "put it back"
        path.rename(tmp_path / path.name)
    shutil.rmtree(elsewhere, ignore_errors=True)
    if name.startswith("export") and (tmp_path / "made.zip").exists():
        assert runs(name, tmp_path).code == 1  # only clears up: the export was whole
    else:
        go_on(runs, name, tmp_path, contents)
    assert contents(tmp_path) == runs.made(name)
    happened = GOES_ON if ended.code else "ends as if nothing had been: it had all that it needed"
    outcome(
        f"The destination is {how}",
        f"{name}, at any moment",
        happened,
        1,
        seen=ended.last if ended.code else "",
    )


@pytest.mark.each(short=["prepare"], long=["prepare", "dedup", "export parquet", "train"])
def test_few_files_may_be_open(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, name: str
) -> None:
    ended = runs(name, tmp_path, limits={"RLIMIT_NOFILE": 10})
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.last.endswith(
        "Too many open files; allow more open files ('ulimit -n 1024'), or use fewer --workers"
    )
    go_on(runs, name, tmp_path, contents)
    outcome("No more files may be open", name, GOES_ON, 1, seen=ended.last)
