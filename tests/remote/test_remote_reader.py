"""Reading an object by range: the right bytes, in few requests."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_data.errors import BadInput
from dcgan_data.sources import remote_reader
from dcgan_data.sources.location import parse_url
from dcgan_data.sources.remote_reader import RemoteReader, RemoteStream, plan_blocks
from dcgan_data.sources.tar_headers import walk_files

URL = parse_url("https://host/x.tar")


class Recorded(io.BytesIO):
    """A file that remembers what was asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append((self.tell(), size or 0))
        return super().read(size)


@contextmanager
def reading(data: bytes) -> Iterator[tuple[RemoteReader, Recorded]]:
    file = Recorded(data)
    reader = RemoteReader(URL, file, len(data))
    yield reader, file
    reader.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("BLOCK_BYTES", 64), ("_NEAR_BYTES", 16), ("_PEEK_BYTES", 8)):
        monkeypatch.setattr(remote_reader, name, size)


reads = st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 300)), max_size=12)


@settings(max_examples=40)
@given(reads=reads, planned=reads)
def test_the_bytes_are_right(reads: list[tuple[int, int]], planned: list[tuple[int, int]]) -> None:
    data = np.random.default_rng(0).bytes(1000)
    with pytest.MonkeyPatch.context() as patch:
        small.__wrapped__(patch)  # type: ignore[attr-defined]
        with reading(data) as (reader, _):
            reader.expect(np.array(planned, np.int64).reshape(-1, 2))
            for offset, count in reads:
                assert reader.read_at(offset, count) == data[offset : offset + count]


@given(extents=reads)
def test_blocks_cover_what_is_read_and_nothing_twice(extents: list[tuple[int, int]]) -> None:
    blocks = plan_blocks(np.array(extents, np.int64).reshape(-1, 2), 1000)
    covered = {place for start, end in blocks for place in range(start, end)}
    assert covered >= {p for offset, count in extents for p in range(offset, min(offset + count, 1000))}
    assert len(covered) == sum(end - start for start, end in blocks)
    assert blocks == sorted(blocks)


def test_neighbours_come_together_and_far_ones_do_not() -> None:
    mib = 1 << 20
    extents = np.array([[0, mib], [mib + 512, 2 * mib], [30 * mib, mib]])
    assert plan_blocks(extents, 100 * mib) == [(0, 3 * mib + 512), (30 * mib, 31 * mib)]
    assert plan_blocks(np.array([[0, 20 * mib]]), 100 * mib) == [
        (0, 8 * mib),
        (8 * mib, 16 * mib),
        (16 * mib, 20 * mib),
    ]


def headers(sizes: list[int]) -> tuple[int, list[tuple[int, int]]]:
    """Walk a tar of members of these sizes; how many were found, and what was asked for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, size in enumerate(sizes):
            header = tarfile.TarInfo(f"{number}.jpg")
            header.size = size
            archive.addfile(header, io.BytesIO(bytes(size)))
    data = buffer.getvalue()
    with reading(data) as (reader, file):
        found = list(walk_files(reader.stream, "x.tar", (0, len(data)), Counter()))
    return len(found), file.asked


def test_a_tar_of_small_members_is_read_from_end_to_end() -> None:
    found, asked = headers([15_000] * 2000)  # 31 MB
    assert found == 2000
    assert len(asked) == 5  # a look, and 8 MiB each
    assert asked[0] == (0, 1 << 16)


def test_of_a_tar_of_large_members_only_the_headers_are_read() -> None:
    found, asked = headers([5 << 20] * 6)  # 31 MB
    assert found == 6
    assert len(asked) == 7
    assert sum(count for _, count in asked) < 1 << 19


def test_two_places_in_turn(small: None) -> None:
    """Labels behind all pictures: neither place pushes the other's block out."""
    data = bytes(range(256)) * 8
    with reading(data) as (reader, file):
        reader.expect(np.array([[0, 512], [1024, 512]]))
        for place in range(0, 512, 8):
            assert reader.read_at(place, 8) + reader.read_at(1024 + place, 8) == (
                data[place : place + 8] + data[1024 + place : 1032 + place]
            )
    assert sorted(file.asked) == sorted({*file.asked})
    assert len(file.asked) == 16


def test_an_object_that_ends_too_soon() -> None:
    with reading(b"x" * 100) as (reader, _):
        reader.size = 200
        with pytest.raises(BadInput) as caught:
            reader.read_at(50, 150)
    assert str(caught.value) == "https://host/x.tar: cut short at byte 100; run the same command again"


def test_a_stream() -> None:
    with reading(b"0123456789") as (reader, _):
        stream = RemoteStream(reader)
        assert (stream.read(3), stream.tell(), stream.seek(-2, io.SEEK_END), stream.read()) == (
            b"012",
            3,
            8,
            b"89",
        )
        assert (stream.seek(2), stream.seek(1, io.SEEK_CUR), stream.read(100), stream.read(1)) == (
            2,
            3,
            b"3456789",
            b"",
        )
