"""The per-image driver: shards and rows, what a bad record becomes, and what is not done twice."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.prepare import prepare, prepare_shard, shard_is_done
from dcgan_data.sources import Record, open_source

TO_32 = DecodeSettings(32)


@dataclass(frozen=True)
class ListShard:
    """Records in memory."""

    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


def plain_png(pixels: np.ndarray) -> bytes:
    """A PNG whose bytes no library's version can change: stored, not compressed."""
    height, width = pixels.shape[:2]
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", stored + struct.pack(">I", zlib.adler32(raw))),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def golden_picture(width: int, height: int, step: int) -> np.ndarray:
    """Integers only: the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * step % 256, y * step % 256, (x * y // 8 + step) % 256], axis=2).astype(np.uint8)


GOLDEN_RECORDS = {
    b"a same size": plain_png(golden_picture(32, 32, 3)),
    b"b half": plain_png(golden_picture(100, 64, 5)),
    b"c quarter": plain_png(golden_picture(128, 140, 7)),
    b"d text": b"no image",
    b"e small": plain_png(golden_picture(40, 31, 2)),
}
GOLDEN_PIXELS = "af4baf1051497a4764337940bda0b3cb0933e876209585c879b61ac824c10b4f"
GOLDEN_ROWS = "0cb8edb1244f841e9c29d40d65f47ef550d435978c892471f44e1ce4bf53b4ef"


def test_golden_bytes(
    tmp_path: Path,
    write_lmdb: Callable[..., Path],
    make: Callable[..., object],
    recipe: Callable[..., object],
) -> None:
    """Pixels and manifest of five records, from PNGs: JPEG decoders may differ in the last bit."""
    source = write_lmdb(tmp_path / "lmdb", GOLDEN_RECORDS)
    make(source, tmp_path / "out", recipe("none"))
    shard = tmp_path / "out" / "images" / "00000.npy"
    rows = PreparedSet.open(tmp_path / "out").manifest().to_pylist()
    assert [row["reason"] for row in rows] == [
        None,
        None,
        None,
        "not_an_image: no supported format in its first bytes",
        "too_small: short side under 32",
    ]
    assert [
        tuple(row[n] for n in ("width", "height", "box_x", "box_y", "box_w", "box_h")) for row in rows[:3]
    ] == [
        (32, 32, 0, 0, 32, 32),
        (100, 64, 18, 0, 64, 64),
        (128, 140, 0, 8, 128, 128),
    ]
    halves = golden_picture(100, 64, 5)[:, 18:82].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.load(shard)[1] - halves).max() <= 0.5
    assert hashlib.sha256(shard.read_bytes()).hexdigest() == GOLDEN_PIXELS
    assert hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest() == GOLDEN_ROWS


def test_rows_say_everything_of_a_record(
    tmp_path: Path, encoded: Callable[..., bytes], picture: Callable[..., np.ndarray]
) -> None:
    good, small = encoded(picture(100, 70)), encoded(picture(30, 70))
    records = [
        Record("good", good),
        Record("small", small),
        Record("gone", b"", "unreadable: Permission denied", "a label"),
        Record("empty", b""),
        Record("again", good),
    ]
    assert prepare_shard(ListShard(records), 3, TO_32, tmp_path) == 5
    staging = Staging(tmp_path)
    table = staging.read_records(3)
    assert table.select(["key", "part", "status", "reason", "shard", "row"]).to_pylist() == [
        {"key": "good", "part": 0, "status": "kept", "reason": None, "shard": 3, "row": 0},
        {
            "key": "small",
            "part": 0,
            "status": "rejected",
            "reason": "too_small: short side under 32",
            "shard": 3,
            "row": None,
        },
        {
            "key": "gone",
            "part": 0,
            "status": "rejected",
            "reason": "unreadable: Permission denied",
            "shard": 3,
            "row": None,
        },
        {"key": "empty", "part": 0, "status": "rejected", "reason": "empty", "shard": 3, "row": None},
        {"key": "again", "part": 0, "status": "kept", "reason": None, "shard": 3, "row": 1},
    ]
    rest = table.select(["width", "height", "box_x", "box_y", "box_w", "box_h", "sha256"]).to_pylist()
    digest = hashlib.sha256(good).hexdigest()
    assert list(rest[0].values()) == [100, 70, 15, 0, 70, 70, digest]
    assert list(rest[1].values()) == [30, 70, None, None, None, None, hashlib.sha256(small).hexdigest()]
    assert list(rest[2].values()) == [None] * 7
    assert list(rest[3].values()) == [None] * 6 + [hashlib.sha256(b"").hexdigest()]
    assert table["label"].to_pylist() == [None, None, "a label", None, None]
    assert table["padding"].null_count == table["landmarks"].null_count == 5, "these are of faces"
    pixels = np.load(tmp_path / "images" / "00003.npy")
    assert np.array_equal(pixels, np.stack([decode_square(good, TO_32).pixels] * 2))


def test_a_shard_without_a_single_image(tmp_path: Path) -> None:
    prepare_shard(ListShard([Record("a", b"x"), Record("b", b"y")]), 0, TO_32, tmp_path)
    assert np.load(tmp_path / "images" / "00000.npy").shape == (0, 32, 32, 3)
    assert Staging(tmp_path).shard_stamp(0)[1] == 0


def test_a_failing_shard_leaves_nothing(tmp_path: Path) -> None:
    """A bug, or an interrupt, in the middle: no pixels and no rows that look finished."""

    class Broken(ListShard):
        def __iter__(self) -> Iterator[Record]:
            yield from self.records
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        prepare_shard(Broken([Record("a", b"x")]), 0, TO_32, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not shard_is_done(Staging(tmp_path), 0)


def test_finished_shards_are_not_done_again(tmp_path: Path, source: Path) -> None:
    shards = open_source(source, 8).shards()
    assert list(prepare(shards, TO_32, tmp_path, 1)) == [0, 8, 8, 4]
    files = sorted((tmp_path / "images").iterdir())
    before = [path.stat().st_mtime_ns for path in files]
    (tmp_path / "images" / "00001.npy").write_bytes(b"cut")
    Staging(tmp_path).records(2).unlink()
    assert not shard_is_done(Staging(tmp_path), 1)
    assert not shard_is_done(Staging(tmp_path), 2)
    assert list(prepare(shards, TO_32, tmp_path, 1)) == [8, 8, 4]
    after = [path.stat().st_mtime_ns for path in files]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, False]


def test_opencvs_threads_are_restored(tmp_path: Path, source: Path) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        list(prepare(open_source(source, 8).shards(), TO_32, tmp_path, 1))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(threads)


def test_a_time_limit_makes_no_other_job(
    source: Path,
    copied_set: Path,
    make: Callable[..., object],
    recipe: Callable[..., object],
    reporter: Any,
) -> None:
    """Nothing was too slow: any limit gives this set. Nor does it matter that older sets know of none."""
    index = copied_set / "dataset.json"
    info = json.loads(index.read_text())
    del info["recipe"]["image"]["max_seconds"]
    index.write_text(json.dumps(info))
    make(source, copied_set, recipe(image={"max_seconds": 5}), reporter=reporter)
    assert reporter.said == [f"{copied_set}: already complete with this recipe and source; nothing to do"]


def test_a_time_limit_that_was_reached_does(
    source: Path, copied_set: Path, make: Callable[..., object], recipe: Callable[..., object]
) -> None:
    index = copied_set / "dataset.json"
    info = json.loads(index.read_text())
    info["rejected"] = {"too_slow": 2}
    index.write_text(json.dumps(info))
    make(source, copied_set, recipe())
    differing = r"made otherwise: recipe\.image\.max_seconds \(there: 0\.0, asked: 5\.0\)"
    with pytest.raises(BadRequest, match=differing):
        make(source, copied_set, recipe(image={"max_seconds": 5}))
    allowed = r"image\.max_seconds: -1\.0 is not allowed; expected 0 \(no limit\) to 86400 seconds"
    with pytest.raises(BadRequest, match=allowed):
        recipe(image={"max_seconds": -1})
