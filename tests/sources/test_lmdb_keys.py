"""The walk over the pages of keys finds what LMDB's own cursor finds, and reads nothing else."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.errors import BadInput
from dcgan_data.sources import lsun, open_source
from dcgan_data.sources.lmdb_keys import DamagedError, OtherLayoutError, walk_keys

LSUN_VALUE = b"\xff\xd8" + bytes(9000)
"""Larger than a page: LMDB puts it into pages of its own, as it does with LSUN's photos."""


def write(path: Path, keys: list[bytes], value: bytes, remove: tuple[bytes, ...] = ()) -> Path:
    with lmdb.open(str(path), map_size=1 << 28) as environment:
        with environment.begin(write=True) as transaction:
            for key in keys:
                transaction.put(key, value)
        with environment.begin(write=True) as transaction:
            for key in remove:
                transaction.delete(key)
    return path / "data.mdb"


def cursor_keys(path: Path) -> list[bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor().iternext(values=False))


def hex_keys(count: int) -> list[bytes]:
    rows = np.random.default_rng(0).integers(0, 256, (count, 20), np.uint8)
    return [row.tobytes().hex().encode() for row in rows]


@pytest.mark.parametrize(
    ("count", "value"), [(0, b""), (1, b"x"), (40, LSUN_VALUE), (6000, b"x"), (3000, LSUN_VALUE)]
)
def test_the_same_keys_as_the_cursor(tmp_path: Path, count: int, value: bytes) -> None:
    data = write(tmp_path / "db", hex_keys(count), value)
    assert list(walk_keys(data)) == cursor_keys(tmp_path / "db")
    assert len(cursor_keys(tmp_path / "db")) == count


def test_after_deletions(tmp_path: Path) -> None:
    keys = hex_keys(2000)
    data = write(tmp_path / "db", keys, b"value", remove=tuple(keys[::3]))
    assert list(walk_keys(data)) == cursor_keys(tmp_path / "db") == sorted(set(keys) - set(keys[::3]))


@given(
    st.lists(st.binary(min_size=1, max_size=511), unique=True, max_size=60), st.sampled_from((0, 30, 5000))
)
def test_any_keys(tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], length: int) -> None:
    directory = tmp_path_factory.mktemp("any") / "db"
    data = write(directory, keys, bytes(length))
    assert list(walk_keys(data)) == sorted(keys)


def test_values_are_not_read(tmp_path: Path) -> None:
    """With every page but those of keys overwritten, the keys are the same."""
    data = write(tmp_path / "db", hex_keys(500), LSUN_VALUE)
    expected = list(walk_keys(data))
    pages = bytearray(data.read_bytes())
    overwritten = 0
    for start in range(2 * 4096, len(pages), 4096):
        number, _, flags = struct.unpack_from("<QHH", pages, start)
        if number != start // 4096 or flags not in (1, 2):
            pages[start : start + 4096] = b"\xaa" * 4096
            overwritten += 1
    data.write_bytes(pages)
    assert overwritten > 3 * 500 - 50
    assert list(walk_keys(data)) == expected


@pytest.mark.parametrize(
    ("offset", "number", "message"),
    [(16 + 4, 2, "magic beefc0de, version 2"), (16 + 24 + 48 + 4, 4, "database flags 4")],
)
def test_other_layouts_are_refused_before_the_first_key(
    tmp_path: Path, offset: int, number: int, message: str
) -> None:
    data = write(tmp_path / "db", hex_keys(3), b"x")
    with data.open("r+b") as file:
        for meta_page in (0, 4096):
            file.seek(meta_page + offset)
            file.write(struct.pack("<H", number))
    with pytest.raises(OtherLayoutError, match=message):
        next(walk_keys(data))


def test_the_library_reads_other_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "db", hex_keys(20), LSUN_VALUE)
    expected = open_source(tmp_path / "db", 8)

    def refuse(_: Path) -> Iterator[bytes]:
        raise OtherLayoutError("version 2")

    monkeypatch.setattr(lsun, "walk_keys", refuse)
    assert open_source(tmp_path / "db", 8).fingerprint == expected.fingerprint


@pytest.mark.parametrize("offset", [0, 10, 12, 16])
def test_a_damaged_page_of_keys(tmp_path: Path, offset: int) -> None:
    """Its number, its kind, the end of its list of nodes, a node's place: each is noticed."""
    data = write(tmp_path / "db", hex_keys(300), LSUN_VALUE)
    pages = data.read_bytes()
    leaf = next(
        start for start in range(8192, len(pages), 4096) if struct.unpack_from("<QHH", pages, start)[2] == 2
    )
    data.write_bytes(pages[: leaf + offset] + b"\xff\xff" + pages[leaf + offset + 2 :])
    with pytest.raises(DamagedError):
        list(walk_keys(data))
    with pytest.raises(BadInput, match=r"data\.mdb: damaged \(.*\); fetch or copy it again"):
        open_source(tmp_path / "db", 8)


def test_branches_that_point_in_a_circle(tmp_path: Path) -> None:
    data = write(tmp_path / "db", hex_keys(3000), b"x")
    pages = bytearray(data.read_bytes())
    for start in range(8192, len(pages), 4096):
        number, _, flags, lower, _ = struct.unpack_from("<QHHHH", pages, start)
        if flags == 1:
            for entry in range((lower - 16) // 2):
                (place,) = struct.unpack_from("<H", pages, start + 16 + 2 * entry)
                struct.pack_into("<HHH", pages, start + place, number & 0xFFFF, number >> 16, 0)
    data.write_bytes(pages)
    with pytest.raises(DamagedError):
        list(walk_keys(data))
