"""Damaged files of training runs: records, logs, checkpoints, models in one file, and the authors' arrays."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan_data.train.authors import import_authors
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.history import read_events, read_history
from dcgan_data.train.loop import train
from dcgan_data.train.model_file import save_model
from dcgan_data.train.models import Discriminator, Generator, ModelShape, build
from dcgan_data.train.rundir import RunDirectory
from dcgan_data.train.sample import standing_statistics
from dcgan_data.train.trained import open_trained

CPU = torch.device("cpu")
Damaged = Callable[[int, int, dict[str, bytes]], bytes]
DamagedJson = Callable[[int, int, list[bytes]], bytes]
Outcome = Callable[..., None]
Reading = Any
"""Of conftest.py."""
FAULT = "damaged files of a training run"
TINY: dict[str, Any] = {"steps": 2, "width": 2, "z_dim": 3, "batch_size": 4, "device": "cpu", "held_out": 2}


@pytest.fixture
def times(long_form: bool) -> int:
    return 500 if long_form else 24


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, finished_set: Path) -> Path:
    """A run of two steps. Tests only read it."""
    torch.set_num_threads(1)
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    train(TrainConfig(prepared=finished_set, run_dir=run_dir, **TINY))
    return run_dir


@pytest.fixture
def run(tmp_path: Path, trained: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def examine(run_dir: Path) -> None:
    model = open_trained(run_dir)
    model.generator(CPU)
    model.discriminator(CPU)


@pytest.mark.parametrize("name", ["config.json", "checkpoints/000002/state.json"])
def test_damaged_records(
    run: Path,
    finished_set: Path,
    times: int,
    mutated_json: DamagedJson,
    json_bombs: list[bytes],
    reading: Reading,
    outcome: Outcome,
    name: str,
) -> None:
    whole = (run / name).read_bytes()

    def read(data: bytes) -> None:
        (run / name).write_bytes(data)
        examine(run)
        open_trained(run, "best")
        if reading.happened.total() < 20:  # this goes on, or finds the run finished
            train(TrainConfig(prepared=finished_set, run_dir=run, **TINY), resume=True)

    for number, bomb in enumerate(json_bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        reading(read, mutated_json(6, number, [whole]), number)
    outcome(FAULT, Path(name).name, "read, or refused in one line", times)


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl"])
def test_damaged_logs(
    run: Path,
    times: int,
    mutated: Damaged,
    json_bombs: list[bytes],
    reading: Reading,
    outcome: Outcome,
    name: str,
) -> None:
    run_directory = RunDirectory(run)
    run_directory.append_event(1, "warning", "a message")
    whole = (run / name).read_bytes()

    def read(data: bytes) -> None:
        (run / name).write_bytes(data)
        read_history(run_directory.metrics)
        read_events(run_directory.events)
        run_directory.read_events()
        run_directory.return_to(1)

    for number, bomb in enumerate(json_bombs):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        reading(read, mutated(7, number, {"": whole}), number)
    assert reading.happened["refused"] == 0
    outcome(FAULT, name, "damaged lines count as none", times)


def header_of(length: int, text: bytes) -> bytes:
    return struct.pack("<Q", length) + text


SAFETENSORS_BOMBS = [
    header_of(2**63, b"{}"),
    header_of(2**40, b"{}"),
    header_of(100_000, b"[" * 100_000),
    header_of(
        90, b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}           '
    ),
    header_of(84, b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}          '),
    b"PK\3\4" + bytes(100),
    b"\x80\x02}.",
]


@pytest.mark.parametrize("name", ["generator", "discriminator", "standing", "state"])
def test_damaged_checkpoints(
    run: Path,
    finished_set: Path,
    times: int,
    mutated: Damaged,
    reading: Reading,
    outcome: Outcome,
    name: str,
) -> None:
    path = run / "checkpoints" / "000002" / f"{name}.safetensors"
    whole = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        examine(run)
        if name == "state":
            train(TrainConfig(prepared=finished_set, run_dir=run, **{**TINY, "steps": 2}), resume=True)

    for number, bomb in enumerate(SAFETENSORS_BOMBS):
        reading(read, bomb, f"bomb {number}")
    for number in range(times // 4):
        reading(read, mutated(number, 41 * number, {"": whole}), number)
    outcome(FAULT, path.name, "read, or refused in one line", times // 4)


def test_a_record_of_a_huge_model(run: Path, reading: Reading) -> None:
    """The weights' files say how large it is."""
    text = (run / "config.json").read_text()

    def read(data: bytes) -> None:
        (run / "config.json").write_bytes(data)
        examine(run)

    for width in (10**4, 10**6, 10**9, -1, 0):
        reading(read, text.replace('"width": 2,', f'"width": {width},').encode(), width)
    for length in (10**6, 10**12, -1):
        reading(read, text.replace('"z_dim": 3', f'"z_dim": {length}').encode(), length)
    assert reading.happened == {"refused": 8}


def test_damaged_models(
    tmp_path: Path, times: int, mutated: Damaged, reading: Reading, outcome: Outcome
) -> None:
    path, shape = tmp_path / "model.safetensors", ModelShape(32, 2, 3)
    rng = torch.Generator().manual_seed(0)
    generator, discriminator = build(Generator, shape, rng), build(Discriminator, shape, rng)
    save_model(path, generator, discriminator, standing_statistics(generator, 0, 8), "a test")
    whole = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        examine(path)

    for number, bomb in enumerate(SAFETENSORS_BOMBS):
        reading(read, bomb, f"bomb {number}")
    for number in range(times):
        reading(read, mutated(number, 41 * number, {"": whole}), number)
    outcome(FAULT, "a model in one file", "read, or refused in one line", times)


def test_damaged_arrays_of_the_authors(
    tmp_path: Path, times: int, mutated: Damaged, reading: Reading, outcome: Outcome
) -> None:
    rng = np.random.default_rng(0)
    shapes = {"discrim": [(2, 3, 5, 5), (4, 2, 5, 5), (4,), (4,), (8, 4, 5, 5), (8,), (8,), (128, 1)]}
    shapes["gen"] = [
        (3, 128),
        (128,),
        (128,),
        (8, 4, 5, 5),
        (4,),
        (4,),
        (4, 2, 5, 5),
        (2,),
        (2,),
        (2, 3, 5, 5),
    ]
    directory = tmp_path / "authors"
    directory.mkdir()
    for network, sizes in shapes.items():
        for number, size in enumerate(sizes, 1):
            values = rng.normal(1, 0.1, size).astype(np.float32)
            np.save(directory / f"30_{network}_params.jl_{number:02}.npy", values)
    import_authors(directory, tmp_path / "whole.safetensors")
    files = sorted(directory.iterdir())
    for number in range(times):
        path = files[number % len(files)]
        whole = path.read_bytes()

        def read(data: bytes, path: Path = path) -> None:
            path.write_bytes(data)
            import_authors(directory, tmp_path / "model.safetensors")

        reading(read, mutated(number, 41 * number, {"": whole}), number)
        path.write_bytes(whole)
    outcome("damaged files given by a person", "the authors' .npy", "read, or refused in one line", times)
