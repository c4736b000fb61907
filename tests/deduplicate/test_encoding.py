"""What is worked out once for each image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import ImageSet
from dcgan_data.deduplicate.encoding import encode_all, encode_shard, read_codes
from dcgan_data.deduplicate.fitting import fit
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.hashing import read_encoder, recipe_views
from dcgan_data.ops.codes import encode, to_luma
from dcgan_data.ops.similarity import structure
from dcgan_data.ops.views import make_view
from dcgan_data.recipe import DedupRecipe

NEAR, EXACT = DedupRecipe(), DedupRecipe(rule="exact")


def flat(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


@pytest.fixture
def images(
    tmp_path: Path, texture: Callable[..., np.ndarray], stage: Callable[..., ImageSet], recipe: Any
) -> ImageSet:
    """Five textures; a flat image; the first texture again, and the flat image."""
    textures = [texture(seed, 32, 32) for seed in range(5)]
    staged = stage(tmp_path, [textures, [flat(9)], [textures[0], flat(9)]])
    fit(staged, recipe().autoencoder, 0, "cpu")
    return staged


def test_codes_are_those_of_the_encoder(tmp_path: Path, images: ImageSet) -> None:
    views = recipe_views(NEAR)
    assert sorted(encode_all(images, NEAR, 1, views)) == [0, 1, 2, 5]
    rows = read_codes(images)
    expected, _ = encode(images.gather(np.arange(8)), read_encoder(tmp_path / AUTOENCODER))
    assert np.array_equal(rows["code"], expected)
    assert rows["flat"].tolist() == [False] * 5 + [True, False, True]
    equal = (rows["pixels"][:, None] == rows["pixels"][None]).all(axis=2)
    assert np.argwhere(np.triu(equal, 1)).tolist() == [[0, 6], [5, 7]]


def test_the_near_rule_stages_views_and_structures(tmp_path: Path, images: ImageSet) -> None:
    views = recipe_views(NEAR)
    encode_shard(images, 0, NEAR, views)
    seen = np.load(images.staging.part("views", 0))
    assert seen.shape == (5, len(views), 16)
    assert np.array_equal(seen[:, 0], np.load(images.staging.codes(0))["code"])
    pixels = images.pixels(0)
    assert np.array_equal(np.load(images.staging.part("structure", 0)), structure(to_luma(pixels)))
    (mirror,) = np.flatnonzero(views == make_view(mirror=True))
    mirrored, _ = encode(np.ascontiguousarray(pixels[:, :, ::-1]), read_encoder(tmp_path / AUTOENCODER))
    assert np.array_equal(seen[:, mirror], mirrored)


def test_the_exact_rule_stages_codes_only(images: ImageSet) -> None:
    assert len(recipe_views(EXACT)) == 1
    encode_shard(images, 0, EXACT, recipe_views(EXACT))
    assert not images.staging.part("views", 0).exists()
    assert not images.staging.part("structure", 0).exists()


def test_contrast_is_the_recipes(images: ImageSet) -> None:
    everything_is_flat = DedupRecipe(rule="exact", min_contrast=200.0)
    encode_shard(images, 0, everything_is_flat, recipe_views(EXACT))
    assert np.load(images.staging.codes(0))["flat"].all()
    encode_shard(images, 1, DedupRecipe(rule="exact", min_contrast=0.0), recipe_views(EXACT))
    assert not np.load(images.staging.codes(1))["flat"].any()


def test_a_finished_shard_is_not_encoded_again(images: ImageSet) -> None:
    views = recipe_views(EXACT)
    assert list(encode_all(images, EXACT, 1, views)) == [0, 5, 1, 2]
    assert list(encode_all(images, EXACT, 1, views)) == [8]
    images.staging.codes(1).unlink()
    assert list(encode_all(images, EXACT, 1, views)) == [7, 1]
