"""Memorisation: copies are found under views, real images that training never saw are not told as copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.closeness import Closeness, Space
from dcgan_data.evaluate.examined import open_examined
from dcgan_data.evaluate.memorization.copies import Checked, Copies
from dcgan_data.evaluate.memorization.findings import Memorization, MemorizationResult
from dcgan_data.evaluate.memorization.running import MemorizationSettings, memorization
from dcgan_data.evaluate.memorization.summary import memorization_table
from dcgan_data.reporter import SilentReporter

Draws = Callable[[np.ndarray], None]


def ask(run: Path, **changes: object) -> MemorizationResult:
    settings = MemorizationSettings(**{"samples": 20, "frames": 8, "device": "cpu", **changes})  # type: ignore[arg-type]
    return memorization(run, settings, SilentReporter())


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, texture_run: Path) -> MemorizationResult:
    """Of a run that has learnt nothing. Tests only read it."""
    return ask(Path(shutil.copytree(texture_run, tmp_path_factory.mktemp("untrained") / "run")))


def training_images(run: Path, count: int) -> np.ndarray:
    return open_examined(run, "last", "cpu", None).split.train.gather(np.arange(count))


def test_mirrored_and_shifted_copies_are_found(run: Path, draws: Draws) -> None:
    copied = training_images(run, 20)
    copied[:10] = copied[:10, :, ::-1]
    copied[10:15] = np.roll(copied[10:15], 1, axis=2)
    draws(np.concatenate([copied] * 10))
    result = ask(run)
    (found,) = result.runs
    assert found.copies is not None
    assert found.copies.samples.images == 20
    assert found.copies.samples.copies >= 18
    assert found.copies.held_out is not None
    assert (found.copies.held_out.images, found.copies.held_out.copies) == (8, 0)
    assert any("copies of training images by the set's own check" in sign for sign in found.signs)
    assert "which removed 14.3% of the real ones" in memorization_table(result)  # 10 of 70
    assert found.sheet is not None
    with Image.open(found.sheet) as sheet:
        assert sheet.format == "PNG"


def test_an_untrained_model_shows_no_sign_of_copies(untrained: MemorizationResult) -> None:
    result = untrained
    (found,) = result.runs
    assert found.copies is not None
    assert found.copies.samples.copies == 0
    html = Path(result.page).read_text()
    assert "What the numbers say" in html
    assert "Nearest training images" in html
    told = json.loads(Path(result.file).read_text())
    assert told["runs"][0]["copies"]["samples"]["images"] == 20
    assert told["runs"][0]["neighbours"]["training_images"] == 52
    place = Path(found.neighbours.run) / "memorization"
    assert not (place.parent / "walk").exists()  # a person's own walk stays
    assert (place / "walk" / "step-000002.png").exists()
    assert Path(result.page) == place / "step-000002.html"
    assert (place / "step-000002.figure.json").exists()


def test_two_runs_side_by_side(
    run: Path, tmp_path: Path, texture_set: Path, make_run: Callable[..., Path]
) -> None:
    other = make_run(texture_set, tmp_path / "duplicated", include_duplicates=True)
    result = ask(run, beside=other, out=tmp_path / "page")
    assert len(result.runs) == 2
    table = memorization_table(result)
    assert f"{run}, step 2 (without duplicates)" in table
    assert f"{other}, step 2 (with duplicates)" in table
    assert Path(result.page).parent == tmp_path / "page"
    html = Path(result.page).read_text()
    assert html.count(">Nearest training images: ") == 4  # a link and a head of each


def test_a_set_that_was_only_prepared_has_no_codes(
    tmp_path: Path, bare_set: Path, make_run: Callable[..., Path]
) -> None:
    result = ask(make_run(bare_set, tmp_path / "run", held_out=0))
    (found,) = result.runs
    assert (found.copies, found.score, found.sheet) == (None, None, None)
    table = memorization_table(result)
    assert "Not asked: the set was only prepared: it has no codes, and no check for copies." in table
    assert "Not asked: no images were held out of training: nearness has no control." in table


def space(below: float, singled_out: float) -> Space:
    real = Closeness(1000, 1.0, (0.5, 0.05, 0.01), 0.002)
    return Space("bits", (3.0, 2.0, 1.0), real, real, Closeness(1000, 1.0, (0.5, 0.05, below), singled_out))


def test_signs_are_told_beyond_chance_alone(untrained: MemorizationResult) -> None:
    (found,) = untrained.runs
    calm = Copies(0.73, Checked(1000, 0, 60, 0.9), Checked(1000, 0, 0, 0.8), 0.05)

    def signs(copies: Copies, near: float, singled_out: float) -> tuple[str, ...]:
        neighbours = replace(found.neighbours, codes=space(near, 0.0), pixels=space(0.01, singled_out))
        walk = replace(found.walk, signs=(), warnings=("no video",))
        return Memorization(neighbours, copies, walk, found.score, None).signs

    assert signs(calm, 0.012, 0.003) == ()
    (told,) = signs(replace(calm, samples=Checked(1000, 0, 80, 0.9)), 0.012, 0.003)
    assert told.startswith("80 of 1,000 samples (8.0%) are copies of training images")
    (told,) = signs(calm, 0.05, 0.003)
    assert told.startswith("in codes, 5.0% of the samples are nearer")
    (told,) = signs(calm, 0.012, 0.03)
    assert told.startswith("in pixels, 3.0% of the samples have one training image")
    (told,) = signs(Copies(0.73, Checked(10, 0, 1, 0.9), None, 0.0), 0.012, 0.003)
    assert told.startswith("1 of 10 samples (10.0%) are copies of training images")


def test_requests_that_cannot_be_met(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="-n 1: expected 2 or more samples"):
        MemorizationSettings(samples=1)
    with pytest.raises(BadRequest, match="--seed -1: expected 0 or more"):
        MemorizationSettings(seed=-1)
    with pytest.raises(BadInput, match="nowhere: not a run directory"):
        ask(run, beside=tmp_path / "nowhere")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(BadRequest, match=r"model.safetensors: a model's file, which does not say what"):
        ask(tmp_path / "model.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"file/page: cannot be written .*; choose another --out"):
        ask(run, out=tmp_path / "file" / "page")
