"""The demo: the whole way, on a few drawn bedrooms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dcgan_data.cli import app
from dcgan_data.demo import load_truth
from dcgan_data.recipe import load_recipe
from dcgan_data.tour import RECIPE, removals

PIPELINES = Path(__file__).parents[1] / "pipelines"


def demo(*options: str) -> str:
    result = CliRunner().invoke(app, ["demo", "--images", "90", "--steps", "2", "--workers", "1", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_demo_recipe_is_the_one_in_pipelines() -> None:
    there = load_recipe(PIPELINES / "demo.toml").as_dict()
    there["source"]["path"] = RECIPE.source.path
    assert there == RECIPE.as_dict()


def test_every_recipe_can_be_read() -> None:
    recipes = sorted(PIPELINES.glob("*.toml"))
    assert len(recipes) >= 2
    for path in recipes:
        assert load_recipe(path).name == path.stem


def test_the_whole_way_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = demo()
    score = load_truth(Path("demo/lsun")).score(removals(Path("demo/out")))
    found, planted = sum(score.found.values()), sum(score.planted.values())
    assert planted == 9
    assert found >= score.planted["bytes"] == score.found["bytes"]  # a copy of the bytes is always found
    assert f"planted copies found: {found} of {planted}; wrong removals: {len(score.wrong)}" in text
    assert Path("demo/out/report/index.html").exists()
    grid = Path("demo/run/samples/000002.png")
    assert grid.exists()
    assert "look:   demo/run/index.html" in text

    before = {path: path.stat().st_mtime_ns for path in Path("demo").rglob("*.npy")}
    again = json.loads(demo("--json"))
    assert again["score"]["found"] == score.found
    assert before == {path: path.stat().st_mtime_ns for path in Path("demo").rglob("*.npy")}


def test_only_drawing(tmp_path: Path) -> None:
    text = demo("--dir", str(tmp_path / "d"), "--draw-only")
    assert text == f"{tmp_path}/d/lsun: 90 bedrooms, 9 of them planted copies\n"
    assert not (tmp_path / "d" / "out").exists()
