"""Vector arithmetic: the right sum of the right samples, drawn where it should be, and refusals."""

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
from dcgan_data.evaluate.latent.arithmetic import (
    ArithmeticResult,
    ArithmeticSettings,
    arithmetic,
    arithmetic_figure,
)
from dcgan_data.evaluate.latent.tables import arithmetic_table
from dcgan_data.train.sample import Sampler, open_sampler

Paints = Callable[..., Sampler]
PICKED = {"a": (3, 17, 40), "b": (5, 9, 11), "c": (2, 8, 30)}
LEFT, TOP, SIDE = 10, 63, 128
COLUMN, TALL = SIDE + 10 + 24, SIDE + 16 + 10
"""Pixels from one concept to the next, and from one row to the next."""


def add(path: Path, reporter: Any, **settings: Any) -> ArithmeticResult:
    return arithmetic(path, ArithmeticSettings(**{**PICKED, "device": "cpu", **settings}), reporter)


def shown(result: ArithmeticResult, x: int, y: int) -> np.ndarray:
    pixels = np.asarray(Image.open(result.picture).convert("RGB"))
    large = pixels[TOP + y :, LEFT + x :][:SIDE, :SIDE]
    assert np.array_equal(large, large[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
    return large[::4, ::4]


def in_block(result: ArithmeticResult, number: int) -> np.ndarray:
    """One of the 3 x 3 results, whose last row stands beside the means of three exemplars."""
    row, column = divmod(number, 3)
    return shown(result, 3 * COLUMN + column * SIDE, 3 * TALL + (row - 2) * SIDE)


def test_exemplars_means_and_the_sum_are_where_they_should_be(run: Path, reporter: Any) -> None:
    result = add(run, reporter)
    sampler = open_sampler(run, device="cpu")
    samples = np.concatenate(list(sampler.draw(41)))
    means = []
    for column, group in enumerate(PICKED.values()):
        for row, number in enumerate(group):
            assert np.array_equal(shown(result, column * COLUMN, row * TALL), samples[number])
        means.append(sampler.latents(group).double().mean(dim=0))
        drawn = sampler.images(means[-1].float()[None])[0]
        assert np.array_equal(shown(result, column * COLUMN, 3 * TALL), drawn)
        blend = samples[list(group)].mean(axis=0)
        assert np.abs(shown(result, column * COLUMN, 4 * TALL) - blend).max() <= 0.5
    a, b, c = means
    drawn = sampler.images((a - b + c).float()[None])[0]
    assert np.abs(in_block(result, 4).astype(int) - drawn).max() <= 1
    pixels = [samples[list(group)].mean(axis=0) for group in PICKED.values()]
    control = np.clip(pixels[0] - pixels[1] + pixels[2], 0, 255)
    assert np.abs(shown(result, 3 * COLUMN, 4 * TALL) - control).max() <= 0.5
    assert result.length == pytest.approx(float((a - b + c).norm()), rel=1e-5)
    assert Path(result.picture) == run / "arithmetic" / "step-000002.png"
    assert json.loads(Path(result.file).read_text()) == json.loads(json.dumps(asdict(result)))


def test_variations_have_uniform_noise_of_the_paper_s_width(
    run: Path, reporter: Any, paints: Paints, plain: Any
) -> None:
    seen: list[np.ndarray] = []

    def paint(z: np.ndarray) -> np.ndarray:
        seen.append(z)
        return np.asarray(plain(np.tanh(z[:, 0])))

    sampler = paints(paint, z_dim=100)
    add(run, reporter)
    (block,) = (z for z in seen if len(z) == 9)
    a, b, c = (sampler.latents(group).double().mean(dim=0).numpy() for group in PICKED.values())
    noise = block - (a - b + c)
    assert np.abs(noise[4]).max() < 1e-6
    others = np.delete(noise, 4, axis=0)
    assert np.abs(others).max() <= 0.25 + 1e-6
    assert others.std() == pytest.approx(0.5 / np.sqrt(12), rel=0.05)
    assert np.abs(others.mean(axis=0)).max() > 0.05  # each number for itself, not one for all
    assert len({row.tobytes() for row in block}) == 9


def test_without_noise_all_nine_are_the_sum(run: Path, reporter: Any) -> None:
    result = add(run, reporter, noise=0)
    assert all(np.array_equal(in_block(result, number), in_block(result, 4)) for number in range(9))


def test_the_control_is_cut_to_what_pixels_can_be(
    run: Path, reporter: Any, paints: Paints, plain: Any
) -> None:
    def paint(z: np.ndarray) -> np.ndarray:
        """White for A and C, black for all else: white - black + white is too bright."""
        return np.asarray(plain(np.where([row.tobytes() in white for row in z], 1.0, -1.0)))

    latents = paints(paint).latents([*PICKED["a"], *PICKED["c"]]).numpy()
    white = {row.tobytes() for row in latents}
    result = add(run, reporter)
    assert (shown(result, 3 * COLUMN, 4 * TALL) == 255).all()


def test_the_order_of_exemplars_does_not_matter_and_the_seed_does(
    run: Path, reporter: Any, tmp_path: Path
) -> None:
    first = add(run, reporter, out=tmp_path / "a")
    turned = add(run, reporter, out=tmp_path / "b", a=(40, 3, 17))
    other = add(run, reporter, out=tmp_path / "c", seed=1)
    assert np.array_equal(in_block(first, 0), in_block(turned, 0))
    assert not np.array_equal(in_block(first, 4), in_block(other, 4))
    again = add(run, reporter, out=tmp_path / "d")
    assert Path(first.picture).read_bytes() == Path(again.picture).read_bytes()


def test_groups_may_differ_in_size_and_be_small_if_asked(run: Path, reporter: Any) -> None:
    result = add(run, reporter, a=(1, 2, 3, 4, 5), b=(6,), c=(7, 8), allow_few=True)
    assert result.exemplars == ((1, 2, 3, 4, 5), (6,), (7, 8))
    sampler = open_sampler(run, device="cpu")
    assert np.array_equal(shown(result, COLUMN, 5 * TALL), sampler.images(sampler.latents([6]))[0])


def test_a_model_s_file_is_read(model_file: Path, reporter: Any) -> None:
    result = add(model_file, reporter)
    assert result.step is None
    assert Path(result.picture) == model_file.parent / "model-arithmetic" / "model.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"a": (1, 2)},
            r"--a: 2 exemplars, 3 or more are needed; .*'dcgan-data sample RUN --numbered', or say",
        ),
        ({"b": ()}, r"--b: 0 exemplars, 3 or more are needed; the paper averages 3, single ones were"),
        ({"b": (), "allow_few": True}, r"--b: 0 exemplars, 1 or more are needed"),
        ({"a": (3, 3, 4)}, "--a: sample 3 is there twice; pick another exemplar"),
        ({"b": (40, 17, 3)}, "--b: sample 40 is there in --a too; pick another exemplar"),
        ({"c": (1, 2, 2000)}, "--c 2000: no number of a sample; numbered sheets have 0 to 1999"),
        ({"c": (1, -2, 3)}, "--c -2: no number of a sample"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
        ({"noise": 1.5}, "--noise 1.5: expected 0 to 1"),
        ({"noise": float("nan")}, "--noise nan: expected 0 to 1"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        ArithmeticSettings(**{**PICKED, **changes})


def test_the_command_and_the_figure_name_the_concepts(run: Path) -> None:
    names = ["smiling woman", "neutral woman", "neutral man"]
    given = [f"--{option}={','.join(map(str, group))}" for option, group in PICKED.items()]
    arguments = ["arithmetic", str(run), *given, "--names", *names, "--device", "cpu"]
    done = CliRunner().invoke(latent_app, arguments)
    assert done.exit_code == 0, done.output
    assert "seed 0: smiling woman - neutral woman + neutral man" in done.output
    assert "  smiling woman: mean of samples 3, 17, 40" in done.output
    done = CliRunner().invoke(latent_app, [*arguments, "--json"])
    values = json.loads(done.stdout)
    result = ArithmeticResult(
        **{**values, "names": tuple(names), "exemplars": tuple(map(tuple, values["exemplars"]))}
    )
    figure = arithmetic_figure(result)
    assert figure.title == "Vector arithmetic: smiling woman - neutral woman + neutral man"
    assert ("samples of neutral man", "2, 8, 30") in figure.numbers
    assert figure.pictures == (Path(result.picture),)
    assert f"look: {result.picture}" in arithmetic_table(result)


def test_numbers_that_are_none_are_refused_by_the_command(run: Path) -> None:
    arguments = ["arithmetic", str(run), "--a", "1,2,x", "--b", "1,2,3", "--c", "4,5,6"]
    done = CliRunner().invoke(latent_app, arguments)
    assert isinstance(done.exception, BadRequest)
    assert str(done.exception) == "--a 1,2,x: expected numbers of samples, such as 3,17,40"
