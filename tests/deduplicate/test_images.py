"""Images numbered through all shards, and the sample that the autoencoder is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import ImageSet
from dcgan_data.deduplicate.images import sample_pixels
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.codes import to_luma

Texture = Callable[..., np.ndarray]


@pytest.fixture
def shards(texture: Texture) -> list[list[np.ndarray]]:
    return [[texture(10 * shard + n, 32, 32) for n in range(rows)] for shard, rows in enumerate((6, 0, 5, 7))]


def test_images_are_numbered_through_all_shards(
    tmp_path: Path, shards: list[list[np.ndarray]], stage: Callable[..., ImageSet]
) -> None:
    images = stage(tmp_path, shards)
    assert len(images) == 18
    assert [images.first(shard) for shard in range(4)] == [0, 6, 6, 11]
    everything = np.concatenate([np.stack(shard) for shard in shards if shard])
    wanted = np.array([17, 0, 6, 5, 6, 11, 10])
    assert np.array_equal(images.gather(wanted), everything[wanted])
    places = [(shard, here.tolist(), rows.tolist()) for shard, here, rows in images.by_shard(wanted)]
    assert places == [(0, [1, 3], [0, 5]), (2, [2, 4, 6], [0, 0, 4]), (3, [5, 0], [0, 6])]
    assert images.by_shard(np.zeros(0, np.int64)) == []


def test_the_sample_is_seeded_and_in_source_order(
    tmp_path: Path, shards: list[list[np.ndarray]], stage: Callable[..., ImageSet]
) -> None:
    images = stage(tmp_path, shards)
    everything = np.concatenate([np.stack(shard) for shard in shards if shard]).reshape(18, -1)
    assert np.array_equal(sample_pixels(images, 100, 0, False), everything)
    assert np.array_equal(sample_pixels(images, 18, 0, False), everything)
    some = sample_pixels(images, 7, 5, False)
    places = [int(np.flatnonzero((everything == row).all(axis=1))[0]) for row in some]
    assert places == sorted(set(places))
    assert len(places) == 7
    assert np.array_equal(some, sample_pixels(images, 7, 5, False))
    assert not np.array_equal(some, sample_pixels(images, 7, 6, False))


def test_the_sample_of_luminance_has_it_in_all_channels(
    tmp_path: Path, shards: list[list[np.ndarray]], stage: Callable[..., ImageSet]
) -> None:
    images = stage(tmp_path, shards)
    sample = sample_pixels(images, 100, 0, True).reshape(18, 32, 32, 3)
    expected = to_luma(images.gather(np.arange(18)))
    assert (sample == expected[..., None]).all()


def test_the_sample_of_larger_images_is_the_area_average(
    tmp_path: Path, make: Any, source: Path, recipe: Any
) -> None:
    make(source, tmp_path / "out", recipe("none", image={"size": 64}))
    shard = np.load(tmp_path / "out" / "images" / "00000.npy")
    images = ImageSet(Staging(tmp_path / "out"), [len(shard)], 64)
    average = shard.reshape(len(shard), 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.array_equal(sample_pixels(images, 100, 0, False), np.rint(average).reshape(len(shard), -1))
