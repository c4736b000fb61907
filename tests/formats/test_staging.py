"""The state of an unfinished run, and what --overwrite removes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.manifest import RECORD_SCHEMA
from dcgan_data.formats.shards import FileStamp
from dcgan_data.formats.staging import Staging, remove_own_files


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_plan_round_trip(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    assert staging.read_plan() is None
    staging.write_plan({"recipe": {"seed": 1}})
    assert staging.read_plan() == {"recipe": {"seed": 1}}


def test_damaged_plan(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staging.write_plan({})
    (staging.path / "plan.json").write_text("{")
    with pytest.raises(
        BadInput, match=r"/\.staging/plan\.json: damaged \(.*\); start afresh with --overwrite"
    ):
        staging.read_plan()


def test_records_carry_the_stamp_of_their_pixels(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    row = {"key": "k", "part": 0, "status": "kept", "shard": 3, "row": 0}
    table = pa.Table.from_pylist([row], schema=RECORD_SCHEMA)
    staging.write_records(3, table, FileStamp(77, "ab"), 1)
    assert staging.shard_stamp(3) == (FileStamp(77, "ab"), 1)
    assert staging.read_records(3).equals(table)
    assert staging.read_records(3, ["key"]).to_pydict() == {"key": ["k"]}
    assert staging.read_records(3).schema.metadata is None


def test_remove_clears_the_state_and_the_leftovers_of_a_kill(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staging.write_plan({})
    for name in (
        "images/00000.npy",
        "images/00001.npy.0123abcd.tmp",
        "manifest.parquet.00000000.tmp",
        "report/index.html.ffffffff.tmp",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    users = {"mine.tmp", "manifest.parquet.tmp", "images/mine.npy.0123abcd.tmp", "more/mine.tmp"}
    for name in users:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    staging.remove()
    assert files_below(tmp_path) == {"images/00000.npy", *users}


def test_remove_own_files_leaves_a_users_files(copied_set: Path) -> None:
    own = files_below(copied_set)
    assert {"dataset.json", "images/00002.npy", "report/index.html"} < own
    users = {
        "notes.txt",
        "images/notes.txt",
        "images/mine.npy",
        "images/00000.npy.bak",
        "report/notes.md",
        "more/manifest.parquet",
    }
    for name in users:
        (copied_set / name).parent.mkdir(exist_ok=True)
        (copied_set / name).write_text("mine")
    Staging(copied_set).write_plan({})
    (copied_set / "images" / "00003.npy.0123abcd.tmp").write_bytes(b"1")
    remove_own_files(copied_set)
    assert files_below(copied_set) - {".lock"} == users


def test_remove_own_files_removes_their_directories(copied_set: Path) -> None:
    remove_own_files(copied_set)
    assert {path.name for path in copied_set.iterdir()} <= {".lock"}
    remove_own_files(copied_set)  # nothing there: nothing to do


def test_shards_of_any_number_are_our_own_and_nothing_beside_them(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset.json", {"schema_version": 3})
    for name in ("00000.npy", "123456.npy", "12345-notes.npy", "1234.npy"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).touch()
    assert remove_own_files(tmp_path)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["1234.npy", "12345-notes.npy"]
