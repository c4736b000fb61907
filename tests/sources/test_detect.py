"""What a path is taken for, and what is said when it is nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import open_source

SUPPORTED = "an LSUN LMDB (a directory with data.mdb, or with several such) or a folder of image files"


def message(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        open_source(path, 4)
    return str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    assert message(tmp_path / "lost") == f"{tmp_path}/lost: no such file or directory; expected {SUPPORTED}"


def test_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"1")
    assert message(path) == f"{path}: a single file; expected {SUPPORTED}"


@pytest.mark.parametrize("names", [[], ["labels.txt", ".hidden.jpg"]])
def test_no_images(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    assert message(tmp_path) == f"{tmp_path}: holds no images; expected {SUPPORTED}"


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert message(tmp_path) == f"{tmp_path}: permission denied; make it readable"


def test_kinds(tmp_path: Path, source: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"1")
    assert open_source(tmp_path, 4).kind == "folder"
    assert open_source(source, 4).kind == "lsun"
    assert open_source(source.parent, 4).kind == "lsun"


def test_a_relative_path_is_stored_as_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    found = open_source(Path("photos"), 4)
    assert re.fullmatch(r"/.*/photos", found.path)
    monkeypatch.chdir("/")
    assert [record.data for record in found.shards()[0]] == [b"1"]
