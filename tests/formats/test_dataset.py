"""``dataset.json``: round trip, and what is said of everything that is not one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.dataset import (
    INDEX,
    INDEX_COPY,
    REMEDY,
    SCHEMA_VERSION,
    DatasetInfo,
    index_was_changed,
    read_index_copy,
    read_info,
    shard_name,
    write_info,
)
from dcgan_data.formats.manifest import Counts
from dcgan_data.formats.shards import FileStamp

INFO = DatasetInfo(
    recipe={"seed": 0, "image": {"size": 32}},
    source={"kind": "folder", "path": "/photos", "records": 5, "fingerprint": "ab", "passed_over": {}},
    image_size=32,
    shard_rows=[2, 1],
    counts=Counts(read=5, kept=2, duplicate=1, rejected=2),
    rejected={"empty": 2},
    deduplication={"rule": "exact"},
    libraries={"numpy": "2.0"},
    files={shard_name(0): FileStamp(10, "ab"), shard_name(1): FileStamp(20, "cd")},
    timings={"prepare": 0.25},
)


def message(out: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_info(out)
    return str(caught.value)


def change(out: Path, **changes: Any) -> None:
    """Write INFO's index with some values replaced, or removed if None."""
    write_info(out, INFO)
    values = {**json.loads((out / INDEX).read_text()), **changes}
    (out / INDEX).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_round_trip(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    assert read_info(tmp_path) == INFO
    assert sorted(json.loads((tmp_path / INDEX).read_text())) == [
        "content_sha256",
        "counts",
        "deduplication",
        "files",
        "image_size",
        "libraries",
        "recipe",
        "rejected",
        "schema_version",
        "shard_rows",
        "source",
        "timings",
    ]


def test_content_hash_is_that_of_the_files_in_any_order() -> None:
    def content(files: dict[str, FileStamp], **changes: Any) -> str:
        return dataclasses.replace(INFO, files=files, **changes).content_sha256

    a, b = INFO.files.items()
    assert content(dict([b, a])) == INFO.content_sha256
    assert content(INFO.files, timings={}, libraries={}) == INFO.content_sha256
    assert content(dict([a])) != INFO.content_sha256
    assert content({**INFO.files, "images/00001.npy": FileStamp(20, "ce")}) != INFO.content_sha256
    assert content({a[0]: b[1], b[0]: a[1]}) != INFO.content_sha256


def test_shard_names() -> None:
    assert (shard_name(0), shard_name(123456)) == ("images/00000.npy", "images/123456.npy")


def test_no_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        message(out) == f"{out}: no such directory; 'dcgan-data dedup SRC --out {out}' makes a prepared set"
    )


def test_another_directory(tmp_path: Path) -> None:
    assert message(tmp_path) == (
        f"{tmp_path}: not a prepared set, it has no dataset.json; 'dcgan-data dedup SRC --out DIR' makes one"
    )


def test_unfinished(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert message(tmp_path) == (
        f"{tmp_path}: unfinished, it has no dataset.json; "
        "run the command that was making it again to complete it"
    )


def test_another_schema_version(tmp_path: Path) -> None:
    change(tmp_path, schema_version=SCHEMA_VERSION + 1)
    expected = f"schema version {SCHEMA_VERSION + 1}, this program reads {SCHEMA_VERSION}; {REMEDY}"
    assert message(tmp_path) == f"{tmp_path}/dataset.json: {expected}"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '"x"'])
def test_no_index_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    assert message(tmp_path).startswith(f"{tmp_path}/dataset.json: damaged (")


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": None},
        {"files": None},
        {"counts": {"read": 5, "kept": 5, "duplicate": 1, "rejected": 2}},  # they do not add up
        {"counts": {"read": 5}},
        {"files": {"images/00000.npy": {"bytes": 1}}},
        {"files": [1]},
    ],
)
def test_damaged_values(tmp_path: Path, changes: dict[str, Any]) -> None:
    change(tmp_path, **changes)
    text = message(tmp_path)
    assert text.startswith(f"{tmp_path}/dataset.json: damaged (")
    assert text.endswith(f"); 'dcgan-data verify {tmp_path} --repair' puts it back")
    (tmp_path / INDEX_COPY).unlink()
    assert message(tmp_path).endswith("); make the set again with another --out")


@pytest.mark.parametrize("name", ["/etc/passwd", "../notes.txt", "images/../../x.npy", "images/1.npy", ""])
def test_a_file_that_no_set_has(tmp_path: Path, name: str) -> None:
    change(tmp_path, files={name: {"bytes": 1, "sha256": "ab"}})
    assert f"damaged (ValueError: lists {name!r}, which no set has)" in message(tmp_path)


def test_the_copy_says_the_same_without_timings(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    assert read_index_copy(tmp_path) == dataclasses.replace(INFO, timings={})
    assert not index_was_changed(tmp_path)
    change(tmp_path, timings={"prepare": 9.0})
    assert not index_was_changed(tmp_path)
    change(tmp_path, source={"path": "/elsewhere"})
    assert index_was_changed(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"index": {}, "sha256": "ab"}', '{"index": 3}'])
def test_a_copy_that_is_damaged_counts_for_nothing(tmp_path: Path, text: str) -> None:
    change(tmp_path, source={"path": "/elsewhere"})
    (tmp_path / INDEX_COPY).write_text(text)
    assert read_index_copy(tmp_path) is None
    assert not index_was_changed(tmp_path)


def test_a_copy_with_a_flipped_digit_counts_for_nothing(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    text = (tmp_path / INDEX_COPY).read_text()
    (tmp_path / INDEX_COPY).write_text(text.replace('"image_size": 32', '"image_size": 33'))
    assert read_index_copy(tmp_path) is None


def test_a_lost_index(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    (tmp_path / INDEX).unlink()
    assert message(tmp_path) == (
        f"{tmp_path}: its dataset.json is missing; 'dcgan-data verify {tmp_path} --repair' puts it back"
    )


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(b"\xff\xfe{}")
    assert "damaged (UnicodeDecodeError" in message(tmp_path)


def test_counts_must_add_up() -> None:
    with pytest.raises(AssertionError):
        Counts(read=3, kept=1, duplicate=1, rejected=0)


@pytest.mark.parametrize("copy", [{}, [], {"schema_version": SCHEMA_VERSION, "files": 7}])
def test_a_copy_that_is_no_index_though_its_hash_fits(tmp_path: Path, copy: Any) -> None:
    write_info(tmp_path, INFO)
    digest = hashlib.sha256(json.dumps(copy, sort_keys=True).encode()).hexdigest()
    (tmp_path / INDEX_COPY).write_text(json.dumps({"index": copy, "sha256": digest}))
    assert read_index_copy(tmp_path) is None
    assert not index_was_changed(tmp_path)
    (tmp_path / INDEX).unlink()
    assert "repair" not in message(tmp_path)  # which could not put anything back


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({"rule": 7}, "deduplication.rule is 7, expected str"),
        ({"rule": "far"}, "deduplication.rule is 'far', expected near or exact"),
        ({"rule": "near"}, "deduplication.threshold is None, expected float"),
        ({"rule": "exact", "threshold": "high"}, "deduplication.threshold is 'high', expected float"),
        ({"rule": "exact", "against": 5}, "deduplication.against is 5, expected dict[str, Any]"),
        ({"rule": "exact", "against": {"path": 5}}, "deduplication.against.path is 5, expected str"),
    ],
)
def test_a_decision_that_is_none(tmp_path: Path, found: dict[str, Any], wrong: str) -> None:
    change(tmp_path, deduplication=found)
    assert f"damaged (ValueError: {wrong})" in message(tmp_path)
