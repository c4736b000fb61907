"""Whole runs on a tiny set: what they write, how they end, and that a resumed one is the same run."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dcgan_data.errors import BadInput, BadRequest, TrainingStopped
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train import engine, recorder, schedule
from dcgan_data.train.checkpoint import checkpoints_in
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import scale
from dcgan_data.train.game import Batch, Players, move_both, move_discriminator, move_generator, new_state
from dcgan_data.train.loop import resumed_config, train
from dcgan_data.train.order import epoch_order
from dcgan_data.train.progress import StepReport
from dcgan_data.train.watchdog import Event, Watchdog

MakeSet = Callable[..., Path]
MakeConfig = Callable[..., TrainConfig]


def metrics(run_dir: Path, *, timed: bool = True) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    clock = () if timed else ("seconds", "images_per_s")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.stem}.{key}": value
        for path in checkpoint.glob("*.safetensors")
        for key, value in load_file(path).items()
    }


def assert_same(one: Path, two: Path) -> None:
    left, right = tensors(one), tensors(two)
    assert left.keys() == right.keys()
    differing = [name for name in left if not torch.equal(left[name], right[name])]
    assert differing == []


def checkpoint_names(run_dir: Path) -> list[str]:
    return [path.name for path in checkpoints_in(run_dir / "checkpoints")]


def test_a_run_writes_what_it_says(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(kept=10), steps=5, log_every=2, sample_every=2, checkpoint_every=2)
    summary = train(config)
    assert summary.steps == 5
    assert summary.run_dir == config.run_dir
    assert summary.checkpoint == config.run_dir / "checkpoints" / "000005"
    assert summary.grid == config.run_dir / "samples" / "000005.png"
    assert summary.page == config.run_dir / "index.html"
    assert "<svg" in summary.page.read_text()
    assert (summary.best, summary.best_score, summary.warnings) == (None, None, [])
    assert summary.images_per_s > 0
    assert checkpoint_names(config.run_dir) == ["000002", "000004", "000005"]
    grids = sorted((config.run_dir / "samples").iterdir())
    assert [grid.name for grid in grids] == ["000002.png", "000004.png", "000005.png"]
    with Image.open(grids[-1]) as grid:
        assert grid.size == (8 * 32, 8 * 32)
    assert not list(config.run_dir.rglob("*.tmp"))

    lines = metrics(config.run_dir)
    assert [(line["step"], line["epoch"]) for line in lines] == [(2, 1), (4, 2), (5, 3)]
    losses = {"loss_d", "loss_g", "p_real", "p_fake"}
    for line in lines:
        assert line.keys() == {"step", "epoch", "images_per_s", "seconds", "spread"} | losses
        assert line["spread"] > 0
        assert line["images_per_s"] > 0
        assert 0 < line["p_real"] < 1
    assert summary.loss_d == lines[-1]["loss_d"]
    assert summary.loss_g == lines[-1]["loss_g"]


def test_old_checkpoints_go(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=5, checkpoint_every=1, keep_checkpoints=2)
    train(config)
    assert checkpoint_names(config.run_dir) == ["000004", "000005"]


def test_minibatches_move_the_players_in_turn_generator_first(
    make_set: MakeSet, make_config: MakeConfig
) -> None:
    config = make_config(make_set(), steps=4, checkpoint_every=1, keep_checkpoints=4)
    train(config)
    saved = [tensors(path) for path in checkpoints_in(config.run_dir / "checkpoints")]
    for number, (before, after) in enumerate(pairwise(saved), 2):
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        moves_d = number % 2 == 0
        assert moved - {"state"} == ({"discriminator"} if moves_d else {"generator", "standing"})
    assert [line["loss_d"] is None for line in metrics(config.run_dir)] == [True, False, False, False]


@pytest.mark.parametrize("alternate", [True, False])
def test_a_run_is_these_moves(make_set: MakeSet, make_config: MakeConfig, alternate: bool) -> None:
    config = make_config(make_set(kept=10), steps=6, alternate=alternate)
    saved = train(config).checkpoint

    cpu = torch.device("cpu")
    images = PreparedSet.open(config.prepared).rows()
    state = new_state(config, 32, cpu)
    players = Players(state.generator, state.discriminator, state.discriminator, together=False)
    for step in range(6):
        z = state.generator.shape.draw_z(state.rng, 4)
        epoch, place = divmod(step, 2)
        order = epoch_order(config.seed, epoch, 10, cpu).numpy()[4 * place : 4 * place + 4]
        batch = Batch(scale(torch.from_numpy(images.gather(order))), z)
        state.guard.step.fill_(step + 1)
        if not alternate:
            move_both(state, players, batch)
        elif step in (0, 2, 4):
            move_generator(state, players, batch)
        else:
            move_discriminator(state, players, batch)
    trained = tensors(saved)
    for name, model in (("generator", state.generator), ("discriminator", state.discriminator)):
        for key, parameter in model.named_parameters():
            assert torch.equal(parameter, trained[f"{name}.{key}"])


def test_reports_come_after_every_minibatch(make_set: MakeSet, make_config: MakeConfig) -> None:
    reports: list[StepReport] = []
    train(make_config(make_set(kept=10), epochs=2, log_every=100), on_step=reports.append)
    assert [(report.step, report.total_steps, report.epoch) for report in reports] == [
        (1, 4, 1),
        (2, 4, 1),
        (3, 4, 2),
        (4, 4, 2),
    ]
    assert reports[-1].loss_d is not None
    assert reports[-1].loss_g is not None


def test_grids_show_the_same_latent_vectors(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=2, sample_every=1, learning_rate=1e-12)
    train(config)
    one, two = ((config.run_dir / "samples" / f"00000{n}.png").read_bytes() for n in (1, 2))
    assert one == two


FAST = {"preset": "fast", "alternate": False, "precision": "auto", "ema": 0.9, "augment": True}


@pytest.mark.parametrize("first", [3, 4])  # the next player to move is the discriminator, the generator
@pytest.mark.parametrize("preset", [{}, FAST, {"spectral_norm": True}])
def test_a_resumed_run_is_the_same_run(
    make_set: MakeSet, make_config: MakeConfig, tmp_path: Path, first: int, preset: dict[str, Any]
) -> None:
    prepared = make_set(kept=12)
    shared = {"held_out": 2, "checkpoint_every": 2, **preset}
    whole = train(make_config(prepared, steps=7, run_dir=tmp_path / "whole", **shared))
    train(make_config(prepared, steps=first, **shared))
    parts = train(make_config(prepared, steps=7, **shared), resume=True)
    assert parts.steps == 7
    assert_same(whole.checkpoint, parts.checkpoint)
    assert whole.grid.read_bytes() == parts.grid.read_bytes()
    mine, theirs = (
        [line for line in metrics(run, timed=False) if line["step"] not in (first, 7)]
        for run in (whole.run_dir, parts.run_dir)  # the last step of a session draws and scores too
    )
    assert mine == theirs
    assert json.loads((parts.run_dir / "config.json").read_text())["total_steps"] == 7


def test_the_same_seed_gives_the_same_run_whatever_the_global_state(
    make_set: MakeSet, make_config: MakeConfig, tmp_path: Path
) -> None:
    prepared = make_set()
    one = train(make_config(prepared, steps=3, run_dir=tmp_path / "one"))
    before = torch.get_rng_state()
    two = train(make_config(prepared, steps=3, run_dir=tmp_path / "two"))
    assert torch.equal(before, torch.get_rng_state())
    assert_same(one.checkpoint, two.checkpoint)
    other = train(make_config(prepared, steps=3, seed=1, run_dir=tmp_path / "other"))
    assert not torch.equal(
        tensors(one.checkpoint)["generator.project.weight"],
        tensors(other.checkpoint)["generator.project.weight"],
    )


def test_a_killed_run_continues_from_its_last_checkpoint(
    make_set: MakeSet, make_config: MakeConfig, tmp_path: Path
) -> None:
    prepared = make_set()
    whole = train(make_config(prepared, steps=6, run_dir=tmp_path / "whole"))

    def die(report: StepReport) -> None:
        if report.step == 5:
            raise RuntimeError("power cut")

    config = make_config(prepared, steps=6, checkpoint_every=2)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, on_step=die)
    assert [line["step"] for line in metrics(config.run_dir)] == [1, 2, 3, 4, 5]
    reports: list[StepReport] = []
    parts = train(config, resume=True, on_step=reports.append)
    assert reports[0].step == 5
    assert [line["step"] for line in metrics(config.run_dir)] == [1, 2, 3, 4, 5, 6]
    assert_same(whole.checkpoint, parts.checkpoint)


@pytest.mark.parametrize("how", ["signal", "exception"])
def test_an_interrupt_saves_first(
    make_set: MakeSet, make_config: MakeConfig, tmp_path: Path, how: str
) -> None:
    prepared = make_set()
    whole = train(make_config(prepared, steps=6, run_dir=tmp_path / "whole"))

    def interrupt(report: StepReport) -> None:
        if report.step == 3 and how == "signal":
            signal.raise_signal(signal.SIGINT)
        elif report.step == 3:
            raise KeyboardInterrupt

    config = make_config(prepared, steps=6)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_step=interrupt)
    assert checkpoint_names(config.run_dir) == ["000003"]
    assert_same(whole.checkpoint, train(config, resume=True).checkpoint)


def test_a_finished_run_is_left_as_it_is(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=2)
    done = train(config)
    again = train(config, resume=True)
    assert (again.steps, again.checkpoint, again.loss_d) == (2, done.checkpoint, done.loss_d)
    assert again.images_per_s == 0
    assert len(metrics(config.run_dir)) == 2


def test_fewer_steps_than_done_are_refused(make_set: MakeSet, make_config: MakeConfig) -> None:
    train(make_config(make_set(), steps=4))
    with pytest.raises(
        BadRequest, match="run: already at step 4, past the 3 asked for; ask for more --steps or"
    ):
        train(make_config(steps=3), resume=True)
    assert len(metrics(make_config().run_dir)) == 4


def test_a_run_is_not_overwritten(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=1)
    train(config)
    with pytest.raises(
        BadRequest, match="run: already holds a run; continue it with --resume, or choose another"
    ):
        train(config)


def test_other_settings_or_another_set_are_refused(make_set: MakeSet, make_config: MakeConfig) -> None:
    train(make_config(make_set(), steps=1))
    with pytest.raises(
        BadRequest, match="cannot be resumed with other settings: width was 2, is 4; give the old"
    ):
        train(make_config(steps=2, width=4), resume=True)
    other = make_set(name="other", seed=1)
    with pytest.raises(
        BadRequest, match=r"settings: prepared was .*set, is .*other with other contents; give"
    ):
        train(make_config(other, steps=2), resume=True)


def test_a_resumed_run_keeps_its_length(make_set: MakeSet, make_config: MakeConfig) -> None:
    """Unless another one is asked for."""
    make_set()
    train(make_config(steps=2))
    assert train(make_config(), resume=True).steps == 2
    assert train(make_config(steps=3), resume=True).steps == 3


def test_nothing_to_resume(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=1)
    with pytest.raises(BadRequest, match="run: nothing to resume, no run is here; leave --resume out"):
        train(config, resume=True)

    def die(_report: StepReport) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(make_config(steps=2), on_step=die)
    assert train(make_config(steps=2), resume=True).steps == 2


@pytest.mark.filterwarnings("error")
def test_training_stops_before_a_bad_update(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=50, learning_rate=1e30, checkpoint_every=1, keep_checkpoints=50)
    with pytest.raises(TrainingStopped) as caught:
        train(config)
    last = checkpoints_in(config.run_dir / "checkpoints")[-1]
    step = int(last.name) + 1
    assert step == 1 + len(metrics(config.run_dir))
    message = str(caught.value)
    player = "generator" if step % 2 else "discriminator"
    assert f"{config.run_dir}: the " in message
    assert f"{player}'s loss" in message
    assert (
        f"at step {step}, which was not applied; last checkpoint: {last}; try a smaller learning " in message
    )
    assert "rate than 1e+30 or another --seed, in another --run-dir" in message
    assert all(
        value.isfinite().all()
        for name, value in tensors(last).items()
        if name.split(".")[0] not in ("state", "standing")
    )


def test_sets_that_do_not_fit(make_set: MakeSet, make_config: MakeConfig) -> None:
    with pytest.raises(BadRequest) as caught:
        train(make_config(make_set(kept=3)))
    assert str(caught.value) == (
        f"{make_config().prepared}: 3 images to train on, less than a batch of 4; "
        "prepare more, or give a smaller --batch-size"
    )
    with pytest.raises(
        BadRequest, match="odd: images of 48 px; the model is made for 32, 64, 128: prepare the"
    ):
        train(make_config(make_set(name="odd", size=48)))
    with pytest.raises(BadInput, match="nowhere: no such directory"):
        train(make_config(Path("nowhere")))
    assert not make_config().run_dir.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_gpu_that_is_not_there(make_set: MakeSet, make_config: MakeConfig) -> None:
    with pytest.raises(BadRequest, match="device cuda: torch sees no GPU here; use --device cpu, or auto"):
        train(make_config(make_set(), device="cuda"))
    assert not make_config().run_dir.exists()


def test_a_run_can_be_resumed_without_saying_again_what_it_is(
    make_set: MakeSet, make_config: MakeConfig
) -> None:
    config = make_config(make_set(), steps=2, **FAST)
    train(config)
    again = resumed_config(config.prepared, config.run_dir)
    assert again == config
    assert train(resumed_config(config.prepared, config.run_dir, epochs=2), resume=True).steps == 4
    with pytest.raises(BadRequest, match="settings: width was 2, is 8"):
        train(resumed_config(config.prepared, config.run_dir, width=8), resume=True)
    with pytest.raises(BadRequest, match="nowhere: nothing to resume, no run is here"):
        resumed_config(config.prepared, config.run_dir / "nowhere")


def test_held_out_images_are_scored(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(kept=12), steps=4, checkpoint_every=2, held_out=4)
    summary = train(config)
    lines = {line["step"]: line for line in metrics(config.run_dir) if "nnd_1000" in line}
    assert lines.keys() == {2, 4}
    # White noise against smooth grey: about the root of 3072 * (1/3 + what is drawn).
    assert all(30 < line["nnd_1000"] < 60 for line in lines.values())
    scored = {
        step: (abs(line["told_real"] - 0.5) + abs(line["told_fake"] - 0.5)) / 2
        for step, line in lines.items()
    }
    assert summary.best_score == min(scored.values())
    assert int(summary.best.name) == min(scored, key=lambda step: (scored[step], -step))


def test_all_scores_at_chosen_epochs(
    make_set: MakeSet, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "ALL_COUNTS", (1_000, 1_100))
    train(make_config(make_set(kept=12), epochs=4, held_out=4, score_every=2))
    lines = metrics(make_config().run_dir)
    assert [line["step"] for line in lines if "nnd_1100" in line] == [4, 8]
    both = [(line["nnd_1000"], line["nnd_1100"]) for line in lines if "nnd_1100" in line]
    assert all(few >= more for few, more in both)


def test_grids_come_at_every_epoch(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(kept=10), epochs=3)
    train(config)
    assert sorted(path.name for path in (config.run_dir / "samples").iterdir()) == [
        "000002.png",
        "000004.png",
        "000006.png",
    ]


def test_training_with_the_duplicates(make_set: MakeSet, make_config: MakeConfig) -> None:
    make_set(kept=10)
    assert train(make_config(epochs=1, batch_size=11, include_duplicates=True)).steps == 1
    with pytest.raises(BadRequest, match="10 images to train on, less than a batch of 11"):
        train(make_config(epochs=1, batch_size=11))
    with pytest.raises(BadRequest, match="9 images to train on beside 1 held out, less than a batch of 11"):
        train(make_config(epochs=1, batch_size=11, held_out=1))


class Alarm(Watchdog):
    """Cries collapse at chosen steps, once each."""

    steps: ClassVar[list[int]] = []
    since: ClassVar[int | None] = None

    def see(self, line: dict[str, Any]) -> list[Event]:
        if line["step"] in self.steps:
            self.steps.remove(line["step"])
            message = f"samples collapsed at step {line['step']}"
            return [Event(line["step"], "collapse", message, self.since)]
        return []


@pytest.fixture
def alarm(monkeypatch: pytest.MonkeyPatch) -> type[Alarm]:
    monkeypatch.setattr(recorder, "Watchdog", Alarm)
    monkeypatch.setattr(Alarm, "steps", [])
    monkeypatch.setattr(Alarm, "since", None)
    return Alarm


def events(run_dir: Path) -> list[tuple[int, str]]:
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    return [(event["step"], event["kind"]) for event in map(json.loads, lines)]


def test_a_warning_is_told_and_training_goes_on(
    make_set: MakeSet, make_config: MakeConfig, alarm: type[Alarm]
) -> None:
    alarm.steps = [3]
    reports: list[StepReport] = []
    config = make_config(make_set(), steps=5)
    summary = train(config, on_step=reports.append)
    assert summary.steps == 5
    assert summary.warnings == ["samples collapsed at step 3"]
    begun = ("10 images to train on, 0 held out; 2 steps an epoch; cpu, float32",)
    assert [report.messages for report in reports] == [begun, (), ("samples collapsed at step 3",), (), ()]
    assert events(config.run_dir) == [(3, "collapse")]
    assert "samples collapsed at step 3" in summary.page.read_text()


def test_what_cannot_be_had_is_told_when_it_shows(
    make_set: MakeSet, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a recording of CUDA graphs that fails some steps after the beginning."""

    class Late:
        def __init__(self, function: Any, _prepare: Any, complain: Callable[[str], None]) -> None:
            self._function, self._complain, self._calls = function, complain, 0

        def __call__(self, *inputs: torch.Tensor) -> None:
            self._calls += 1
            if self._calls == 2:
                self._complain("it cannot be recorded")
            self._function(*inputs)

    monkeypatch.setattr(engine, "Recorded", Late)
    prepared = engine.Stepper._prepared
    monkeypatch.setattr(engine.Stepper, "_prepared", lambda self, move, _record: prepared(self, move, True))
    reports: list[StepReport] = []
    train(make_config(make_set(), steps=4, alternate=False), on_step=reports.append)
    assert [report.messages for report in reports][1:] == [("it cannot be recorded",), (), ()]


def test_a_collapse_can_stop_the_run(make_set: MakeSet, make_config: MakeConfig, alarm: type[Alarm]) -> None:
    alarm.steps = [3]
    config = make_config(make_set(), steps=5, on_collapse="stop", checkpoint_every=2)
    with pytest.raises(TrainingStopped) as caught:
        train(config)
    assert f"{config.run_dir}: samples collapsed at step 3; last checkpoint: " in str(caught.value)
    assert checkpoint_names(config.run_dir) == ["000002"]


def test_a_collapse_can_be_rolled_back(
    make_set: MakeSet, make_config: MakeConfig, alarm: type[Alarm], tmp_path: Path
) -> None:
    prepared = make_set()
    shared = {"steps": 9, "on_collapse": "rollback", "checkpoint_every": 2}
    undisturbed = train(make_config(prepared, run_dir=tmp_path / "undisturbed", **shared))
    alarm.steps = [3, 5]
    config = make_config(prepared, **shared)
    summary = train(config)
    assert summary.steps == 9
    # The first time to the newest checkpoint, the second time one further: both were 2 and 4.
    assert events(config.run_dir) == [(3, "collapse"), (3, "rollback"), (5, "collapse"), (5, "rollback")]
    assert summary.warnings[1::2] == [
        "rolled back from step 3 to 2, attempt 1",
        "rolled back from step 5 to 2, attempt 2",
    ]
    assert [line["step"] for line in metrics(config.run_dir)] == list(range(1, 10))
    trained, other = tensors(summary.checkpoint), tensors(undisturbed.checkpoint)
    assert not torch.equal(trained["state.rng"], other["state.rng"])  # with other random numbers

    alarm.steps = [3, 5]  # and the whole story can be told again
    again = train(make_config(prepared, run_dir=tmp_path / "again", **shared))
    assert_same(summary.checkpoint, again.checkpoint)


def test_a_rollback_goes_to_before_the_trouble(
    make_set: MakeSet, make_config: MakeConfig, alarm: type[Alarm]
) -> None:
    config = make_config(make_set(), steps=9, on_collapse="rollback", checkpoint_every=2)
    alarm.steps, alarm.since = [7], 3
    train(config)
    assert events(config.run_dir) == [(7, "collapse"), (7, "rollback")]
    message = json.loads((config.run_dir / "events.jsonl").read_text().splitlines()[1])["message"]
    assert message == "rolled back from step 7 to 2, attempt 1"
    alarm.steps, alarm.since = [7], 1
    late = make_config(steps=9, on_collapse="rollback", checkpoint_every=2, run_dir=config.run_dir / "late")
    with pytest.raises(TrainingStopped, match=r"samples collapsed at step 7; last checkpoint: .*000006"):
        train(late)


def test_a_resume_leaves_a_trace(make_set: MakeSet, make_config: MakeConfig) -> None:
    train(make_config(make_set(), steps=2))
    summary = train(make_config(steps=4), resume=True)
    assert events(make_config().run_dir) == [(2, "resumed")]
    assert summary.warnings == []


def test_rollbacks_end(make_set: MakeSet, make_config: MakeConfig, alarm: type[Alarm]) -> None:
    alarm.steps = [3, 3, 3, 3]
    config = make_config(make_set(), steps=9, on_collapse="rollback", checkpoint_every=2)
    with pytest.raises(TrainingStopped, match="rolled back 3 times already; last checkpoint: "):
        train(config)


def test_a_value_that_is_not_finite_can_be_rolled_back(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), steps=50, learning_rate=1e30, checkpoint_every=1, on_collapse="rollback")
    with pytest.raises(TrainingStopped, match="not applied; rolled back 3 times already"):
        train(config)
    kinds = [kind for _, kind in events(config.run_dir)]
    assert kinds == ["not finite", "rollback"] * 3 + ["not finite"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_on_a_gpu_the_host_waits_only_to_log(make_set: MakeSet, make_config: MakeConfig) -> None:
    config = make_config(make_set(), device="cuda", steps=8, log_every=8)

    def forbid_waiting(report: StepReport) -> None:
        if report.step in (2, 6):  # optimisers and kernels are set up in the first two
            torch.cuda.set_sync_debug_mode("error" if report.step == 2 else "default")

    try:
        assert train(config, on_step=forbid_waiting).steps == 8
    finally:
        torch.cuda.set_sync_debug_mode("default")
