"""Damaged files of prepared sets, of unfinished runs, and of what a person gives beside a set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data import pipeline
from dcgan_data.audit import audit
from dcgan_data.bench.cifar import read_judged
from dcgan_data.demo.truth import load_truth
from dcgan_data.evaluate.forget.boxes import read_boxes
from dcgan_data.formats.audit_file import read_audit
from dcgan_data.formats.dataset import INDEX, MANIFEST, PAIRS, DatasetInfo, read_info
from dcgan_data.formats.preferences import read_preferences
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import stamp_file
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.hashing import read_encoder
from dcgan_data.plan import Job, make_plan
from dcgan_data.recipe import Recipe, load_recipe
from dcgan_data.report import write_report
from dcgan_data.sources import open_source
from dcgan_data.verify import verify

ROOT = Path(__file__).parents[3]
Damaged = Callable[[int, int, dict[str, bytes]], bytes]
DamagedJson = Callable[[int, int, list[bytes]], bytes]
Make = Callable[..., DatasetInfo]
Outcome = Callable[..., None]
Reading = Any
"""Of conftest.py."""
FAULT = "damaged files of a set"


@pytest.fixture
def times(long_form: bool) -> int:
    return 500 if long_form else 24


def use(out: Path) -> None:
    """All that commands read of a set."""
    prepared = PreparedSet.open(out)
    rows = prepared.rows()
    rows.gather(np.arange(min(2, len(rows))))
    make_plan(Job(Recipe(), out, out.with_name("elsewhere")))
    verify(out)
    write_report(out)


def restamp(out: Path, name: str) -> None:
    """As if the file had been written so: what a hostile set does."""
    index = json.loads((out / INDEX).read_text())
    stamp = stamp_file(out / name)
    index["files"][name] = {"bytes": stamp.bytes, "sha256": stamp.sha256}
    (out / INDEX).write_text(json.dumps(index))


def test_a_damaged_index(
    copied_set: Path,
    times: int,
    mutated_json: DamagedJson,
    json_bombs: list[bytes],
    reading: Reading,
    outcome: Outcome,
) -> None:
    path = copied_set / INDEX
    whole = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        use(copied_set)

    read(whole)
    for number, bomb in enumerate(json_bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        reading(read, mutated_json(0, number, [whole]), number)
    outcome(FAULT, INDEX, "read, or refused in one line", times)


@pytest.mark.parametrize("name", [MANIFEST, PAIRS, "images/00000.npy", "autoencoder.safetensors"])
@pytest.mark.parametrize("stamped", [False, True])
def test_damaged_files(
    near_set: Path,
    tmp_path: Path,
    times: int,
    mutated: Damaged,
    reading: Reading,
    outcome: Outcome,
    name: str,
    stamped: bool,
) -> None:
    out = Path(shutil.copytree(near_set, tmp_path / "set"))
    whole = (out / name).read_bytes()

    def read(data: bytes) -> None:
        (out / name).write_bytes(data)
        if stamped:
            restamp(out, name)
        if name.endswith("safetensors"):
            read_encoder(out / name)
        use(out)

    for number in range(times // 2):
        reading(read, mutated(number, 41 * number, {"": whole}), number)
    done = f"{name}, its hash in {INDEX} right" if stamped else name
    outcome(FAULT, done, "read, or refused in one line", times // 2)


def test_an_unfinished_run_with_damaged_files(
    source: Path,
    tmp_path: Path,
    recipe: Callable[..., Recipe],
    make: Make,
    times: int,
    mutated: Damaged,
    reading: Reading,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_manifest", _killed)
        with pytest.raises(KeyboardInterrupt):
            make(source, killed, recipe())
    files = sorted(path for path in (killed / ".staging").rglob("*") if path.is_file())
    assert len(files) > 6
    for number in range(times // 2):
        path = files[number % len(files)]
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(killed, out)

        data = mutated(number, 41 * number, {"": path.read_bytes()})
        (out / path.relative_to(killed)).write_bytes(data)
        reading(lambda _: make(source, out, recipe()), data, f"{number} {path.name}")  # noqa: B023
    outcome(FAULT, "what a killed run has left (.staging)", "goes on, or refused in one line", times // 2)


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_damaged_recipes(
    tmp_path: Path, times: int, mutated: Damaged, reading: Reading, outcome: Outcome
) -> None:
    whole = {path.name: path.read_bytes() for path in sorted((ROOT / "pipelines").glob("*.toml"))}
    path = tmp_path / "recipe.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load_recipe(path)

    bombs = [
        b"a=" + b"[" * 100_000,
        b"a=" + b"{a=" * 100_000,
        b"a." * 50_000 + b"a=1",
        b"seed=" + b"9" * 9999,
    ]
    bombs += [b"[" + b"a." * 50_000 + b"a]", b"seed = 1e999", b"seed = nan", b'name = "\\u0000"', b"\xff"]
    for number, bomb in enumerate(bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        reading(read, mutated(1, number, whole), number)
    outcome("damaged files given by a person", "recipes (TOML)", "read, or refused in one line", times)


BOXES = {
    "format": "dcgan_data boxes",
    "version": 1,
    "model": "ab12",
    "name": "runs/x, step 2",
    "seed": 7,
    "samples": 5,
    "image_size": 32,
    "boxes": [{"sample": 4, "x": 0, "y": 3, "width": 32, "height": 29}],
}
TRUTH = {
    "schema_version": 1,
    "count": 3,
    "seed": 0,
    "copy_share": 0.1,
    "copies": {"00001": {"original": "00000", "kind": "jpeg", "parameters": {}}},
}
CSV = b"key,score\n" + b"".join(b"%05d,%d.5\n" % (number, number) for number in range(30))
JUDGED = b"TestID,TrainID,Judgment\n" + b"".join(b"%d,%d,%d\n" % (n, 2 * n, n % 4) for n in range(30))
VERDICT = {"key": "a", "part": 0, "duplicate_of": "b", "verdict": "same"}
VERDICTS = {
    "format": "dcgan_data verdicts",
    "version": 1,
    "content_sha256": "",
    "seed": 0,
    "verdicts": [VERDICT],
}


def numbers_table() -> bytes:
    table = pa.table({"key": [f"{n:05d}" for n in range(30)], "score": [n / 2 for n in range(30)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


GIVEN: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "boxes.json": (json.dumps(BOXES).encode(), read_boxes),
    "preferences.csv": (CSV, lambda path: read_preferences(path, "score")),
    "preferences.parquet": (numbers_table(), lambda path: read_preferences(path, "score")),
    "truth.json": (json.dumps(TRUTH).encode(), lambda path: load_truth(path.parent)),
    "cifair.csv": (JUDGED, read_judged),
}


@pytest.mark.parametrize("name", GIVEN)
def test_files_that_a_person_gives(
    tmp_path: Path,
    times: int,
    mutated: Damaged,
    mutated_json: DamagedJson,
    json_bombs: list[bytes],
    reading: Reading,
    outcome: Outcome,
    name: str,
) -> None:
    whole, reader = GIVEN[name]

    def read(data: bytes) -> None:
        (tmp_path / name).write_bytes(data)
        reader(tmp_path / name)

    for number, bomb in enumerate(json_bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        is_json = name.endswith("json")
        data = mutated_json(2, number, [whole]) if is_json else mutated(2, number, {"": whole})
        reading(read, data, number)
    outcome("damaged files given by a person", name, "read, or refused in one line", times)


def test_damaged_verdicts(
    copied_near_set: Path,
    times: int,
    mutated_json: DamagedJson,
    json_bombs: list[bytes],
    reading: Reading,
    outcome: Outcome,
) -> None:
    out, path = copied_near_set, copied_near_set / "verdicts.json"
    table = PreparedSet.open(out).manifest(["key", "part", "status", "duplicate_of"]).to_pylist()
    given = [
        {"key": row["key"], "part": 0, "duplicate_of": row["duplicate_of"], "verdict": "same"}
        for row in table
        if row["status"] == "duplicate"
    ]
    sha256 = read_info(out).content_sha256
    whole = json.dumps({**VERDICTS, "content_sha256": sha256, "verdicts": given}).encode()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        audit(out, path)

    read(whole)
    stored = (out / "report" / "audit.json").read_bytes()
    for number, bomb in enumerate(json_bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times // 4):
        reading(read, mutated_json(3, number, [whole]), number)

    def read_stored(data: bytes) -> None:
        (out / "report" / "audit.json").write_bytes(data)
        read_audit(out)
        write_report(out)

    for number, bomb in enumerate(json_bombs):
        reading(read_stored, bomb, f"stored bomb {number}")
    for number in range(times // 4):
        reading(read_stored, mutated_json(4, number, [stored]), f"stored {number}")
    outcome(
        "damaged files given by a person",
        "verdicts, and the audit",
        "read, or refused in one line",
        times // 2,
    )


def test_a_damaged_source_index(
    tmp_path: Path,
    times: int,
    mutated: Damaged,
    reading: Reading,
    outcome: Outcome,
    encoded: Any,
    picture: Any,
) -> None:
    """It counts for nothing: the source is walked again."""
    import tarfile

    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(40, 40, seed=number)))
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(5):
            tar.add(tmp_path / f"{number}.png", f"{number}.png")
    whole = open_source(archive, 3)
    np.savez(tmp_path / "index.npz", **whole.index)
    stored = (tmp_path / "index.npz").read_bytes()

    def read(data: bytes) -> None:
        (tmp_path / ".source_index.npz").write_bytes(data)
        found = open_source(archive, 3, index=read_source_index(tmp_path))
        assert found.fingerprint == whole.fingerprint

    for number in range(times):
        reading(read, mutated(5, number, {"": stored}), number)
    assert reading.happened["refused"] == 0
    outcome(FAULT, "the index of its source (.source_index.npz)", "made anew", times)
