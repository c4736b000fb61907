"""SVHN with 1,000 labels: held against an independent computation; draws, parts, bad files, the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from sklearn.utils import shuffle
from typer.testing import CliRunner

from dcgan_data.cli_probe import probe_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.probe import svhn, svhn_draws, svhn_linear
from dcgan_data.evaluate.probe.supervised import HyperParameters, Outcome
from dcgan_data.evaluate.probe.supervised_search import SupervisedResult, Trial
from dcgan_data.evaluate.probe.svhn import probe_svhn
from dcgan_data.evaluate.probe.svhn_data import draw_labels, read_svhn
from dcgan_data.evaluate.probe.svhn_linear import ErrorRate, LinearResult, TriedCost
from dcgan_data.evaluate.probe.svhn_result import SvhnResult
from dcgan_data.evaluate.probe.svhn_seeds import Purpose, rng_of
from dcgan_data.evaluate.probe.svhn_settings import COSTS, SvhnSettings
from dcgan_data.evaluate.probe.svhn_table import svhn_figure, svhn_table, warnings_of
from dcgan_data.train.models import Discriminator
from dcgan_data.train.trained import open_trained

TRAIN, TEST, VALIDATION = 1400, 150, 200
Write = Callable[..., Path]


def digits(count: int, seed: int) -> dict[str, np.ndarray]:
    """X and y as SVHN's files hold them: colours that tell the digit, the digit 0 labelled 10."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 10)
    colours = np.random.default_rng(99).integers(40, 216, (10, 3))
    noise = rng.normal(0, 60, (count, 32, 32, 3)) + rng.normal(0, 60, (count, 1, 1, 3))
    images = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    return {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None]}


def write(directory: Path, train: dict[str, Any], test: dict[str, Any]) -> Path:
    directory.mkdir(exist_ok=True)
    for name, variables in (("train", train), ("test", test)):
        scipy.io.savemat(directory / f"{name}_32x32.mat", variables)
    return directory


@pytest.fixture
def one_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one C to try, where it does not matter."""
    monkeypatch.setattr(svhn_linear, "COSTS", (1e-3,))


@pytest.fixture(scope="module")
def svhn_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("svhn") / "svhn", digits(TRAIN, 0), digits(TEST, 1))


def settings(data: Path, out: Path, **changes: Any) -> SvhnSettings:
    few = {"validation": VALIDATION, "draws": 3, "search_draws": 1, "device": "cpu", "out": out}
    return SvhnSettings(data, **{**few, **changes})


def plain_features(model: Discriminator, images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The script's, written down once more: float32 (N, F)."""
    statistics: list[list[tuple[torch.Tensor, torch.Tensor]]] = []

    def forward(pixels: np.ndarray, means: list[tuple[torch.Tensor, torch.Tensor]] | None) -> list[Any]:
        maps = torch.from_numpy(pixels.transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
        seen, pooled = [], []
        for stage in model.stages:
            maps = F.conv2d(maps, stage.conv.weight, stride=2, padding=2)
            if stage.norm is not None:
                mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
                seen.append((mean, variance))
                if means:
                    mean, variance = means[len(seen) - 1]
                scaled = (maps - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-8)
                maps = scaled * stage.norm.weight[:, None, None] + stage.norm.bias[:, None, None]
            maps = torch.where(maps > 0, maps, 0.2 * maps)
            n, c, side, _ = maps.shape
            cells = maps.reshape(n, c, 4, side // 4, 4, side // 4)
            pooled.append(cells.amax((3, 5)).reshape(n, -1).numpy())
        return [seen, np.concatenate(pooled, axis=1)]

    with torch.no_grad():
        for start in range(0, len(train), 128):
            statistics.append(forward(train[start : start + 128], None)[0])
        means = [
            tuple(torch.stack([batch[layer][of] for batch in statistics]).mean(0) for of in (0, 1))
            for layer in range(len(statistics[0]))
        ]
        found: np.ndarray = forward(images, means)[1]
    return found


def test_the_whole_protocol_by_other_means(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any
) -> None:
    """Plain numpy, torch's conv2d and scikit-learn; only the draws are taken from the code that is tested."""
    result = probe_svhn(run, settings(svhn_files, tmp_path / "out"), reporter)
    parts = {}
    for name in ("train", "test"):
        found = scipy.io.loadmat(svhn_files / f"{name}_32x32.mat")
        parts[name] = found["X"].transpose(3, 0, 1, 2), found["y"].ravel() % 10
    order = shuffle(np.arange(TRAIN), random_state=np.random.RandomState(42))  # as the script does
    train, labels = (values[order[VALIDATION:]] for values in parts["train"])
    judged = [(values[order[:VALIDATION]]) for values in parts["train"]]
    model = open_trained(run).discriminator(torch.device("cpu"))
    seen = plain_features(model, train, train)
    assert seen.shape == (1200, (2 + 4 + 8) * 16)
    assert (result.linear.features, result.training_images, result.test_images) == (224, 1200, TEST)

    def errors(cost: float, rng: np.random.Generator) -> list[float]:
        rows = draw_labels(data.train, rng)
        machine = LinearSVC(C=cost, dual=True, random_state=int(rng.integers(2**31)))
        machine.fit(seen[rows], labels[rows])
        parts_of = [(seen[rows], labels[rows]), (held, judged[1]), (tested, parts["test"][1])]
        return [100 * float((machine.predict(features) != true).mean()) for features, true in parts_of]

    data = read_svhn(svhn_files, VALIDATION, reporter)
    np.testing.assert_array_equal(data.train.images, train)
    np.testing.assert_array_equal(data.train.labels, labels)
    np.testing.assert_array_equal(data.validation.labels, judged[1])
    held, tested = (plain_features(model, images, train) for images in (judged[0], parts["test"][0]))
    tried = [errors(cost, rng_of(0, Purpose.CHOOSE_COST, place, 0)) for place, cost in enumerate(COSTS)]
    best = COSTS[int(np.argmin([found[1] for found in tried]))]
    assert result.linear.cost == best
    for found, own in zip(tried, result.linear.tried, strict=True):
        assert own.train.mean == pytest.approx(found[0], abs=0.11), "an image of 1,000"
        assert own.validation.mean == pytest.approx(found[1], abs=0.51), "an image of 200"
        assert own.validation.spread == 0
    measured = np.array([errors(best, rng_of(0, Purpose.MEASURE, n)) for n in range(3)])
    for column, own in enumerate((result.linear.train, result.linear.validation, result.linear.test)):
        assert own.mean == pytest.approx(measured[:, column].mean(), abs=0.4)
        assert own.spread == pytest.approx(1.96 * measured[:, column].std(ddof=0), abs=0.8)
    assert 5 < result.linear.test.mean < 85, "or nothing was compared"
    assert len({found[1] for found in tried}) > 2


def test_the_spread_is_1_96_standard_deviations_of_a_population() -> None:
    rate = svhn_linear._percent(np.array([0.1, 0.2, 0.6]))
    assert rate.mean == pytest.approx(30)
    assert rate.spread == pytest.approx(1.96 * (1400 / 3) ** 0.5)


def test_draws_are_of_100_a_digit_and_never_the_same(svhn_files: Path, reporter: Any) -> None:
    train = read_svhn(svhn_files, VALIDATION, reporter).train
    draws = [draw_labels(train, rng_of(0, Purpose.MEASURE, n)) for n in range(3)]
    draws += [draw_labels(train, rng_of(0, Purpose.CHOOSE_COST, place, 0)) for place in (0, 1)]
    draws.append(draw_labels(train, rng_of(1, Purpose.MEASURE, 0)))
    for rows in draws:
        assert len(set(rows.tolist())) == 1000
        assert np.bincount(train.labels[rows]).tolist() == [100] * 10
    assert len({rows.tobytes() for rows in draws}) == len(draws)
    again = draw_labels(train, rng_of(0, Purpose.MEASURE, 0))
    np.testing.assert_array_equal(again, draws[0])


@pytest.mark.usefixtures("one_cost")
def test_the_same_bytes_whatever_the_number_of_workers(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any
) -> None:
    """Features and networks; real trials, alone, or two at a time in processes of their own."""
    found = []
    for workers in (1, 2):
        out = tmp_path / "out"
        chosen = settings(
            svhn_files, out, draws=2, supervised=True, trials=2, epochs=1, workers=workers, seed=4
        )
        result = probe_svhn(run, chosen, reporter)
        assert result.supervised is not None and all(trial.outcome for trial in result.supervised.trials)
        found.append((out / "step-000002.json").read_bytes())
        trials = (out / "step-000002-trials.jsonl").read_text().splitlines()
        found.append(sorted(trials))
        (out / "step-000002-trials.jsonl").unlink()
    assert found[:2] == found[2:]
    assert reporter.stages["choose C"] == 1 and reporter.stages["draws"] == 2
    assert (reporter.stages["statistics"], reporter.stages["validation"]) == (1200, VALIDATION)


@pytest.mark.usefixtures("one_cost")
def test_the_result_is_kept_before_the_search(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(svhn, "search_supervised", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe_svhn(run, settings(svhn_files, tmp_path / "out", draws=2, supervised=True), reporter)
    kept = json.loads((tmp_path / "out" / "step-000002.json").read_text())
    assert kept["supervised"] is None and kept["linear"]["draws"] == 2
    assert kept["file"] == str(tmp_path / "out" / "step-000002.json")


@pytest.mark.usefixtures("one_cost")
def test_features_that_are_too_many_to_keep_are_computed_again(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = probe_svhn(run, settings(svhn_files, tmp_path / "out", draws=2), reporter)
    monkeypatch.setattr(svhn_draws, "_KEPT_BYTES", 1000)
    monkeypatch.setattr(svhn_draws, "_BLOCK_BYTES", 1000)
    assert probe_svhn(run, settings(svhn_files, tmp_path / "out", draws=2), reporter) == kept


def test_missing_files_are_named(tmp_path: Path, run: Path, svhn_files: Path, reporter: Any) -> None:
    with pytest.raises(BadInput, match=r"away/train_32x32\.mat: no such file; get .* from http://ufldl"):
        probe_svhn(run, settings(tmp_path / "away", tmp_path / "out"), reporter)
    data = tmp_path / "data"
    data.mkdir()
    (data / "train_32x32.mat").symlink_to(svhn_files / "train_32x32.mat")
    with pytest.raises(BadInput, match=r"test_32x32\.mat: no such file; get train_32x32\.mat and test"):
        probe_svhn(run, settings(data, tmp_path / "out"), reporter)
    assert not (tmp_path / "out").exists()


def test_damaged_files_are_named(tmp_path: Path, run: Path, svhn_files: Path, reporter: Any) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train_32x32.mat").write_bytes((svhn_files / "train_32x32.mat").read_bytes()[:100_000])
    (data / "test_32x32.mat").symlink_to(svhn_files / "test_32x32.mat")
    with pytest.raises(BadInput, match=r"train_32x32\.mat: .*fetch it again"):
        probe_svhn(run, settings(data, tmp_path / "out"), reporter)


def test_a_digit_that_is_missing(tmp_path: Path, run: Path, reporter: Any) -> None:
    train = digits(TRAIN, 0)
    train["y"][train["y"] == 7] = 8
    data = write(tmp_path / "data", train, digits(TEST, 1))
    with pytest.raises(BadInput, match=r"train_32x32\.mat: has no image of class 7"):
        probe_svhn(run, settings(data, tmp_path / "out"), reporter)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (
            600,
            r"train_32x32\.mat: \d\d images of the digit \d are left beside the 600 for validation, the pr",
        ),
        (1400, r"--validation 1400: .*train_32x32\.mat has 1,400 images in all; give fewer"),
        (10_000, r"--validation 10000: .*train_32x32\.mat has 1,400 images in all; give fewer"),
    ],
)
def test_a_validation_set_that_is_too_large(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any, validation: int, message: str
) -> None:
    with pytest.raises((BadInput, BadRequest), match=message):
        probe_svhn(run, settings(svhn_files, tmp_path / "out", validation=validation), reporter)


@pytest.mark.parametrize("name", ["validation", "draws", "search_draws", "trials", "workers"])
def test_impossible_numbers(tmp_path: Path, name: str) -> None:
    least = 2 if name == "draws" else 1  # a single draw has no spread
    with pytest.raises(BadRequest, match=rf"--{name.replace('_', '-')} 0: expected {least} or more"):
        settings(tmp_path, tmp_path, **{name: 0})


def test_a_model_of_another_size(
    tmp_path: Path, run: Path, svhn_files: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = open_trained(run)
    larger = replace(trained, shape=replace(trained.shape, image_size=64))
    monkeypatch.setattr(svhn, "open_trained", lambda *_: larger)
    with pytest.raises(BadRequest, match=r"a model of 64x64 images, SVHN's have 32x32; probe one that"):
        probe_svhn(run, settings(svhn_files, tmp_path / "out"), reporter)


def test_a_run_without_a_discriminator(tmp_path: Path, run: Path, svhn_files: Path, reporter: Any) -> None:
    for file in run.glob("checkpoints/*/discriminator.safetensors"):
        file.unlink()
    with pytest.raises(BadInput, match=r"has no discriminator\.safetensors"):
        probe_svhn(run, settings(svhn_files, tmp_path / "out"), reporter)


def result_of(**changes: Any) -> SvhnResult:
    rate = ErrorRate(31.254, 1.257)
    linear = LinearResult(
        features=7168,
        search_draws=10,
        tried=tuple(TriedCost(cost, ErrorRate(9.5, 0.5), rate) for cost in COSTS),
        cost=1e-3,
        draws=100,
        train=ErrorRate(0.0, 0.0),
        validation=rate,
        test=ErrorRate(29.5, 0.75),
        unfinished=0,
    )
    whole = SvhnResult("runs/x, step 3,000", 63_257, 10_000, 26_032, 0, linear, None, "x.json")
    return replace(whole, **changes)


def test_the_table_has_the_papers_rows_and_ours() -> None:
    table = svhn_table(result_of())
    lines = table.splitlines()
    assert lines[0] == "runs/x, step 3,000: SVHN with 1,000 labels, by 7,168 features of D"
    assert "0.0001   9.50 +- 0.50   31.25 +- 1.26" in lines
    assert "C = 0.001 has the lowest mean validation error" in lines
    assert "DCGAN + L2-SVM, the paper's" + " " * 37 + "22.48" in lines
    assert "* DCGAN + L2-SVM" + " " * 32 + "31.25 +- 1.26   29.50 +- 0.75" in lines
    column = lines[-4].index("29.50")
    assert all(
        line[column : column + 5] == number for line, number in zip(lines[15:23], NUMBERS, strict=True)
    )
    assert "warning" not in table and lines[-1] == "data: x.json"


NUMBERS = ["77.93", "66.55", "65.63", "54.33", "36.02", "27.83", "23.56", "22.48"]


def test_what_is_not_the_papers_protocol_is_said() -> None:
    assert warnings_of(result_of()) == []
    linear = replace(result_of().linear, draws=5, search_draws=2, unfinished=3)
    assert warnings_of(result_of(linear=linear, validation_images=9_000, training_images=1000)) == [
        "5 draws, the paper's protocol has 100",
        "2 draws for each C, the paper's protocol has 10",
        "9,000 validation images, the paper's protocol has 10,000",
        "not SVHN's own files of 73,257 and 26,032 images, but 10,000 and 26,032",
        "LinearSVC stopped at 1,000 rounds for 3 of 19 classifiers",
    ]


def test_the_supervised_network_has_a_row() -> None:
    hyper = HyperParameters(0.00123, 0.5, 2e-5, 64, 0.25)
    best = Trial(7, hyper, Outcome(35, 41.5, 40.25, 0.0))
    search = SupervisedResult((Trial(2, hyper, None), best), best, "trials.jsonl")
    table = svhn_table(result_of(supervised=search))
    assert "* supervised CNN, same architecture" + " " * 13 + "41.50" + " " * 11 + "40.25" in table
    assert "best of 2 trials on the validation images, number 7, after 35 epochs:" in table
    assert "learning rate 0.0012, beta1 0.5, L2 2e-05, batch 64, dropout 0.25\n" in table
    assert "warning: 2 trials, the paper's protocol has 64\n" in table
    assert table.endswith("\ntrials: trials.jsonl\ndata: x.json")
    assert "1 of 2 trials learnt nothing: no finite loss" in table
    nothing = svhn_table(result_of(supervised=replace(search, best=None)))
    assert "* supervised CNN" not in nothing


def test_the_figure_has_the_same_numbers() -> None:
    figure = svhn_figure(result_of())
    assert figure.paper == "table 2" and figure.pictures == ()
    numbers = dict(figure.numbers)
    assert numbers["* DCGAN + L2-SVM"] == "test 29.50 +- 0.75 %, validation 31.25 +- 1.26 %"
    assert numbers["DCGAN + L2-SVM, the paper's"] == "test 22.48 %"
    assert len(numbers) == 10


@pytest.mark.usefixtures("one_cost")
def test_the_command(tmp_path: Path, run: Path, svhn_files: Path) -> None:
    few = ["--validation", str(VALIDATION), "--draws", "2", "--search-draws", "1"]
    options = ["--data", str(svhn_files), *few, "--workers", "1", "--device", "cpu"]
    shown = CliRunner().invoke(probe_app, ["svhn", str(run), *options])
    assert shown.exit_code == 0, shown.stderr
    assert f"{run}, step 2: SVHN with 1,000 labels, by 224 features of D" in shown.stdout
    assert f"data: {run / 'probe-svhn' / 'step-000002.json'}" in shown.stdout
    elsewhere = ["--out", str(tmp_path / "out"), "--seed", "0", "--json"]
    values = json.loads(CliRunner().invoke(probe_app, ["svhn", str(run), *options, *elsewhere]).stdout)
    kept = json.loads((run / "probe-svhn" / "step-000002.json").read_text())
    assert values == {**kept, "file": str(tmp_path / "out" / "step-000002.json")}
    assert f"{values['linear']['test']['mean']:.2f} +- " in shown.stdout
