"""Sets to export: labels that are names, or numbers, or missing in part; faces."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.export import ExportResult, ExportSettings, export
from dcgan_data.formats.manifest import MANIFEST_SCHEMA
from dcgan_data.reporter import SilentReporter


def export_set(prepared: Path, kind: str, destination: Path, workers: int = 1) -> ExportResult:
    return export(prepared, ExportSettings(kind, destination, workers), SilentReporter())


def rewrite_manifest(out: Path, rows: list[dict[str, Any]]) -> None:
    """Put other rows into a set, and make its index agree."""
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), out / "manifest.parquet")
    data = (out / "manifest.parquet").read_bytes()
    index = json.loads((out / "dataset.json").read_text())
    index["files"]["manifest.parquet"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    statuses = [row["status"] for row in rows]
    counts = {status: statuses.count(status) for status in ("kept", "duplicate", "rejected")}
    index["counts"] = {"read": len(rows), **counts}
    (out / "dataset.json").write_text(json.dumps(index))


@pytest.fixture(scope="session")
def run() -> Callable[..., ExportResult]:
    return export_set


@pytest.fixture(scope="session")
def classes(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Callable[..., Any],
    encoded: Callable[..., bytes],
    make: Callable[..., Any],
) -> Callable[[list[str]], Path]:
    """Makes a set of directories, each with 5 pictures and a copy of one; '' is no directory."""

    def of(names: list[str]) -> Path:
        base = tmp_path_factory.mktemp("classes")
        for number, name in enumerate(names):
            (base / "photos" / name).mkdir(parents=True, exist_ok=True)
            for k in range(6):
                seed = 100 + 10 * number + k % 5
                (base / "photos" / name / f"{k}.png").write_bytes(encoded(picture(seed=seed)))
        make(base / "photos", base / "set")
        return base / "set"

    return of


@pytest.fixture(scope="session")
def named_set(classes: Callable[[list[str]], Path]) -> Path:
    """10 kept images of cats and dogs, 2 copies. Tests only read it."""
    return classes(["cats", "dogs"])


@pytest.fixture(scope="session")
def numbered_set(classes: Callable[[list[str]], Path]) -> Path:
    """10 kept images with the labels 10 and 3, 2 copies. Tests only read it."""
    return classes(["10", "3"])


@pytest.fixture(scope="session")
def mixed_set(classes: Callable[[list[str]], Path]) -> Path:
    """10 kept images, 5 of them without a label, 2 copies. Tests only read it."""
    return classes(["", "cats"])


@pytest.fixture
def faces_set(tmp_path: Path, finished_set: Path) -> Path:
    """``finished_set`` as if its first photo had three faces: two kept, one too small."""
    out = Path(shutil.copytree(finished_set, tmp_path / "faces"))
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    second = {**rows[0], "part": 1}
    third = {**rows[0], "part": 2, "status": "rejected", "reason": "face_too_small", "row": None}
    rewrite_manifest(out, [rows[0], second, third, *rows[1:]])
    return out
