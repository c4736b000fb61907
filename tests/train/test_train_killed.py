"""A run that is killed, interrupted, or out of disk goes on with --resume, to the same bits.

The runs that end badly are real processes of the real command line. A hook lets one wait at the nth call
of a function, so that it is killed at that place and no other.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from killing import WAIT_AT, kill_at

from dcgan_data.errors import BadInput, TrainingStopped
from dcgan_data.formats.dataset import MANIFEST, DatasetInfo, shard_name, write_info
from dcgan_data.formats.manifest import KEPT, MANIFEST_SCHEMA, Counts, table_writer
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.train.checkpoint import checkpoints_in
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.interrupt import deferred_interrupts
from dcgan_data.train.loop import resumed_config, train
from dcgan_data.train.progress import StepReport
from dcgan_data.train.rundir import RunDirectory
from dcgan_data.train.sample import open_sampler

PATIENCE_S = 120
STEPS = 40

TRAIN = """
from dcgan_data.cli import main
main()
"""

LITTLE_DISK = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from dcgan_data.cli import main
main()
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread_there_as_here() -> Iterator[None]:
    """In the processes that are started: sums in another order would have other bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """42 images, of which 2 will be held out: 10 batches of 4. Tests only read it."""
    out = tmp_path_factory.mktemp("prepared") / "set"
    shard = out / shard_name(0)
    shard.parent.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (42, 32, 32, 3), dtype=np.uint8)
    with shard.open("wb") as file:
        writer = ShardWriter(file, 32)
        for image in images:
            writer.append(image)
        writer.close()
    rows = [{"key": f"{n}", "part": 0, "status": KEPT, "shard": 0, "row": n} for n in range(42)]
    with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as table:
        table.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    files = {name: stamp_file(out / name) for name in (shard_name(0), MANIFEST)}
    source = {"kind": "lsun", "path": "/", "records": 42, "fingerprint": "", "passed_over": {}}
    write_info(out, DatasetInfo({}, source, 32, [42], Counts(42, 42, 0, 0), {}, {}, {}, files, {}))
    return out


def settings(preset: str) -> dict[str, Any]:
    """A tiny run: a checkpoint every 10 steps, a grid after 40."""
    return {
        "preset": preset,
        "steps": STEPS,
        "width": 2,
        "batch_size": 4,
        "checkpoint_every": 10,
        "sample_every": STEPS,
        "device": "cpu",
    }


def command_line(preset: str, prepared: Path, run_dir: Path, *more: str) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings(preset).items()]
    return ["train", f"--prepared={prepared}", f"--run-dir={run_dir}", *options, *more]


def undisturbed(tmp_path_factory: pytest.TempPathFactory, preset: str, prepared: Path) -> Path:
    run_dir = tmp_path_factory.mktemp(preset) / "run"
    train(TrainConfig.of_preset(**settings(preset), prepared=prepared, run_dir=run_dir, keep_checkpoints=4))
    return run_dir


@pytest.fixture(scope="module")
def paper_run(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """What the paper preset makes if nothing happens. Tests only read it."""
    return undisturbed(tmp_path_factory, "paper", prepared)


@pytest.fixture(scope="module")
def fast_run(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """What the fast preset makes if nothing happens. Tests only read it."""
    return undisturbed(tmp_path_factory, "fast", prepared)


@pytest.fixture
def whole(preset: str, request: pytest.FixtureRequest) -> Path:
    """The undisturbed run of a preset."""
    return Path(request.getfixturevalue(f"{preset}_run"))


@contextmanager
def started(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end, or when patience is."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    alarm = threading.Timer(PATIENCE_S, process.kill)
    alarm.start()
    with process:
        try:
            yield process
        finally:
            alarm.cancel()
            process.kill()


def wait_until_there(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.readline() != "here\n":
        pytest.fail(f"ended before that: {process.stderr.read()}")


def names(run_dir: Path) -> list[str]:
    return [path.name for path in checkpoints_in(run_dir / "checkpoints")]


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "images_per_s")}
        for line in lines
    ]


def facts(checkpoint: Path) -> dict[str, Any]:
    found = json.loads((checkpoint / "state.json").read_text())
    return {name: value for name, value in found.items() if name != "seconds"}


def assert_same_end(run_dir: Path, whole: Path) -> None:
    """Weights, moments, random numbers, average, standing statistics; and what was written of them."""
    mine, other = (run / "checkpoints" / f"{STEPS:06d}" for run in (run_dir, whole))
    files = sorted(path.name for path in other.iterdir())
    assert {"generator.safetensors", "standing.safetensors", "state.safetensors"} < set(files)
    assert sorted(path.name for path in mine.iterdir()) == files
    differing = [
        name
        for name in files
        if name != "state.json" and (mine / name).read_bytes() != (other / name).read_bytes()
    ]
    assert differing == []
    assert facts(mine) == facts(other)
    assert RunDirectory(run_dir).grid(STEPS).read_bytes() == RunDirectory(whole).grid(STEPS).read_bytes()
    assert metrics(run_dir) == metrics(whole)
    assert list((run_dir / "checkpoints").glob("*.tmp")) == []


def go_on(prepared: Path, run_dir: Path) -> list[StepReport]:
    reports: list[StepReport] = []
    summary = train(resumed_config(prepared, run_dir), resume=True, on_step=reports.append)
    assert summary is not None
    assert summary.steps == STEPS
    return reports


# Killed


@pytest.mark.parametrize(
    ("preset", "module", "name", "nth"),
    [
        ("fast", "torch.optim", "Adam.step", 52),  # D has moved in step 26, and G has not
        ("paper", "safetensors.torch", "save", 11),  # of the third checkpoint's four files two are there
    ],
    ids=["fast, in a step", "paper, in a checkpoint"],
)
def test_killed_in_the_middle(
    prepared: Path, whole: Path, tmp_path: Path, preset: str, module: str, name: str, nth: int
) -> None:
    run_dir = tmp_path / "run"
    kill_at(module, name, nth, TRAIN, *command_line(preset, prepared, run_dir))
    assert names(run_dir) == ["000010", "000020"]
    assert (run_dir / "checkpoints" / "000030.tmp" / "generator.safetensors").exists() == (name == "save")
    assert go_on(prepared, run_dir)[0].step == 21
    assert_same_end(run_dir, whole)


@pytest.mark.parametrize("died_at", [0, 7])
def test_killed_before_its_first_checkpoint_it_begins_again(
    prepared: Path, paper_run: Path, tmp_path: Path, died_at: int
) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(paper_run, run.path)
    shutil.rmtree(run.checkpoints)
    run.return_to(died_at)
    assert go_on(prepared, run.path)[0].step == 1
    assert_same_end(run.path, paper_run)


# Damaged checkpoints


def up_to(whole: Path, step: int, run_dir: Path) -> list[Path]:
    """A copy of a run as it was some time after ``step``; returns its checkpoints."""
    shutil.copytree(whole, run_dir)
    for checkpoint in checkpoints_in(run_dir / "checkpoints"):
        if int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)
    return checkpoints_in(run_dir / "checkpoints")


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def damage_told(reports: list[StepReport]) -> list[str]:
    return [message for message in reports[0].messages if ": damaged (" in message]


@pytest.mark.parametrize(
    ("file", "share"),
    [
        ("generator.safetensors", 0.5),
        ("discriminator.safetensors", 0.999),
        ("state.safetensors", 0.9),
        ("standing.safetensors", 0.5),
        ("state.json", 0),
        ("state.json", 0.5),
    ],
)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    prepared: Path, paper_run: Path, tmp_path: Path, file: str, share: float
) -> None:
    run_dir = tmp_path / "run"
    newest = up_to(paper_run, 30, run_dir)[-1]
    assert newest.name == "000030"
    cut(newest / file, share)
    with (run_dir / "metrics.jsonl").open("a") as log:
        log.write('{"step": 41, "epo')  # what a kill may leave
    reports = go_on(prepared, run_dir)
    assert reports[0].step == 21
    (message,) = damage_told(reports)
    assert message.startswith(f"{newest}: damaged (")
    assert message.endswith("); going on from the checkpoint before it")
    events = RunDirectory(run_dir).read_events()
    assert [event["message"] for event in events if event["kind"] == "damaged checkpoint"] == [message]
    assert_same_end(run_dir, paper_run)


def test_two_damaged_checkpoints_one_of_them_in_its_average(
    prepared: Path, fast_run: Path, tmp_path: Path
) -> None:
    _, *damaged = up_to(fast_run, 30, tmp_path / "run")
    cut(damaged[0] / "average.safetensors", 0.5)
    (damaged[1] / "state.safetensors").unlink()
    reports = go_on(prepared, tmp_path / "run")
    assert reports[0].step == 11
    assert len(damage_told(reports)) == 2
    assert_same_end(tmp_path / "run", fast_run)


def test_all_checkpoints_damaged(prepared: Path, paper_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    saved = up_to(paper_run, 30, run_dir)
    for checkpoint in saved:
        cut(checkpoint / "generator.safetensors", 0.5)
    before = sorted((path, path.stat().st_size) for path in run_dir.rglob("*") if path.is_file())
    with pytest.raises(
        BadInput, match=r"checkpoints/000010: damaged \(SafetensorError: .*\); remove this dir"
    ):
        train(resumed_config(prepared, run_dir), resume=True)
    after = sorted((path, path.stat().st_size) for path in run_dir.rglob("*") if path.is_file())
    assert [entry for entry in after if entry[0].name != ".lock"] == [
        entry for entry in before if entry[0].name != ".lock"
    ]


def test_killed_before_old_checkpoints_were_removed(prepared: Path, paper_run: Path, tmp_path: Path) -> None:
    """After the last one was written: nothing is left to train, but something to tidy."""
    run_dir = tmp_path / "run"
    shutil.copytree(paper_run, run_dir)
    assert len(names(run_dir)) == 4
    summary = train(resumed_config(prepared, run_dir, keep_checkpoints=1), resume=True)
    best = min(checkpoints_in(paper_run / "checkpoints"), key=lambda path: facts(path)["score"])
    assert summary.steps == STEPS
    assert set(names(run_dir)) <= {best.name, f"{STEPS:06d}"}
    assert_same_end(run_dir, paper_run)


# Interrupted


def test_sigterm_saves_the_step_in_hand(prepared: Path, paper_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = command_line("paper", prepared, run_dir)
    with started(WAIT_AT + TRAIN, "torch.optim", "Adam.step", "23", *arguments) as process:
        wait_until_there(process)
        process.terminate()
        stdout, stderr = process.communicate(timeout=PATIENCE_S)  # lets it go on
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == (
        f"interrupted: step 23 is saved in {run_dir}/checkpoints; --resume goes on"
    )
    assert "Traceback" not in stderr
    assert names(run_dir) == ["000010", "000020", "000023"]
    assert open_sampler(run_dir, device="cpu").trained.weights.name == "000023"
    assert go_on(prepared, run_dir)[0].step == 24
    assert_same_end(run_dir, paper_run)


def test_sigterm_may_be_said_twice() -> None:
    """By a scheduler to all processes of a job, and by torchrun to its own: nothing is lost by the second."""
    with deferred_interrupts() as pending:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert pending.is_set()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_does_not_save_what_a_failure_has_spoilt(prepared: Path, tmp_path: Path) -> None:
    """Updates were skipped since, and no line of the log was due that would have shown it."""
    config = TrainConfig.of_preset(
        **{**settings("paper"), "learning_rate": 1e30},
        prepared=prepared,
        run_dir=tmp_path / "run",
        log_every=1000,
    )

    def interrupt(report: StepReport) -> None:
        if report.step == 8:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingStopped, match=r"at step [2-8], which was not applied; last checkpoint: none"):
        train(config, on_step=interrupt)
    assert names(config.run_dir) == []


# Out of disk


def run_on_little_disk(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LITTLE_DISK, str(limit), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_out_of_disk_the_last_good_checkpoint_stays(prepared: Path, paper_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    good = up_to(paper_run, 20, run_dir)[-1]
    limit = (good / "state.safetensors").stat().st_size - 1  # all but the largest file fit
    arguments = command_line("paper", prepared, run_dir, "--resume")
    done = run_on_little_disk(limit, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"error: {run_dir}/checkpoints/000030: cannot be written (File too large); last checkpoint: {good}; "
        "free some space and go on with --resume"
    )
    assert [path.name for path in sorted((run_dir / "checkpoints").iterdir())] == ["000010", "000020"]
    assert list(run_dir.rglob("*.tmp")) == []
    images = open_sampler(run_dir, device="cpu").draw(1)
    assert next(iter(images)).shape == (1, 32, 32, 3)
    assert go_on(prepared, run_dir)[0].step == 21
    assert_same_end(run_dir, paper_run)
