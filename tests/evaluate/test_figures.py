"""All figures on one page: made, collected, left out with a reason; never those of other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.figures import FiguresResult, FiguresSettings, figures, figures_lines
from dcgan_data.evaluate.latent.arithmetic import ArithmeticSettings, arithmetic
from dcgan_data.evaluate.latent.walk import WalkSettings, walk
from dcgan_data.evaluate.place import command_line
from dcgan_data.reporter import SilentReporter
from dcgan_data.train.trained import open_trained

MADE = (
    "Samples",
    "A walk in the latent space",
    "What the discriminator's features answer to",
    "Memorisation",
)

QUICK = {"samples": 4, "frames": 8, "device": "cpu"}


@pytest.fixture
def walked(run: Path) -> Path:
    """A run with a short walk of a person's own, seed 5."""
    walk(run, WalkSettings(points=2, frames=8, seed=5, device="cpu"), SilentReporter())
    return run


def draw(run: Path, out: Path, **changes: object) -> FiguresResult:
    settings = FiguresSettings(**{"out": out, **QUICK, **changes})  # type: ignore[arg-type]
    return figures(run, settings, SilentReporter())


def test_what_needs_no_person_is_made_and_the_rest_is_told(walked: Path, tmp_path: Path) -> None:
    before = (walked / "walk" / "step-000002.png").read_bytes()
    result = draw(walked, tmp_path / "out", seed=7)
    assert result.shown == MADE
    assert (walked / "walk" / "step-000002.png").read_bytes() == before
    lines = {one.title: one.command for one in result.missing}
    assert lines["Vector arithmetic"] == (
        f"dcgan-data arithmetic {walked} --checkpoint 2 --seed 7 --a 1,2,3 --b 4,5,6 --c 7,8,9"
    )
    assert {"Forgetting an object", "Turn vector"} < lines.keys()
    html = Path(result.page).read_text()
    for title in (*MADE, *lines):
        assert title.replace("'", "&#x27;") in html
    assert "samples 0 to 63" not in html  # it is in the picture
    told = json.loads(Path(result.file).read_text())
    assert tuple(told["shown"]) == MADE
    table = figures_lines(result)
    assert f"look: {result.page}" in table
    assert "not shown: Turn vector: " in table


def test_what_a_person_made_is_collected_and_a_picture_that_is_gone_is_told(
    walked: Path, tmp_path: Path
) -> None:
    asked = ArithmeticSettings(a=(1, 2, 3), b=(4, 5, 6), c=(7, 8, 9), device="cpu")
    found = arithmetic(walked, asked, SilentReporter())
    title = "Vector arithmetic"
    shown = draw(walked, tmp_path / "out").shown
    assert len(shown) == len(MADE) + 1
    Path(found.picture).unlink()
    result = draw(walked, tmp_path / "out")
    assert result.shown == MADE
    (told,) = [one for one in result.missing if one.title == title]
    assert told.why.endswith("step-000002.png: is gone; give its command again")


def test_figures_of_other_weights_of_that_name_are_not_shown(walked: Path, tmp_path: Path) -> None:
    first = draw(walked, tmp_path / "out")
    stored = walked / "walk" / "step-000002.json"
    assert json.loads(stored.read_text())["seed"] == 5
    weights = walked / "checkpoints" / "000002" / "generator.safetensors"
    save_file({name: values * 2 for name, values in load_file(weights).items()}, weights)
    assert draw(walked, tmp_path / "out").shown == first.shown
    assert json.loads(stored.read_text())["seed"] == 0  # made anew


def test_again_makes_anew(walked: Path, tmp_path: Path) -> None:
    draw(walked, tmp_path / "out", again=True, seed=3)
    assert json.loads((walked / "walk" / "step-000002.json").read_text())["seed"] == 3


def test_one_that_fails_leaves_the_others(
    walked: Path, tmp_path: Path, texture_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = walked / "config.json"
    record = json.loads(config.read_text())
    record["config"]["prepared"] = str(tmp_path / "moved")
    config.write_text(json.dumps(record))
    result = draw(walked, tmp_path / "out")
    assert result.shown == MADE[:2]
    why = {one.title: one.why for one in result.missing}
    assert "which is gone; say with --prepared where it is" in why["Memorisation"]
    shutil.copytree(texture_set, tmp_path / "moved")
    assert draw(walked, tmp_path / "out").shown == MADE


def test_requests_that_cannot_be_met(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--seed -1: expected 0 or more"):
        FiguresSettings(seed=-1)
    with pytest.raises(BadInput, match="nowhere: not a run directory"):
        draw(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"file/out: cannot be written .*; choose another --out"):
        draw(run, tmp_path / "file" / "out")


def test_command_lines_can_be_pasted(run: Path) -> None:
    spaced = run.rename(run.with_name("a run"))
    trained = open_trained(spaced)
    assert command_line(trained, "walk", "--points 3", 4) == (
        f"dcgan-data walk '{spaced}' --checkpoint 2 --seed 4 --points 3"
    )


def test_weights_that_are_not_finite_are_not_examined(run: Path) -> None:
    weights = run / "checkpoints" / "000002" / "generator.safetensors"
    save_file({name: values / 0 for name, values in load_file(weights).items()}, weights)
    with pytest.raises(
        BadInput, match="weights of the generator are not finite; choose another --checkpoint"
    ):
        walk(run, WalkSettings(points=2, frames=8, device="cpu"), SilentReporter())
    with Image.open(run / "samples" / "000002.png") as grid:
        assert grid.format == "PNG"
