"""What a run may be asked, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.train.config import TrainConfig


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(Path("out"), Path("run"), **changes)


def test_defaults_are_the_papers() -> None:
    paper = config()
    assert (paper.width, paper.z_dim, paper.batch_size) == (128, 100, 128)
    assert (paper.learning_rate, paper.beta1, paper.beta2) == (2e-4, 0.5, 0.999)
    assert (paper.adam_eps, paper.l2) == (1e-8, 1e-5)


def test_the_paper_preset_is_the_defaults() -> None:
    assert TrainConfig.of_preset("paper", prepared=Path("out"), run_dir=Path("run")) == config()
    assert (config().alternate, config().precision, config().ema) == (True, "float32", 0)
    assert not (config().spectral_norm or config().augment)


def test_the_fast_preset_changes_what_the_help_lists() -> None:
    fast = TrainConfig.of_preset("fast", prepared=Path("out"), run_dir=Path("run"))
    assert fast == config(preset="fast", alternate=False, precision="auto", ema=0.999)
    given = TrainConfig.of_preset("fast", prepared=Path("out"), run_dir=Path("run"), ema=0.5, width=3)
    assert given == config(preset="fast", alternate=False, precision="auto", ema=0.5, width=3)
    with pytest.raises(BadRequest, match="preset='quick': must be one of paper, fast"):
        TrainConfig.of_preset("quick", prepared=Path("out"), run_dir=Path("run"))


def test_total_steps() -> None:
    assert config().total_steps(7) == 25 * 7
    assert config(epochs=2).total_steps(7) == 14
    assert config(steps=3).total_steps(7) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 5, "epochs": 2}, "steps=5 and epochs=2: give one of the two, not both"),
        ({"steps": 0}, "steps=0: must be 1 or more"),
        ({"epochs": -1}, "epochs=-1: must be 1 or more"),
        ({"width": 0}, "width=0: must be 1 or more"),
        ({"batch_size": 1}, "batch_size=1: must be 2 or more"),
        ({"seed": -1}, "seed=-1: must be 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be a finite number above 0"),
        ({"adam_eps": 0.0}, "adam_eps=0.0: must be a finite number above 0"),
        ({"l2": -1e-5}, "l2=-1e-05: must be a finite number, 0 or more"),
        ({"beta1": 1.0}, "beta1=1.0: must be at least 0 and below 1"),
        ({"beta2": -0.1}, "beta2=-0.1: must be at least 0 and below 1"),
        ({"device": "gpu"}, "device='gpu': must be one of auto, cpu, cuda"),
        ({"keep_checkpoints": 0}, "keep_checkpoints=0: must be 1 or more"),
        ({"width": 100_000_000}, "width=100000000: must be 4096 or less"),
        ({"precision": "fp16"}, "precision='fp16': must be one of auto, float32, tf32, bf16"),
        ({"ema": 1.0}, "ema=1.0: must be at least 0 and below 1"),
        ({"on_collapse": "panic"}, "on_collapse='panic': must be one of stop, warn, rollback"),
        ({"compile": "yes"}, "compile='yes': must be one of auto, on, off"),
        ({"held_out": -1}, "held_out=-1: must be 0 or more"),
        ({"score_every": 0}, "score_every=0: must be 1 or more"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        config(**changes)
    assert str(caught.value) == message


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().width = 3  # type: ignore[misc]


def test_imports_neither_torch_nor_cv2() -> None:
    program = "import sys, dcgan_data.train.config; print({'torch', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
