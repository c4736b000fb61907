"""The appendix's test on a small MNIST: by real digits, and by a run's samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_mnist import mnist_app
from dcgan_data.errors import BadInput, BadRequest, DcganDataError
from dcgan_data.evaluate.figure import read_figure
from dcgan_data.evaluate.mnist import classification
from dcgan_data.evaluate.mnist.classification import MnistSettings, evaluate_mnist
from dcgan_data.evaluate.mnist.idx import read_test_digits, read_training_digits
from dcgan_data.evaluate.mnist.result import Generated, Misclassified, MnistResult
from dcgan_data.evaluate.mnist.table import mnist_figure, mnist_table
from dcgan_data.evaluate.place import Place
from dcgan_data.reporter import SilentReporter, Stage
from dcgan_data.train.conditional import settings
from dcgan_data.train.conditional.labelled import LabelledImages
from dcgan_data.train.conditional.sampler import open_conditional

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data" / "mnist"


def evaluated(run_dir: Path | None, data: Path, **changes: Any) -> MnistResult:
    asked = MnistSettings(**{"data": data, "samples": (30, 700), "device": "cpu", **changes})
    return evaluate_mnist(run_dir, asked, SilentReporter())


def wrong_of(references: LabelledImages, test: LabelledImages) -> int:
    apart = test.images.reshape(len(test), 1, -1).astype(float) - references.images.reshape(
        len(references), -1
    )
    said = references.labels[(apart**2).sum(2).argmin(1)]
    return int((said != test.labels).sum())


@pytest.fixture
def harder(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits of which the first 40 do not teach as much as all."""
    monkeypatch.setattr(classification, "PAPERS_COUNT", 40)
    training = read_training_digits(mnist)
    path = mnist / "train-labels-idx1-ubyte.gz"
    path.unlink()
    labels = np.where(np.arange(60) < 40, training.labels // 2 * 2, training.labels).astype(np.uint8)
    (mnist / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x3c" + labels.tobytes())
    return mnist


def test_real_digits_alone(harder: Path, tmp_path: Path) -> None:
    result = evaluated(None, harder, out=tmp_path / "results")
    training, test = read_training_digits(harder), read_test_digits(harder)
    expected = [(count, wrong_of(training[:count], test)) for count in (40, 60)]
    assert [(rate.references, rate.wrong) for rate in result.real] == expected
    assert expected[0][1] > expected[1][1]
    assert [rate.percent for rate in result.real] == [100 * wrong / 20 for _, wrong in expected]
    assert result.generated is None
    assert json.loads((tmp_path / "results" / "real.json").read_text())["real"][0]["references"] == 40
    assert evaluated(None, harder).file is None


def test_a_runs_samples(mnist: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluated(trained, mnist, out=tmp_path)
    chunks = list(open_conditional(trained, "last", torch.device("cpu")).draw(700))
    samples = LabelledImages(
        np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks])
    )
    assert result.generated is not None
    found = [(rate.references, rate.wrong) for rate in result.generated.errors]
    assert found == [(count, wrong_of(samples[:count], read_test_digits(mnist))) for count in (30, 700)]
    assert (result.generated.step, result.generated.epochs) == (14, 2.0)
    assert result.file == str(tmp_path / "step-000014.json")
    assert json.loads(Path(result.file).read_text())["generated"]["step"] == 14
    again = evaluated(trained, mnist, out=tmp_path / "again", samples=(30,))
    assert again.generated is not None and again.generated.errors == result.generated.errors[:1]


def test_the_picture_has_real_digits_beside_generated_ones(
    mnist: Path, trained: Path, tmp_path: Path
) -> None:
    evaluated(trained, mnist, out=tmp_path)
    with Image.open(tmp_path / "step-000014.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels.shape == (616, 1180)
    training = read_training_digits(mnist)
    row, column = 3, 4  # the fifth image of a 3
    left, top = 20 + 56 * column, 36 + 56 * row
    cell = pixels[top : top + 56 : 2, left : left + 56 : 2]
    np.testing.assert_array_equal(cell, training.images[training.labels == 3][4])
    generated = open_conditional(trained, "last", torch.device("cpu")).rows(10)
    cell = pixels[top : top + 56 : 2, left + 580 : left + 636 : 2]
    np.testing.assert_array_equal(cell, generated[10 * row + column])


def test_progress_is_told(mnist: Path, trained: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Listening(SilentReporter):
        @contextmanager
        def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
            done = [0]

            class Counting:
                def advance(self, amount: int, note: str = "") -> None:
                    done[0] += amount

            yield Counting()
            assert done[0] == total
            told.append((name, total))

    evaluate_mnist(trained, MnistSettings(mnist, samples=(700,), device="cpu", out=tmp_path), Listening())
    assert told == [("real", 60), ("samples", 700)]


def test_the_table_has_the_papers_rows_and_ours(mnist: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluated(trained, mnist, out=tmp_path)
    text = mnist_table(result)
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["references"] == ["references", "30", "60", "700", "50,000", "10,000,000"]
    assert rows["DCGAN"][1:] == ["paper", "-", "-", "-", "2.98", "1.48"]
    assert rows["GAN"][1:] == ["paper", "-", "-", "-", "6.28", "5.65"]
    assert rows["real data"][-2:] == ["3.1", "-"]
    assert result.generated is not None
    ours = next(line for line in text.splitlines() if line.startswith(f"{trained}, step 14 (2 epochs)"))
    cells = [f"{rate.percent:.2f} +- {rate.spread:.2f}" for rate in result.generated.errors]
    assert ours.split()[-10:] == ["ours", *cells[0].split(), "-", *cells[1].split(), "-", "-"]
    assert f"look: {result.generated.picture}" in text and f"data: {result.file}" in text


def test_each_of_our_rows_has_its_own_spread() -> None:
    """The papers' 3.1 % of real digits is known three times better than a poor model's 49.9 %."""
    real, drawn = Misclassified.of(50_000, 310, 10_000), Misclassified.of(50_000, 4990, 10_000)
    assert (real.percent, drawn.percent) == pytest.approx((3.1, 49.9))
    assert (real.spread, drawn.spread) == pytest.approx((0.33970, 0.98000), abs=1e-5)
    run = Generated("runs/m", 7, 1.0, 0, (drawn,), "runs/m/mnist/7.png")
    result = MnistResult(10_000, (real,), run, None)
    text = mnist_table(result)
    assert "3.10 +- 0.34" in text and "49.90 +- 0.98" in text
    told = "so much would other 10,000 test images change a number of ours (95 %); the chance of the drawn "
    assert told + "samples is not in it." in text
    assert told in mnist_figure(result).caption


def test_the_figure(mnist: Path, trained: Path, tmp_path: Path) -> None:
    figure = mnist_figure(evaluated(trained, mnist, out=tmp_path))
    assert figure.pictures == (tmp_path / "step-000014.png",)
    assert ("DCGAN", "paper", "-", "-", "-", "2.98", "1.48") in figure.numbers
    assert figure.numbers[-1][0].startswith(f"{trained}, step 14")
    assert read_figure(Place(tmp_path, "step-000014")) == figure
    assert mnist_figure(evaluated(None, mnist)).pictures == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"samples": (0,)}, "--samples 0: expected 1 to 268,435,456, each"),
        ({"samples": ()}, "--samples none: expected 1 to 268,435,456, each"),
        ({"samples": (5, 1 << 29)}, "--samples 5 536870912: expected"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_settings_are_checked(mnist: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        MnistSettings(**{"data": mnist, **changes})


def test_who_cannot_write_is_told_before_the_work(mnist: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadRequest, match=r"file: cannot be written \(.*\); choose another --out"):
        evaluated(trained, mnist, out=tmp_path / "file")


def test_an_ordinary_run_is_refused(mnist: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"schema_version": 2, "config": {}}')
    told = "a run of another kind, not of the conditional MNIST model; 'dcgan-data mnist train"
    with pytest.raises(BadInput, match=f"{tmp_path}: {told}"):
        evaluated(tmp_path, mnist)


# The command line


@pytest.fixture
def say() -> Callable[..., str]:
    """Run a command; returns what it prints, or raises what it raised."""

    def run(*words: object) -> str:
        result = CliRunner().invoke(mnist_app, [str(word) for word in words])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return run


def test_the_command_trains_and_evaluates(
    mnist: Path, tmp_path: Path, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PRESETS", {"paper": {"z_dim": 3, "filters": 2, "units": 4}})
    run = tmp_path / "run"
    options = ["--epochs", 1, "--decay-epochs", 0, "--batch-size", 25, "--held-out", 10, "--device", "cpu"]
    said = say("train", "--data", mnist, "--run-dir", run, *options)
    assert f"{run}: 2 steps, this time" in said
    assert f"look: {run}/samples/000002.png" in said
    said = say("train", "--data", mnist, "--run-dir", run, "--resume", "--epochs", 2, "--json")
    assert json.loads(said)["steps"] == 4
    said = say(
        "evaluate", run, "--data", mnist, "--samples", 50, "--samples", 20, "--device", "cpu", "--json"
    )
    rates = json.loads(said)["generated"]["errors"]
    assert [rate["references"] for rate in rates] == [20, 50]
    assert (run / "mnist" / "step-000004.png").exists()


def test_help_says_where_drawing_differs_from_the_authors(say: Callable[..., str]) -> None:
    said = " ".join(say("train", "--help").split())
    assert "Unlike the authors' script, which always draws by the statistics of the batch, batch norm" in said
    assert "791, 769, 797 of the 10,000 test images wrong" in said


def test_errors_of_the_command_are_for_people(mnist: Path, tmp_path: Path, say: Callable[..., str]) -> None:
    with pytest.raises(DcganDataError, match="has no train-images"):
        say("evaluate", "--data", tmp_path)
    with pytest.raises(DcganDataError, match="not a run directory"):
        say("evaluate", tmp_path, "--data", mnist)
    with pytest.raises(DcganDataError, match="not a run directory"):
        say("train", "--data", mnist, "--run-dir", tmp_path, "--resume")
    with pytest.raises(DcganDataError, match="preset='best': must be one of paper, quick"):
        say("train", "--data", mnist, "--run-dir", tmp_path / "run", "--preset", "best")


# The real thing


def test_some_of_the_real_digits() -> None:
    """All of them take half a minute: 3.34 % errors by the first 50,000, 3.09 % by all 60,000."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data/mnist")
    training, test = read_training_digits(SHARED), read_test_digits(SHARED)
    assert (len(training), len(test)) == (60_000, 10_000)
    assert training.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    judge = classification.NearestErrors(test[:100], [1000], torch.device("cpu"))
    judge.add(training[:1000])
    assert judge.errors[1000] == wrong_of(training[:1000], test[:100]) == 17
