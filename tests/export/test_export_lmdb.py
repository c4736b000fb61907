"""A copy of the original records without those that were removed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lmdb
import pytest

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.export import ExportResult, lmdb_copy
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.sources import open_source

Run = Callable[..., ExportResult]
Make = Callable[..., Any]
WriteLmdb = Callable[[Path, Mapping[bytes, bytes]], Path]


def records_of(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def refusal(run: Run, prepared: Path, destination: Path, error: type[Exception] = BadInput) -> str:
    with pytest.raises(error) as caught:
        run(prepared, "lmdb", destination)
    assert not destination.exists() and not list(destination.parent.glob("*.tmp"))
    return str(caught.value)


@pytest.fixture
def own_source(tmp_path: Path, records: dict[bytes, bytes], write_lmdb: WriteLmdb, make: Make) -> Path:
    """``records`` as a source to tamper with, and a set made from it, ``set``."""
    source = write_lmdb(tmp_path / "source", records)
    make(source, tmp_path / "set")
    return source


def test_bytes_are_those_of_the_source(
    tmp_path: Path, finished_set: Path, records: dict[bytes, bytes], run: Run
) -> None:
    result = run(finished_set, "lmdb", tmp_path / "copy")
    kept = [
        key for key in sorted(records) if key not in (b"14", b"16 copy", b"17 copy", b"18 text", b"19 cut")
    ]
    assert records_of(tmp_path / "copy") == {key: records[key] for key in kept}
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["data.mdb"]  # and no lock file
    assert (result.images, result.files) == (15, 1)


def test_prepared_again_the_copy_gives_the_same_rows(
    tmp_path: Path, near_set: Path, run: Run, make: Make, near_recipe: Any
) -> None:
    run(near_set, "lmdb", tmp_path / "copy")
    info = make(tmp_path / "copy", tmp_path / "again", near_recipe)
    assert (info.counts.read, info.counts.kept, info.source["kind"]) == (15, 15, "lsun")
    names = ["key", "sha256", "width", "height"]
    before = [row for row in PreparedSet.open(near_set).manifest().to_pylist() if row["status"] == "kept"]
    after = PreparedSet.open(tmp_path / "again").manifest(names).to_pylist()
    assert after == [{name: row[name] for name in names} for row in before]


def test_a_photo_with_several_faces_counts_once(
    tmp_path: Path, faces_set: Path, records: dict[bytes, bytes], run: Run
) -> None:
    assert run(faces_set, "lmdb", tmp_path / "copy").images == 15
    assert records_of(tmp_path / "copy")[b"00"] == records[b"00"]


def test_raw_keys_and_grown_map(
    tmp_path: Path,
    run: Run,
    make: Make,
    recipe: Callable[..., Any],
    picture: Callable[..., Any],
    encoded: Callable[..., bytes],
    write_lmdb: WriteLmdb,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = (b"\\", b"a\\x41", b"caf\xe9", b"\x00\xff", b"k" * 511)
    pictures = {key: encoded(picture(seed=n)) for n, key in enumerate(keys)}
    make(write_lmdb(tmp_path / "lmdb", pictures), tmp_path / "set", recipe("none"))
    monkeypatch.setattr(lmdb_copy, "_ROOM_TO_START", 0)
    monkeypatch.setattr(lmdb_copy, "lmdb_bytes", lambda prepared: 20_000)
    monkeypatch.setattr("dcgan_data.export.running.lmdb_bytes", lambda prepared: 20_000)
    monkeypatch.setattr(lmdb_copy, "_BYTES_IN_A_TRANSACTION", 10_000)
    run(tmp_path / "set", "lmdb", tmp_path / "copy")
    assert records_of(tmp_path / "copy") == pictures


def test_several_databases_become_one(
    tmp_path: Path, records: dict[bytes, bytes], run: Run, make: Make, write_lmdb: WriteLmdb
) -> None:
    """Their order is that of the directories; in one database it is that of all keys."""
    both = tmp_path / "both"
    both.mkdir()
    for name, numbers in (("a-b", range(4, 7)), ("a", range(3))):
        keys = [f"{number:02d}".encode() for number in numbers]
        write_lmdb(both / name, {key: records[key] for key in keys})
    make(both, tmp_path / "set")
    run(tmp_path / "set", "lmdb", tmp_path / "copy")
    assert sorted(records_of(tmp_path / "copy")) == [
        *(b"a-b/%02d" % number for number in range(4, 7)),
        *(b"a/%02d" % number for number in range(3)),
    ]
    assert len(open_source(tmp_path / "copy", 8)) == 6


def test_from_a_folder(
    tmp_path: Path, named_set: Path, run: Run, make: Make, recipe: Callable[..., Any]
) -> None:
    run(named_set, "lmdb", tmp_path / "copy")
    found = records_of(tmp_path / "copy")
    folder = Path(PreparedSet.open(named_set).info.source["path"])
    assert sorted(found)[:2] == [b"cats/0.png", b"cats/1.png"] and len(found) == 10
    assert all((folder / key.decode()).read_bytes() == data for key, data in found.items())


@pytest.mark.parametrize("kind", ["stylegan-zip", "webdataset", "parquet"])
def test_from_archives(
    tmp_path: Path, named_set: Path, run: Run, make: Make, recipe: Callable[..., Any], kind: str
) -> None:
    run(named_set, kind, tmp_path / "x.zip")
    make(tmp_path / "x.zip", tmp_path / "set", recipe("none"))
    run(tmp_path / "set", "lmdb", tmp_path / "copy")
    rows = PreparedSet.open(tmp_path / "set").manifest().to_pylist()
    found = records_of(tmp_path / "copy")
    assert {key.decode(): hashlib.sha256(data).hexdigest() for key, data in found.items()} == {
        row["key"]: row["sha256"] for row in rows
    }
    assert len(found) == 10


def test_limit(tmp_path: Path, source: Path, run: Run, make: Make, recipe: Callable[..., Any]) -> None:
    make(source, tmp_path / "set", recipe("none", source={"limit": 5}))
    run(tmp_path / "set", "lmdb", tmp_path / "copy")
    assert list(records_of(tmp_path / "copy")) == [b"00", b"01", b"02", b"03", b"04"]


def test_source_is_gone(tmp_path: Path, own_source: Path, run: Run) -> None:
    shutil.rmtree(own_source)
    message = refusal(run, tmp_path / "set", tmp_path / "copy")
    assert message.startswith(f"{own_source}: no such file or directory")


def test_source_has_another_record(tmp_path: Path, own_source: Path, run: Run, write_lmdb: WriteLmdb) -> None:
    write_lmdb(own_source, {b"20": b"more"})
    assert refusal(run, tmp_path / "set", tmp_path / "copy") == (
        f"{own_source}: has changed since {tmp_path}/set was made from it (other keys or sizes); "
        "prepare it anew"
    )


def test_record_has_other_bytes(
    tmp_path: Path, own_source: Path, records: dict[bytes, bytes], run: Run
) -> None:
    """Of the same length: the source looks unchanged."""
    data = (own_source / "data.mdb").read_bytes()
    assert data.count(records[b"07"]) == 1
    other = records[b"07"][:-20] + bytes(20)
    (own_source / "data.mdb").write_bytes(data.replace(records[b"07"], other))
    assert refusal(run, tmp_path / "set", tmp_path / "copy") == (
        f"{own_source}: has changed since {tmp_path}/set was made from it (07: other bytes); prepare it anew"
    )


def test_file_that_cannot_be_read_any_more(
    tmp_path: Path, named_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(PreparedSet.open(named_set).info.source["path"])
    real = open_source

    def open_then_remove(*arguments: Any) -> Any:
        found = real(*arguments)
        (folder / "cats" / "2.png").rename(tmp_path / "away")
        return found

    monkeypatch.setattr(lmdb_copy, "open_source", open_then_remove)
    try:
        message = refusal(run, named_set, tmp_path / "copy")
    finally:
        (tmp_path / "away").rename(folder / "cats" / "2.png")
    assert "(cats/2.png: No such file or directory); prepare it anew" in message.replace("unreadable: ", "")


def test_key_too_long_for_an_lmdb(
    tmp_path: Path,
    run: Run,
    make: Make,
    recipe: Callable[..., Any],
    picture: Callable[..., Any],
    encoded: Callable[..., bytes],
) -> None:
    deep = tmp_path / "photos" / ("d" * 200) / ("e" * 200) / ("f" * 200)
    deep.mkdir(parents=True)
    (deep / "1.png").write_bytes(encoded(picture()))
    make(tmp_path / "photos", tmp_path / "set", recipe("none"))
    assert refusal(run, tmp_path / "set", tmp_path / "copy", BadRequest) == (
        f"{'d' * 60}...: a key of 608 bytes, an LMDB's have at most 511; "
        "use --format keys, or shorter names in the source"
    )
