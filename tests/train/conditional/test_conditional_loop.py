"""A run from its beginning to its end: what it writes, and that a broken off one ends in the same bytes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch as st
import torch
from killing import run_script
from PIL import Image

from dcgan_data.errors import BadInput, BadRequest, TrainingStopped
from dcgan_data.train.conditional import game
from dcgan_data.train.conditional.checkpoint import checkpoints_in, load_checkpoint
from dcgan_data.train.conditional.game import new_state
from dcgan_data.train.conditional.labelled import LabelledImages
from dcgan_data.train.conditional.loop import resumed_settings, train_conditional
from dcgan_data.train.conditional.sampler import open_conditional
from dcgan_data.train.conditional.settings import ConditionalSettings
from dcgan_data.train.progress import StepReport
from dcgan_data.train.rundir import RunDirectory

MakeSettings = Callable[..., ConditionalSettings]
CPU = torch.device("cpu")
STEPS = 16
PATIENCE_S = 120

KILLED = """
import json, os, signal, sys
import numpy as np, torch
from pathlib import Path
from dcgan_data.train.conditional.labelled import LabelledImages
from dcgan_data.train.conditional.loop import train_conditional
from dcgan_data.train.conditional.settings import ConditionalSettings

torch.set_num_threads(1)
known = np.load(sys.argv[1])
values = json.loads(sys.argv[2])
settings = ConditionalSettings(**{**values, "run_dir": Path(values["run_dir"])})
step, calls = torch.optim.Adam.step, 0

def deadly(adam):
    global calls
    calls += 1
    if calls == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    step(adam)

torch.optim.Adam.step = deadly
train_conditional(settings, LabelledImages(known["images"], known["labels"]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages) -> Path:
    """A run that nothing happened to. Tests only read it."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    tiny = {"z_dim": 3, "filters": 2, "units": 4, "batch_size": 8, "held_out": 4, "device": "cpu"}
    tiny |= {"epochs": 3, "decay_epochs": 1, "checkpoint_every": 5, "log_every": 1}
    train_conditional(ConditionalSettings(run_dir=run_dir, keep_checkpoints=9, **tiny), digits)  # type: ignore[arg-type]
    return run_dir


def lines(run_dir: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_s"} for line in found]


def steps_of(run_dir: Path) -> list[int]:
    return [int(path.stem) for path in checkpoints_in(run_dir / "checkpoints")]


def assert_same_end(run_dir: Path, whole: Path) -> None:
    name = f"checkpoints/{STEPS:06d}.safetensors"
    assert (run_dir / name).read_bytes() == (whole / name).read_bytes()
    grids = sorted(path.name for path in (whole / "samples").iterdir())
    assert sorted(path.name for path in (run_dir / "samples").iterdir()) == grids
    for grid in grids:
        assert (run_dir / "samples" / grid).read_bytes() == (whole / "samples" / grid).read_bytes()
    assert lines(run_dir) == lines(whole)


def test_what_a_run_writes(whole: Path) -> None:
    config = json.loads((whole / "config.json").read_text())
    assert config["kind"] == "conditional mnist"
    assert (config["images"], config["held_out"], config["total_steps"]) == (30, 4, STEPS)
    assert config["machine"] == {"device": "cpu", "precision": "float32"}
    assert steps_of(whole) == [5, 10, 15, 16]
    found = lines(whole)
    assert [line["step"] for line in found] == list(range(1, 17))
    assert [line["epoch"] for line in found] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert "loss_d" not in found[0] and "loss_g" in found[0]  # the generator begins
    assert all(line["learning_rate"] == 2e-4 for line in found)
    scored = {line["step"]: line["nn_accuracy_1000"] for line in found if "nn_accuracy_1000" in line}
    assert list(scored) == [5, 10, 15, 16] and all(0 <= score <= 100 for score in scored.values())
    with Image.open(whole / "samples" / "000016.png") as grid:
        assert grid.size == (20 * 28, 10 * 28)


def test_the_players_take_turns_over_the_end_of_an_epoch(
    make_settings: MakeSettings, digits: LabelledImages
) -> None:
    """As the authors' counter of updates does, which is never set back."""
    settings = make_settings(batch_size=10, epochs=2, decay_epochs=0)  # 3 steps an epoch
    train_conditional(settings, digits)
    found = lines(settings.run_dir)
    names = ["loss_g", "loss_d"]
    moved = [
        [name for name in names if before.get(name) != after.get(name)]
        for before, after in zip([{}, *found], found, strict=False)  # type: ignore[list-item]
    ]
    assert moved == [["loss_g"], ["loss_d"]] * 3


@pytest.mark.parametrize("at", [2, 13])
def test_a_run_that_is_told_to_end_goes_on_to_the_same_bytes(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, at: int
) -> None:
    settings = make_settings()

    def terminate(report: StepReport) -> None:
        if report.step == at:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match=f"^step {at} is saved in .*/checkpoints; --resume goes on$"):
        train_conditional(settings, digits, on_step=terminate)
    assert steps_of(settings.run_dir)[-1] == at
    reports: list[StepReport] = []
    train_conditional(resumed_settings(settings.run_dir), digits, resume=True, on_step=reports.append)
    assert reports[0].step == at + 1
    assert_same_end(settings.run_dir, whole)
    assert len(steps_of(settings.run_dir)) == 2


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, tmp_path: Path
) -> None:
    settings = make_settings()
    np.savez(tmp_path / "digits.npz", images=digits.images, labels=digits.labels)
    asked = json.dumps(asdict(settings), default=str)
    assert run_script(KILLED, str(tmp_path / "digits.npz"), asked) == -signal.SIGKILL
    assert steps_of(settings.run_dir) == [5, 10]
    assert lines(settings.run_dir)[-1]["step"] == 12
    left = settings.run_dir / "checkpoints" / "000011.safetensors.tmp"
    left.write_bytes(b"half")
    train_conditional(settings, digits, resume=True)
    assert_same_end(settings.run_dir, whole)
    assert not left.exists()


def test_a_damaged_checkpoint_is_passed_over(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)
    newest = checkpoints_in(settings.run_dir / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    reports: list[StepReport] = []
    train_conditional(settings, digits, resume=True, on_step=reports.append)
    assert [report.step for report in reports] == [16]
    assert any(f"{newest}: damaged (SafetensorError" in message for message in reports[0].messages)
    assert_same_end(settings.run_dir, whole)


def test_when_all_checkpoints_are_damaged_it_is_said(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)
    for path in checkpoints_in(settings.run_dir / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"000005.safetensors: damaged \(SafetensorError"):
        train_conditional(settings, digits, resume=True)
    assert steps_of(settings.run_dir) == [5, 10, 15, 16]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_is_neither_damaged_nor_passed_over(
    make_settings: MakeSettings,
    digits: LabelledImages,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "000016.safetensors":
            raise OSError(number, os.strerror(number))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        train_conditional(settings, digits, resume=True)
    newest = settings.run_dir / "checkpoints" / "000016.safetensors"
    assert (raised.value.errno, raised.value.filename) == (number, str(newest))
    assert steps_of(settings.run_dir) == [5, 10, 15, 16] and lines(settings.run_dir) == lines(whole)


def test_a_lack_of_memory_is_no_damage(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)

    def too_much(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.Adam, "load_state_dict", too_much)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        train_conditional(settings, digits, resume=True)
    assert steps_of(settings.run_dir) == [5, 10, 15, 16]


def drop(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.pop(name)


def put(name: str, *shape: int) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: torch.zeros(shape, dtype=torch.uint8)})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (drop("generator.full"), "KeyError: 'full is missing'"),
        (put("discriminator.other", 2), "KeyError: 'other is unknown'"),
        (put("generator.full", 4, 2), r"ValueError: full is \(4, 2\), expected \(4, 13\)"),
        (drop("adam_g.full.step"), "KeyError: 'step is missing'"),
        (put("adam_d.full.exp_avg", 3), r"ValueError: exp_avg is \(3,\), expected"),
        (put("measures", 5), r"ValueError: measures is \(5,\), expected \(4,\)"),
        (drop("rng"), "KeyError: 'rng'"),
        (put("rng", 3), "ValueError: rng: "),
    ],
)
def test_a_checkpoint_of_other_contents_is_damaged(
    make_settings: MakeSettings,
    whole: Path,
    tmp_path: Path,
    damage: Callable[[dict[str, torch.Tensor]], object],
    told: str,
) -> None:
    tensors = st.load_file(whole / "checkpoints" / "000010.safetensors")
    damage(tensors)
    path = tmp_path / "000010.safetensors"
    st.save_file(tensors, path)
    state = new_state(make_settings(), CPU)
    before = state.generator.full.detach().clone()
    with pytest.raises(BadInput, match=f"{path}: damaged \\({told}"):
        load_checkpoint(path, state)
    assert state.step == 0 and torch.equal(state.generator.full, before)


def test_a_finished_run_has_nothing_left_to_do(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)
    summary = train_conditional(settings, digits, resume=True)
    assert (summary.steps, summary.images_per_s) == (STEPS, 0)
    assert summary.loss_d is not None
    assert_same_end(settings.run_dir, whole)


def test_more_epochs_may_follow_as_long_as_none_was_of_the_decay(
    make_settings: MakeSettings, digits: LabelledImages, tmp_path: Path
) -> None:
    for name, epochs in (("short", 1), ("long", 2)):
        train_conditional(make_settings(run_dir=tmp_path / name, epochs=epochs, decay_epochs=0), digits)
    longer = resumed_settings(tmp_path / "short", epochs=2)
    train_conditional(longer, digits, resume=True)
    last = "checkpoints/000008.safetensors"
    assert (tmp_path / "short" / last).read_bytes() == (tmp_path / "long" / last).read_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"precision": "bf16"}, "precision was float32, is bf16: give --precision float32; give the old"),
        ({"learning_rate": 1e-3}, "learning_rate was 0.0002, is 0.001"),
        (
            {"epochs": 1, "decay_epochs": 4},
            "3 [+] 1 epochs are now 1 [+] 4 epochs, but epoch 3 was trained by",
        ),
        ({"epochs": 1}, "3 [+] 1 epochs are now 1 [+] 1 epochs, but epoch 3 was trained by the old ones"),
    ],
)
def test_the_course_of_a_run_cannot_be_changed(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, changes: dict[str, Any], told: str
) -> None:
    settings = make_settings(**changes)
    shutil.copytree(whole, settings.run_dir)
    with pytest.raises(BadRequest, match=f"cannot be resumed with other settings: {told}"):
        train_conditional(settings, digits, resume=True)


def test_a_run_goes_on_in_the_precision_it_was_begun_in(
    make_settings: MakeSettings, digits: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever "auto" is on the machine that it goes on with; and its record names the first."""
    here = "bf16"
    monkeypatch.setattr(game, "resolve_precision", lambda name, _: here if name == "auto" else name)
    settings = make_settings(precision="auto", epochs=1, decay_epochs=0)
    train_conditional(settings, digits)
    config = settings.run_dir / "config.json"
    first = {**json.loads(config.read_text())["machine"], "device": "another"}
    config.write_text(json.dumps({**json.loads(config.read_text()), "machine": first}))
    here = "float32"
    longer = replace(settings, epochs=2)
    told = r"precision was bf16, is float32 \(auto on this machine\): give --precision bf16; give the old"
    with pytest.raises(BadRequest, match=f"cannot be resumed with other settings: {told}"):
        train_conditional(longer, digits, resume=True)
    assert lines(settings.run_dir)[-1]["step"] == 4
    reports: list[StepReport] = []
    train_conditional(replace(longer, precision="bf16"), digits, resume=True, on_step=reports.append)
    assert reports[0].messages[0].endswith("; cpu, bf16")
    assert lines(settings.run_dir)[-1]["step"] == 8
    record = json.loads(config.read_text())
    assert record["machine"] == {"device": "another", "precision": "bf16"}
    assert record["settings"]["precision"] == "bf16"


def test_tf32_is_float32_here(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game, "resolve_precision", lambda *_: "tf32")
    assert game.resolved_precision(make_settings(precision="auto"), CPU) == "float32"


def test_other_images_are_not_trained_on(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path
) -> None:
    settings = make_settings()
    shutil.copytree(whole, settings.run_dir)
    with pytest.raises(BadRequest, match="other settings: --data has other contents; give the old values"):
        train_conditional(settings, LabelledImages(digits.images[::-1], digits.labels), resume=True)


def test_a_directory_in_use_is_left_alone(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match="already holds a run; continue it with --resume"):
        train_conditional(make_settings(run_dir=whole), digits)
    with pytest.raises(BadRequest, match="nothing to resume, no run is here; leave --resume out"):
        train_conditional(make_settings(), digits, resume=True)


def test_the_last_image_is_not_held_out(make_settings: MakeSettings, digits: LabelledImages) -> None:
    with pytest.raises(BadRequest, match="held_out=33: there are 34 images; hold out fewer"):
        train_conditional(make_settings(held_out=33), digits)


def test_without_held_out_images_there_is_no_score(
    make_settings: MakeSettings, digits: LabelledImages
) -> None:
    summary = train_conditional(make_settings(held_out=0, epochs=1, decay_epochs=0), digits)
    assert summary.accuracy is None
    assert not any("nn_accuracy_1000" in line for line in lines(summary.run_dir))


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_stops_the_run(
    make_settings: MakeSettings, digits: LabelledImages, log_every: int
) -> None:
    settings = make_settings(learning_rate=1e30, log_every=log_every, checkpoint_every=1000)
    told = r"loss \((nan|inf)\) or its gradient is not finite at step \d+, which was not applied; last "
    told += (
        "checkpoint: none; try another --seed or a smaller --learning-rate than 1e[+]30, in another --run-dir"
    )
    with pytest.raises(TrainingStopped, match=told):
        train_conditional(settings, digits)
    assert steps_of(settings.run_dir) == []


def test_bfloat16_trains_too(make_settings: MakeSettings, digits: LabelledImages) -> None:
    summary = train_conditional(make_settings(precision="bf16", epochs=1, decay_epochs=0), digits)
    assert summary.loss_d is not None and 0.5 < summary.loss_d < 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_does_the_same(
    make_settings: MakeSettings, digits: LabelledImages, whole: Path, tmp_path: Path
) -> None:
    settings = make_settings(device="cuda", precision="float32")

    def interrupt(report: StepReport) -> None:
        if report.step == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_conditional(settings, digits, on_step=interrupt)
    train_conditional(settings, digits, resume=True)
    for mine, theirs in zip(lines(settings.run_dir)[:8], lines(whole), strict=False):
        assert mine["loss_g"] == pytest.approx(theirs["loss_g"], rel=1e-2)
    on_gpu, on_cpu = (
        open_conditional(settings.run_dir, "last", torch.device(device)).rows(5).astype(int)
        for device in ("cuda", "cpu")
    )
    assert abs(on_gpu - on_cpu).max() <= 2  # greys
    low = make_settings(run_dir=tmp_path / "bf16", device="cuda", precision="bf16")
    assert train_conditional(low, digits).loss_d is not None


# Opened again


def test_a_sampler_draws_what_the_run_drew(whole: Path) -> None:
    sampler = open_conditional(whole, "last", CPU)
    assert (sampler.step, sampler.record.epochs_after(8)) == (16, 2.0)
    rows = sampler.rows(20, seed=0).reshape(10, 20, 28, 28).swapaxes(1, 2).reshape(280, 560)
    with Image.open(RunDirectory(whole).grid(STEPS)) as grid:
        np.testing.assert_array_equal(np.asarray(grid)[..., 0], rows)
    assert open_conditional(whole, "10", CPU).step == 10


@pytest.mark.parametrize(
    ("checkpoint", "told"),
    [
        ("7", "--checkpoint 7: .*run has 5, 10, 15, 16; give one of these, or last$"),
        ("best", "--checkpoint best: .*run has 5, 10, 15, 16; give one of these, or last$"),
    ],
)
def test_a_checkpoint_that_is_not_there(whole: Path, checkpoint: str, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        open_conditional(whole, checkpoint, CPU)


def test_what_is_no_conditional_run(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(
        BadInput, match=r"not a run directory, it has no config\.json; 'dcgan-data mnist train"
    ):
        open_conditional(tmp_path, "last", CPU)
    (tmp_path / "config.json").write_text('{"schema_version": 2, "config": {}}')
    with pytest.raises(BadInput, match="a run of another kind, not of the conditional MNIST model"):
        open_conditional(tmp_path, "last", CPU)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(BadInput, match=r"config.json: damaged \(ValueError"):
        open_conditional(tmp_path, "last", CPU)
    record = json.loads((whole / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match="has no checkpoint yet; go on with 'dcgan-data mnist train --resume'"):
        open_conditional(tmp_path, "last", CPU)
    (tmp_path / "config.json").write_text(json.dumps({**record, "schema_version": 9}))
    with pytest.raises(BadInput, match="schema version 9, this program reads 1"):
        open_conditional(tmp_path, "last", CPU)


def test_other_commands_say_that_it_is_of_another_kind(whole: Path) -> None:
    with pytest.raises(BadInput, match="conditional mnist"):
        RunDirectory(whole).read()
