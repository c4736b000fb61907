"""Any file of a set is damaged: ``verify`` tells, and ``verify --repair`` brings the same bytes back."""

from __future__ import annotations

import random
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Outcome = Callable[..., None]
SILENT = ("report/", ".dataset.json", "dataset.json")
"""A set is good without the first two; and the last may be damaged in its timings, which nothing needs."""


def cut_short(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def flip_a_bit(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


DAMAGES = {"cut short": cut_short, "a bit flipped": flip_a_bit, "removed": remove}


@pytest.mark.often(short=4, long=30)
def test_a_file_of_a_set_is_damaged(
    tmp_path: Path, command: Any, near_set: Path, contents: Any, outcome: Outcome, nth: int
) -> None:
    out = Path(shutil.copytree(near_set, tmp_path / "set"))
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    name = [name for name in names if name != ".lock"][nth % (len(names) - 1)]
    kind = list(DAMAGES)[nth % 3]
    DAMAGES[kind](out / name, random.Random(nth))
    checked = command("verify", out, directory=tmp_path)
    assert checked.code == 1 or name.startswith(SILENT)
    mended = command("verify", out, "--repair", "--workers=1", directory=tmp_path)
    assert mended.code == 0, mended.err
    assert contents(out) == contents(near_set)
    shown = re.sub(r"\d{5}\.npy", "NNNNN.npy", name)
    happened = "verify --repair makes it again: the set has the bytes that it had"
    outcome("a file of a finished set is damaged", f"{shown} {kind}", happened, 1)


LOST = ("autoencoder.safetensors", "dataset.json", "images/00000.npy", "images/00002.npy", "manifest.parquet")


def damaged_set(near_set: Path, out: Path) -> Path:
    """A copy of a set in which most of it is lost."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(near_set, out)
    for name in LOST:
        (out / name).unlink()
    return out


@pytest.fixture(scope="module")
def length(tmp_path_factory: pytest.TempPathFactory, command: Any, near_set: Path) -> int:
    """Files that a whole repair opens, renames, makes or removes."""
    directory = tmp_path_factory.mktemp("repaired")
    out = damaged_set(near_set, directory / "set")
    at = {"clock": "files"}
    ended = command("verify", out, "--repair", "--workers=1", directory=directory, at=at)
    assert ended.code == 0, ended.err
    return int(command.counted)


@pytest.mark.often(short=2, long=12)
def test_a_repair_that_is_killed(
    tmp_path: Path,
    command: Any,
    near_set: Path,
    contents: Any,
    outcome: Outcome,
    length: int,
    moment: float,
) -> None:
    out = damaged_set(near_set, tmp_path / "set")
    good = {name: (out / name).stat().st_ino for name in ("images/00001.npy", "duplicates.parquet")}
    words = ("verify", out, "--repair", "--workers=1")
    ended = command(*words, directory=tmp_path, at={"clock": "files", "count": 1 + int(moment * length)})
    assert ended.code == -signal.SIGKILL
    again = command(*words, directory=tmp_path)
    assert again.code == 0, again.err
    assert contents(out) == contents(near_set)
    assert {name: (out / name).stat().st_ino for name in good} == good, "replaced, though it was good"
    outcome(
        "kill -9 of the command",
        "verify --repair",
        "the same command goes on and ends in the same bytes; nothing temporary is left",
        1,
    )
