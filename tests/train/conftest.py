"""Small prepared sets, made with the package's own writers, and a configuration that trains at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from dcgan_data.formats.dataset import MANIFEST, DatasetInfo, shard_name, write_info
from dcgan_data.formats.manifest import DUPLICATE, KEPT, MANIFEST_SCHEMA, Counts, table_writer
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.rundir import RunDirectory, RunRecord

MakeSet = Callable[..., Path]
MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slowed down by a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Write ``kept`` random images and one all-white duplicate, at position 1, as a prepared set."""

    def write(kept: int = 10, size: int = 32, name: str = "set", seed: int = 0) -> Path:
        out = tmp_path / name
        images = np.random.default_rng(seed).integers(0, 256, (kept + 1, size, size, 3), dtype=np.uint8)
        images[1] = 255
        shard = out / shard_name(0)
        shard.parent.mkdir(parents=True)
        with shard.open("wb") as file:
            writer = ShardWriter(file, size)
            for image in images:
                writer.append(image)
            writer.close()
        _write_manifest(out, kept)
        files = {name: stamp_file(out / name) for name in (shard_name(0), MANIFEST)}
        write_info(out, _info(size, kept, files))
        return out

    return write


def _write_manifest(out: Path, kept: int) -> None:
    rows = [
        {"key": f"{n:03d}", "part": 0, "status": DUPLICATE if n == 1 else KEPT, "shard": 0, "row": n}
        for n in range(kept + 1)
    ]
    with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))


def _info(size: int, kept: int, files: dict[str, Any]) -> DatasetInfo:
    return DatasetInfo(
        recipe={},
        source={"kind": "lsun", "path": "/", "records": 1, "fingerprint": "", "passed_over": {}},
        image_size=size,
        shard_rows=[kept + 1],
        counts=Counts(read=kept + 1, kept=kept, duplicate=1, rejected=0),
        rejected={},
        deduplication={},
        libraries={},
        files=files,
        timings={},
    )


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """A tiny run on the CPU: 2 batches of 4 an epoch of 10 images."""

    def build(prepared: Path | None = None, **changes: Any) -> TrainConfig:
        tiny = {"width": 2, "z_dim": 3, "batch_size": 4, "device": "cpu", "log_every": 1}
        paths = {"prepared": prepared or tmp_path / "set", "run_dir": tmp_path / "run"}
        return TrainConfig(**{**paths, **tiny, **changes})

    return build


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Write a run directory as a trainer leaves it, of 5 epochs of 10 steps.

    lines: of metrics.jsonl; grids: steps that have one, as red as the step is high; other keywords are
    fields of RunRecord.
    """

    def write(
        lines: Sequence[dict[str, Any]] = (), grids: Sequence[int] = (), name: str = "run", **changes: Any
    ) -> RunDirectory:
        run = RunDirectory(tmp_path / name)
        run.samples.mkdir(parents=True)
        config = TrainConfig.of_preset("fast", prepared=tmp_path / "set", run_dir=run.path, batch_size=4)
        settings = {
            key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()
        }
        known = {
            "config": settings,
            "set_sha256": "ab12",
            "images": 41,
            "held_out": 2,
            "image_size": 32,
            "total_steps": 50,
            "libraries": {"torch": "2.99"},
            "machine": {"device": "cpu"},
        }
        run.write(RunRecord(**{**known, **changes}))
        for line in lines:
            run.append_metrics(line)
        for step in grids:
            Image.new("RGB", (64, 64), (step % 256, 0, 0)).save(run.grid(step))
        return run

    return write
