"""Two processes on this machine, started by torchrun, that share every batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import dcgan_data
from dcgan_data.formats.dataset import MANIFEST, DatasetInfo, shard_name, write_info
from dcgan_data.formats.manifest import KEPT, MANIFEST_SCHEMA, Counts, table_writer
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.train.checkpoint import checkpoints_in
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches
from dcgan_data.train.distributed import Ranks, asked_ranks, joined
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.models import Discriminator, Generator
from dcgan_data.train.seeds import Stream, torch_rng

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without it")

PATIENCE_S = 120
CPU = torch.device("cpu")
Tensors = dict[str, Tensor]

STEPS = """
import json, math, sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import save_file
from dcgan_data.train import loop
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches, Share
from dcgan_data.train.distributed import joined
from dcgan_data.train.engine import Stepper
from dcgan_data.train.game import new_state
from dcgan_data.train.readings import read_now

class Noise:
    image_size = 32
    def __len__(self):
        return 20
    def gather(self, indices):
        images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        return images[indices]

def of_state(prefix, state):
    found = {}
    for name, model in (("g", state.generator), ("d", state.discriminator)):
        for key, parameter in model.named_parameters():
            found[f"{prefix}.{name}.{key}"] = parameter.detach()
            if parameter.grad is not None:
                found[f"{prefix}.grad_{name}.{key}"] = parameter.grad
    if state.average:
        found |= {f"{prefix}.average.{key}": value for key, value in state.average.named_parameters()}
    found |= {f"{prefix}.buffers.{key}": value for key, value in state.discriminator.named_buffers()}
    return {name: value.clone().contiguous() for name, value in found.items()}

def main():
    out, runs = Path(sys.argv[1]), json.loads(sys.argv[2])
    outcome = {}
    with joined(torch.device("cpu"), 8) as (ranks, device):
        for run, changes in runs.items():
            config = TrainConfig(prepared=out, run_dir=out, width=2, z_dim=3, batch_size=8, **changes)
            state = new_state(config, 32, device, ranks)
            share = Share(ranks.rank, ranks.count, 2 if config.alternate else 1)
            batches, stepper = Batches(Noise(), 8, 0, device, share), Stepper(config, state)
            seen = of_state("0", state)
            for step in range(4):
                if stepper.reads_pixels:
                    seen[f"{step + 1}.pixels"] = pixels = batches.pixels(step)
                stepper.step(pixels if stepper.reads_pixels else None)
                seen |= of_state(str(step + 1), state)
            batches.close()
            seen["measures"] = state.measures
            save_file(seen, out / f"{run}.{ranks.rank}.safetensors")
            outcome[run] = asdict(read_now(state).measures)
        # A value that is not finite on one rank only.
        state.guard.step.fill_(9)
        loss = math.nan if ranks.rank == 1 else 0.5
        state.guard.check("discriminator", torch.tensor(loss), [torch.ones(3)])
        failure = read_now(state).failure
        outcome["failure"] = [failure.step, failure.player]
        (out / f"{ranks.rank}.json").write_text(json.dumps(outcome))
        # torch cannot be relied on to join twice in a process.
        loop.joined = lambda device, batch_size: nullcontext((ranks, device))
        whole = json.loads(sys.argv[3])
        paths = {name: Path(whole[name]) for name in ("prepared", "run_dir")}
        loop.train(TrainConfig(**{**whole, **paths}))

main()
"""

WAIT_FOR_SIGNAL = """
import os, signal, socket, sys
from dcgan_data.train.engine import Stepper
last = int(sys.argv.pop(1))
original = Stepper.step

def step(self, pixels):
    if self._state.step == last - 1 and os.environ["RANK"] == "1":
        heard, hears = socket.socketpair()
        hears.setblocking(False)
        signal.set_wakeup_fd(hears.fileno())
        print("here", flush=True)
        heard.recv(1)
        signal.set_wakeup_fd(-1)
    original(self, pixels)

Stepper.step = step
from dcgan_data.cli import main
main()
"""


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """torchrun with two processes; ended at the end, or when patience is."""
    root = str(Path(dcgan_data.__file__).parents[1])
    search = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [*torchrun, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(search)},
    )
    # Not killed at once: torchrun has processes of its own to end.
    alarms = [threading.Timer(PATIENCE_S, process.terminate), threading.Timer(PATIENCE_S + 40, process.kill)]
    for alarm in alarms:
        alarm.start()
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
            for alarm in alarms:
                alarm.cancel()


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    with started(*arguments) as process:
        stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


WHOLE: dict[str, Any] = {"preset": "fast", "precision": "float32", "width": 2, "steps": 25, "device": "cpu"}


def command(prepared: Path, run_dir: Path, *more: str, batch_size: int = 8) -> list[str | Path]:
    """The command line of such a run."""
    settings = {**WHOLE, "prepared": prepared, "run-dir": run_dir, "batch-size": batch_size}
    return ["train", *(f"--{name}={value}" for name, value in settings.items()), *more]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 images, of which 4 are held out: 10 batches of 8. Tests only read it."""
    out = tmp_path_factory.mktemp("prepared") / "set"
    shard = out / shard_name(0)
    shard.parent.mkdir(parents=True)
    with shard.open("wb") as file:
        writer = ShardWriter(file, 32)
        for image in np.random.default_rng(0).integers(0, 256, (84, 32, 32, 3), dtype=np.uint8):
            writer.append(image)
        writer.close()
    rows = [{"key": f"{n}", "part": 0, "status": KEPT, "shard": 0, "row": n} for n in range(84)]
    with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as table:
        table.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    files = {name: stamp_file(out / name) for name in (shard_name(0), MANIFEST)}
    source = {"kind": "lsun", "path": "/", "records": 84, "fingerprint": "", "passed_over": {}}
    write_info(out, DatasetInfo({}, source, 32, [84], Counts(84, 84, 0, 0), {}, {}, {}, files, {}))
    return out


# Steps


class Noise:
    """What STEPS trains on."""

    image_size = 32

    def __len__(self) -> int:
        return 20

    def gather(self, indices: np.ndarray) -> np.ndarray:
        images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        return images[indices]


RUNS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {"alternate": False, "ema": 0.999, "learning_rate": 0.01},
    "limited": {"alternate": False, "precision": "bf16", "spectral_norm": True, "augment": True},
}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """What both ranks had after each of four steps, for each of RUNS; and the run WHOLE."""
    out = tmp_path_factory.mktemp("steps")
    (out / "steps.py").write_text(STEPS)
    config = TrainConfig.of_preset(**WHOLE, prepared=prepared, run_dir=out / "whole", batch_size=8)
    whole = {**asdict(config), "prepared": str(prepared), "run_dir": str(config.run_dir)}
    code, _, stderr = run(out / "steps.py", out, json.dumps(RUNS), json.dumps(whole))
    assert code == 0, stderr
    return out


def seen_by(two_ranks: Path, name: str) -> tuple[Tensors, Tensors]:
    first, second = (load_file(two_ranks / f"{name}.{rank}.safetensors") for rank in (0, 1))
    return first, second


def of(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", RUNS)
def test_both_ranks_have_the_same_weights_and_gradients_after_every_step(two_ranks: Path, name: str) -> None:
    first, second = seen_by(two_ranks, name)
    assert first.keys() == second.keys()
    differing = {key for key in first if not torch.equal(first[key], second[key])}
    assert {key for key in differing if not key.endswith("pixels") and key != "measures"} == set()
    assert "measures" in differing, "each measures its own part"
    changed = [key for key in of(first, "0.g.") if not torch.equal(first[f"0.g.{key}"], first[f"4.g.{key}"])]
    assert changed == list(of(first, "0.g."))


@pytest.mark.parametrize("name", RUNS)
def test_the_parts_together_are_the_batch_of_one_process(two_ranks: Path, name: str) -> None:
    first, second = seen_by(two_ranks, name)
    batches = Batches(Noise(), 8, 0, CPU)
    read = [step for step in range(4) if f"{step + 1}.pixels" in first]
    assert read == ([1, 3] if name == "paper" else [0, 1, 2, 3])
    for step in read:
        parts = first[f"{step + 1}.pixels"], second[f"{step + 1}.pixels"]
        assert [part.shape for part in parts] == [(4, 32, 32, 3)] * 2
        assert torch.equal(torch.cat(parts), batches.pixels(step))
    batches.close()


def slopes(model: nn.Module, loss: Tensor) -> Tensors:
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def loss_of_d(generator: Generator, discriminator: Discriminator, pixels: Tensor, z: Tensor) -> Tensor:
    real = discriminator(pixels.permute(0, 3, 1, 2).double() / 127.5 - 1)
    return F.softplus(-real).mean() + F.softplus(discriminator(generator(z).detach())).mean()


def loss_of_g(generator: Generator, discriminator: Discriminator, z: Tensor) -> Tensor:
    return F.softplus(-discriminator(generator(z))).mean()


def mean_of(one: Tensors, two: Tensors) -> Tensors:
    return {name: (one[name] + two[name]) / 2 for name in one}


def furthest(found: Tensors, expected: Tensors) -> float:
    assert found.keys() == expected.keys()
    return max(
        ((found[name].double() - value).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    )


def exact_networks(name: str) -> TrainState:
    """In float64, of any weights."""
    config = TrainConfig(prepared=Path(), run_dir=Path(), width=2, z_dim=3, batch_size=8, **RUNS[name])
    state = new_state(config, 32, CPU)
    state.generator.double()
    state.discriminator.double()
    return state


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_gradients_are_the_mean_of_both_halves_own(two_ranks: Path, name: str) -> None:
    """Each half normalised by itself, which the gradient of the whole batch is not."""
    ranks = seen_by(two_ranks, name)
    first, state = ranks[0], exact_networks(name)
    generator, discriminator = state.generator, state.discriminator
    rng = torch_rng(0, Stream.LATENT)
    for step in range(4):
        before, after = str(step), str(step + 1)
        halves = generator.shape.draw_z(rng, 8).double().chunk(2)
        generator.load_state_dict(of(first, f"{before}.g."))
        discriminator.load_state_dict(of(first, f"{before}.d."))
        if f"{after}.pixels" in first:
            pixels = [rank[f"{after}.pixels"] for rank in ranks]
            loss = partial(loss_of_d, generator, discriminator)
            own = [slopes(discriminator, loss(part, z)) for part, z in zip(pixels, halves, strict=True)]
            found = of(first, f"{after}.grad_d.")
            assert furthest(found, mean_of(*own)) < 1e-3
            whole = slopes(discriminator, loss(torch.cat(pixels), torch.cat(halves)))
            assert furthest(found, whole) > 0.01
        if name == "fast" or step % 2 == 0:
            discriminator.load_state_dict(of(first, f"{after}.d."))  # G meets the new one
            own = [slopes(generator, loss_of_g(generator, discriminator, z)) for z in halves]
            found = of(first, f"{after}.grad_g.")
            assert furthest(found, mean_of(*own)) < 1e-3
            whole = slopes(generator, loss_of_g(generator, discriminator, torch.cat(halves)))
            assert furthest(found, whole) > 0.01


@pytest.mark.parametrize("name", RUNS)
def test_both_read_the_mean_of_what_both_measured(two_ranks: Path, name: str) -> None:
    measures = [seen["measures"].double() for seen in seen_by(two_ranks, name)]
    assert not torch.equal(*measures)
    outcomes = [json.loads((two_ranks / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert outcomes[0] == outcomes[1]
    names = ("loss_d", "loss_g", "p_real", "p_fake")
    expected = dict(zip(names, ((measures[0] + measures[1]) / 2).tolist(), strict=True))
    assert outcomes[0][name] == pytest.approx(expected, rel=1e-12)


def test_a_failure_on_one_rank_is_a_failure_on_both(two_ranks: Path) -> None:
    for rank in (0, 1):
        assert json.loads((two_ranks / f"{rank}.json").read_text())["failure"] == [9, "discriminator"]


# The command


def weights(run_dir: Path, step: int) -> dict[str, bytes]:
    checkpoint = run_dir / "checkpoints" / f"{step:06d}"
    return {path.name: path.read_bytes() for path in checkpoint.iterdir() if path.name != "state.json"}


def logged_steps(run_dir: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def files_of(run_dir: Path) -> set[str]:
    return {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}


def test_a_run_is_written_once_and_goes_on_after_sigterm_to_the_same_bits(
    prepared: Path, two_ranks: Path, tmp_path: Path
) -> None:
    whole = two_ranks / "whole"
    assert logged_steps(whole) == [10, 20, 25]
    stopped = tmp_path / "stopped"
    (tmp_path / "waits.py").write_text(WAIT_FOR_SIGNAL)
    with started(tmp_path / "waits.py", "13", *command(prepared, stopped)) as process:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "here\n":
            pytest.fail(f"ended before that: {process.stderr.read()}")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate()
    assert process.returncode != 0
    told = f"interrupted: step 20 is saved in {stopped}/checkpoints; --resume goes on\n"
    assert stderr.count(told) == 1
    assert [path.name for path in checkpoints_in(stopped / "checkpoints")] == ["000020"]  # where both met

    code, stdout, stderr = run("-m", "dcgan_data", *command(prepared, stopped), "--resume", "--json")
    assert code == 0, stderr
    summary = json.loads(stdout)  # one, and nothing else
    assert summary["steps"] == 25
    assert stderr.count("train: 25 of 25 steps") == 1
    assert "Traceback" not in stderr and "Warning" not in stderr
    record = json.loads((stopped / "config.json").read_text())
    assert record["machine"]["processes"] == 2
    assert weights(stopped, 25) == weights(whole, 25)
    assert logged_steps(stopped) == [10, 20, 25]
    extra = {name for name in files_of(stopped) if name.startswith("checkpoints/000020/")}
    assert files_of(stopped) - extra - {"events.jsonl"} == files_of(whole)


def test_a_batch_that_cannot_be_shared_is_told_once(prepared: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run("-m", "dcgan_data", *command(prepared, tmp_path / "run", batch_size=5))
    assert code == 1
    assert stdout == ""
    message = (
        "error: --batch-size 5: cannot be shared by 2 processes; "
        "give a multiple of 2, with 2 images or more for each\n"
    )
    assert stderr.count(message) == 1
    assert not (tmp_path / "run").exists()


# One process


def test_one_process_is_rank_zero_and_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert asked_ranks() == Ranks(0, 1)
    with joined(CPU, 7) as (ranks, device):
        assert (ranks, device) == (Ranks(), CPU)
        assert not torch.distributed.is_initialized()
        value = torch.tensor([2.0])
        ranks.take_mean(value)
        ranks.take_largest(value)
        ranks.take_first(value)
        assert value.tolist() == [2.0]
        assert ranks.part(torch.arange(7)).tolist() == list(range(7))


def test_parts_are_equal_and_apart() -> None:
    parts = [Ranks(rank, 4).part(torch.arange(12)).tolist() for rank in range(4)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
