"""Sets written directly, so that a test says which scores, views and group sizes they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dcgan_data.formats.dataset import MANIFEST, PAIRS, DatasetInfo, shard_name, write_info
from dcgan_data.formats.manifest import MANIFEST_SCHEMA, PAIR_SCHEMA, Counts, table_writer
from dcgan_data.formats.shards import stamp_file

Scores = Sequence[float | None]
"""Of the images removed for one kept image; none if it is alone."""


def near_findings(threshold: float = 0.7) -> dict[str, Any]:
    """What ``dataset.json`` says of a set that was decided by the near rule."""
    return {
        "rule": "near",
        "threshold": threshold,
        "candidate_pairs": 5000,
        "checked_pairs": 1200,
        "comparisons_left_out": 77,
        "expected_false_pairs": 0.25,
        "expected_false_share": 0.004,
        "removal_curve": [[0.5, 900], [0.6, 400], [0.7, 60], [0.8, 40], [0.9, 10]],
        "score_histogram": {"edges": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "counts": [700, 300, 100, 60, 40]},
        "code_health": {"idle_bits": 0, "mean_activity": 0.45, "largest_buckets": [9, 4, 1]},
        "low_contrast_images": 3,
    }


def star_rows(
    stars: Sequence[Scores], rejected: int, key: Callable[[int], str], views: Mapping[float | None, str]
) -> dict[str, list[Any]]:
    """Manifest columns: every star's kept row and its removed rows, then rejected ones."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("key", "status", "group", "score", "view", "duplicate_of", "reason")
    }

    def add(*values: Any) -> None:
        for column, value in zip(columns.values(), (key(len(columns["key"])), *values), strict=True):
            column.append(value)

    for number, scores in enumerate(stars):
        kept = key(len(columns["key"]))
        add("kept", number if scores else None, None, None, None, None)
        for score in scores:
            add("duplicate", number, score, views.get(score, "identity"), kept, None)
    for _ in range(rejected):
        add("rejected", None, None, None, None, "cut_short: ends early")
    return columns


def write_stars(
    out: Path,
    stars: Sequence[Scores],
    pixels: np.ndarray,
    findings: dict[str, Any] | None = None,
    rejected: int = 0,
    key: Callable[[int], str] = "image {:06d}".format,
    views: Mapping[float | None, str] | None = None,
    part: Callable[[int], int] = lambda number: 0,
    elsewhere: int = 0,
) -> DatasetInfo:
    """Write a prepared set of ``stars``; images take uint8 (n, S, S, 3) ``pixels`` in turn.

    views: of removals, by their score; elsewhere: removed images whose kept image is of another set.
    """
    columns = star_rows(stars, rejected, key, views or {})
    for _ in range(elsewhere):
        values = (key(len(columns["key"])), "duplicate", None, 0.9, "identity", "another set's", None)
        for column, value in zip(columns.values(), values, strict=True):
            column.insert(0, value)
    rows = len(columns["key"])
    pictured = rows - rejected
    fill = np.arange(rows)
    columns |= {
        "part": [part(number) for number in range(rows)],
        "shard": np.zeros(rows, np.int32),
        "row": pa.array((fill % len(pixels)).astype(np.int32), mask=fill >= pictured),
        "distance": pa.array((fill % 9).astype(np.int32), mask=np.equal(columns["status"], "duplicate") == 0),
    }
    table = {
        field.name: pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in MANIFEST_SCHEMA
    }
    (out / "images").mkdir(parents=True)
    np.save(out / shard_name(0), pixels)
    with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as writer:
        writer.write_table(pa.table(table, schema=MANIFEST_SCHEMA))
    with table_writer(out / PAIRS, PAIR_SCHEMA):
        pass
    removed = columns["status"].count("duplicate")
    info = DatasetInfo(
        recipe={"name": "stars"},
        source={"kind": "folder", "path": "photos", "records": rows, "fingerprint": "", "passed_over": {}},
        image_size=pixels.shape[1],
        shard_rows=[len(pixels)],
        counts=Counts(rows, pictured - removed, removed, rejected),
        rejected={"cut_short": rejected} if rejected else {},
        deduplication=near_findings() if findings is None else findings,
        libraries={},
        files={name: stamp_file(out / name) for name in (shard_name(0), MANIFEST, PAIRS)},
        timings={},
    )
    write_info(out, info)
    return info


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """uint8 (16, 32, 32, 3): the pictures that compress worst."""
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)


@pytest.fixture(scope="session")
def write_set() -> Callable[..., DatasetInfo]:
    return write_stars


@pytest.fixture(scope="session")
def findings() -> Callable[..., dict[str, Any]]:
    return near_findings
