"""Damaged pictures, through the real command: each is kept, a duplicate, or rejected for a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lmdb
import pytest

from dcgan_data.formats.dataset import DatasetInfo, read_info
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.stored import BadImage
from dcgan_data.recipe import Recipe

ROOT = Path(__file__).parents[3]
ODD_FILES = ROOT.parent / "shared" / "data" / "odd"
PATIENCE_S = 900.0
"""Until a run counts as hanging."""
SLOW_S = 5.0
"""Of processor time, for one small picture: a thousand times what they take."""
MOST_WORKER_BYTES = 500_000_000
REASONS = {
    "empty",
    "corrupt",
    "truncated",
    "not_an_image",
    "no_pixels",
    "too_small",
    "too_many_pixels",
    "unsupported",
}
Damaged = Callable[[int, int, dict[str, bytes]], bytes]


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    stderr: str
    worker_bytes: int
    """The most memory that one of its processes ever had."""


def prepare(source: Path, out: Path, workers: int) -> Ran:
    """The real command on 32-pixel squares, watched."""
    options = ["--image-size", "32", "--max-rejected", "100%", "--workers", str(workers)]
    arguments = [sys.executable, "-m", "dcgan_data", "prepare", str(source), "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = out.with_name(f"{out.name}.stderr")
    with log.open("wb") as stderr:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
        end, peaks = time.monotonic() + PATIENCE_S, dict[int, int]()
        while process.poll() is None:
            assert time.monotonic() < end, "it hangs"
            for child in children(process.pid):
                peaks[child] = max(peaks.get(child, 0), peak_bytes(child))
            time.sleep(0.02)
    return Ran(process.returncode, log.read_text(errors="replace"), max(peaks.values(), default=0))


def children(process: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return []


def peak_bytes(process: int) -> int:
    """The most memory that a process has had, pages of the files that it maps included."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def check(ran: Ran, out: Path, records: int) -> DatasetInfo:
    """Whatever the pictures were."""
    assert ran.code == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.worker_bytes < MOST_WORKER_BYTES
    info = read_info(out)
    assert info.counts.read == records
    rows = PreparedSet.open(out).manifest(["status", "reason"]).to_pylist()
    assert Counter(row["status"] for row in rows) == +Counter(
        kept=info.counts.kept, duplicate=info.counts.duplicate, rejected=info.counts.rejected
    )
    assert all((row["reason"] is None) == (row["status"] != "rejected") for row in rows)
    assert {row["reason"].partition(":")[0] for row in rows if row["reason"]} <= REASONS
    return info


def large_lmdb(path: Path, records: Mapping[bytes, bytes]) -> Path:
    with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    return path


@pytest.fixture
def pictures(long_form: bool, mutated_image: Damaged, whole_images: dict[str, bytes]) -> dict[bytes, bytes]:
    count = 10_000 if long_form else 300
    return {b"%05d" % number: mutated_image(0, number, whole_images) for number in range(count)}


def test_damaged_pictures(
    tmp_path: Path,
    pictures: dict[bytes, bytes],
    outcome: Callable[..., None],
) -> None:
    database = large_lmdb(tmp_path / "lmdb", {key: data for key, data in pictures.items() if data})
    folder = tmp_path / "folder"
    folder.mkdir()
    for key, data in pictures.items():
        (folder / f"{key.decode()}.jpg").write_bytes(data)
    runs = {1: prepare(database, tmp_path / "1", 1), 2: prepare(database, tmp_path / "2", 2)}
    infos = [
        check(run, tmp_path / str(workers), sum(map(bool, pictures.values())))
        for workers, run in runs.items()
    ]
    assert infos[0].content_sha256 == infos[1].content_sha256
    other = check(prepare(folder, tmp_path / "f", 2), tmp_path / "f", len(pictures))
    assert other.counts.kept == infos[0].counts.kept
    assert 0.2 < other.counts.kept / len(pictures) < 0.6
    happened = "a row each: kept, or rejected with a reason; less than 500 MB a worker; the same for 1 and 2"
    outcome(
        "damaged pictures",
        "bits, cuts, splices, headers, chunks, sizes (LMDB)",
        happened,
        infos[0].counts.read,
    )
    outcome("damaged pictures", "the same as files in a folder", "a row each", len(pictures))


def test_damaged_pictures_among_copies(
    tmp_path: Path,
    pictures: dict[bytes, bytes],
    make: Callable[..., DatasetInfo],
    near_recipe: Recipe,
    outcome: Callable[..., None],
) -> None:
    chosen = {key: data for key, data in list(pictures.items())[:1000] if data}
    info = make(large_lmdb(tmp_path / "lmdb", chosen), tmp_path / "out", near_recipe, workers=2)
    assert info.counts.read == len(chosen) == info.counts.kept + info.counts.duplicate + info.counts.rejected
    assert info.counts.duplicate > 0  # what harm was done to them, most show the same
    assert set(info.rejected) <= REASONS
    happened = "a row each: kept, a duplicate, or rejected with a reason"
    outcome("damaged pictures", "the same, with removal of copies", happened, len(chosen))


def test_no_damaged_picture_takes_long(pictures: dict[bytes, bytes]) -> None:
    took = {}
    for key, data in pictures.items():
        start = time.process_time()
        outcome_of(data)
        took[key] = time.process_time() - start
    assert max(took.values()) < SLOW_S, max(took, key=lambda key: took[key])


def outcome_of(data: bytes) -> str:
    try:
        decode_square(data, DecodeSettings(32))
    except BadImage as bad:
        return bad.reason
    return "decoded"


def test_odd_files(tmp_path: Path, outcome: Callable[..., None]) -> None:
    if not ODD_FILES.is_dir():
        pytest.skip(f"needs the odd files in {ODD_FILES}")
    files = [path for path in ODD_FILES.iterdir() if path.is_file()]
    ran = prepare(ODD_FILES, tmp_path / "out", 2)
    info = check(ran, tmp_path / "out", read_info(tmp_path / "out").source["records"])
    passed_over = sum(info.source["passed_over"].values())
    assert info.counts.read + passed_over == len(files)
    outcome(
        "damaged pictures", "odd files found on the web", "a row each, or passed over by name", len(files)
    )
