"""Strongest responses from end to end, on a tiny run: the right images, files, words and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch as st
import torch
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_features import features_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.examined import some_of
from dcgan_data.evaluate.figure import read_figure
from dcgan_data.evaluate.guided import running
from dcgan_data.evaluate.guided.backprop import Field, Unit, responses
from dcgan_data.evaluate.guided.findings import features_figure, features_table
from dcgan_data.evaluate.guided.looking import Feature, Response
from dcgan_data.evaluate.guided.pictures import _shaded
from dcgan_data.evaluate.guided.result import FeaturesResult
from dcgan_data.evaluate.guided.running import FeaturesSettings, features
from dcgan_data.evaluate.guided.sanity import Level, Networks
from dcgan_data.evaluate.place import Place
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.reporter import SilentReporter
from dcgan_data.train.model_file import save_model
from dcgan_data.train.norm import BatchNorm
from dcgan_data.train.sample import open_sampler
from dcgan_data.train.split import split_set
from dcgan_data.train.trained import open_trained

CPU = torch.device("cpu")


def look_into(run: Path, out: Path | None, **settings: Any) -> FeaturesResult:
    quick = {"images": 30, "device": "cpu", "out": out}
    return features(run, FeaturesSettings(**{**quick, **settings}), SilentReporter())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, texture_run: Path) -> FeaturesResult:
    return look_into(texture_run, tmp_path_factory.mktemp("results"))


def test_each_feature_has_the_images_with_its_strongest_responses(
    texture_run: Path, texture_set: Path, result: FeaturesResult
) -> None:
    """Held against all responses of the images that the seed chooses among the training images."""
    split = split_set(PreparedSet.open(texture_set), False, 8, 0)
    chosen = some_of(np.arange(len(split.train)), 30, 0)
    keys = PreparedSet.open(texture_set).manifest(["key"])["key"].to_pylist()
    images = split.train.gather(chosen)
    networks = Networks(open_trained(texture_run), images, 0, CPU)
    for found, layers in ((result.trained, 0), (result.random, 3)):
        maps = responses(networks.randomised(layers), images, 6)
        assert [feature.channel for feature in found] == list(range(6))
        for feature in found:
            own = maps[:, feature.channel]
            best = np.argsort(-own.max(axis=(1, 2)), kind="stable")[:6]
            assert [response.key for response in feature.responses] == [
                keys[split.train_rows[chosen[image]]] for image in best
            ]
            for image, response in zip(best, feature.responses, strict=True):
                assert response.value == own[image].max()
                assert own[image, response.unit.row, response.unit.column] == response.value
                assert response.unit.channel == feature.channel and response.part == 0
    assert (result.images, result.layer, result.field_side, result.step) == (30, 3, 29, 2)


def test_all_levels_of_randomness_are_compared(result: FeaturesResult) -> None:
    assert [level.layers for level in result.sanity] == [1, 2, 3]
    assert result.two_random.layers == 3
    levels = (*result.sanity, result.two_random)
    assert all(-1 <= value <= 1 for level in levels for value in (level.signed, level.absolute))
    assert result.sanity[0].signed > result.sanity[-1].signed


def test_the_files_hold_the_result(result: FeaturesResult) -> None:
    assert Path(result.file).name == "step-000002.json"
    stored = json.loads(Path(result.file).read_text())
    assert stored == json.loads(json.dumps(asdict(result)))
    assert read_figure(Place(Path(result.file).parent, "step-000002")) == features_figure(result)
    with Image.open(result.picture) as picture:
        assert picture.size[0] > 13 * 128 and picture.size[1] > 12 * 128


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, texture_run: Path, result: FeaturesResult
) -> None:
    again = look_into(texture_run, tmp_path)
    told = {"picture": result.picture, "file": result.file}
    assert replace(again, **told) == result
    assert Path(again.picture).read_bytes() == Path(result.picture).read_bytes()
    other = look_into(texture_run, tmp_path, seed=1)
    assert other.random != result.random


def test_a_model_file_needs_a_set_and_then_answers_alike(
    tmp_path: Path, texture_run: Path, texture_set: Path
) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    named = sampler.generator.named_modules()
    norms = {name: module for name, module in named if isinstance(module, BatchNorm)}
    path = tmp_path / "model.safetensors"
    standing = {name: norm.standing for name, norm in norms.items() if norm.standing}
    save_model(path, sampler.generator, sampler.trained.discriminator(CPU), standing, "here")
    with pytest.raises(
        BadRequest, match=r"model\.safetensors: does not say what it was trained on; .*--prepared"
    ):
        look_into(path, None)
    found = look_into(path, None, images=100, prepared=texture_set)
    assert found.images == 60 and found.step is None, "all kept images: which were held out is not known"
    assert found.file == str(tmp_path / "model-features" / "model.json")
    held = {response.key for feature in found.trained for response in feature.responses}
    names = PreparedSet.open(texture_set).manifest(["key", "status"]).to_pylist()
    assert held <= {row["key"] for row in names if row["status"] == "kept"}


def test_images_of_another_size_are_refused(
    tmp_path: Path, texture_run: Path, monkeypatch: pytest.MonkeyPatch, texture_set: Path
) -> None:
    trained = open_trained(texture_run)
    larger = replace(trained, shape=replace(trained.shape, image_size=64))
    monkeypatch.setattr(running, "open_trained", lambda path, checkpoint: larger)
    with pytest.raises(BadRequest, match=f"{texture_set}: has images of 32 px, .* is for 64 px"):
        look_into(texture_run, tmp_path)


def test_a_run_without_a_discriminator_is_refused(tmp_path: Path, run: Path) -> None:
    (run / "checkpoints" / "000002" / "discriminator.safetensors").unlink()
    with pytest.raises(BadInput, match=r"has no discriminator\.safetensors; choose another --checkpoint"):
        look_into(run, tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, run: Path) -> None:
    path = run / "checkpoints" / "000002" / "discriminator.safetensors"
    path.write_bytes(st.save({name: values * np.nan for name, values in st.load_file(path).items()}))
    with pytest.raises(BadInput, match="000002: weights of the discriminator are not finite; choose another"):
        look_into(run, tmp_path)


def test_a_set_that_was_moved_is_named(tmp_path: Path, run: Path, texture_set: Path) -> None:
    moved = Path(shutil.copytree(texture_set, tmp_path / "moved"))
    config = json.loads((run / "config.json").read_text())
    config["config"]["prepared"] = str(tmp_path / "away")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadRequest, match="away, which is gone; say with --prepared"):
        look_into(run, None)
    assert look_into(run, None, prepared=moved).prepared == str(moved)
    assert (run / "features" / "step-000002.png").exists()


def test_too_few_images_are_refused(tmp_path: Path, texture_set: Path, make_run: Callable[..., Path]) -> None:
    with pytest.raises(BadRequest, match="-n 5: expected 6 or more images"):
        FeaturesSettings(images=5)
    with pytest.raises(BadRequest, match="--seed -1: expected 0 or more"):
        FeaturesSettings(seed=-1)
    run = make_run(texture_set, tmp_path / "run", held_out=55, steps=1)
    with pytest.raises(BadRequest, match="5 images are too few to choose from, 6 or more are needed"):
        look_into(run, tmp_path / "out")


def test_spectral_norm_does_not_go_on_estimating(
    tmp_path: Path, texture_set: Path, make_run: Callable[..., Path]
) -> None:
    run = make_run(texture_set, tmp_path / "run", spectral_norm=True, steps=1)
    images = np.zeros((20, 32, 32, 3), np.uint8)
    model = Networks(open_trained(run), images, 0, CPU).randomised(1)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    responses(model, images, 6)
    assert any("_u" in name for name in before)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_gradients_are_shown_around_grey() -> None:
    gradient = np.zeros((8, 8, 3), np.float32)
    assert (_shaded(gradient) == 128).all()
    gradient[0, 0], gradient[7, 7] = 5, -5
    shades = _shaded(gradient)
    assert (shades[0, 0] == 255).all() and (shades[7, 7] == 0).all() and (shades[3, 3] == 128).all()
    np.testing.assert_array_equal(_shaded(gradient * 1e-6), shades)


def result_with(**changes: Any) -> FeaturesResult:
    def feature(channel: int, first: float, last: float) -> Feature:
        unit, field = Unit(channel, 0, 1), Field(0, 0, 15, 29)
        return Feature(channel, tuple(Response("k", 0, value, unit, field) for value in (first, last)))

    values: dict[str, Any] = {
        "model": "runs/x, step 500",
        "step": 500,
        "prepared": "out",
        "images": 2000,
        "layer": 3,
        "field_side": 29,
        "trained": (feature(0, 4, 3.5), feature(1, 12.25, 3)),
        "random": (feature(0, 2, 1.5), feature(1, 2, 1)),
        "sanity": (Level(1, 0.9, 0.8), Level(2, 0.5, 0.45), Level(3, -0.1, 0.3)),
        "two_random": Level(3, 0.2, 0.25),
        "warnings": ("take care",),
        "picture": "p.png",
        "file": "p.json",
    }
    return FeaturesResult(**{**values, **changes})


def test_the_table() -> None:
    assert features_table(result_with()) == (
        "runs/x, step 500: convolution 3, receptive field 29 px, 2,000 images of out\n"
        "\n"
        "strongest responses        trained        random\n"
        "feature 0             4.00 to 3.50  2.00 to 1.50\n"
        "feature 1            12.25 to 3.00  2.00 to 1.00\n"
        "\n"
        "rank correlation with D's guided gradients  signed  absolute\n"
        "last 1 of 3 layers random                     0.90      0.80\n"
        "last 2 of 3 layers random                     0.50      0.45\n"
        "all layers random                            -0.10      0.30\n"
        "two random networks                           0.20      0.25\n"
        "warning: take care\n"
        "look: p.png\n"
        "data: p.json"
    )


def test_the_figure() -> None:
    figure = features_figure(result_with())
    assert figure.paper == "figure 5, section 6.2" and figure.pictures == (Path("p.png"),)
    assert figure.numbers[0] == ("rank correlation with D's guided gradients", "signed", "absolute")
    assert figure.numbers[-2:] == (
        ("all layers random", "-0.10", "0.30"),
        ("two random networks", "0.20", "0.25"),
    )
    assert figure.warnings == ("take care",)
    assert "edges with any weights" in figure.caption


@pytest.mark.parametrize(
    ("random", "two_random", "said"),
    [
        (Level(3, 0.3, 0.3), Level(3, 0.35, 0.3), ""),
        (Level(3, 0.44, 0.3), Level(3, 0.35, 0.3), ""),
        (Level(3, 0.46, 0.3), Level(3, 0.35, 0.3), "rank correlation 0.46, of two random networks 0.35"),
        (Level(3, 0.3, 0.41), Level(3, 0.35, 0.3), "rank correlation 0.41, of two random networks 0.30"),
        (Level(3, 0.5, 0.3), Level(3, 0.6, 0.3), "rank correlation 0.50, of two random networks 0.60"),
    ],
)
def test_maps_that_random_weights_do_not_change_are_warned_of(
    random: Level, two_random: Level, said: str
) -> None:
    found = running._warnings(random, two_random)
    assert said in found[0] if said else found == ()


def test_the_command(run: Path) -> None:
    arguments = ["features", str(run), "-n", "20", "--device", "cpu"]
    told = CliRunner().invoke(features_app, arguments)
    assert told.exit_code == 0, told.output
    assert f"{run}, step 2: convolution 3, receptive field 29 px, 20 images" in told.stdout
    told = CliRunner().invoke(features_app, [*arguments, "--seed", "1", "--json"])
    assert json.loads(told.stdout)["images"] == 20
    told = CliRunner().invoke(features_app, ["features", str(run), "-n", "1"])
    assert isinstance(told.exception, BadRequest)
