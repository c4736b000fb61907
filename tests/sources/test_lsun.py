"""The LSUN source: LMDBs, in key order, split into shards that workers can walk alone."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import lmdb
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import Record, open_source
from dcgan_data.sources.lsun import find_databases

WriteLmdb = Callable[[Path, Mapping[bytes, bytes]], Path]


def read_all(path: Path, records_per_shard: int = 4, limit: int = 0) -> list[Record]:
    source = open_source(path, records_per_shard, limit)
    found = [record for shard in source.shards() for record in shard]
    assert len(found) == len(source)
    return found


def numbered(count: int) -> dict[bytes, bytes]:
    return {b"%03d" % number: b"value %d" % number for number in range(count)}


def test_records_come_in_key_order(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", {b"b": b"2", b"a\xc3\xa9": b"1", b"B": b"0"})
    assert read_all(path) == [Record("B", b"0"), Record("a\u00e9", b"1"), Record("b", b"2")]
    source = open_source(path, 4)
    assert (source.kind, source.path, source.passed_over) == ("lsun", str(path), {})


@pytest.mark.parametrize(
    ("count", "lengths"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (11, [4, 4, 3])]
)
def test_shards_have_a_fixed_number_of_records(
    tmp_path: Path, write_lmdb: WriteLmdb, count: int, lengths: list[int]
) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(count))
    shards = open_source(path, 4).shards()
    assert [len(shard) for shard in shards] == lengths
    assert [[record.key for record in shard] for shard in shards] == [
        [f"{number:03d}" for number in range(start, min(start + 4, count))] for start in range(0, count, 4)
    ]


def test_a_shard_travels_and_is_read_by_itself(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(10))
    shard = pickle.loads(pickle.dumps(open_source(path, 4).shards()[1]))
    assert list(shard) == [Record(f"{n:03d}", b"value %d" % n) for n in range(4, 8)]
    assert list(shard) == list(shard)  # as often as one likes


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 9, 10, 50])
def test_limit_takes_the_first(tmp_path: Path, write_lmdb: WriteLmdb, limit: int) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(10))
    assert [r.key for r in read_all(path, limit=limit)] == [f"{n:03d}" for n in range(10)][:limit]


@pytest.fixture
def several(tmp_path: Path, write_lmdb: WriteLmdb) -> Path:
    """Three databases, made in another order than that of their names, and things beside them."""
    root = tmp_path / "scenes"
    root.mkdir()
    for name, count in (("b_lmdb", 5), ("c_lmdb", 3), ("a_lmdb", 6)):
        write_lmdb(root / name, numbered(count))
    (root / "notes").mkdir()
    (root / "readme.txt").write_text("no database")
    return root


def test_several_databases_follow_one_another_in_path_order(several: Path) -> None:
    keys = [record.key for record in read_all(several)]
    assert keys == [
        f"{name}/{number:03d}"
        for name, count in (("a_lmdb", 6), ("b_lmdb", 5), ("c_lmdb", 3))
        for number in range(count)
    ]


def test_no_shard_spans_two_databases(several: Path) -> None:
    shards = open_source(several, 4).shards()
    assert [len(shard) for shard in shards] == [4, 2, 4, 1, 3]
    assert all(len({record.key.split("/")[0] for record in shard}) == 1 for shard in shards)


@pytest.mark.parametrize("limit", [2, 6, 7, 11, 13])
def test_limit_runs_across_databases(several: Path, limit: int) -> None:
    assert [r.key for r in read_all(several, limit=limit)] == [r.key for r in read_all(several)][:limit]


def test_a_key_that_is_no_text(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", {b"caf\xe9": b"1", b"\xff\x00": b"2"})
    assert [record.key for record in read_all(path)] == ["caf\\xe9", "\\xff\0"]


def test_fingerprint_changes_with_the_keys_alone(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    def fingerprint(name: str, records: Mapping[bytes, bytes], limit: int = 0, step: int = 4) -> str:
        path = tmp_path / name
        return open_source(path if path.exists() else write_lmdb(path, records), step, limit).fingerprint

    first = fingerprint("one", numbered(10))
    assert fingerprint("same", numbered(10)) == first
    assert fingerprint("one", {}, step=3) == first
    assert fingerprint("more", numbered(11)) != first
    assert fingerprint("one", {}, limit=9) != first
    renamed = {**numbered(9), b"010": b"value 9"}
    assert fingerprint("renamed", renamed) != first


def test_a_data_file_stands_for_its_directory(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(3))
    assert len(open_source(path / "data.mdb", 4)) == 3


def test_nothing_is_written_beside_the_data(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(3))
    (path / "lock.mdb").unlink()
    read_all(path)
    assert [entry.name for entry in path.iterdir()] == ["data.mdb"]


def test_find_databases(tmp_path: Path, several: Path) -> None:
    assert find_databases(several / "b_lmdb") == [several / "b_lmdb"]
    assert [path.name for path in find_databases(several)] == ["a_lmdb", "b_lmdb", "c_lmdb"]
    assert find_databases(tmp_path) == []  # one level below, no deeper


def test_empty_database(tmp_path: Path, write_lmdb: WriteLmdb) -> None:
    path = write_lmdb(tmp_path / "lsun", {})
    with pytest.raises(BadInput, match=r"lsun: holds no images; expected an LSUN LMDB .* or a folder"):
        open_source(path, 4)


@pytest.mark.parametrize("data", [b"", b"garbage", bytes(range(256)) * 64], ids=["empty", "short", "long"])
def test_garbage_is_no_database(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(data)
    with pytest.raises(BadInput, match=r"data\.mdb: not a readable LMDB \(.*\); fetch or copy it again"):
        open_source(tmp_path, 4)


@pytest.mark.parametrize("cut", [2 * 4096, 3 * 4096, 100_000, -1])
def test_a_database_that_was_cut_short(tmp_path: Path, write_lmdb: WriteLmdb, cut: int) -> None:
    """Walking it would end the process with a bus error."""
    path = write_lmdb(tmp_path / "lsun", {b"%d" % n: os.urandom(9000) for n in range(20)})
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[:cut])
    message = rf"data\.mdb: cut short, [\d,]+ of {len(data):,} bytes; fetch or copy it again"
    with pytest.raises(BadInput, match=message):
        open_source(path, 4)


def test_damage_that_is_found_while_reading(
    tmp_path: Path, write_lmdb: WriteLmdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lmdb(tmp_path / "lsun", numbered(3))
    shard = open_source(path, 4).shards()[0]

    def fail(*_: object) -> None:
        raise lmdb.CorruptedError("MDB_CORRUPTED: Located page was wrong type")

    monkeypatch.setattr("dcgan_data.sources.lsun.islice", fail)
    with pytest.raises(BadInput, match=r"data\.mdb: damaged \(MDB_CORRUPTED.*\); fetch or copy it again"):
        list(shard)
