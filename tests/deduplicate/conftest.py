"""Sets made directly or by the whole pipeline, and what must hold of every one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.deduplicate import ImageSet
from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.manifest import RECORD_SCHEMA
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.formats.staging import Staging

Row = dict[str, Any]


def stage_images(
    out: Path, shards: list[list[np.ndarray]], facts: Mapping[int, Row] | None = None
) -> ImageSet:
    """32x32 images as a run in progress has them: the key of image n is n in three digits, unless said.

    Each is followed by a rejected record, so that images and rows do not have the same numbers.
    """
    staging, number = Staging(out), 0
    for shard, images in enumerate(shards):
        path = out / shard_name(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows: list[Row] = []
        with path.open("wb") as file:
            writer = ShardWriter(file, 32)
            for image in images:
                row = {"key": f"{number:03d}", "width": 32, "height": 32, "bytes": 1000}
                row |= {"part": 0, "status": "kept", "shard": shard, "row": writer.append(image)}
                rows.append(row | (facts or {}).get(number, {}))
                rows.append({"key": f"{number:03d} bad", "part": 0, "status": "rejected", "shard": shard})
                number += 1
            writer.close()
        staging.write_records(
            shard, pa.Table.from_pylist(rows, schema=RECORD_SCHEMA), stamp_file(path), len(images)
        )
    return ImageSet(staging, [len(images) for images in shards], 32)


def read_rows(out: Path) -> dict[str, Row]:
    return {row["key"]: row for row in PreparedSet.open(out).manifest().to_pylist()}


def read_pairs(out: Path) -> list[Row]:
    return list(pq.read_table(out / "duplicates.parquet").to_pylist())


def check_removals(out: Path, threshold: float = 0.74) -> dict[str, str]:
    """Every removal names a kept row and rests on a recorded pair, either way round; {removed: kept}."""
    rows = read_rows(out)
    recorded = {(p["key_a"], p["key_b"], p["view"], p["distance"], p["score"]) for p in read_pairs(out)}
    removed = {}
    for key, row in rows.items():
        values = (row["distance"], row["score"])
        if row["status"] != "duplicate":
            assert (row["duplicate_of"], row["view"], *values) == (None, None, None, None), row
            continue
        kept, view = row["duplicate_of"], row["view"].removeprefix("kept: ")
        assert rows[kept]["status"] == "kept", row
        assert rows[kept]["group"] == row["group"] is not None, row
        assert row["score"] >= np.float32(threshold), row
        forth, back = (kept, key, view, *values) in recorded, (key, kept, view, *values) in recorded
        assert back if row["view"] != view else forth or (back and view in ("identity", "mirror")), row
        removed[key] = kept
    for pair in read_pairs(out):  # and no copy of a kept image is kept
        if pair["score"] >= np.float32(threshold):
            assert pair["key_a"] in removed or pair["key_b"] in removed, pair
    return removed


@pytest.fixture(scope="session")
def stage() -> Callable[..., ImageSet]:
    return stage_images


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], dict[str, Row]]:
    return read_rows


@pytest.fixture(scope="session")
def pairs_of() -> Callable[[Path], list[Row]]:
    return read_pairs


@pytest.fixture(scope="session")
def removals_of() -> Callable[..., dict[str, str]]:
    return check_removals


@pytest.fixture(scope="session")
def write_set(
    encoded: Callable[..., bytes], write_lmdb: Callable[..., Path], make: Callable[..., Any]
) -> Callable[..., Path]:
    """Make a set of pictures: arrays (written as PNG) or encoded bytes by key."""

    def write(out: Path, pictures: Mapping[str, Any], recipe: Any, **options: Any) -> Path:
        source = out.with_name(f"{out.name}.lmdb")
        if not source.exists():
            data = {key: p if isinstance(p, bytes) else encoded(p) for key, p in pictures.items()}
            write_lmdb(source, {key.encode(): value for key, value in data.items()})
        make(source, out, recipe, **options)
        return out

    return write
