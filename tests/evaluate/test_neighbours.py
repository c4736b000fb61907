"""Nearest training images of samples: the right ones, a fair yardstick, and files that show them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_examine import examine_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.closeness import compare
from dcgan_data.evaluate.neighbours import NeighboursResult, NeighboursSettings, neighbours
from dcgan_data.evaluate.tables import neighbours_table
from dcgan_data.formats.dataset import INDEX
from dcgan_data.formats.manifest import binary_codes
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.sample import open_sampler
from dcgan_data.train.split import Split, split_set

HELD_OUT = 8
Draws = Callable[[np.ndarray], None]


def split_of(prepared: Path, include_duplicates: bool = False) -> Split:
    return split_set(PreparedSet.open(prepared), include_duplicates, HELD_OUT, seed=0)


def pixels_of(images: Any) -> np.ndarray:
    return np.asarray(images.gather(np.arange(len(images))))


def examine(run: Path, reporter: Any, **settings: Any) -> NeighboursResult:
    return neighbours(
        run, NeighboursSettings(**{"samples": 20, "rows": 4, "device": "cpu", **settings}), reporter
    )


def listed(result: NeighboursResult) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = json.loads(Path(result.file).read_text())["neighbours"]
    return values


def test_each_sample_has_its_nearest_training_images_by_pixels_and_codes(
    run: Path, texture_set: Path, reporter: Any
) -> None:
    """Held against plain numpy: keys, distances, bits."""
    result = examine(run, reporter)
    split = split_of(texture_set)
    samples = np.concatenate(list(open_sampler(run, device="cpu").draw(20)))
    real = pixels_of(split.train).reshape(1, -1, 3072) / 127.5
    distances = np.sqrt(((samples.reshape(20, 1, 3072) / 127.5 - real) ** 2).sum(axis=2))
    names = PreparedSet.open(texture_set).manifest(["key"])["key"].to_pylist()
    keys = [names[row] for row in split.train_rows]
    for sample, found in enumerate(listed(result)):
        order = np.argsort(distances[sample], kind="stable")[:3]
        assert found["sample"] == sample
        assert [image["key"] for image in found["pixels"]] == [keys[n] for n in order]
        assert [image["distance"] for image in found["pixels"]] == pytest.approx(distances[sample, order])
        assert len(found["codes"]) == 3 and all(image["part"] == 0 for image in found["codes"])
        bits = [image["distance"] for image in found["codes"]]
        assert bits == sorted(bits) and all(isinstance(count, int) for count in bits)
    assert result.pixels.samples.median == pytest.approx(np.median(distances.min(axis=1)))
    assert result.training_images == len(split.train) == 52
    assert result.pixels.held_out is not None and result.pixels.held_out.images == HELD_OUT
    assert result.pixels.training.images == 52 and result.pixels.samples.images == 20
    assert reporter.stages == {"draw": 20, "pixels": 52}


def test_copies_of_training_images_are_recognised(
    run: Path, texture_set: Path, reporter: Any, draws: Draws
) -> None:
    split = split_of(texture_set)
    draws(pixels_of(split.train)[10:30])
    result = examine(run, reporter)
    assert result.codes is not None
    for space in (result.pixels, result.codes):
        assert space.samples.median == 0
        assert space.samples.below == (1, 1, 1)
        assert space.samples.singled_out == 1
        assert space.training.below[0] <= 0.5 and space.training.singled_out < 1
    names = PreparedSet.open(texture_set).manifest(["key"])["key"].to_pylist()
    keys = [names[row] for row in split.train_rows[10:30]]
    assert [found["codes"][0]["key"] for found in listed(result)] == keys
    assert [found["pixels"][0]["key"] for found in listed(result)] == keys


def test_samples_that_are_unseen_images_look_like_the_control(
    run: Path, texture_set: Path, reporter: Any, draws: Draws
) -> None:
    draws(pixels_of(split_of(texture_set).held_out))
    result = examine(run, reporter, samples=HELD_OUT)
    assert result.pixels.samples == result.pixels.held_out
    assert result.codes is not None and result.codes.samples == result.codes.held_out


def test_grey_samples_are_near_in_pixels_but_not_singled_out(run: Path, reporter: Any, draws: Draws) -> None:
    """As a generator draws that has learnt the mean colour only: no copyist."""
    draws(np.full((20, 32, 32, 3), 128, np.uint8))
    result = examine(run, reporter)
    assert result.pixels.samples.below == (1, 1, 1)
    assert result.pixels.samples.singled_out == 0
    assert result.codes is not None and result.codes.samples.below[1] < 1


def test_the_yardstick_is_the_distance_to_the_nearest_other_image(
    run: Path, texture_set: Path, reporter: Any
) -> None:
    result = examine(run, reporter)
    prepared = PreparedSet.open(texture_set)
    split = split_of(texture_set)
    codes = np.unpackbits(binary_codes(prepared.manifest(["code"])["code"])[split.train_rows], axis=1)
    real = pixels_of(split.train).reshape(52, -1) / 127.5
    for space, images in ((result.pixels, real), (result.codes, codes.astype(float))):
        squared = ((images[:, None] - images[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squared, np.inf)
        nearest = squared.min(axis=1) if space is result.codes else np.sqrt(squared.min(axis=1))
        assert space is not None
        assert space.thresholds == pytest.approx(tuple(np.quantile(nearest, [0.5, 0.05, 0.01])))
        assert space.training.below[0] == pytest.approx((nearest < np.median(nearest)).mean())


def test_copies_among_the_training_images_are_not_in_the_yardstick(
    tmp_path: Path, texture_set: Path, make_run: Callable[..., Path], reporter: Any
) -> None:
    run = make_run(texture_set, tmp_path / "run", include_duplicates=True)
    result = examine(run, reporter)
    train = split_of(texture_set, include_duplicates=True).train
    assert result.with_duplicates and result.training_images == len(train) > 52
    assert result.pixels.training.images == 52 - (len(train) - 52), "those with a copy are left out"
    assert result.pixels.thresholds[2] > 0, "as would be 0 if copies were counted"
    assert "Training images that have copies among themselves are not in the yardstick." in neighbours_table(
        result
    )


def test_controls_are_limited_and_chosen_by_the_seed(run: Path, reporter: Any) -> None:
    first = examine(run, reporter, controls=5)
    assert first.pixels.training.images == 5 and first.pixels.held_out is not None
    assert first.pixels.held_out.images == 5
    assert examine(run, reporter, controls=5) == first
    assert examine(run, reporter, controls=5, seed=1).pixels.thresholds != first.pixels.thresholds


def test_the_sheet_has_a_row_a_sample_and_enlarged_images(
    run: Path, texture_set: Path, reporter: Any
) -> None:
    result = examine(run, reporter, rows=5)
    assert result.picture == str(run / "neighbours" / "step-000002.png")
    with Image.open(result.picture) as sheet:
        columns, rows = 7, 5
        assert sheet.size[0] > columns * 128 and sheet.size[1] > rows * 128
        pixels = np.asarray(sheet)
    nearest = min(listed(result), key=lambda found: found["pixels"][0]["distance"])
    names = PreparedSet.open(texture_set).manifest(["key"])["key"].to_pylist()
    row = names.index(nearest["pixels"][0]["key"])
    split = split_of(texture_set)
    image = split.train.gather(np.flatnonzero(split.train_rows == row))[0]
    enlarged = image.repeat(4, axis=0).repeat(4, axis=1)
    corners = np.argwhere((pixels[:, :, :] == enlarged[0, 0]).all(axis=2))
    assert any(np.array_equal(pixels[y : y + 128, x : x + 128], enlarged) for y, x in corners if y < 200), (
        "the closest sample is first, with its nearest image beside it, pixel for pixel"
    )


def test_a_set_without_codes_is_searched_by_pixels_only(
    tmp_path: Path, bare_set: Path, make_run: Callable[..., Path], reporter: Any
) -> None:
    result = examine(make_run(bare_set, tmp_path / "run"), reporter)
    assert result.codes is None
    assert result.training_images == 62
    assert listed(result)[0].keys() == {"sample", "pixels"}
    assert f"codes: none, {bare_set} was only prepared" in neighbours_table(result)


def test_without_held_out_images_there_is_no_control(
    tmp_path: Path, texture_set: Path, make_run: Callable[..., Path], reporter: Any
) -> None:
    result = examine(make_run(texture_set, tmp_path / "run", held_out=0), reporter)
    assert result.pixels.held_out is None and result.training_images == 60
    table = neighbours_table(result)
    assert "No images were held out of this run: there is no control." in table
    assert "held-out images" not in table


def test_more_rows_than_samples_show_all_samples(run: Path, reporter: Any) -> None:
    result = examine(run, reporter, samples=3, rows=16)
    with Image.open(result.picture) as sheet:
        assert 3 * 128 < sheet.size[1] < 4 * 168 + 60


def test_a_set_that_was_moved_is_named(tmp_path: Path, texture_set: Path, run: Path, reporter: Any) -> None:
    moved = Path(shutil.copytree(texture_set, tmp_path / "moved"))
    config = json.loads((run / "config.json").read_text())
    config["config"]["prepared"] = str(tmp_path / "away")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        BadRequest, match=f"was trained on {tmp_path}/away, which is gone; say with --prepared"
    ):
        examine(run, reporter)
    assert examine(run, reporter, prepared=moved).prepared == str(moved)


def test_another_set_is_refused(run: Path, bare_set: Path, reporter: Any) -> None:
    with pytest.raises(
        BadRequest, match=f"{bare_set}: not the images that {run} was trained on, their contents"
    ):
        examine(run, reporter, prepared=bare_set)
    with pytest.raises(BadInput, match=f"{run}: not a prepared set, it has no {INDEX}"):
        examine(run, reporter, prepared=run)


def test_what_is_no_run_is_said(tmp_path: Path, reporter: Any) -> None:
    with pytest.raises(BadInput, match=f"{tmp_path}: not a run directory, it has no config.json"):
        examine(tmp_path, reporter)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "-n 0: expected 1 or more samples"),
        ({"rows": 0}, "--rows 0: expected 1 to 200"),
        ({"rows": 201}, "--rows 201: expected 1 to 200"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
        ({"nearest": 6}, "nearest=6: expected 1 to 5"),
        ({"controls": 0}, "controls=0: expected 1 or more"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        NeighboursSettings(**settings)


def test_shares_are_strictly_below_the_thresholds() -> None:
    training = np.array([[4, 5], [4, 5], [4, 5], [8, 9]])
    samples = np.array([[4, 5], [3, 3], [1, 4], [5, 9]])
    space = compare("bits", samples, training, np.empty((0, 2)))
    assert space.thresholds == (4, 4, 4)
    assert space.training.below == (0, 0, 0)
    assert space.samples.below == (0.5, 0.5, 0.5)
    assert space.samples.singled_out == 0.25, "1 of 4: 1 is less than a third of 4"
    assert space.samples.median == 3.5 and space.held_out is None


def test_the_command_prints_a_table_or_json(run: Path) -> None:
    arguments = ["neighbours", str(run), "-n", "10", "--rows", "2", "--device", "cpu"]
    done = CliRunner().invoke(examine_app, arguments)
    assert done.exit_code == 0, done.output
    assert "of the samples are nearer to a training image than half of the training images are" in done.stdout
    assert f"look: {run}/neighbours/step-000002.png" in done.stdout
    done = CliRunner().invoke(examine_app, [*arguments, "--json"])
    values = json.loads(done.stdout)
    assert values["pixels"]["samples"]["images"] == 10
    assert json.loads((run / "neighbours" / "step-000002.json").read_text())["pixels"] == values["pixels"]
