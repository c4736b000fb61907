"""Where an export may go, and what is there while it is unfinished."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.export import ExportResult, destination
from dcgan_data.export.destination import flush_tree, unfinished
from dcgan_data.formats.lock import locked

Run = Callable[..., ExportResult]


def refusal(run: Run, prepared: Path, kind: str, where: Path) -> str:
    before = sorted(where.parent.rglob("*")) if where.parent.is_dir() else []
    with pytest.raises(BadRequest) as caught:
        run(prepared, kind, where)
    assert (sorted(where.parent.rglob("*")) if where.parent.is_dir() else []) == before
    return str(caught.value)


@pytest.mark.parametrize("kind", ["keys", "stylegan-zip"])
def test_existing_file(tmp_path: Path, finished_set: Path, run: Run, kind: str) -> None:
    there = tmp_path / "there.zip"
    there.write_text("mine")
    assert refusal(run, finished_set, kind, there) == (
        f"{there}: exists; choose another DEST, or remove it first"
    )
    assert there.read_text() == "mine"


def test_existing_directory(tmp_path: Path, finished_set: Path, run: Run) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    message = refusal(run, finished_set, "keys", tmp_path / "there")
    assert message == f"{tmp_path}/there: a directory that is not empty; choose another DEST"
    (tmp_path / "empty.zip").mkdir()
    assert "empty.zip: exists" in refusal(run, finished_set, "stylegan-zip", tmp_path / "empty.zip")


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", ".dcgan-data-export")])
def test_what_a_kill_left_when_the_export_was_whole(
    tmp_path: Path, finished_set: Path, run: Run, left: tuple[str, ...]
) -> None:
    run(finished_set, "keys", tmp_path / "there")
    (tmp_path / "there.tmp").mkdir()
    for name in left:
        (tmp_path / "there.tmp" / name).touch()
    with pytest.raises(BadRequest, match="there: a directory that is not empty; choose another DEST"):
        run(finished_set, "keys", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_another_export_is_about_to_finish_stays(tmp_path: Path, finished_set: Path, run: Run) -> None:
    run(finished_set, "keys", tmp_path / "there")
    with locked(tmp_path / "there.tmp", "DEST"):
        message = refusal(run, finished_set, "keys", tmp_path / "there")
    assert message == f"{tmp_path}/there: a directory that is not empty; choose another DEST"


def test_empty_directory_and_link_are_used(tmp_path: Path, finished_set: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    run(finished_set, "keys", tmp_path / "link")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["kept.txt", "removed.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


def test_a_disk_of_its_own(
    tmp_path: Path, finished_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    message = refusal(run, finished_set, "keys", tmp_path / "disk")
    assert message == f"{tmp_path}/disk: a disk of its own; name a new directory on it"


def test_zip_needs_its_name(tmp_path: Path, finished_set: Path, run: Run) -> None:
    assert refusal(run, finished_set, "stylegan-zip", tmp_path / "bedrooms") == (
        f"{tmp_path}/bedrooms: its readers know it by its name; give one that ends in .zip"
    )


def test_missing_parent(tmp_path: Path, finished_set: Path, run: Run) -> None:
    message = refusal(run, finished_set, "keys", tmp_path / "no" / "keys")
    assert message == f"{tmp_path}/no: no such directory; make it first, or choose another DEST"


def test_inside_the_set_or_its_source(
    tmp_path: Path, copied_set: Path, source: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(run, copied_set, "keys", copied_set / "keys")
    assert f"lies inside the prepared set {copied_set}; choose a place outside of it" in message
    message = refusal(run, copied_set, "keys", source / "keys")
    assert f"lies inside the source {source}; choose a place outside of it" in message
    monkeypatch.chdir(copied_set)
    assert "lies inside the prepared set" in refusal(run, Path(), "keys", Path("images/keys"))
    (tmp_path / "link").symlink_to(copied_set / "images")
    assert "lies inside the prepared set" in refusal(run, copied_set, "keys", tmp_path / "link" / "keys")


def test_relative_destination(
    tmp_path: Path, finished_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(finished_set, "imagefolder", Path("folder"), 2).destination == "folder"
    assert len(list(tmp_path.glob("folder/*.png"))) == 15


def test_no_room(tmp_path: Path, finished_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 5000

    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: Usage)
    for kind in ("stylegan-zip", "webdataset", "imagefolder", "parquet", "lmdb"):
        message = refusal(run, finished_set, kind, tmp_path / "x.zip")
        assert message.startswith(f"{tmp_path}/x.zip: needs about ")
        assert message.endswith(" bytes, 5,000 are free; make room, or choose another DEST")


@pytest.mark.parametrize("kind", ["stylegan-zip", "webdataset", "imagefolder", "parquet", "lmdb"])
def test_the_estimate_is_near(
    tmp_path: Path, near_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    asked = []
    monkeypatch.setattr("dcgan_data.export.running.check_space", lambda path, needed: asked.append(needed))
    run(near_set, kind, tmp_path / "x.zip")
    used = sum(path.stat().st_blocks * 512 for path in [tmp_path / "x.zip", *tmp_path.rglob("x.zip/*")])
    assert 0.4 * used < asked[0] < 2 * used


def test_not_a_set(tmp_path: Path, run: Run) -> None:
    with pytest.raises(BadInput, match="not a prepared set, it has no dataset"):
        run(tmp_path, "keys", tmp_path / "keys")


def test_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), unfinished(tmp_path / "x") as target:
        target.mkdir()
        (target / "part").write_text("half")
        assert not (tmp_path / "x").exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with unfinished(tmp_path / "x") as target:
        target.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "whole"


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    """At whatever moment the kill came."""
    directory = tmp_path / "x.tmp"
    marked = [".lock", ".dcgan-data-export"]
    for left in (
        [],
        [".lock"],
        marked,
        [*marked, "export.0a/b/c"],
        [*marked, "export.0a", "removed.export.1b/c"],
    ):
        for name in left:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text("left")
        with unfinished(tmp_path / "x") as target:
            assert not target.exists()
            target.mkdir()
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
        (tmp_path / "x").rmdir()


@pytest.mark.parametrize("mine", ["notes.txt", "export.zip"])
def test_what_is_not_ours_is_not_removed(tmp_path: Path, finished_set: Path, run: Run, mine: str) -> None:
    (tmp_path / "keys.tmp").mkdir()
    (tmp_path / "keys.tmp" / mine).write_text("mine")
    assert refusal(run, finished_set, "keys", tmp_path / "keys") == (
        f"{tmp_path}/keys.tmp: is where the export would be made, but holds something else; "
        "move it away, or choose another DEST"
    )
    assert (tmp_path / "keys.tmp" / mine).read_text() == "mine"


def test_a_file_or_link_in_the_place(tmp_path: Path, finished_set: Path, run: Run) -> None:
    (tmp_path / "keys.tmp").write_text("mine")
    assert "holds something else" in refusal(run, finished_set, "keys", tmp_path / "keys")
    (tmp_path / "keys.tmp").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "keys.tmp").symlink_to("elsewhere")
    assert "holds something else" in refusal(run, finished_set, "keys", tmp_path / "keys")


def test_two_exports_to_one_place(tmp_path: Path, finished_set: Path, run: Run) -> None:
    with unfinished(tmp_path / "keys") as target:
        message = refusal(run, finished_set, "keys", tmp_path / "keys")
        assert message == (
            f"{tmp_path}/keys.tmp: another run is working on it; wait for it to end, or choose another DEST"
        )
        target.mkdir()
    assert (tmp_path / "keys").is_dir()


def test_destination_that_appears_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="exists; choose another DEST"):
        with unfinished(tmp_path / "x") as target:
            target.write_text("ours")
            (tmp_path / "x").write_text("theirs")
    assert (tmp_path / "x").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BadRequest, match=r"x\.tmp: cannot be written \(Permission denied\)"):
        with unfinished(tmp_path / "x"):
            pass


@pytest.mark.parametrize("many", [1, 1000])
def test_flush_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(destination, "_MANY_FILES", many)
    monkeypatch.setattr(destination, "flush_to_disk", synced.append)
    monkeypatch.setattr(os, "sync", lambda: synced.append(Path("all")))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    (tmp_path / "c").write_bytes(b"4567")
    assert flush_tree(tmp_path) == (2, 7)
    everything = [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "c"]
    assert sorted(synced) == ([Path("all")] if many == 1 else everything)
    assert flush_tree(tmp_path / "c") == (1, 4)


def test_the_lock_is_that_of_formats(tmp_path: Path) -> None:
    with locked(tmp_path / "x.tmp", "DEST"):
        with pytest.raises(BadRequest, match="another run is working on it"):
            with unfinished(tmp_path / "x"):
                pass
