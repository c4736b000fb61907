"""What ``bench train`` compares is what it says, and its figures fit together; their size is not asserted."""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from dcgan_data.bench import ablation, roofline, rounds, training
from dcgan_data.bench.ablation import TunedWay, ablation_ways
from dcgan_data.bench.flops import flops_per_image
from dcgan_data.bench.memory import peak_mb, peak_mb_of
from dcgan_data.bench.plain_loop import PlainImages, PlainLoop, PlainTrainer
from dcgan_data.bench.roofline import matrix_rate
from dcgan_data.bench.rounds import Plan, take_turns, train_a_little
from dcgan_data.bench.train_table import train_table
from dcgan_data.bench.training import TrainBench, TrainBenchSettings, bench_train
from dcgan_data.bench.ways import FAST, PAPER, PLAIN, FileImages, TrainerWay, Workload
from dcgan_data.cli import app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.reporter import SilentReporter
from dcgan_data.train.models import Discriminator, Generator, ModelShape

CPU = torch.device("cpu")
# Python 3.12 and later warn of every DataLoader whose process has threads, which is every one.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def quick_matrix_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_SECONDS", 0.01)


@pytest.fixture
def work(tmp_path: Path) -> Workload:
    """40 random images of 32 px, in batches of 8, for networks of width 4."""
    file = tmp_path / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))
    return Workload(file, 32, 4, 8, CPU)


@pytest.fixture
def trainer(work: Workload) -> PlainTrainer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PlainTrainer(work.shape, CPU)


@pytest.fixture
def real(work: Workload) -> Tensor:
    """The first batch as the plain loop sees it."""
    images = PlainImages(work.file)
    return torch.stack([images[n] for n in range(work.batch_size)])


@pytest.fixture(scope="module")
def result() -> TrainBench:
    asked = TrainBenchSettings(image_size=32, width=4, batch_size=8, seconds=0.05, rounds=2, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "peak_mb_of", peak_here)  # processes of their own take seconds to start
        return bench_train(asked, SilentReporter())


def peak_here(function: Callable[..., None], *arguments: Any) -> float:
    function(*arguments)
    return peak_mb()


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def forward_gflop(network: type[nn.Module], shape: ModelShape, *inputs: int) -> float:
    """Of one image."""
    with torch.device("meta"):
        model, batch = network(shape), torch.empty(4, *inputs)
    with FlopCounterMode(display=False) as counter:
        model(batch)
    return counter.get_total_flops() / 4e9


def arithmetic(shape: ModelShape) -> dict[str, float]:
    """GFLOP a real image consumed, put together by hand: a layer's backward pass is twice its forward pass,
    once for its weights and once for its inputs, which the first layer's are not asked for."""
    size = shape.image_size
    g = forward_gflop(Generator, shape, shape.z_dim)
    d = forward_gflop(Discriminator, shape, 3, size, size)
    g_first = 2 * shape.z_dim * shape.stage_widths[-1] * 16 / 1e9
    d_first = 2 * 25 * 3 * shape.width * (size // 2) ** 2 / 1e9
    judge = 2 * (3 * d - d_first)  # D on real and on generated images
    climb = 3 * g - g_first + 2 * d  # G's step through a frozen D
    return {
        "g": g,
        "d": d,
        "fresh": g + judge + climb,
        "paper": (g + judge + climb) / 2,
        "fast": judge + climb,  # G's images are drawn once
        "plain": judge + climb + d,  # and D's weights get gradients that nobody uses
    }


def test_the_papers_arithmetic() -> None:
    found = arithmetic(ModelShape(64, 128, 100))
    assert found["g"] == pytest.approx(1.281, abs=5e-4)
    assert found["d"] == pytest.approx(1.278, abs=5e-4)
    assert found["fresh"] == pytest.approx(15.3, abs=0.05)
    assert found["paper"] == pytest.approx(7.65, abs=0.005)


def children() -> list[multiprocessing.process.BaseProcess]:
    """Processes of this one, without joblib's workers, which other tests leave for the next task."""
    found = multiprocessing.active_children()
    return [process for process in found if type(process).__name__ != "LokyProcess"]


@pytest.mark.parametrize("way", [PLAIN, PAPER, FAST], ids=lambda way: way.name)
def test_flops_are_those_of_the_steps_that_are_taken(way: Any, work: Workload) -> None:
    assert flops_per_image(way, work) / 1e9 == pytest.approx(arithmetic(work.shape)[way.name])
    assert children() == []


def test_plain_networks_have_the_layer_shapes_of_the_papers(trainer: PlainTrainer, work: Workload) -> None:
    for plain, network in ((trainer.generator, Generator), (trainer.discriminator, Discriminator)):
        with torch.device("meta"):
            papers = network(work.shape)
        assert [p.shape for p in plain.parameters()] == [p.shape for p in papers.parameters()]
    modules = [*trainer.generator.modules(), *trainer.discriminator.modules()]
    norms = [m for m in modules if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 5 and all(norm.training and norm.track_running_stats for norm in norms)
    assert not any(
        weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions(trainer)
    )


def convolutions(trainer: PlainTrainer) -> list[Tensor]:
    parameters = (*trainer.generator.parameters(), *trainer.discriminator.parameters())
    return [parameter for parameter in parameters if parameter.ndim == 4]


def test_plain_images_are_scaled_one_by_one(work: Workload) -> None:
    images, pixels = PlainImages(work.file), np.load(work.file)
    assert len(images) == 40
    assert images[3].dtype == torch.float32 and images[3].shape == (3, 32, 32)
    assert torch.allclose(
        images[3], torch.from_numpy(pixels[3] / 127.5 - 1).permute(2, 0, 1).float(), atol=1e-6
    )


def test_the_plain_loop_trains_and_leaves_no_process(work: Workload) -> None:
    with torch.random.fork_rng(), closing(PlainLoop(work.shape, 8, work.file, CPU)) as loop:
        torch.manual_seed(0)
        players = (loop.trainer.generator, loop.trainer.discriminator)
        before = [weights(player) for player in players]
        losses = [loop.step() for _ in range(12)]  # more than two epochs
        assert len(children()) == 2
        for old, player in zip(before, players, strict=True):
            assert not any(torch.equal(a, b) for a, b in zip(old, player.parameters(), strict=True))
    assert children() == []
    assert len(set(losses)) == 12 and np.isfinite(losses).all()
    # D learns to tell noise from what an untrained G draws.
    assert np.mean([loss[0] for loss in losses[6:]]) < np.mean([loss[0] for loss in losses[:6]])


def test_the_discriminators_gradient_in_gs_step_is_thrown_away(trainer: PlainTrainer, real: Tensor) -> None:
    fake, _ = trainer.update_discriminator(real)
    untouched = weights(trainer.discriminator)
    trainer.update_generator(fake)
    assert all(map(torch.equal, untouched, weights(trainer.discriminator)))
    assert all(parameter.grad is not None for parameter in trainer.discriminator.parameters())

    other = copy.deepcopy(trainer)
    other.discriminator.zero_grad()
    for each in (trainer, other):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            each.update_discriminator(real)
    assert all(map(torch.equal, weights(trainer.discriminator), weights(other.discriminator)))


def test_tuning_changes_no_result(work: Workload) -> None:
    """The rows of the ablation that train the plain networks do the same arithmetic, up to its rounding."""
    ways = [way for way in ablation_ways(CPU) if isinstance(way, TunedWay)]
    assert [way.name for way in ways] == [
        "+ feed", "+ no waiting", "+ channels last", "+ D frozen", "+ fused Adam"
    ]  # fmt: skip
    found = []
    for way in [ways[0], ways[-1]]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            with closing(way.start(work)) as tuned:
                for _ in range(3):
                    tuned.step()
        found.append(tuned._trainer)
    plain, tuned = found
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions(tuned)[:-1])
    for player in ("generator", "discriminator"):
        pairs = zip(weights(getattr(plain, player)), weights(getattr(tuned, player)), strict=True)
        assert all(torch.allclose(a, b, atol=1e-3) for a, b in pairs)


def test_a_frozen_discriminator_costs_less(work: Workload) -> None:
    frozen = next(way for way in ablation_ways(CPU) if way.name == "+ D frozen")
    less = flops_per_image(PLAIN, work) - flops_per_image(frozen, work)
    assert less / 1e9 == pytest.approx(arithmetic(work.shape)["d"])
    with closing(frozen.start(work)) as training:
        assert training.step() is None  # no loss is read
        assert all(p.requires_grad for p in training._trainer.discriminator.parameters())


@pytest.mark.parametrize(
    ("kind", "quickest", "names"),
    [
        ("cpu", "bf16", ["+ the trainer", "+ bf16", "+ one call", "+ compile"]),
        ("cpu", "float32", ["+ the trainer", "+ one call", "+ compile"]),
        ("cuda", "bf16", ["+ the trainer", "+ bf16", "+ one call", "+ compile", "+ CUDA graphs"]),
    ],
)
def test_the_ablation_ends_with_the_trainers_switches(
    monkeypatch: pytest.MonkeyPatch, kind: str, quickest: str, names: list[str]
) -> None:
    monkeypatch.setattr(ablation, "resolve_precision", lambda *_: quickest)
    ways = {way.name: way for way in ablation_ways(torch.device(kind)) if isinstance(way, TrainerWay)}
    assert list(ways) == names
    off = {"compile": "off", "cuda_graphs": False}
    assert ways["+ the trainer"].changes == off | {"precision": "float32" if kind == "cpu" else "tf32"}
    assert ways["+ one call"].changes == off | {"precision": quickest}
    assert ways["+ compile"].changes == off | {"precision": quickest, "compile": "on"}
    assert [way.together for way in ways.values()] == [
        name in names[-3 + (kind == "cpu") :] for name in names
    ]
    if kind == "cuda":  # the last row is the fast preset
        assert ways["+ CUDA graphs"].changes == {"precision": "bf16", "compile": "on", "cuda_graphs": True}


def test_cudnns_choice_is_a_switch_for_one_row_only() -> None:
    ways = [way for way in ablation_ways(torch.device("cuda")) if isinstance(way, TunedWay)]
    for way in ways:
        with way.numerics(CPU):
            assert torch.backends.cudnn.benchmark is (way.name == "+ cuDNN's choice")
        assert not torch.backends.cudnn.benchmark
    assert ways[-1].tries_algorithms


def test_rows_of_the_trainer_are_set_up_as_they_say(work: Workload) -> None:
    for way in ablation_ways(CPU):
        if isinstance(way, TrainerWay) and way.name != "+ compile":
            with way.numerics(CPU), closing(way.start(work)) as training:
                training.step()
                assert training._stepper.players.together is way.together
                assert training._state.step == 1


def test_every_way_can_be_sent_to_a_process_of_its_own(work: Workload) -> None:
    for way in [PLAIN, PAPER, FAST, *ablation_ways(CPU)]:
        again = pickle.loads(pickle.dumps((way, work)))
        assert again == (way, work)


def test_ways_take_turns(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "peak_mb_of", lambda *_: 1.0)
    monkeypatch.setattr(rounds, "matrix_rate", lambda *_: 1e9)
    turns: list[str] = []
    turn = rounds.Runner.turn

    def noted(runner: rounds.Runner) -> None:
        turns.append(runner.way.name)
        turn(runner)

    monkeypatch.setattr(rounds.Runner, "turn", noted)
    before = torch.random.get_rng_state()
    runners, rates = take_turns([PAPER, FAST], work, Plan(3, 0.01), SilentReporter())
    assert turns == ["paper", "fast"] * 3
    assert [len(runner.step_seconds) for runner in runners] == [3, 3]
    assert {len(values) for values in rates.values()} == {3}
    assert torch.equal(torch.random.get_rng_state(), before)
    steps = runners[0].training._state.step
    assert steps % 2 == 0 and steps >= 2 * (1 + 1 + 3)


def test_figures_fit_together(result: TrainBench) -> None:
    assert [row.name for row in result.rows] == ["plain", "paper", "fast"]
    plain, paper, fast = result.rows
    assert (result.image_size, result.width, result.batch_size, result.rounds) == (32, 4, 8, 2)
    assert result.paper_images_per_s == paper.images_per_s
    assert result.speedup == fast.over_plain
    assert result.speedup == pytest.approx(result.fast_images_per_s / result.plain_images_per_s, rel=2e-3)
    assert plain.over_plain == 1
    for row in result.rows:
        assert 0 < row.slowest_images_per_s <= row.images_per_s <= row.fastest_images_per_s
        assert row.step_ms == pytest.approx(8e3 / row.images_per_s, rel=2e-3)
        assert 0 < row.roofline_share < 1
        rate = result.matrix_tflop_per_s[row.precision]
        share = row.gflop_per_image * row.images_per_s / 1e3 / rate
        assert row.roofline_share == pytest.approx(share, rel=5e-3)
        assert 100 < row.peak_mb < 4000
        assert row.notes == ()
    assert result.ablation == []
    assert children() == []


def test_peak_memory_is_that_of_a_process_of_its_own(work: Workload) -> None:
    idle = peak_mb_of(exec, "pass")
    assert 250 < peak_mb_of(exec, "bytes([1]) * 300_000_000") - idle < 350
    assert peak_mb_of(train_a_little, PLAIN, work, 1) > idle + 100  # torch alone takes more
    assert children() == []


def test_the_matrix_rate_changes_no_setting() -> None:
    before = torch.get_float32_matmul_precision()
    assert matrix_rate(CPU, "float32") > 1e9
    assert torch.get_float32_matmul_precision() == before


def test_as_a_table(result: TrainBench) -> None:
    text = train_table(result)
    assert "training: 32 px, width 4, batch 8, 8,192 images, medians of 2 rounds" in text
    assert f"speedup: {result.speedup:.2f} (fast over plain)" in text
    assert "one thing more" not in text
    plain, _, fast = result.rows
    added = dataclasses.replace(
        plain,
        name="+ compile",
        says="torch.compile",
        images_per_s=2 * plain.images_per_s,
        notes=("it failed",),
    )
    lines = train_table(dataclasses.replace(result, ablation=[plain, added, fast])).splitlines()
    row = next(line for line in lines if line.startswith("+ compile  "))
    assert row.endswith("2.00  torch.compile")
    assert lines[-1] == "+ compile: it failed"


def test_the_command(result: TrainBench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(settings: TrainBenchSettings, _: object) -> TrainBench:
        asked.append(settings)
        return result

    monkeypatch.setattr(training, "bench_train", measured)
    words = "bench train --image-size 32 --width 4 --batch-size 8 --seconds 0.5 --ablate --device cpu"
    done = CliRunner().invoke(app, [*words.split(), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {
        "plain_images_per_s",
        "paper_images_per_s",
        "fast_images_per_s",
        "speedup",
        "rows",
    } <= found.keys()
    assert found["rows"][2]["images_per_s"] == found["fast_images_per_s"]
    wanted = TrainBenchSettings(image_size=32, width=4, batch_size=8, seconds=0.5, ablate=True, device="cpu")
    assert asked == [wanted]
    assert CliRunner().invoke(app, ["bench", "train"]).stdout == train_table(result) + "\n"


def test_images_of_a_prepared_set(finished_set: Path, tmp_path: Path) -> None:
    asked = TrainBenchSettings(prepared=finished_set, batch_size=4, width=2)
    work, images = training._workload(asked, CPU, tmp_path / "images.npy")
    assert work == Workload(tmp_path / "images.npy", 32, 2, 4, CPU)
    source = FileImages(work)
    assert images == len(source) == len(np.load(work.file))
    assert np.array_equal(source.gather(np.array([2, 0])), np.load(work.file)[[2, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 48}, "image_size=48: must be one of 32, 64, 128"),
        ({"batch_size": 1}, "batch_size=1: must be 2 or more"),
        ({"width": 0}, "width=0: must be 1 or more"),
        ({"rounds": 0}, "rounds=0: must be 1 or more"),
        ({"seconds": 0.0}, "seconds=0.0: must be a finite number above 0"),
        ({"seconds": float("nan")}, "seconds=nan: must be a finite number above 0"),
        ({"device": "tpu"}, "device tpu: must be one of auto, cpu, cuda"),
    ],
)
def test_bad_requests(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        bench_train(TrainBenchSettings(**changes), SilentReporter())
    assert str(caught.value) == message


def test_sets_that_do_not_fit(finished_set: Path, tmp_path: Path) -> None:
    for error, changes, message in (
        (BadRequest, {"image_size": 64}, "its images have 32 pixels, image_size must be 64"),
        (BadRequest, {"batch_size": 500}, "images are too few for batch_size=500"),
        (BadInput, {"prepared": tmp_path / "none"}, "none"),
    ):
        asked = TrainBenchSettings(**({"prepared": finished_set, "device": "cpu"} | changes))
        with pytest.raises(error, match=message):
            bench_train(asked, SilentReporter())


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA"), BrokenProcessPool("killed")])
def test_too_little_memory(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(training, "take_turns", fail)
    asked = TrainBenchSettings(image_size=32, width=4, batch_size=8, device="cpu")
    with pytest.raises(
        BadRequest, match=r"width=4, batch_size=8: there is not enough memory on .*; try smaller"
    ):
        bench_train(asked, SilentReporter())


def test_a_bad_request_is_one_line() -> None:
    done = CliRunner().invoke(app, ["bench", "train", "--image-size", "48"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.strip() == "error: image_size=48: must be one of 32, 64, 128"
