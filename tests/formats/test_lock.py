"""One process at a time in a directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import filelock
import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.formats.lock import LOCK, locked, shared_by_worker

HOLD = """
import sys
from pathlib import Path
from dcgan_data.formats.lock import locked
with locked(Path(sys.argv[1]), "--out"):
    print("held", flush=True)
    sys.stdin.read()
"""


def message(out: Path) -> str:
    with pytest.raises(BadRequest) as caught:
        with locked(out, "--out"):
            pass
    return str(caught.value)


def test_another_process_is_named_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert message(out) == (
            f"{out}: another run is working on it; wait for it to end, or choose another --out"
        )
        holder.kill()
        holder.wait()
    with locked(out, "--out"):
        pass


def test_released_after_the_block_even_if_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"):
        with locked(tmp_path, "--out"):
            with pytest.raises(filelock.Timeout):
                filelock.FileLock(tmp_path / LOCK, timeout=0).acquire()
            raise ValueError("inside")
    with filelock.FileLock(tmp_path / LOCK, timeout=0):
        pass


@pytest.mark.parametrize("away", [shutil.rmtree, lambda out: out.rename(out.with_name("elsewhere"))])
def test_a_directory_that_is_taken_away(tmp_path: Path, away: Callable[[Path], object]) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadRequest) as caught:
        with locked(out, "--out"):
            away(out)
            (out / "images").mkdir()
    assert str(caught.value) == (
        f"{out}: was removed or renamed while this run worked on it; put it back, or remove what is "
        "there now, and give the same command again"
    )


def test_an_error_in_a_directory_that_is_there_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        with locked(tmp_path, "--out"):
            (tmp_path / "missing").read_bytes()


def test_the_directory_is_made(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b", "--out"):
        assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    for out, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "out", "Not a directory")):
        assert message(out) == f"{out}: cannot be written ({reason}); choose another --out"


def test_a_long_wait_for_workers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.formats.lock._SECONDS_BEFORE_A_WORD", 0)
    told: list[str] = []
    with ExitStack() as worker:
        worker.enter_context(shared_by_worker(tmp_path))

        def tell(text: str) -> None:
            told.append(text)
            worker.close()

        with locked(tmp_path, "--out", tell):
            waiting = "waiting until workers of an earlier run, which still write there, have ended"
            assert told == [f"{tmp_path}: {waiting}"]
