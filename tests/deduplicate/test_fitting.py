"""The fit: what is kept of an earlier one, and what is noted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import ImageSet
from dcgan_data.deduplicate.fitting import adopt_autoencoder, fit
from dcgan_data.formats.autoencoder_file import read_autoencoder
from dcgan_data.hashing import read_encoder

MakeRecipe = Callable[..., Any]


@pytest.fixture
def images(tmp_path: Path, texture: Callable[..., np.ndarray], stage: Callable[..., ImageSet]) -> ImageSet:
    return stage(tmp_path, [[texture(seed, 32, 32) for seed in range(12)]])


def test_a_fit_is_kept_for_the_same_recipe_and_seed(
    tmp_path: Path, images: ImageSet, recipe: MakeRecipe
) -> None:
    path = tmp_path / "autoencoder.safetensors"
    first = recipe()
    fit(images, first.autoencoder, 0, "cpu")
    before, inode = path.read_bytes(), path.stat().st_ino
    looks: list[int] = []
    fit(images, first.autoencoder, 0, "cpu", lambda updates, loss: looks.append(updates))
    assert (path.stat().st_ino, looks) == (inode, [])
    fit(images, first.autoencoder, 1, "cpu", lambda updates, loss: looks.append(updates))
    assert looks == [4, 4]
    assert path.read_bytes() != before
    fit(images, recipe(autoencoder={"dropout": 0.25}).autoencoder, 1, "cpu")
    assert read_autoencoder(path)[1]["recipe"]["dropout"] == 0.25
    path.write_bytes(b"damaged")
    fit(images, first.autoencoder, 0, "cpu")
    assert path.read_bytes() == before


def test_notes_say_how_the_fit_went(tmp_path: Path, images: ImageSet, recipe: MakeRecipe) -> None:
    fit(images, recipe().autoencoder, 3, "cpu")
    _, notes = read_autoencoder(tmp_path / "autoencoder.safetensors")
    assert (notes["seed"], notes["device"], notes["images"], notes["updates"]) == (3, "cpu", 12, 8)
    assert len(notes["holdout_losses"]) == 2


@pytest.mark.parametrize(("inputs", "length"), [("luma", 1024), ("rgb", 3072)])
def test_the_encoder_sees_what_the_recipe_says(
    tmp_path: Path, images: ImageSet, recipe: MakeRecipe, inputs: str, length: int
) -> None:
    fit(images, recipe(autoencoder={"inputs": inputs}).autoencoder, 0, "cpu")
    assert read_encoder(tmp_path / "autoencoder.safetensors").weight.shape == (length, 128)


def test_an_adopted_autoencoder_is_the_other_sets(
    tmp_path: Path, images: ImageSet, recipe: MakeRecipe
) -> None:
    fit(images, recipe().autoencoder, 0, "cpu")
    path = tmp_path / "autoencoder.safetensors"
    adopt_autoencoder(path, tmp_path / "own")
    assert (tmp_path / "own").read_bytes() == path.read_bytes()
