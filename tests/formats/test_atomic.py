"""Files that are either whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcgan_data.formats.atomic import atomic_path, write_json


def test_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"  # the directory is made
    with atomic_path(path) as temporary:
        assert temporary == path.with_name("file.bin.tmp")
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


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


def test_a_leftover_of_a_kill_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.bin.tmp").write_bytes(b"a longer leftover")
    with atomic_path(tmp_path / "file.bin") as temporary:
        temporary.write_bytes(b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file.bin", b"new")]


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
