"""What tar and zip sources have in common: several files, limits, fingerprints, and the index."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import Record, Source, open_source
from dcgan_data.sources.tar import TarSource
from dcgan_data.sources.zip_archive import ZipSource

Write = Callable[..., Path]


def write_tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(name)
            archive.addfile(header, io.BytesIO(name.encode()))
    return path


def write_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


@pytest.fixture(params=["tar", "zip"])
def write(request: pytest.FixtureRequest) -> Write:
    return write_tar if request.param == "tar" else write_zip


@pytest.fixture
def several(tmp_path: Path, write: Write) -> Path:
    """Three archives, made in another order than that of their names, and things beside them."""
    root = tmp_path / "shards"
    root.mkdir()
    for name, count in (("b", 5), ("c", 3), ("a", 6)):
        write(root / f"{name}.x", *(f"d/{number:03d}.jpg" for number in range(count)), "note.npy")
    (root / "readme.txt").write_text("no archive")
    (root / "README").write_text("no archive either")
    return root


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the archives that were walked, not found in an index."""
    names: list[str] = []
    for kind in (TarSource, ZipSource):

        def walk(file: Path, opened: object, original: Callable[..., object] = kind.walk) -> object:
            names.append(file.name)
            return original(file, opened)

        monkeypatch.setattr(kind, "walk", staticmethod(walk))
    return names


def keys(source: Source) -> list[str]:
    found = [record.key for shard in source.shards() for record in shard]
    assert len(found) == len(source)
    return found


ALL_KEYS = [
    f"{name}.x/d/{number:03d}.jpg"
    for name, count in (("a", 6), ("b", 5), ("c", 3))
    for number in range(count)
]


def test_archives_follow_one_another_in_path_order(several: Path) -> None:
    source = open_source(several, 4)
    assert keys(source) == ALL_KEYS
    assert source.path == str(several)
    assert source.passed_over == {".npy": 3, ".txt": 1, "no extension": 1}
    assert next(iter(source.shards()[2])) == Record("b.x/d/000.jpg", b"d/000.jpg", label="d")


def test_no_shard_spans_two_archives(several: Path) -> None:
    assert [len(shard) for shard in open_source(several, 4).shards()] == [4, 2, 4, 1, 3]


@pytest.mark.parametrize(
    ("limit", "archives"), [(2, "a"), (6, "a"), (7, "ab"), (11, "ab"), (13, "abc"), (99, "abc")]
)
def test_limit_runs_across_archives(several: Path, walked: list[str], limit: int, archives: str) -> None:
    source = open_source(several, 4, limit)
    assert keys(source) == ALL_KEYS[:limit]
    assert walked == [f"{name}.x" for name in archives]  # what lies beyond the limit is not looked at


def test_an_archive_without_pictures_among_others(several: Path, write: Write) -> None:
    write(several / "aa.x", "nothing.npy")
    assert keys(open_source(several, 4)) == ALL_KEYS


def test_fingerprint_is_that_of_keys_and_sizes(tmp_path: Path, write: Write) -> None:
    def fingerprint(*names: str, limit: int = 0, step: int = 4) -> str:
        return open_source(write(tmp_path / f"{len(names)}.x", *names), step, limit).fingerprint

    first = fingerprint("a.jpg", "b.jpg", "c.jpg")
    assert fingerprint("a.jpg", "b.jpg", "c.jpg", step=1) == first
    assert fingerprint("a.jpg", "b.jpg", "c.jpg", "d.npy") == first
    assert fingerprint("a.jpg", "b.jpg", "c.jpg", "d.jpg") != first
    assert fingerprint("a.jpg", "b.jpg", "c.jpg", limit=2) != first
    assert fingerprint("a.jpg", "b.jpg", "d.jpg") != first
    assert fingerprint("a.jpg", "b.jp", "gc.jpg") != first


def test_fingerprint_of_several_archives(several: Path) -> None:
    first = open_source(several, 4).fingerprint
    (several / "c.x").rename(several / "d.x")
    assert open_source(several, 4).fingerprint != first


def test_nothing_is_written_beside_the_data(several: Path) -> None:
    before = sorted(several.iterdir())
    keys(open_source(several, 4))
    assert sorted(several.iterdir()) == before


def test_an_archive_that_changes_while_it_is_read(several: Path) -> None:
    """What was read of it may be of either."""
    first, second = open_source(several, 4).shards()[:2]
    records = iter(first)
    next(records)
    os.utime(several / "a.x", ns=(1, 1))
    changed = rf"{several}/a\.x: changed since this run began; leave it as it is and run again"
    with pytest.raises(BadInput, match=changed):
        list(records)
    with pytest.raises(BadInput, match=changed):
        next(iter(second))


# The index


def stored(index: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As the pipeline keeps it."""
    buffer = io.BytesIO()
    np.savez(buffer, **index)
    return dict(np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False))


def same(left: Source, right: Source) -> bool:
    records = [[record for shard in source.shards() for record in shard] for source in (left, right)]
    facts = [(source.fingerprint, source.passed_over, source.path, len(source)) for source in (left, right)]
    return records[0] == records[1] and facts[0] == facts[1]


def test_an_index_saves_the_walk(several: Path, walked: list[str]) -> None:
    first = open_source(several, 4)
    walked.clear()
    again = open_source(several, 4, index=stored(first.index))
    assert walked == []
    assert same(first, again)
    assert same(first, open_source(several, 4, index=stored(again.index)))
    limited = open_source(several, 4, 7, index=stored(first.index))
    assert walked == []
    assert same(limited, open_source(several, 4, 7))


def test_an_index_of_a_few_is_good_for_these(several: Path, walked: list[str]) -> None:
    first = open_source(several, 4, 7)
    walked.clear()
    assert keys(open_source(several, 4, index=first.index)) == ALL_KEYS
    assert walked == ["c.x"]


def test_an_archive_that_changed_is_walked_again(several: Path, write: Write, walked: list[str]) -> None:
    index = stored(open_source(several, 4).index)
    size = (several / "b.x").stat().st_size
    write(several / "b.x", *(f"{number:03d}.npy" for number in range(99)), "new.jpg")
    write(several / "c.x", *(f"d/{number:03d}.JPG" for number in range(3)), "note.npy")  # of the same size
    os.utime(several / "c.x", ns=(0, 0))
    assert (several / "b.x").stat().st_size > size
    walked.clear()
    found = open_source(several, 4, index=index)
    assert walked == ["b.x", "c.x"]
    assert keys(found) == [*ALL_KEYS[:6], "b.x/new.jpg", "c.x/d/000.JPG", "c.x/d/001.JPG", "c.x/d/002.JPG"]
    assert same(found, open_source(several, 4))


def test_an_archive_at_another_place_is_walked_again(several: Path, walked: list[str]) -> None:
    index = stored(open_source(several, 4).index)
    moved = several.rename(several.with_name("moved"))
    walked.clear()
    assert keys(open_source(moved, 4, index=index)) == ALL_KEYS
    assert walked == ["a.x", "b.x", "c.x"]


def test_the_index_of_another_kind(tmp_path: Path) -> None:
    first = open_source(write_zip(tmp_path / "x", "a.jpg"), 4)
    write_tar(tmp_path / "x", "b.jpg")
    assert keys(open_source(tmp_path / "x", 4, index=first.index)) == ["b.jpg"]


DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "empty": lambda array: array[:0],
    "shorter": lambda array: array[:-1],
    "longer": lambda array: np.concatenate([array, array]),
    "scalar": lambda array: np.array(7),
    "text": lambda array: np.array(["a"] * len(array)),
    "folded": lambda array: array.reshape(1, -1),
    "other bits": lambda array: np.frombuffer(b"\x07" * array.nbytes, array.dtype).reshape(array.shape),
    "objects": lambda array: np.array([None]),
}


@pytest.mark.parametrize("how", [*DAMAGE, "missing"])
def test_a_damaged_index_counts_for_nothing(several: Path, walked: list[str], how: str) -> None:
    """Whatever is wrong in which array."""
    first = open_source(several, 4)
    for name in first.index:
        index = stored(first.index)
        if how == "missing":
            del index[name]
        else:
            index[name] = DAMAGE[how](index[name])
        walked.clear()
        assert same(first, open_source(several, 4, index=index)), name
        assert walked == ["a.x", "b.x", "c.x"], name


def test_no_index_at_all(several: Path) -> None:
    first = open_source(several, 4)
    for index in ({}, None, {"digest": np.zeros(32, np.uint8)}, {"something": np.zeros(3)}):
        assert same(first, open_source(several, 4, index=index))
