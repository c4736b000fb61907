"""The numbered sheet: the samples of the plain grid, where their numbers say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_train import train_app
from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.numbered import numbered_sheet
from dcgan_data.train.sample import open_sampler, sample

LEFT, TOP, WIDE, TALL = 10, 47, 138, 149
"""Where the first image is, and pixels to the next one across and down."""


def shown(path: Path, number: int, columns: int) -> np.ndarray:
    """uint8 (32, 32, 3): a sample of the sheet, and fails if it is not whole or has nothing below it."""
    row, column = divmod(number, columns)
    pixels = np.asarray(Image.open(path).convert("RGB"))[TOP + row * TALL :, LEFT + column * WIDE :]
    large = pixels[:128, :128]
    assert np.array_equal(large, large[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
    assert pixels[128:145, :20].min() < 128
    return large[::4, ::4]


@pytest.mark.parametrize(("count", "columns"), [(5, 3), (70, 9)])
def test_it_shows_the_very_samples_of_the_grid(
    texture_run: Path, tmp_path: Path, count: int, columns: int
) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    grid = np.asarray(Image.open(sample(sampler, count, tmp_path / "grid.png", seed=4)))
    path = numbered_sheet(sampler, count, tmp_path / "new" / "sheet.png", seed=4)
    for number in {0, 1, count - 1}:
        row, column = divmod(number, columns)
        plain = grid[row * 32 :, column * 32 :][:32, :32]
        assert np.array_equal(shown(path, number, columns), plain)
        latent = sampler.latents([number], seed=4)
        assert np.array_equal(sampler.images(latent)[0], plain)


def test_numbers_differ(texture_run: Path, tmp_path: Path) -> None:
    path = numbered_sheet(open_sampler(texture_run, device="cpu"), 12, tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(path))
    below = [
        pixels[TOP + row * TALL + 128 :, LEFT + column * WIDE :][:17, :40].tobytes()
        for row in range(3)
        for column in range(4)
    ]
    assert len(set(below)) == 12


def test_the_title_names_seed_and_checkpoint(texture_run: Path, tmp_path: Path) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    titles = [
        np.asarray(Image.open(numbered_sheet(sampler, 1, tmp_path / f"{seed}.png", seed)))[: TOP - 2]
        for seed in (0, 1)
    ]
    assert titles[0].min() < 128
    assert not np.array_equal(*titles)
    # The title is wider than its only image, and whole: white to its right.
    assert (titles[0][:, -9:] == 255).all() and titles[0].shape[1] > 400


def test_refusals(texture_run: Path, tmp_path: Path) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    for count in (0, 2001):
        with pytest.raises(BadRequest, match=f"--count {count}: a numbered sheet has 1 to 2,000 samples"):
            numbered_sheet(sampler, count, tmp_path / "a.png")
    with pytest.raises(BadRequest, match="--seed -1: must be 0 or more"):
        numbered_sheet(sampler, 1, tmp_path / "a.png", seed=-1)
    with pytest.raises(BadRequest, match=r"a.jpg: samples are written as PNG; give a name that ends in .png"):
        numbered_sheet(sampler, 1, tmp_path / "a.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"a.png: cannot be written .*; choose another --out"):
        numbered_sheet(sampler, 1, tmp_path / "file" / "a.png")


def test_the_command_takes_the_option(texture_run: Path, tmp_path: Path) -> None:
    arguments = ["sample", str(texture_run), "-n", "4", "--device", "cpu", "--json"]
    for name, option in (("grid.png", []), ("sheet.png", ["--numbered"])):
        done = CliRunner().invoke(train_app, [*arguments, "-o", str(tmp_path / name), *option])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["grid"] == str(tmp_path / name)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (64, 64, 3)
    assert np.array_equal(shown(tmp_path / "sheet.png", 3, 2), grid[32:, 32:])
