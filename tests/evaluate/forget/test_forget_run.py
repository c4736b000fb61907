"""Forgetting from end to end, on a tiny run: what is dropped, measured, drawn and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_features import features_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.figure import read_figure
from dcgan_data.evaluate.forget import maps, running
from dcgan_data.evaluate.forget.annotate import AnnotateSettings, annotate
from dcgan_data.evaluate.forget.boxes import read_boxes, weights_sha256
from dcgan_data.evaluate.forget.change import Change, change_between, pixels_inside
from dcgan_data.evaluate.forget.findings import forget_figure, forget_table
from dcgan_data.evaluate.forget.maps import SamplerWithout
from dcgan_data.evaluate.forget.regression import Regression
from dcgan_data.evaluate.forget.result import ForgetResult
from dcgan_data.evaluate.forget.running import ForgetSettings, forget
from dcgan_data.evaluate.place import Place
from dcgan_data.reporter import SilentReporter
from dcgan_data.train.model_file import save_model
from dcgan_data.train.norm import BatchNorm
from dcgan_data.train.sample import open_sampler

SIZE = 32
BOXED = [0, 2, 3, 4, 5, 8, 9, 11, 13, 15, 17, 19]
"""The samples that boxes are on."""
SEED = 3
"""Of the samples that the boxes are on."""
Box = dict[str, int]


def write_boxes(path: Path, run: Path, boxes: list[Box], **changes: Any) -> Path:
    sampler = open_sampler(run, device="cpu")
    about = {"format": "dcgan_data boxes", "version": 1, "model": weights_sha256(sampler.generator)}
    about |= {"name": sampler.trained.name, "seed": SEED, "samples": 20, "image_size": SIZE}
    path.write_text(json.dumps({**about, "boxes": boxes, **changes}))
    return path


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory, texture_run: Path) -> Path:
    """14 boxes of 12x12 on 12 of 20 samples."""
    samples = [0, 0, *BOXED[1:5], 5, *BOXED[5:]]
    places = np.random.default_rng(0).integers(0, 20, (len(samples), 2)).tolist()
    drawn = [
        {"sample": sample, "x": x, "y": y, "width": 12, "height": 12}
        for sample, (x, y) in zip(samples, places, strict=True)
    ]
    return write_boxes(tmp_path_factory.mktemp("boxes") / "boxes.json", texture_run, drawn)


@pytest.fixture(scope="module")
def drop(
    tmp_path_factory: pytest.TempPathFactory, texture_run: Path, boxes: Path
) -> Callable[..., ForgetResult]:
    """Forget what is in ``boxes``, with some other settings; the quick ones are kept statistics."""

    def with_settings(run: Path = texture_run, **settings: Any) -> ForgetResult:
        quick = {"boxes": boxes, "controls": 2, "keep_statistics": True, "device": "cpu"}
        quick["out"] = tmp_path_factory.mktemp("results")
        return forget(run, ForgetSettings(**{**quick, **settings}), SilentReporter())

    return with_settings


@pytest.fixture(scope="module")
def result(drop: Callable[..., ForgetResult]) -> ForgetResult:
    return drop()


def test_all_maps_with_a_positive_weight_are_dropped_and_the_change_is_measured(
    texture_run: Path, boxes: Path, result: ForgetResult
) -> None:
    weights = result.regression.weights
    assert len(weights) == 4
    assert result.dropped == tuple(n for n, weight in enumerate(weights) if weight > 0) != ()
    assert (result.boxes, result.boxed_samples, result.samples) == (14, 12, 20)
    assert result.regression.inside == result.regression.outside > 12
    assert len(result.controls) == 2
    assert result.control.inside == pytest.approx(np.mean([control.inside for control in result.controls]))
    sampler = open_sampler(texture_run, device="cpu")
    z = sampler.latents(BOXED, SEED)
    inside = pixels_inside(read_boxes(boxes).boxes, BOXED, SIZE)
    after = SamplerWithout(sampler, keep_statistics=True).images(z, result.dropped)
    assert result.change == change_between(sampler.images(z), after, inside)


def test_the_files_hold_the_result(texture_run: Path, result: ForgetResult) -> None:
    assert Path(result.file).name == "step-000002.json"
    stored = json.loads(Path(result.file).read_text())
    assert stored == json.loads(json.dumps(asdict(result)))
    assert read_figure(Place(Path(result.file).parent, "step-000002")) == forget_figure(result)
    with Image.open(result.picture) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[0] > 6 * 128 and pixels.shape[1] > 12 * 128
    sampler = open_sampler(texture_run, device="cpu")
    fresh = sampler.images(sampler.latents(range(20, 32), SEED))
    for sample in (fresh[0], fresh[11]):
        enlarged = sample.repeat(4, axis=0).repeat(4, axis=1)
        corners = np.argwhere((pixels == enlarged[0, 0]).all(axis=2))
        assert any(np.array_equal(pixels[y : y + 128, x : x + 128], enlarged) for y, x in corners if y < 200)


def test_the_same_seed_gives_the_same_bytes_and_statistics_are_taken_anew(
    tmp_path: Path, drop: Callable[..., ForgetResult], result: ForgetResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_BATCHES", 1)
    anew = drop(keep_statistics=False, controls=1, out=tmp_path)
    before = Path(anew.picture).read_bytes(), Path(anew.file).read_bytes()
    assert drop(keep_statistics=False, controls=1, out=tmp_path) == anew
    assert (Path(anew.picture).read_bytes(), Path(anew.file).read_bytes()) == before
    assert (result.keep_statistics, anew.keep_statistics) == (True, False)
    assert anew.regression == result.regression and anew.change != result.change


def test_seed_and_regularisation_are_the_regressions(
    drop: Callable[..., ForgetResult], result: ForgetResult
) -> None:
    other = drop(seed=1, regularisation=1000)
    assert other.regularisation == 1000
    assert np.linalg.norm(other.regression.weights) < np.linalg.norm(result.regression.weights)
    assert drop(seed=1).regression.weights != result.regression.weights


def test_controls_drop_as_many_maps_that_are_not_always_zero(
    drop: Callable[..., ForgetResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, chosen = running.maps_of, []

    def with_a_dead_map(*arguments: Any) -> np.ndarray:
        found = real(*arguments)
        found[:, 1] = 0
        return found

    class Watched(SamplerWithout):
        def images(self, z: torch.Tensor, dropped: Any) -> np.ndarray:
            chosen.append(list(dropped))
            return super().images(z, dropped)

    monkeypatch.setattr(running, "maps_of", with_a_dead_map)
    monkeypatch.setattr(running, "SamplerWithout", Watched)
    result = drop(controls=8)
    dropped, *controls = chosen
    assert dropped == list(result.dropped) and 1 not in dropped
    assert len(controls) == 8 and all(len(set(some)) == len(dropped) and 1 not in some for some in controls)


def test_boxes_that_leave_nothing_outside_are_refused(
    tmp_path: Path, texture_run: Path, drop: Callable[..., ForgetResult]
) -> None:
    whole = {"sample": 0, "x": 0, "y": 0, "width": SIZE, "height": SIZE}
    path = write_boxes(tmp_path / "whole.json", texture_run, [whole])
    with pytest.raises(BadRequest, match=r"whole\.json: the boxes cover their samples entirely"):
        drop(boxes=path)


def test_weights_that_are_not_finite_are_refused(
    drop: Callable[..., ForgetResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "maps_of", lambda sampler, z: np.full((12, 4, 8, 8), np.nan))
    with pytest.raises(BadInput, match="000002: its feature maps are not finite; choose another"):
        drop()


def test_a_single_box_is_enough_but_warned_of(
    tmp_path: Path, texture_run: Path, drop: Callable[..., ForgetResult]
) -> None:
    box = {"sample": 1, "x": 3, "y": 4, "width": 9, "height": 9}
    result = drop(boxes=write_boxes(tmp_path / "one.json", texture_run, [box]))
    assert result.regression.accuracy is None and result.boxed_samples == 1
    assert "too few to hold some out" in result.warnings[0]
    assert "unknown share of 6 places inside boxes" in forget_table(result), "rows 4, 8, 12; columns 4, 8"


def test_boxes_of_another_checkpoint_are_refused(
    tmp_path: Path,
    texture_run: Path,
    texture_set: Path,
    make_run: Callable[..., Path],
    drop: Callable[..., ForgetResult],
) -> None:
    other = make_run(texture_set, tmp_path / "other", seed=1, steps=1)
    with pytest.raises(BadRequest, match=f"drawn on samples of {texture_run}, step 2, whose weights are not"):
        drop(run=other)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"regularisation": 0.0}, "--regularisation 0: expected a number above 0"),
        ({"regularisation": float("inf")}, "--regularisation inf: expected"),
        ({"regularisation": float("nan")}, "--regularisation nan: expected"),
        ({"controls": 0}, "controls=0: expected 1 or more"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        ForgetSettings(Path("boxes.json"), **settings)


def test_a_model_file_is_as_good_as_its_run(
    tmp_path: Path, texture_run: Path, drop: Callable[..., ForgetResult], result: ForgetResult
) -> None:
    """The boxes are the model's, wherever its weights are."""
    sampler = open_sampler(texture_run, device="cpu")
    norms = {
        name: module for name, module in sampler.generator.named_modules() if isinstance(module, BatchNorm)
    }
    standing = {name: norm.standing for name, norm in norms.items() if norm.standing}
    path = tmp_path / "model.safetensors"
    discriminator = sampler.trained.discriminator(torch.device("cpu"))
    save_model(path, sampler.generator, discriminator, standing, "here")
    from_file = drop(run=path, out=None)
    assert from_file.step is None and from_file.file == str(tmp_path / "model-forget" / "model.json")
    told = {"model": result.model, "step": 2, "picture": result.picture, "file": result.file}
    assert replace(from_file, **told) == result


def result_with(**changes: Any) -> ForgetResult:
    regression = Regression(
        inside=1138, outside=1130, accuracy=0.749, chance=0.502, weights=(0.5, -0.25, 0.0)
    )
    values: dict[str, Any] = {
        "model": "runs/x, step 500",
        "step": 500,
        "boxes": 52,
        "boxed_samples": 40,
        "samples": 150,
        "regularisation": 1.0,
        "keep_statistics": False,
        "regression": regression,
        "dropped": (0,),
        "change": Change(20, 10),
        "controls": (Change(4, 4), Change(6, 6)),
        "warnings": ("take care",),
        "picture": "p.png",
        "file": "p.json",
    }
    return ForgetResult(**{**values, **changes})


def test_the_table() -> None:
    assert forget_table(result_with()) == (
        "runs/x, step 500: boxes drawn: 52, on 40 of 150 samples\n"
        "dropped 1 of 3 feature maps (paper: 52 boxes on 150 samples, 200 of 512 maps)\n"
        "74.9% of 1,138 places inside boxes and 1,130 outside told rightly on held-out images "
        "(by chance 50.2%)\n"
        "\n"
        "mean change, of 255                   in boxes  outside  ratio\n"
        "without these maps                        20.0     10.0   2.00\n"
        "without as many at random, mean of 2       5.0      5.0   1.00\n"
        "warning: take care\n"
        "look: p.png\n"
        "data: p.json"
    )


def test_a_change_of_nothing_has_no_ratio() -> None:
    assert "     0.0      0.0      -" in forget_table(result_with(change=Change(0, 0)))


def test_the_figure() -> None:
    figure = forget_figure(result_with())
    assert figure.paper == "figure 6, section 6.3.1" and figure.pictures == (Path("p.png"),)
    numbers = dict(figure.numbers)
    assert numbers["maps dropped"] == "1 of 3 (paper: 200 of 512)"
    assert numbers["places told rightly, held-out images"] == "74.9%"
    assert numbers["change in boxes and outside"] == "20.0 and 10.0 of 255"
    assert numbers["the same of the control"] == "5.0 and 5.0 of 255"
    assert figure.warnings == ("take care",) and "control" in figure.caption


@pytest.mark.parametrize(
    ("accuracy", "change", "said"),
    [
        (0.9, Change(20, 10), []),
        (0.55, Change(20, 10), ["hardly told from others (55.0% right"]),
        (None, Change(20, 10), ["too few to hold some out"]),
        (0.9, Change(10, 10), ["the change is not more within the boxes"]),
        (0.5, Change(0, 0), ["hardly told", "not more within the boxes"]),
    ],
)
def test_what_is_warned_of(accuracy: float | None, change: Change, said: list[str]) -> None:
    regression = replace(result_with().regression, accuracy=accuracy)
    found = running._warnings(regression, change, Change(5, 5))
    assert len(found) == len(said)
    assert all(part in warning for part, warning in zip(said, found, strict=True))


def test_the_page_of_a_run_and_its_settings(tmp_path: Path, run: Path) -> None:
    result = annotate(run, AnnotateSettings(samples=3, device="cpu"))
    assert result.page == str(run / "forget" / "step-000002-annotate.html")
    assert (result.samples, result.seed, result.model) == (3, 0, f"{run}, step 2")
    elsewhere = annotate(run, AnnotateSettings(samples=3, device="cpu", out=tmp_path / "there"))
    assert Path(elsewhere.page).read_bytes() == Path(result.page).read_bytes()
    with pytest.raises(BadRequest, match="-n 0: expected 1 to 1,000 samples"):
        AnnotateSettings(samples=0)
    for seed in (-1, 2**53):
        with pytest.raises(BadRequest, match=f"--seed {seed}: expected 0 to 9,007,199,254,740,991"):
            AnnotateSettings(seed=seed)
    with pytest.raises(BadInput, match="not a run directory"):
        annotate(tmp_path, AnnotateSettings())


def test_the_commands(run: Path, boxes: Path) -> None:
    told = CliRunner().invoke(features_app, ["forget", "annotate", str(run), "-n", "2", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["page"] == str(run / "forget" / "step-000002-annotate.html")
    told = CliRunner().invoke(features_app, ["forget", "annotate", str(run), "-n", "2"])
    assert told.exit_code == 0 and told.stdout.startswith("open in a browser")
    arguments = ["forget", "run", str(run), "--boxes", str(boxes), "--keep-statistics", "--device", "cpu"]
    told = CliRunner().invoke(features_app, arguments)
    assert told.exit_code == 0, told.output
    assert f"{run}, step 2: boxes drawn: 14, on 12 of 20 samples" in told.stdout
    assert (run / "forget" / "step-000002.png").exists()
    told = CliRunner().invoke(features_app, [*arguments, "--regularisation", "5", "--json"])
    assert json.loads(told.stdout)["regularisation"] == 5
    told = CliRunner().invoke(features_app, [*arguments, "--regularisation", "-5"])
    assert isinstance(told.exception, BadRequest)
