"""The folder source: which files count, in which order, and what a file that cannot be read becomes."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import Record, open_source


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def keys(root: Path, limit: int = 0) -> list[str]:
    return [record.key for shard in open_source(root, 4, limit).shards() for record in shard]


def test_order_is_that_of_the_paths_bytes(tmp_path: Path) -> None:
    names = ["b/1.jpg", "a.jpg", "b.jpg", "a/z.png", "B/2.jpg", "a/\u00e9.jpg", "a/e.jpg", "10.jpg", "9.jpg"]
    assert keys(fill(tmp_path, *names)) == sorted(names, key=lambda name: name.encode())


def test_records_hold_the_files_bytes(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "a.jpg", "sub/b.png"), 4)
    assert [list(shard) for shard in source.shards()] == [
        [Record("a.jpg", b"a.jpg"), Record("sub/b.png", b"sub/b.png", label="sub")]
    ]
    assert (source.kind, source.path, source.index) == ("folder", str(tmp_path), {})


def test_the_directory_is_the_label(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "anna/1.jpg", "anna/b/2.jpg")
    (tmp_path / "anna" / "3.jpg").symlink_to("gone")
    (shard,) = open_source(tmp_path, 4).shards()
    assert [(record.key, record.label) for record in shard] == [
        ("a.jpg", None),
        ("anna/1.jpg", "anna"),
        ("anna/3.jpg", "anna"),
        ("anna/b/2.jpg", "anna/b"),
    ]


@pytest.mark.parametrize(("count", "lengths"), [(1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_shards_have_a_fixed_number_of_records(tmp_path: Path, count: int, lengths: list[int]) -> None:
    fill(tmp_path, *(f"{number:02d}.jpg" for number in range(count)))
    shards = open_source(tmp_path, 4).shards()
    assert [len(shard) for shard in shards] == lengths
    assert pickle.loads(pickle.dumps(shards[-1])) == shards[-1]


def test_limit_takes_the_first(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number:02d}.jpg" for number in range(9)))
    assert keys(tmp_path, limit=5) == [f"{number:02d}.jpg" for number in range(5)]


def test_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    fill(
        tmp_path, "a.JPG", "b.jpeg", "c.webp", "d.tiff", "noextension", "labels.txt", "x/more.TXT", "y.tar.gz"
    )
    source = open_source(tmp_path, 4)
    assert source.passed_over == {".gz": 1, ".txt": 2}
    assert keys(tmp_path) == ["a.JPG", "b.jpeg", "c.webp", "d.tiff", "noextension"]


def test_hidden_files_are_no_records(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", ".hidden.jpg", ".git/b.jpg", "__MACOSX/._a.jpg", "sub/.DS_Store")
    assert keys(tmp_path) == ["a.jpg"]
    assert open_source(tmp_path, 4).passed_over == {}


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "a/1.jpg", "b/2.jpg")
    elsewhere = fill(tmp_path / "elsewhere", "3.jpg")
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "other").symlink_to(elsewhere)
    (root / "link.jpg").symlink_to(elsewhere / "3.jpg")
    assert keys(root) == ["a/1.jpg", "b/2.jpg", "b/other/3.jpg", "link.jpg"]


def test_a_directory_may_be_linked_to_twice(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "a/1.jpg")
    (root / "again").symlink_to(root / "a")
    assert keys(root) == ["a/1.jpg", "again/1.jpg"]


def test_links_that_lead_nowhere_are_unreadable_records(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("missing.jpg")
    (tmp_path / "itself.jpg").symlink_to("itself.jpg")
    found = [record for shard in open_source(tmp_path, 4).shards() for record in shard]
    assert found == [
        Record("a.jpg", b"a.jpg"),
        Record("dangling.jpg", b"", "unreadable: No such file or directory"),
        Record("itself.jpg", b"", "unreadable: Too many levels of symbolic links"),
    ]


def test_pipes_are_no_records_not_even_through_a_link(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait forever
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    assert keys(tmp_path) == ["a.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "b.jpg").chmod(0)
    assert list(open_source(tmp_path, 4).shards()[0])[1] == Record(
        "b.jpg", b"", "unreadable: Permission denied"
    )


def test_a_file_that_vanished_since(tmp_path: Path) -> None:
    shard = open_source(fill(tmp_path, "a.jpg", "b.jpg"), 4).shards()[0]
    (tmp_path / "a.jpg").unlink()
    assert list(shard) == [
        Record("a.jpg", b"", "unreadable: No such file or directory"),
        Record("b.jpg", b"b.jpg"),
    ]


def test_a_directory_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.jpg", "sub/b.jpg")
    scandir = os.scandir

    def denied(path: bytes) -> object:
        if os.fsencode(path).endswith(b"/sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(BadInput, match=r"/sub: cannot be read \(Permission denied\); make it readable$"):
        open_source(tmp_path, 4)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))).write_bytes(b"1")
    fill(tmp_path, "cafe.jpg")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/labels.\xff"))).write_bytes(b"2")
    source = open_source(tmp_path, 4)
    assert [list(shard) for shard in source.shards()] == [
        [Record("cafe.jpg", b"cafe.jpg"), Record("caf\\xe9.jpg", b"1")]
    ]
    assert source.passed_over == {".\\xff": 1}


def test_fingerprint_is_that_of_the_paths(tmp_path: Path) -> None:
    first = open_source(fill(tmp_path / "one", "a.jpg", "b/c.jpg"), 4)
    same = open_source(fill(tmp_path / "two", "b/c.jpg", "a.jpg"), 2)
    assert first.fingerprint == same.fingerprint
    assert open_source(fill(tmp_path / "two", "d.jpg"), 4).fingerprint != first.fingerprint
    (tmp_path / "one" / "a.jpg").rename(tmp_path / "one" / "A.jpg")
    assert open_source(tmp_path / "one", 4).fingerprint != first.fingerprint
