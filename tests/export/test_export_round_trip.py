"""What is exported can be prepared again, and gives the same pixels and labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.export import ExportResult, parquet, webdataset
from dcgan_data.formats.prepared import PreparedSet

Run = Callable[..., ExportResult]
Make = Callable[..., Any]
KINDS = {"stylegan-zip": "zip", "webdataset": "tar", "imagefolder": "folder", "parquet": "parquet"}


def pixels_and_labels(prepared: Path) -> tuple[np.ndarray, list[str | None]]:
    opened = PreparedSet.open(prepared)
    rows = [row for row in opened.manifest().to_pylist() if row["status"] == "kept"]
    order = np.arange(len(rows))
    if opened.info.source["kind"] == "folder" and all(re.search(r"\d{8}\.png$", row["key"]) for row in rows):
        order = np.argsort([row["key"][-12:] for row in rows])  # an image folder's files, by their numbers
    return opened.rows().gather(order), [rows[k]["label"] for k in order]


@pytest.fixture
def again(
    tmp_path: Path, run: Run, make: Make, recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, str], tuple[np.ndarray, list[str | None]]]:
    """Exports a set, prepares what was exported, and returns the pixels and labels of that."""
    monkeypatch.setattr(webdataset, "IMAGES_PER_TAR", 4)
    monkeypatch.setattr(parquet, "PIXEL_BYTES_PER_FILE", 32 * 32 * 3 * 4)
    monkeypatch.setattr(parquet, "MOST_ROWS_OF_A_GROUP", 4)

    def export_and_prepare(prepared: Path, kind: str) -> tuple[np.ndarray, list[str | None]]:
        destination = tmp_path / "x.zip"
        result = run(prepared, kind, destination)
        info = make(destination, tmp_path / "again", recipe("none"))
        assert info.source["kind"] == KINDS[kind]
        assert info.counts.read == info.counts.kept == result.images
        return pixels_and_labels(tmp_path / "again")

    return export_and_prepare


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_as_labels(numbered_set: Path, again: Callable[..., Any], kind: str) -> None:
    pixels, labels = pixels_and_labels(numbered_set)
    pixels_again, labels_again = again(numbered_set, kind)
    assert np.array_equal(pixels, pixels_again)
    assert labels == labels_again == ["10"] * 5 + ["3"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_names_as_labels(named_set: Path, again: Callable[..., Any], kind: str) -> None:
    pixels, labels = pixels_and_labels(named_set)
    pixels_again, labels_again = again(named_set, kind)
    assert np.array_equal(pixels, pixels_again)
    assert labels_again == labels


@pytest.mark.parametrize("kind", KINDS)
def test_no_labels(finished_set: Path, again: Callable[..., Any], kind: str) -> None:
    pixels, labels = pixels_and_labels(finished_set)
    pixels_again, labels_again = again(finished_set, kind)
    assert np.array_equal(pixels, pixels_again)
    assert labels == labels_again == [None] * 15
