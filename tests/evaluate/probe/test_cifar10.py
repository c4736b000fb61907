"""The CIFAR-10 probe, from a run and a set of small pictures to the table; what it refuses and warns of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from dcgan_data.cli_probe import probe_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.features_of import discriminator_features, with_statistics
from dcgan_data.evaluate.figure import read_figure
from dcgan_data.evaluate.place import place_of
from dcgan_data.evaluate.probe import choosing, cifar10, scoring
from dcgan_data.evaluate.probe.choosing import Choice, Tried
from dcgan_data.evaluate.probe.cifar10 import probe_cifar10
from dcgan_data.evaluate.probe.cifar10_result import Cifar10Result, Cifar10Settings, FeatureScore, FewLabels
from dcgan_data.evaluate.probe.feature_kinds import pixels_kind, random_kind, trained_kind
from dcgan_data.evaluate.probe.labelled import Labelled, find_splits, read_labelled
from dcgan_data.evaluate.probe.linear_svm import one_versus_rest
from dcgan_data.evaluate.probe.probe_table import PAPER, cifar10_figure, cifar10_table, warnings_of
from dcgan_data.evaluate.probe.strata import draw_of_each
from dcgan_data.train.trained import open_trained

CLASSES, EACH, TESTED, FEW = 3, 20, 6, 10
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, encoded: Callable[..., bytes]) -> Path:
    """20 training and 6 test images of each of 3 classes, which differ in colour, with much noise."""
    root, rng = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    colours = rng.integers(90, 166, (CLASSES, 3))
    for split, count in (("train", EACH), ("test", TESTED)):
        for label, colour in enumerate(colours):
            for number in range(count):
                pixels = colour + rng.normal(0, 40, (1, 1, 3)) + rng.normal(0, 30, (32, 32, 3))
                path = root / split / f"{label}" / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(np.clip(pixels, 0, 255).astype(np.uint8)))
    return root


@pytest.fixture(autouse=True)
def few_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 labels a class in place of 400."""
    monkeypatch.setattr(scoring, "PER_CLASS", FEW)


def settings(data: Path, **changes: Any) -> Cifar10Settings:
    small = {"data": data, "device": "cpu", "kmeans": 3, "draws": 2}
    return Cifar10Settings(**{**small, **changes})


def both(data: Path, reporter: Any) -> tuple[Labelled, Labelled]:
    splits = find_splits(data)
    return read_labelled(splits.train, 32, reporter), read_labelled(splits.test, 32, reporter)


def test_it_measures_all_kinds_of_features(run: Path, pictures: Path, reporter: Any) -> None:
    result = probe_cifar10(run, settings(pictures), reporter)
    assert [score.name for score in result.scores] == [
        "DCGAN",
        "random weights",
        "raw pixels",
        "1 layer K-means, K = 3",
    ]
    assert [score.features for score in result.scores] == [(2 + 4 + 8) * 16] * 2 + [3072, 12]
    assert [score.largest_layer for score in result.scores] == [8, 8, None, 3]
    assert (result.training_images, result.available_images, result.test_images) == (60, 60, 18)
    assert result.classes == ("0", "1", "2") and result.trained_on.endswith("set")
    for score in result.scores:
        assert score.converged and score.gap <= 1e-3 and score.choice.images == 60
        assert score.few is not None and len(score.few.accuracies) == len(score.few.costs) == 2
        assert score.few.mean == pytest.approx(np.mean(score.few.accuracies))
        assert score.few.deviation == pytest.approx(np.std(score.few.accuracies, ddof=1))
    assert result.scores[2].accuracy > 0.6, "colours tell the classes"
    assert json.loads(Path(result.file).read_text()) == json.loads(json.dumps(asdict(result)))
    assert read_figure(place_of(open_trained(run), "probe-cifar10", None)) == cifar10_figure(result)
    assert reporter.stages["features"] == 78 and reporter.stages["10 labels"] == 2


def test_accuracies_are_those_of_linear_svc(run: Path, pictures: Path, reporter: Any) -> None:
    """All of the way, but for the choice of C: features, fit, and the count on the test images."""
    score = probe_cifar10(run, settings(pictures, kmeans=0, draws=0), reporter).scores[0]
    train, test = both(pictures, reporter)
    model = with_statistics(open_trained(run).discriminator(CPU), train.images)
    seen, asked = (discriminator_features(model, part.images).astype(float) for part in (train, test))
    svm = LinearSVC(C=score.choice.cost, tol=1e-8, max_iter=1_000_000).fit(seen, train.labels)
    assert score.accuracy == pytest.approx(svm.score(asked, test.labels), abs=1.01 / len(test))
    assert score.train_accuracy == pytest.approx(svm.score(seen, train.labels), abs=1.01 / len(train))
    assert score.few is None


def test_few_labels_are_drawn_anew_and_choose_their_own_cost(
    pictures: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other labels than those of the draw play no part, C included."""
    seen: list[np.ndarray] = []
    original = scoring.choose_cost

    def watched(features: torch.Tensor, labels: np.ndarray, *rest: Any) -> Choice:
        seen.append(features.numpy())
        return original(features, labels, *rest)

    monkeypatch.setattr(scoring, "choose_cost", watched)
    train, test = both(pictures, reporter)
    scoring.score_features(pixels_kind(32), train, test, settings(pictures, draws=3), CPU, reporter)
    whole, *drawn = seen
    assert len(whole) == 60 and len(drawn) == 3
    for number, features in enumerate(drawn):
        rng = scoring.rng_of(0, scoring.Purpose.FEW, number)
        assert np.array_equal(features, whole[draw_of_each(train.labels, FEW, rng)])
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_test_images_decide_nothing(run: Path, pictures: Path, reporter: Any) -> None:
    """Whatever their labels are, the same C and the same classifiers come out."""
    train, test = both(pictures, reporter)
    kind = trained_kind(open_trained(run).discriminator(CPU))
    wrong = replace(test, labels=(test.labels + 1) % CLASSES)
    scores = [
        scoring.score_features(kind, train, part, settings(pictures), CPU, reporter) for part in (test, wrong)
    ]
    assert scores[0].choice == scores[1].choice and scores[0].train_accuracy == scores[1].train_accuracy
    assert scores[0].accuracy != scores[1].accuracy


def test_the_same_seed_gives_the_same_bytes(run: Path, pictures: Path, reporter: Any) -> None:
    first = Path(probe_cifar10(run, settings(pictures), reporter).file).read_bytes()
    assert Path(probe_cifar10(run, settings(pictures), reporter).file).read_bytes() == first
    other = probe_cifar10(run, settings(pictures, seed=1), reporter)
    assert Path(other.file).read_bytes() != first


def test_random_weights_are_those_of_the_seed(run: Path, pictures: Path, reporter: Any) -> None:
    train, test = both(pictures, reporter)
    shape = open_trained(run).shape
    first, same, other = (
        random_kind(shape, seed, CPU).extract(train.images, test.images, reporter)[1] for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_pixels_are_scaled_as_the_discriminator_sees_them(reporter: Any) -> None:
    images = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 32, 32, 3)
    train, _ = pixels_kind(32).extract(images, images, reporter)
    assert train.dtype == np.float32 and train.shape == (2, 3072)
    assert train[0, :2].tolist() == pytest.approx([-1, 1 / 127.5 - 1]) and train.max() == 1


def test_a_limit_takes_every_class_its_share_and_is_said(run: Path, pictures: Path, reporter: Any) -> None:
    result = probe_cifar10(run, settings(pictures, limit=27, kmeans=0), reporter)
    assert (result.training_images, result.available_images, result.test_images) == (27, 60, 18)
    assert all(score.few is None for score in result.scores), "9 of each class are fewer than 10"
    table = cifar10_table(result)
    assert "warning: fitted on 27 of 60 training images (--limit)" in table
    assert (
        "27 labels" in table and "400 labels a class: not asked for, or there are not as many images" in table
    )
    with pytest.raises(BadRequest, match=r"--limit 61: .* has 60 training images; give fewer"):
        probe_cifar10(run, settings(pictures, limit=61), reporter)
    with pytest.raises(BadRequest, match=r"--limit 14: leaves 4 images of a class; 5 are needed"):
        probe_cifar10(run, settings(pictures, limit=14), reporter)


def test_cross_validation_is_on_a_part(
    run: Path, pictures: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A larger one where features are few."""
    monkeypatch.setattr(choosing, "_LEAST_IMAGES", 31)
    monkeypatch.setattr(choosing, "_NUMBERS", 40 * 224)
    result = probe_cifar10(run, settings(pictures, draws=0), reporter)
    assert [score.choice.images for score in result.scores] == [40, 40, 31, 60]
    assert "cross-validation on 31 to 60 training images" in cifar10_table(result)


def test_much_memory_is_told_before_it_is_taken(
    run: Path, pictures: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_WORTH_SAYING", 1e6)
    probe_cifar10(run, settings(pictures, kmeans=0, draws=0), reporter)
    # float32 of 60 + 18 images, 60 once more to choose C, and the 2,000 at most of the preconditioner
    gigabytes = 4 * 3072 * (60 + 18 + 60 + 2000) / 1e9
    assert any(
        f"raw pixels: 3,072 features of 78 images take {gigabytes:.1f} GB of memory" in said
        for said in reporter.said
    )


def test_a_run_without_a_discriminator(run: Path, pictures: Path, reporter: Any) -> None:
    next(run.glob("checkpoints/*/discriminator.safetensors")).unlink()
    with pytest.raises(BadInput, match=r"has no discriminator.safetensors"):
        probe_cifar10(run, settings(pictures), reporter)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": -1}, "--limit -1: expected 0 or more"),
        ({"kmeans": 4801}, "--kmeans 4801: expected 4800 at most, as in the paper"),
        ({"kmeans": -1}, "--kmeans -1: expected 0 or more"),
        ({"draws": 1}, "--draws 1: one draw has no spread; expected 2 or more, or 0 to leave them out"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Cifar10Settings(Path(), **changes)


def measured(**changes: Any) -> Cifar10Result:
    """A result as of the whole of CIFAR-10."""
    choice = Choice(1e-3, (Tried(1e-3, 0.7),), 10_000)
    few = FewLabels(400, (0.6, 0.62), (1e-3, 1e-3), 0.61, 0.014)
    score = FeatureScore("DCGAN", 512, 28_672, choice, 0.95, 0.8281, 1e-4, True, few)
    whole = Cifar10Result(
        "runs/x, step 10", "sets/x", 50_000, 50_000, 10_000, ("0", "1"), 0, "cpu", (score,), "x.json"
    )
    return replace(whole, **changes)


def test_the_table_has_the_papers_rows_and_ours() -> None:
    lines = cifar10_table(measured()).splitlines()
    assert " ".join(lines[2].split()) == "accuracy in % 50,000 labels 400 a class max units features C"
    assert " ".join(lines[3].split()) == "paper: 1 layer K-means 80.6 63.7 +- 0.7 4,800"
    assert " ".join(lines[7].split()) == "paper: DCGAN, trained on ImageNet-1k 82.8 73.8 +- 0.4 512"
    assert " ".join(lines[8].split()) == "ours: DCGAN 82.8 61.0 +- 1.4 512 28,672 0.001"
    assert "The paper's discriminator was trained on ImageNet-1k, this one on sets/x." in lines
    assert warnings_of(measured()) == []
    figure = cifar10_figure(measured())
    assert len(figure.numbers) == 1 + len(PAPER) + 1
    assert figure.numbers[-1] == ("ours: DCGAN", "82.8 %", "61.0 +- 1.4 %")


def test_what_is_not_as_it_should_be_is_warned_of() -> None:
    score = measured().scores[0]
    edge = replace(score, choice=Choice(100.0, (Tried(100.0, 0.7),), 10_000), converged=False, gap=0.02)
    found = warnings_of(measured(scores=(edge,), test_images=9_000, trained_on=""))
    assert "not CIFAR-10's 50,000 and 10,000 images, but 50,000 and 9,000" in found
    assert any("DCGAN: C = 100 is at the edge of what is tried, 1e-06 to 100" in text for text in found)
    assert any("DCGAN: a fit ended short of its tolerance (last gap: 2.0e-02)" in text for text in found)
    assert "this one on data that are not known here." in cifar10_table(measured(trained_on=""))


def test_signs_are_one_against_the_rest() -> None:
    assert one_versus_rest(np.array([1, 0]), 3).tolist() == [[-1, 1, -1], [1, -1, -1]]


def test_the_command_prints_a_table_or_json(run: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = ["cifar10", str(run), "--data", str(pictures), "--device", "cpu"]
    arguments += ["--kmeans", "0", "--draws", "0", "--limit", "30", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(probe_app, arguments)
    assert done.exit_code == 0, done.output
    assert "ours: raw pixels" in done.stdout and "paper: Exemplar CNN" in done.stdout
    values = json.loads(CliRunner().invoke(probe_app, [*arguments, "--json"]).stdout)
    assert [score["name"] for score in values["scores"]] == ["DCGAN", "random weights", "raw pixels"]
    assert (tmp_path / "out" / "step-000002.json").exists()
