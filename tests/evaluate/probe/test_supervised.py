"""The purely supervised network: D's architecture and weights, a fair judge, and a search that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan_data.evaluate.probe import supervised_search
from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.evaluate.probe.supervised import (
    HyperParameters,
    LabelNetwork,
    Lesson,
    Outcome,
    error_rate,
    train_network,
)
from dcgan_data.evaluate.probe.supervised_search import (
    SupervisedResult,
    draw_hyper_parameters,
    search_supervised,
)
from dcgan_data.evaluate.probe.svhn_data import SvhnData
from dcgan_data.evaluate.probe.svhn_settings import SvhnSettings
from dcgan_data.train.models import Discriminator, ModelShape, build
from dcgan_data.train.norm import measure_statistics

SHAPE = ModelShape(32, 2, 3)
CPU = torch.device("cpu")
HYPER = HyperParameters(learning_rate=5e-3, beta1=0.9, l2=1e-5, batch_size=32, dropout=0.1)


def digits(each: int, seed: int) -> Labelled:
    """Images whose colours tell the digit."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(10), each))
    colours = np.random.default_rng(99).integers(40, 216, (10, 3))
    noise = rng.normal(0, 25, (len(labels), 32, 32, 3))
    images = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    return Labelled(images, labels, tuple(map(str, range(10))))


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return Lesson(digits(10, 0), digits(5, 1), digits(6, 2), epochs=20)


def test_the_network_is_the_discriminator_with_ten_logits() -> None:
    network = LabelNetwork(SHAPE, torch.Generator().manual_seed(5))
    model = build(Discriminator, SHAPE, torch.Generator().manual_seed(5))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert network(images).shape == (4, 10)
    with torch.no_grad():  # the same below the logits: with D's own top it is D
        network.classify.weight = torch.nn.Parameter(model.classify.weight.expand(10, -1))
        torch.testing.assert_close(network(images), model(images)[:, None].expand(4, 10))


def test_its_top_has_the_same_initialisation() -> None:
    weight = LabelNetwork(ModelShape(32, 32, 3), torch.Generator().manual_seed(5)).classify.weight
    assert weight.shape == (10, 2048)
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)


def test_spectral_norm_is_left_out() -> None:
    network = LabelNetwork(replace(SHAPE, spectral_norm=True), torch.Generator().manual_seed(5))
    assert all("parametrizations" not in name for name, _ in network.named_parameters())


def test_an_image_is_judged_by_itself(lesson: Lesson) -> None:
    network = LabelNetwork(SHAPE, torch.Generator().manual_seed(5))
    pixels = torch.from_numpy(lesson.train.images).permute(0, 3, 1, 2) / 127.5 - 1
    statistics = measure_statistics(network, iter([pixels]))
    one_by_one = [
        error_rate(network, statistics, lesson.test.some(np.array([n]))) for n in range(len(lesson.test))
    ]
    assert error_rate(network, statistics, lesson.test) == pytest.approx(np.mean(one_by_one))


def test_it_learns_and_is_the_same_again(lesson: Lesson) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    outcome = train_network(SHAPE, lesson, HYPER, 1, CPU)
    assert outcome is not None
    assert outcome.train_error < 20 and outcome.validation_error < 30 and outcome.test_error < 40
    assert train_network(SHAPE, lesson, HYPER, 1, CPU) == outcome
    assert train_network(SHAPE, lesson, HYPER, 2, CPU) != outcome
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


def test_images_that_cannot_be_written_to(lesson: Lesson, recwarn: pytest.WarningsRecorder) -> None:
    """As a worker gets them: memory maps."""
    held = Labelled(lesson.test.images.copy(), lesson.test.labels, lesson.test.classes)
    held.images.flags.writeable = False
    assert train_network(SHAPE, Lesson(held, held, held, 1), HYPER, 1, CPU)
    assert not recwarn.list


def test_the_outcome_is_that_of_the_lowest_validation_error(lesson: Lesson) -> None:
    """Not that of the last epoch; and the first look at which it was reached."""
    long = train_network(SHAPE, replace(lesson, epochs=40), HYPER, 1, CPU)
    assert long is not None and long.epochs % 5 == 0
    again = train_network(SHAPE, replace(lesson, epochs=long.epochs), HYPER, 1, CPU)
    assert again == long
    if long.epochs > 5:
        earlier = train_network(SHAPE, replace(lesson, epochs=long.epochs - 5), HYPER, 1, CPU)
        assert earlier is not None and earlier.validation_error > long.validation_error


def test_training_ends_when_validation_no_longer_improves(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dcgan_data.evaluate.probe import supervised

    looks: list[int] = []

    def ever_worse(_network: Any, _statistics: Any, part: Labelled) -> float:
        looks.append(len(part))
        return float(10 + len(looks))

    monkeypatch.setattr(supervised, "error_rate", ever_worse)
    outcome = train_network(SHAPE, replace(lesson, epochs=1000), HYPER, 1, CPU)
    assert outcome is not None and (outcome.epochs, outcome.validation_error) == (5, 11)
    validation, rest = len(lesson.validation), [len(lesson.train), len(lesson.test)]
    assert looks == [validation] * 6 + rest, "a first look, five without a better one, and the last two"


def test_a_loss_that_is_not_finite_ends_a_trial(lesson: Lesson) -> None:
    assert train_network(SHAPE, lesson, replace(HYPER, learning_rate=1e30), 1, CPU) is None


def test_hyper_parameters_are_drawn_from_what_the_help_says() -> None:
    drawn = [draw_hyper_parameters(np.random.default_rng(seed)) for seed in range(300)]
    rates, l2 = (np.log10([getattr(hyper, name) for hyper in drawn]) for name in ("learning_rate", "l2"))
    assert rates.min() >= -4 and rates.max() <= -2 and abs(np.median(rates) + 3) < 0.2
    assert l2.min() >= -6 and l2.max() <= -2 and abs(np.median(l2) + 4) < 0.4
    assert {hyper.beta1 for hyper in drawn} == {0.5, 0.9}
    assert {hyper.batch_size for hyper in drawn} == {32, 64, 128}
    dropout = [hyper.dropout for hyper in drawn]
    assert min(dropout) >= 0 and 0.65 < max(dropout) <= 0.7


@pytest.fixture(scope="module")
def data() -> SvhnData:
    return SvhnData(digits(110, 3), digits(5, 4), digits(5, 5))


def search(data: SvhnData, file: Path, reporter: Any, **settings: Any) -> SupervisedResult:
    chosen = SvhnSettings(Path(), **{"device": "cpu", "epochs": 1, "trials": 3, **settings})
    return search_supervised(SHAPE, data, chosen, file, reporter)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[HyperParameters]:
    """Trials that cost nothing; each call is noted."""
    calls: list[HyperParameters] = []

    def quick(_shape: Any, lesson: Lesson, hyper: HyperParameters, seed: int, _device: Any) -> Outcome | None:
        if len(lesson.train) < 1000:
            return None  # the estimate's
        calls.append(hyper)
        return Outcome(1, 20 + seed % 1000 / 100, 30.0, 0.0) if hyper.batch_size > 32 else None

    monkeypatch.setattr(supervised_search, "train_network", quick)
    return calls


def test_finished_trials_are_kept(
    tmp_path: Path, data: SvhnData, reporter: Any, trained: list[HyperParameters]
) -> None:
    file = tmp_path / "trials.jsonl"
    whole = search(data, tmp_path / "whole.jsonl", reporter, trials=6)
    assert len(trained) == 6 and len({hyper.learning_rate for hyper in trained}) == 6
    assert any(trial.outcome is None for trial in whole.trials), "or the rest would not be tested"
    search(data, file, reporter, trials=2)
    file.write_bytes(file.read_bytes() + b'{"search": "cut of')
    del trained[:]
    resumed = search(data, file, reporter, trials=6)
    assert len(trained) == 4
    assert resumed == replace(whole, file=str(file))
    assert len(file.read_text().splitlines()) == 7, "the torn line keeps a line of its own"
    assert search(data, file, reporter, trials=6) == resumed and len(trained) == 4
    fewer = search(data, file, reporter, trials=2)
    assert fewer.trials == whole.trials[:2]


def test_trials_of_another_search_are_not_taken(
    tmp_path: Path, data: SvhnData, reporter: Any, trained: list[HyperParameters]
) -> None:
    file = tmp_path / "trials.jsonl"
    first = search(data, file, reporter)
    search(data, file, reporter, seed=1)
    search(data, file, reporter, epochs=2)
    darker = replace(data, test=replace(data.test, images=data.test.images // 2))
    search(darker, file, reporter)
    assert len(trained) == 4 * 3
    assert search(data, file, reporter) == first and len(trained) == 12
    keys = {json.loads(line)["search"] for line in file.read_text().splitlines()}
    assert len(keys) == 4


def test_the_best_is_the_one_of_the_lowest_validation_error(
    tmp_path: Path, data: SvhnData, reporter: Any, trained: list[HyperParameters]
) -> None:
    result = search(data, tmp_path / "trials.jsonl", reporter, trials=8)
    errors = [trial.outcome.validation_error for trial in result.trials if trial.outcome]
    assert len(errors) > 2 and result.best is not None and result.best.outcome is not None
    assert result.best.outcome.validation_error == min(errors)
    assert [trial.number for trial in result.trials] == list(range(8))


def test_a_search_in_which_nothing_is_learnt(
    tmp_path: Path, data: SvhnData, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised_search, "train_network", lambda *_: None)
    result = search(data, tmp_path / "trials.jsonl", reporter)
    assert result.best is None and len(result.trials) == 3


def test_what_is_to_come_is_said(
    tmp_path: Path, data: SvhnData, reporter: Any, trained: list[HyperParameters]
) -> None:
    search(data, tmp_path / "trials.jsonl", reporter, trials=1)
    search(data, tmp_path / "trials.jsonl", reporter)
    search(data, tmp_path / "trials.jsonl", reporter)
    assert reporter.said == [
        "1 of 1 trials are to be trained, 1 at a time: some 0.0 h if none stops early",
        "2 of 3 trials are to be trained, 1 at a time: some 0.0 h if none stops early",
    ]
    assert reporter.stages == {"trials": 3}
