"""Turning faces: groups found by yaw, the vector added to others, and models without faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_latent import latent_app
from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.facing import Facing
from dcgan_data.evaluate.latent.tables import turn_table
from dcgan_data.evaluate.latent.turn import TurnResult, TurnSettings, turn, turn_figure
from dcgan_data.evaluate.latent.yaw import YawFinder
from dcgan_data.train.sample import Sampler, open_sampler

Paints = Callable[..., Sampler]
Face = Callable[..., np.ndarray]
Aside = Callable[[np.ndarray, float, int], np.ndarray]
PICKED = {"left": (1, 5, 9, 12), "right": (3, 4, 20, 22)}
LEFT, SIDE = 62, 128
GROUPS, ROWS = 47, 47 + 2 * (SIDE + 16 + 10) + 16 + 10
"""Where the groups and the turned samples begin, in pixels from the top."""


def go(path: Path, reporter: Any, **settings: Any) -> TurnResult:
    return turn(path, TurnSettings(**{"device": "cpu", "rows": 2, "columns": 3, **settings}), reporter)


def shown(result: TurnResult, x: int, y: int) -> np.ndarray:
    pixels = np.asarray(Image.open(result.picture).convert("RGB"))
    large = pixels[y:, LEFT + x :][:SIDE, :SIDE]
    assert np.array_equal(large, large[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
    return large[::4, ::4]


@pytest.fixture(scope="module")
def draws_faces(face: Face, aside: Aside) -> Callable[[np.ndarray], np.ndarray]:
    """A generator whose first latent number is how far a face looks to the right."""
    drawn = face(128)

    def paint(z: np.ndarray) -> np.ndarray:
        return np.stack([aside(drawn, 0.3 * np.clip(share, -1, 1), 64) for share in z[:, 0]])

    return paint


@pytest.mark.parametrize("size", [32, 64, 128])
def test_yaw_of_drawn_faces(face: Face, aside: Aside, size: int) -> None:
    """Small images are enlarged: without it, some of these are not found."""
    images = np.stack([aside(face(128), share, size) for share in (-0.3, 0, 0.3)])
    left, ahead, right = YawFinder().yaw(images)
    assert left < -12 < ahead < 12 < right


def test_there_is_no_yaw_without_a_face(texture: Face) -> None:
    assert np.isnan(YawFinder().yaw(np.stack([texture(seed, 64, 64) for seed in range(3)]))).all()


def test_groups_are_found_and_other_samples_turned(
    run: Path, reporter: Any, paints: Paints, draws_faces: Any
) -> None:
    sampler = paints(draws_faces, image_size=64)
    result = go(run, reporter, auto=30, reach=2, rows=3)
    shares = sampler.latents(range(30)).numpy()[:, 0]
    assert result.facing is not None and result.facing.faces == 30
    assert shares[list(result.left)].max() < np.quantile(shares, 0.35)
    assert shares[list(result.right)].min() > np.quantile(shares, 0.65)
    assert list(result.facing.left_yaw) == sorted(result.facing.left_yaw)
    assert list(result.facing.right_yaw) == sorted(result.facing.right_yaw, reverse=True)
    assert result.facing.left_yaw[-1] < -10 and result.facing.right_yaw[-1] > 10
    assert result.rows == (30, 31, 32) and result.places == (-2, 0, 2)
    first, _, last = result.yaw
    assert first is not None and last is not None and first < -15 and last > 12
    assert result.measured == 3 and not result.warnings
    assert reporter.stages == {"faces": 30}
    assert "30 of 30 samples show a face" in turn_table(result)
    assert dict(turn_figure(result).numbers)["samples with a face"] == "30 of 30"


def test_the_vector_is_added_to_samples_that_are_not_in_it(run: Path, reporter: Any) -> None:
    result = go(run, reporter, **PICKED, reach=0.75)
    sampler = open_sampler(run, device="cpu")
    left, right = (sampler.latents(group).double().mean(dim=0) for group in PICKED.values())
    assert result.rows == (23, 24)
    for row, number in enumerate(result.rows):
        (z,) = sampler.latents([number])
        for column, place in enumerate((-0.75, 0, 0.75)):
            drawn = sampler.images((z + place * (right - left)).float()[None])[0]
            found = shown(result, column * SIDE, ROWS + row * SIDE)
            assert np.abs(found.astype(int) - drawn).max() <= (1 if place else 0)
    assert np.array_equal(shown(result, 0, GROUPS), sampler.images(sampler.latents([1]))[0])
    mean = sampler.images(left.float()[None])[0]
    assert np.abs(shown(result, 4 * (SIDE + 10), GROUPS).astype(int) - mean).max() <= 1
    assert (result.facing, result.yaw, result.warnings) == (None, (), ())
    assert Path(result.picture) == run / "turn" / "step-000002.png"
    assert json.loads(Path(result.file).read_text()) == json.loads(json.dumps(asdict(result)))


def test_the_same_seed_gives_the_same_bytes(run: Path, reporter: Any, tmp_path: Path) -> None:
    first, again, other = (
        Path(go(run, reporter, **PICKED, out=tmp_path / name, seed=seed).picture).read_bytes()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other


def test_a_model_that_draws_no_faces_is_refused(run: Path, reporter: Any) -> None:
    message = (
        r"run, step 2: 0 of 8 samples show a face, 8 are needed; if it is a model of faces, give a larger "
        r"--auto or train it further; else pick samples by eye \('dcgan-data sample RUN --numbered'\)"
    )
    with pytest.raises(BadRequest, match=message):
        go(run, reporter, auto=8)


def test_a_few_faces_among_many_samples_are_taken_for_mistakes(
    run: Path, reporter: Any, paints: Paints, face: Face, aside: Aside
) -> None:
    drawn, blank = aside(face(128), 0, 32), np.full((32, 32, 3), 90, np.uint8)

    def paint(z: np.ndarray) -> np.ndarray:
        return np.stack([drawn if share > limit else blank for share in z[:, 0]])

    limit = np.sort(paints(paint).latents(range(80))[:, 0].numpy())[-4]
    with pytest.raises(
        BadRequest, match=r"3 of 80 samples seem to show a face, no more than pass for one by"
    ):
        go(run, reporter, auto=80, group=1, allow_few=True)


def test_faces_that_all_look_ahead_are_warned_of(
    run: Path, reporter: Any, paints: Paints, face: Face, aside: Aside
) -> None:
    drawn, blank = aside(face(128), 0, 32), np.full((32, 32, 3), 90, np.uint8)
    paints(lambda z: np.stack([drawn if share > 0.2 else blank for share in z[:, 0]]))
    result = go(run, reporter, auto=30)
    assert result.facing is not None and 8 <= result.facing.faces < 15
    few, ahead, unseen = result.warnings
    assert few.startswith(f"only {result.facing.faces} of 30 samples show a face to the detector")
    assert ahead == (
        "the groups are 0 degrees apart, and yaw is measured to some 4: hardly anyone looks aside; "
        "give a larger --auto"
    )
    assert unseen == "no row shows a face in every column: whether they turn must be seen by eye"
    assert f"warning: {few}" in turn_table(result) and turn_figure(result).warnings == result.warnings


def test_faces_that_do_not_turn_are_warned_of(
    run: Path, reporter: Any, paints: Paints, face: Face, aside: Aside
) -> None:
    """Yaw that does not follow the latent vector: what looks turned is chance."""
    drawn = {share: aside(face(128), share, 32) for share in (-0.3, 0.3)}
    paints(lambda z: np.stack([drawn[0.3 if int(abs(row[0]) * 1e4) % 2 else -0.3] for row in z]))
    result = go(run, reporter, auto=30, columns=3, rows=1, reach=1e-4)
    assert any(warning.startswith("the faces hardly turn: by") for warning in result.warnings)


def test_a_model_s_file_is_read(model_file: Path, reporter: Any) -> None:
    result = go(model_file, reporter, **PICKED)
    assert Path(result.picture) == model_file.parent / "model-turn" / "model.png"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"turn: needs samples that face left and right; pick them with --left and --right .*--auto N"),
        ({"left": (1, 2, 3)}, "--left: 3 exemplars, 4 or more are needed; the paper averages 4"),
        ({**PICKED, "right": ()}, "--right: 0 exemplars, 4 or more are needed"),
        ({**PICKED, "right": PICKED["left"]}, "--right: sample 1 is there in --left too; pick another"),
        ({**PICKED, "right": (1, 2, 3, 3)}, "--right: sample 1 is there in --left too"),
        ({**PICKED, "right": (2, 3, 4, 5000)}, "--right 5000: no number of a sample"),
        ({**PICKED, "auto": 100}, "--auto finds both groups; leave out either --auto, or --left and --right"),
        ({"auto": 7}, r"--auto 7: expected 8 \(two groups\) to 2,000 samples"),
        ({"auto": 2001}, r"--auto 2001: expected 8 \(two groups\) to 2,000 samples"),
        ({"auto": 9, "group": 3}, "--group 3: 4 or more are needed: the paper averages 4; to try fewer, say"),
        ({"auto": 9, "group": 0, "allow_few": True}, "--group 0: 1 or more are needed"),
        ({**PICKED, "rows": 0}, "--rows 0: expected 1 to 100"),
        ({**PICKED, "columns": 4}, "--columns 4: expected an odd number, 3 to 25"),
        ({**PICKED, "columns": 1}, "--columns 1: expected an odd number, 3 to 25"),
        ({**PICKED, "reach": 0}, "--reach 0: expected more than 0, at most 10"),
        ({**PICKED, "seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_refusals(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        TurnSettings(**given)


def test_the_command_prints_a_table_or_json(run: Path, paints: Paints, draws_faces: Any) -> None:
    paints(draws_faces, image_size=64)
    arguments = ["turn", str(run), "--auto", "16", "--rows", "1", "--columns", "3", "--reach", "1"]
    done = CliRunner().invoke(latent_app, arguments)
    assert done.exit_code == 0, done.output
    assert "16 of 16 samples show a face" in done.output and "mean yaw of 1" in done.output
    done = CliRunner().invoke(latent_app, [*arguments, "--json"])
    values = json.loads(done.stdout)
    assert Facing(**values["facing"]).faces == 16 and len(values["yaw"]) == 3
