"""What only a GPU can show: recorded steps are the steps, nothing waits for the device, bits repeat."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches, Share
from dcgan_data.train.engine import Stepper, numerics
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.graphs import EAGER_CALLS, Recorded
from dcgan_data.train.loop import train
from dcgan_data.train.models import Discriminator, ModelShape, build
from dcgan_data.train.progress import StepReport
from dcgan_data.train.readings import Readings
from dcgan_data.train.seeds import Stream, torch_rng

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")
MakeConfig = Callable[..., TrainConfig]
STEPS = 2 * (EAGER_CALLS + 4)
"""Enough for each player of the paper's preset to be recorded and replayed."""
KINDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {"alternate": False, "ema": 0.9},
    "augment": {"alternate": False, "augment": True},
    "paper, augment": {"augment": True},
    "spectral norm": {"alternate": False, "spectral_norm": True},
    "bf16": {"alternate": False, "precision": "bf16", "spectral_norm": True},
}


@pytest.fixture(autouse=True)
def deterministic_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line sets it; cuBLAS and torch read it once, when they are first used."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"))


class Noise:
    """Forty images."""

    image_size = 32

    def __init__(self) -> None:
        shape = (40, 32, 32, 3)
        self._images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return self._images[indices]


def values_of(state: TrainState) -> dict[str, Tensor]:
    found = {f"g.{name}": value for name, value in state.generator.state_dict().items()}
    found |= {f"d.{name}": value for name, value in state.discriminator.state_dict().items()}
    if state.average:
        found |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    found["measures"] = state.measures
    return {name: value.detach().cpu().clone() for name, value in found.items()}


@contextmanager
def trainer(config: TrainConfig, **how: Any) -> Iterator[tuple[TrainState, Callable[[], None], Stepper]]:
    """A state, what does a step on it, and the stepper."""
    with numerics(config, GPU):
        state = new_state(config, 32, GPU)
        stepper = Stepper(config, state)
        share = Share(stride=2 if config.alternate else 1)
        batches = Batches(Noise(), config.batch_size, config.seed, GPU, share, **how)

        def step() -> None:
            stepper.step(batches.pixels(state.step) if stepper.reads_pixels else None)

        try:
            yield state, step, stepper
        finally:
            batches.close()


def run(config: TrainConfig, **how: Any) -> dict[str, Tensor]:
    with trainer(config, **how) as (state, step, stepper):
        for _ in range(STEPS):
            step()
        assert stepper.notes == []
        assert not state.guard.skip.item()
        return values_of(state)


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.fixture
def config(make_config: MakeConfig) -> Callable[..., TrainConfig]:
    def of(**changes: Any) -> TrainConfig:
        usual = {"device": "cuda", "width": 8, "z_dim": 8, "batch_size": 8, "compile": "off"}
        return make_config(**{**usual, **changes})

    return of


@pytest.mark.parametrize("name", KINDS)
def test_recorded_steps_are_the_steps(config: MakeConfig, name: str) -> None:
    of_kind = {**KINDS[name], "deterministic": True}
    assert_near(run(config(**of_kind)), run(config(**of_kind, cuda_graphs=False)), 1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_deterministic_steps_repeat_to_the_bit(config: MakeConfig, name: str) -> None:
    one, two = (run(config(**KINDS[name], deterministic=True)) for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", KINDS)
def test_streamed_images_are_the_same_images(config: MakeConfig, name: str) -> None:
    resident = run(config(**KINDS[name], deterministic=True))
    streamed = run(config(**KINDS[name], deterministic=True), resident_bytes=0)
    assert all(torch.equal(resident[key], streamed[key]) for key in resident)


@pytest.mark.parametrize("how", [{}, {"resident_bytes": 0}])
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_no_step_waits_for_the_device(
    config: MakeConfig, name: str, graphs: bool, how: dict[str, int]
) -> None:
    with trainer(config(**KINDS[name], cuda_graphs=graphs), **how) as (state, step, _):
        for _ in range(STEPS):  # allocating and recording may wait
            step()
        readings = Readings()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(6):
                step()
                readings.take(state)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert [reading.failure for reading in readings.arrived(wait=True)] == [None] * 6


@pytest.mark.parametrize("name", KINDS)
def test_memory_does_not_grow(config: MakeConfig, name: str) -> None:
    with trainer(config(**KINDS[name])) as (_, step, _):
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        for _ in range(20):
            step()
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() <= before + 2**20


@pytest.mark.parametrize("name", ["paper", "fast", "spectral norm", "bf16"])
def test_compiled_steps_are_near_the_steps(config: MakeConfig, name: str) -> None:
    of_kind = {**KINDS[name], "deterministic": True}
    tolerance = 0.05 if name == "bf16" else 5e-3
    assert_near(run(config(**of_kind, compile="on")), run(config(**of_kind)), tolerance)


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_a_value_that_is_not_finite_stops_recorded_updates(config: MakeConfig, name: str) -> None:
    with trainer(config(**KINDS[name])) as (state, step, _):
        for _ in range(STEPS):
            step()
        with torch.no_grad():
            state.discriminator.classify.weight.fill_(torch.nan)
        generator = [parameter.detach().clone() for parameter in state.generator.parameters()]
        for _ in range(4):
            step()
        assert state.guard.skip.item() == 1.0
        assert int(state.guard.seen[0]) == STEPS + 1
        assert all(map(torch.equal, generator, state.generator.parameters()))


@pytest.mark.parametrize("name", ["paper", "fast", "bf16"])
def test_a_deterministic_run_goes_on_to_the_same_bits(
    make_set: Callable[..., Path], config: MakeConfig, tmp_path: Path, name: str
) -> None:
    prepared = make_set(20)
    of_kind = {"prepared": prepared, **KINDS[name], "deterministic": True, "steps": STEPS}
    whole = train(config(**of_kind, run_dir=tmp_path / "whole"))

    def interrupt(report: StepReport) -> None:
        if report.step == STEPS // 2 + 1:
            raise KeyboardInterrupt

    stopped = config(**of_kind, run_dir=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        train(stopped, on_step=interrupt)
    resumed = train(stopped, resume=True)
    files = sorted(path.name for path in whole.checkpoint.glob("*.safetensors"))
    assert files
    for file in files:
        assert (resumed.checkpoint / file).read_bytes() == (whole.checkpoint / file).read_bytes(), file


def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    total, said = torch.zeros((), device=GPU), []

    def add(value: Tensor) -> None:
        total.add_(value.item())  # the host reads: not to be recorded

    here = torch.cuda.current_stream()
    recorded = Recorded(add, lambda: None, said.append)
    for _ in range(EAGER_CALLS + 3):
        recorded(torch.ones((), device=GPU))
    assert torch.cuda.current_stream() == here
    assert total.item() == EAGER_CALLS + 3
    assert len(said) == 1
    assert said[0].startswith("CUDA graphs cannot be used here")


def test_spectral_norm_is_float32_under_autocast() -> None:
    shape, rng = ModelShape(32, 8, 8, spectral_norm=True), torch_rng(0, Stream.DISCRIMINATOR_WEIGHTS)
    conv: Any = build(Discriminator, shape, rng).to(GPU).stages[1].get_submodule("conv")
    for _ in range(40):
        with torch.autocast("cuda", torch.bfloat16):
            weight = conv.weight
    assert weight.dtype == torch.float32
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
