"""kill -9 of the command, or of one of its workers, anywhere: the same command ends in the same bytes.

The moments that matter most are chosen, one by one, in test_resume, test_export_interrupted and
test_train_killed; here they are many, and nobody chose them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WITH_WORKERS = ("export webdataset", "export imagefolder", "export parquet")
FORMATS = (*WITH_WORKERS, "export stylegan-zip", "export keys", "export lmdb")
GOES_ON = "the same command goes on and ends in the same bytes; nothing temporary is left"

Outcome = Callable[..., None]
Contents = Callable[[Path], dict[str, Any]]


def clock(nth: int) -> str:
    """Half of the moments lie in the work, half at files that are opened, renamed, made or removed."""
    return ("files", "calls")[nth % 2]


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the shards that are done: their rows are there."""
    done = [path.stem for path in (out / ".staging" / "records").glob("*.parquet")]
    statuses = {name: (out / "images" / f"{name}.npy").stat() for name in done}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in statuses.items()}


def shards(out: Path) -> dict[str, tuple[int, int]]:
    """The same of all shards of a finished set."""
    statuses = {path.stem: path.stat() for path in (out / "images").glob("*.npy")}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in statuses.items()}


@pytest.mark.often(short=1, long=26)
@pytest.mark.parametrize("name", ["prepare", "dedup"])
def test_a_set_whose_command_is_killed(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, nth: int, moment: float, name: str
) -> None:
    out, workers = tmp_path / "made.zip", 2 if nth % 4 == 3 else 1
    assert runs.strike(name, tmp_path, moment, workers, clock=clock(nth)).code == -signal.SIGKILL
    done = identities(out)
    begun = {path.name.split(".")[0] for path in out.glob("images/*")}
    assert len(begun - set(done)) <= workers  # in flight
    again = runs(name, tmp_path)
    assert again.code == 0, again.err
    assert contents(tmp_path) == runs.made(name)
    assert done.items() <= shards(out).items()  # not made again
    outcome("kill -9 of the command", name, GOES_ON, 1, "the shards in flight (one a worker)")


@pytest.mark.often(short=1, long=4)
@pytest.mark.each(short=["export webdataset", "export lmdb"], long=FORMATS)
def test_an_export_whose_command_is_killed(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, nth: int, moment: float, name: str
) -> None:
    workers = 2 if nth % 4 == 3 and name in WITH_WORKERS else 1
    ended = runs.strike(name, tmp_path, moment, workers, clock=clock(nth))
    assert ended.code == -signal.SIGKILL
    whole = (tmp_path / "made.zip").exists()  # killed while it cleared up
    again = runs(name, tmp_path)
    assert again.code == whole, again.err
    assert not whole or "choose another DEST" in again.last
    assert contents(tmp_path) == runs.made(name)
    outcome("kill -9 of the command", name, GOES_ON, 1, "what was written of the export")


@pytest.mark.often(short=1, long=24)
def test_a_training_whose_command_is_killed(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, nth: int, moment: float
) -> None:
    assert runs.strike("train", tmp_path, moment, clock=clock(nth)).code == -signal.SIGKILL
    again = runs("train", tmp_path, more=("--resume",))
    if "nothing to resume, no run is here; leave --resume out to start one" in again.err:
        again = runs("train", tmp_path)
    assert again.code == 0, again.err
    assert contents(tmp_path) == runs.made("train")
    outcome(
        "kill -9 of the command",
        "train",
        "with --resume it goes on and ends in the same bytes; nothing temporary is left",
        1,
        "the steps since the last checkpoint",
    )


@pytest.mark.often(short=1, long=8)
@pytest.mark.each(short=["prepare", "export"], long=["prepare", "dedup", "export"])
def test_a_worker_is_killed(
    tmp_path: Path, runs: Any, contents: Contents, outcome: Outcome, nth: int, moment: float, name: str
) -> None:
    name = WITH_WORKERS[nth % 3] if name == "export" else name
    ended = runs.strike(name, tmp_path, moment, workers=2, clock=clock(nth), worker=True)
    assert ended.code == 0, ended.err
    assert contents(tmp_path) == runs.made(name)
    outcome("kill -9 of a worker", name, "the run goes on by itself, to the same bytes", 1)
