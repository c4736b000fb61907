"""The list of an archive's members, kept in the prepared set and nowhere else."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.formats.dataset import SOURCE_INDEX, read_info
from dcgan_data.formats.source_index import read_source_index, write_source_index
from dcgan_data.sources import tar

Make = Callable[..., Any]
Reader = Callable[[Path], object]


@pytest.fixture
def archive(tmp_path: Path, records: dict[bytes, bytes]) -> Path:
    path = tmp_path / "photos" / "all.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as file:
        for key, data in records.items():
            member = tarfile.TarInfo(f"{key.decode()}.png")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"names": np.arange(9, dtype=np.uint8), "rows": np.array([(1, 2)], "i8,i8")}
    write_source_index(tmp_path, arrays)
    found = read_source_index(tmp_path)
    assert found is not None and list(found) == ["names", "rows"]
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert [path.name for path in tmp_path.iterdir()] == [SOURCE_INDEX]


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut", b"\x80\x04N.", b"text"])
def test_what_cannot_be_read_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SOURCE_INDEX).write_bytes(content)
    assert read_source_index(tmp_path) is None
    assert read_source_index(tmp_path / "nothing here") is None


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    with (tmp_path / SOURCE_INDEX).open("wb") as file:
        np.savez(file, names=np.array([{"a": 1}], object))
    assert read_source_index(tmp_path) is None


def test_a_run_keeps_it_and_the_next_one_needs_no_walk(
    tmp_path: Path, archive: Path, make: Make, recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    info = make(archive, out, recipe("none"))
    assert (out / SOURCE_INDEX).exists() and SOURCE_INDEX not in info.files
    assert [path.name for path in archive.parent.iterdir()] == ["all.tar"], "nothing beside the user's data"

    def walk(*_: object) -> None:
        raise AssertionError("walked again")

    monkeypatch.setattr(tar.TarSource, "walk", staticmethod(walk))
    assert make(archive, out, recipe("none")) == info
    with pytest.raises(AssertionError, match="walked again"):  # stale or not: starting afresh trusts nothing
        make(archive, out, recipe("none"), overwrite=True)


def test_a_damaged_one_is_made_anew(
    tmp_path: Path, archive: Path, make: Make, recipe: Callable[..., Any]
) -> None:
    out = tmp_path / "out"
    make(archive, out, recipe("none"))
    (out / SOURCE_INDEX).write_bytes(b"damaged")
    make(archive, out, recipe("none"), overwrite=True)
    assert read_source_index(out) is not None
    assert read_info(out).counts.read == 20
