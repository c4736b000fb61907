"""Labels as integers, as class numbers, and as names of directories."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.export.labels import (
    are_integers,
    class_numbers,
    directory_names,
    distinct_labels,
    split_names,
)
from dcgan_data.sources.folder import FolderSource


def column(*labels: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(labels, pa.string())])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0", "12", "-3"], True),
        (["999999999999999999"], True),
        (["1", None], True),
        ([None, None], False),
        (["1", "x"], False),
        (["07"], False),  # 7 would be the same number
        (["-0"], False),
        (["+1"], False),
        (["1.0"], False),
        (["\u0661"], False),  # a digit, but another text than str() of its number
        (["9999999999999999999"], False),  # over 64 bits
        ([""], False),
    ],
)
def test_integers(labels: list[str | None], expected: bool) -> None:
    assert are_integers(column(*labels)) is expected


def test_distinct_labels_are_sorted_and_without_null() -> None:
    assert distinct_labels(column("b", None, "a", "b")) == ["a", "b"]


def test_class_numbers() -> None:
    assert class_numbers(["10", "3", "0"]) == {"0": 0, "3": 3, "10": 10}
    assert class_numbers(["b", "a"]) == {"a": 0, "b": 1}
    assert class_numbers(["7", "a"]) == {"7": 0, "a": 1}
    assert class_numbers(["-1", "1"]) == {"-1": 0, "1": 1}  # NVlabs' loaders want no negative ones


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cats", "cats"),
        ("Straße 7 (München)", "Straße 7 (München)"),
        ("a/b", "a_b"),
        ("a\\b", "a_b"),
        ("..", "label___"),
        ("../../etc/passwd", "label_.._.._etc_passwd"),
        (".git", "label_.git"),
        ("", "label_"),
        ("__MACOSX", "label___MACOSX"),
        ("metadata.jsonl", "label_metadata.jsonl"),
        ("con", "label_con"),
        ("NUL.txt", "label_NUL.txt"),
        ("console", "console"),
        ("00000012.png", "label_00000012.png"),
        ("12.png", "12.png"),
        ("a\nb\0c", "a_b_c"),
        ("end. ", "end__"),
        ("x" * 300, "x" * 100),
        ("é" * 60, "é" * 50),
    ],
)
def test_directory_name(label: str, name: str) -> None:
    assert directory_names([label]) == {label: name}


def test_labels_that_would_share_a_directory() -> None:
    names = directory_names(["a/b", "a_b", "Cat", "cat", "a:b", "caf\u00e9", "cafe\u0301"])
    assert names["a_b"] == "a_b"  # what can stay as it is does
    assert names["Cat"] == "Cat"
    assert names["cat"].startswith("cat-")
    assert names["a/b"].startswith("a_b-") and names["a:b"].startswith("a_b-")
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names.values()}) == len(names)
    assert names == directory_names(sorted(names, reverse=True))


@given(st.lists(st.text(), unique=True, max_size=8))
def test_any_labels_give_directories_below_the_root(labels: list[str]) -> None:
    names = directory_names(labels)
    assert set(names) == set(labels)
    for name in names.values():
        assert name == os.path.basename(name) and not name.startswith((".", "__")) and name[-1] not in ". "
        assert 0 < len(name.encode()) < 200 and name.isprintable()
    assert len({name.casefold() for name in names.values()}) == len(names)


def test_the_project_reads_every_such_directory(tmp_path: Path) -> None:
    names = directory_names(["..", ".git", "__MACOSX", "", "con", "a/b", "metadata.jsonl"])
    for name in names.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"x")
    assert len(FolderSource(tmp_path, 8)) == 7


def test_names_that_are_taken_for_splits() -> None:
    names = ["train", "train_station", "my-test", "val2", "trains", "latest", "bus", "developer", "dev.x"]
    assert split_names(names) == ["dev.x", "my-test", "train", "train_station", "val2"]
