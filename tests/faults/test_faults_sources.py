"""Sources that are removed, cut or replaced while they are read, or were damaged before."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

KINDS = ("folder", "lmdb", "tar", "zip", "parquet")
AGAIN = "with the source as it was, the same command ends in the same bytes"
PAGE = 4096

Outcome = Callable[..., None]
Contents = Callable[[Path], dict[str, Any]]


def write_source(path: Path, kind: str, records: dict[bytes, bytes]) -> None:
    named = {f"{key.decode()}.png": data for key, data in records.items()}
    if kind == "folder":
        path.mkdir()
        for name, data in named.items():
            (path / name).write_bytes(data)
    elif kind == "lmdb":
        with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin(write=True) as writing:
            for key, data in records.items():
                writing.put(key, data)
        (path / "lock.mdb").unlink()
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            for name, data in named.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in named.items():
                zipped.writestr(name, data)
    else:
        images = [{"bytes": data, "path": name} for name, data in named.items()]
        pq.write_table(pa.table({"image": images}), path, row_group_size=8)


@dataclass(frozen=True)
class Source:
    """A source that a test may damage: it is put back afterwards, to the last bit and time."""

    path: Path
    pristine: Path

    @property
    def file(self) -> Path:
        """The file of it that is damaged: of a folder one picture, of the last shard."""
        return {"folder": self.path / "22 white.png", "lmdb": self.path / "data.mdb"}.get(
            self.path.name, self.path
        )

    def put_back(self) -> None:
        shutil.rmtree(self.path) if self.path.is_dir() else self.path.unlink(missing_ok=True)
        copy = shutil.copytree if self.pristine.is_dir() else shutil.copy2
        copy(self.pristine, self.path)


@pytest.fixture(scope="session")
def sources(
    tmp_path_factory: pytest.TempPathFactory,
    runs: Any,
    near_records: dict[bytes, bytes],
    recipe: Any,
    recipe_file: Any,
) -> dict[str, Source]:
    """One of each kind; ``runs`` then knows ``prepare KIND``."""
    found = {}
    limited = recipe_file(
        tmp_path_factory.mktemp("limited") / "r.toml", recipe("none", image={"max_seconds": 60})
    )
    for kind in KINDS:
        path, pristine = tmp_path_factory.mktemp("open") / kind, tmp_path_factory.mktemp("kept") / kind
        write_source(pristine, kind, near_records)
        found[kind] = Source(path, pristine)
        found[kind].put_back()
        words = runs.words["prepare"]
        runs.words[f"prepare {kind}"] = [words[0], str(limited), f"--source={path}", *words[3:]]
    return found


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    os.truncate(file, min(PAGE, file.stat().st_size // 2))


def replace(file: Path) -> None:
    """By another of the same length, as a new download would."""
    other = file.with_name("other")
    other.write_bytes(bytes(file.stat().st_size))
    other.replace(file)


@pytest.mark.often(short=1, long=3)
@pytest.mark.each(short=["lmdb"], long=KINDS)
@pytest.mark.parametrize("damage", [remove, cut, replace])
def test_a_source_changes_while_it_is_read(
    tmp_path: Path,
    runs: Any,
    sources: dict[str, Source],
    contents: Contents,
    outcome: Outcome,
    moment: float,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    source, command = sources[name], f"prepare {name}"
    at = {"clock": "calls", "worker": True, "signal": signal.SIGSTOP}
    undisturbed = runs.made(command)
    try:
        ended = runs.strike(command, tmp_path, 0.8 * moment, when_stopped=lambda: damage(source.file), **at)
    finally:
        source.put_back()
    assert "Traceback" not in ended.err
    done = f"{name}: {damage.__name__}, at any moment"
    if ended.code:
        assert ended.code == 1 and ended.last.startswith(f"error: {source.path}"), ended.err
        assert runs(command, tmp_path).code == 0
        assert contents(tmp_path) == undisturbed
        outcome(
            "The source changes while it is read", done, f"ends with an error; {AGAIN}", 1, seen=ended.last
        )
    elif contents(tmp_path) == undisturbed:
        outcome("The source changes while it is read", done, "it was read already", 1)
    else:
        index = json.loads((tmp_path / "made.zip" / "dataset.json").read_text())
        assert name == "folder" and index["counts"]["rejected"] == 2  # one was no picture anyhow
        outcome("The source changes while it is read", done, "this picture is rejected, with a reason", 1)


KINDS_OF_PAGES = {"branch": 0x01, "leaf": 0x02, "overflow": 0x04, "meta": 0x08}


def pages(data: bytes, kind: str) -> list[int]:
    """Numbers of the pages of a kind, by LMDB's header of a page."""
    flag = KINDS_OF_PAGES[kind]
    numbers = range(len(data) // PAGE)
    starts = [data[number * PAGE : number * PAGE + 16] for number in numbers]
    found = [
        int.from_bytes(start[:8], "little") == number for number, start in zip(numbers, starts, strict=True)
    ]
    flags = [int.from_bytes(start[10:12], "little") for start in starts]
    return [number for number in numbers if (found[number] or kind == "meta") and flags[number] == flag]


@pytest.mark.often(short=1, long=12)
@pytest.mark.parametrize("name", list(KINDS_OF_PAGES))
def test_a_torn_page(
    tmp_path: Path,
    command: Any,
    runs: Any,
    near_records: dict[bytes, bytes],
    outcome: Outcome,
    nth: int,
    name: str,
) -> None:
    """A page half of which was never written, or of which a disk has made noise."""
    rng = random.Random(nth)
    path = tmp_path / "torn"
    many = {b"%s %03d" % (key, copy): data for copy in range(8) for key, data in near_records.items()}
    write_source(path, "lmdb", many)
    data = bytearray((path / "data.mdb").read_bytes())
    number = rng.choice(pages(bytes(data), name))
    half = number * PAGE + (PAGE // 2) * (nth % 2)
    data[half : half + PAGE // 2] = rng.randbytes(PAGE // 2) if nth % 3 else bytes(PAGE // 2)
    (path / "data.mdb").write_bytes(data)
    words = runs.words["prepare"]
    ended = command(
        *words[:2],
        f"--source={path}",
        f"--out={tmp_path}/made",
        *words[4:],
        "--workers=2",
        directory=tmp_path,
    )
    assert ended.code in (0, 1), ended.err
    assert "Traceback" not in ended.err
    if ended.code:
        assert ended.last.startswith(f"error: {path}/data.mdb: ") and "; fetch or copy it again" in ended.last
        outcome(
            "An LMDB with a torn page",
            f"half of a page overwritten: {name}",
            "ends with an error",
            1,
            seen=ended.last,
        )
        return
    index = json.loads((tmp_path / "made" / "dataset.json").read_text())["counts"]
    assert index["read"] == len(many)
    happened = (
        "read whole; pictures that are damaged are rejected, with reasons, or as their decoders draw them"
    )
    outcome("An LMDB with a torn page", f"half of a page overwritten: {name}", happened, 1)


@pytest.mark.often(short=3, long=20)
def test_an_lmdb_that_is_cut_short(
    tmp_path: Path, command: Any, runs: Any, near_source: Path, outcome: Outcome, moment: float
) -> None:
    path = Path(shutil.copytree(near_source, tmp_path / "cut"))
    os.truncate(path / "data.mdb", int(moment * (path / "data.mdb").stat().st_size))
    words = runs.words["prepare"]
    ended = command(*words[:2], f"--source={path}", f"--out={tmp_path}/made", *words[4:], directory=tmp_path)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.last.startswith(f"error: {path}/data.mdb: ") and ended.last.endswith(
        "; fetch or copy it again"
    )
    outcome(
        "An LMDB that is cut short",
        "anywhere",
        "ends with an error before anything is written",
        1,
        seen=ended.last,
    )
