"""A run directory says what was asked, and refuses to be something else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.models import ModelShape
from dcgan_data.train.rundir import MAY_CHANGE, RunDirectory, RunRecord, TrainingData, describe_run

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


class Images:
    image_size = 32

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return np.zeros((len(indices), 32, 32, 3), np.uint8)


def record(config: TrainConfig, set_sha256: str = "ab12") -> RunRecord:
    data = TrainingData(Images(10), Images(2), set_sha256)
    return describe_run(config, data, 6, {"device": "cpu"})


def test_the_record_comes_back(run: RunDirectory, make_config: MakeConfig) -> None:
    written = record(make_config(steps=6))
    run.write(written)
    assert run.read() == written
    assert run.read().shape == ModelShape(image_size=32, width=2, z_dim=3)
    assert run.read().batch_size == 4
    raw = json.loads(run.config.read_text())
    assert raw["set_sha256"] == "ab12"
    assert (raw["images"], raw["held_out"], raw["image_size"], raw["total_steps"]) == (10, 2, 32, 6)
    assert raw["machine"] == {"device": "cpu"}
    assert raw["config"].keys() == {field.name for field in dataclasses.fields(TrainConfig)}
    assert raw["config"]["prepared"] == str(make_config().prepared.resolve())
    assert {"torch", "numpy", "safetensors", "pillow", "python"} == raw["libraries"].keys()


def test_a_run_is_not_started_twice(run: RunDirectory, make_config: MakeConfig) -> None:
    run.check_free()
    run.write(record(make_config()))
    with pytest.raises(BadRequest) as caught:
        run.check_free()
    assert str(caught.value) == (
        f"{run.path}: already holds a run; continue it with --resume, or choose another --run-dir"
    )


def test_other_directories_are_left_alone(run: RunDirectory) -> None:
    run.path.mkdir()
    (run.path / "thesis.tex").touch()
    with pytest.raises(BadRequest, match="run: not empty and not a run; choose another --run-dir"):
        run.check_free()
    assert [path.name for path in run.path.iterdir()] == ["thesis.tex"]


def test_what_a_run_that_was_killed_as_it_began_has_left(run: RunDirectory, make_config: MakeConfig) -> None:
    run.path.mkdir()
    (run.path / ".lock").touch()
    (run.path / "config.json.0123abcd.tmp").write_text("{")
    run.check_free()
    run.write(record(make_config()))
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "config.json"]


def test_a_file_is_no_run_directory(run: RunDirectory) -> None:
    run.path.touch()
    with pytest.raises(BadRequest, match=r"run: cannot be a run directory \(.*\); choose another --run-dir"):
        run.check_free()
    with pytest.raises(BadInput, match=r"run: not a run directory, it has no config.json; 'dcgan-data train"):
        run.read()


@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": 2}'])
def test_a_damaged_record_is_bad_input(run: RunDirectory, content: str) -> None:
    run.path.mkdir()
    run.config.write_text(content)
    with pytest.raises(BadInput, match=r"config.json: damaged \(.*\); train again in another --run-dir"):
        run.read()


def test_a_newer_schema_is_bad_input(run: RunDirectory) -> None:
    run.path.mkdir()
    run.config.write_text('{"schema_version": 3}')
    with pytest.raises(BadInput, match=r"config\.json: schema version 3, this program reads 2"):
        run.read()


def test_what_changes_the_course_of_training_cannot_change(
    run: RunDirectory, make_config: MakeConfig
) -> None:
    run.write(record(make_config()))
    with pytest.raises(BadRequest) as caught:
        run.check_continues(record(make_config(width=8, batch_size=5, seed=1), set_sha256="cd34"))
    prepared = make_config().prepared.resolve()
    assert str(caught.value) == (
        f"{run.path}: cannot be resumed with other settings: width was 2, is 8; batch_size was 4, is 5; "
        f"seed was 0, is 1; prepared was {prepared}, is {prepared} with other contents; "
        "give the old values, or choose another --run-dir"
    )


def test_the_rest_may_change(run: RunDirectory, make_config: MakeConfig, tmp_path: Path) -> None:
    run.write(record(make_config(steps=3)))
    moved = make_config(tmp_path / "moved", epochs=9, device="auto", log_every=7, sample_every=1)
    run.check_continues(record(moved))
    assert {field.name for field in dataclasses.fields(TrainConfig)} >= MAY_CHANGE


def test_there_must_be_a_run_to_continue(run: RunDirectory, make_config: MakeConfig) -> None:
    with pytest.raises(
        BadRequest, match="run: nothing to resume, no run is here; leave --resume out to start"
    ):
        run.check_continues(record(make_config()))


def test_a_run_returns_to_a_step(run: RunDirectory) -> None:
    run.samples.mkdir(parents=True)
    run.return_to(3)  # nothing there yet
    assert not run.metrics.exists()
    for step in (1, 2, 3, 4, 5):
        run.append_metrics({"step": step, "loss_d": None})
        run.append_event(step, "collapse", f"at {step}")
        run.grid(step).touch()
    (run.samples / "mine.png").touch()
    with run.metrics.open("a") as file:
        file.write('{"step": 1')  # a kill in the middle of a line
    run.return_to(4, keep_events=True)
    assert [event["step"] for event in run.read_events()] == [1, 2, 3, 4, 5]
    run.return_to(3)
    lines = run.metrics.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert [event["message"] for event in run.read_events()] == ["at 1", "at 2", "at 3"]
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "000001.png",
        "000002.png",
        "000003.png",
        "mine.png",
    ]
    assert not list(run.path.glob("*.tmp"))


def test_a_record_from_before_there_were_other_models(run: RunDirectory, make_config: MakeConfig) -> None:
    now = record(make_config())
    run.write(now)
    older = json.loads(run.config.read_text())
    for name in ("layers", "latent"):
        del older["config"][name]
    run.config.write_text(json.dumps(older))
    assert (run.read().shape.layers, run.read().shape.latent) == ("strided", "uniform")
    run.check_continues(now)


def test_a_run_of_another_kind(run: RunDirectory) -> None:
    run.path.mkdir(exist_ok=True)
    run.config.write_text(json.dumps({"kind": "conditional"}))
    with pytest.raises(
        BadInput, match="run: a run of another kind, conditional, which this command cannot use"
    ):
        run.read()
