"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dcgan_data.formats.atomic import atomic_path, write_json


def test_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"  # the directory is made
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert re.fullmatch(r"file\.bin\.[0-9a-f]{8}\.tmp", temporary.name)
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut then leaves: no file, the old one, or the whole new one."""
    path, flushed = tmp_path / "file.bin", []

    def fsync(descriptor: int) -> None:
        flushed.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
    assert flushed == [(False, False), (True, True)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"):
        with atomic_path(tmp_path / "file.bin"):
            raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_the_next_writer_removes_what_a_kill_left_and_nothing_else(tmp_path: Path) -> None:
    others = {"file.bin.tmp", "file.bin.0123ABCD.tmp", "other.bin.0123abcd.tmp", "a.file.bin.0123abcd.tmp"}
    for name in ("file.bin.0123abcd.tmp", *others):
        (tmp_path / name).write_bytes(b"a leftover")
    with atomic_path(tmp_path / "file.bin") as temporary:
        temporary.write_bytes(b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file.bin", *others}
    assert (tmp_path / "file.bin").read_bytes() == b"new"


def test_a_writer_who_takes_a_new_file_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock comes before ours, its removal a moment later."""
    path, made, others = tmp_path / "file.bin", threading.Event(), []
    chmod = os.fchmod

    def remove(taken: Path, descriptor: int) -> None:
        made.wait(0.3)  # for whom waits for the lock this is over first
        taken.unlink(missing_ok=True)
        os.close(descriptor)

    def chmod_and_meet(descriptor: int, mode: int) -> None:
        chmod(descriptor, mode)
        if not others:
            (taken,) = tmp_path.glob("*.tmp")
            other = os.open(taken, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            others.append(threading.Thread(target=remove, args=(taken, other)))
            others[0].start()

    monkeypatch.setattr("dcgan_data.formats.atomic.os.fchmod", chmod_and_meet)
    with atomic_path(path) as temporary:
        made.set()
        others[0].join()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from dcgan_data.formats.atomic import atomic_path

with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    sys.stdin.read()
"""


def test_two_writers_do_not_meet_and_a_killed_one_leaves_nothing_for_long(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().rstrip())
        with atomic_path(path) as ours:
            assert ours != theirs
            ours.write_bytes(b"whole")
        assert theirs.read_bytes() == b"half"  # it is still at it
        other.kill()
    assert set(tmp_path.iterdir()) == {path, theirs}
    with atomic_path(path) as ours:
        assert set(tmp_path.iterdir()) == {path, ours}
        ours.write_bytes(b"again")
    assert list(tmp_path.iterdir()) == [path]


def test_only_its_owner_can_read_it_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    (tmp_path / "usual").touch()
    with atomic_path(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_bytes(b"new")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_error_names_the_file_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # too long with what is put behind it
    with pytest.raises(OSError, match="File name too long") as caught, atomic_path(path):
        pass
    assert caught.value.filename == str(path)


def test_json_is_sorted_and_stable(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"b": [1, 2.5], "a": {"y": None, "x": "\u00e9"}})
    text = path.read_text("utf-8")
    assert text.endswith("}\n")
    assert text.index('"a"') < text.index('"x"') < text.index('"y"') < text.index('"b"')
    assert json.loads(text) == {"a": {"x": "\u00e9", "y": None}, "b": [1, 2.5]}


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        with atomic_path(tmp_path / "which_file"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "which_file")
    assert list(tmp_path.iterdir()) == []
