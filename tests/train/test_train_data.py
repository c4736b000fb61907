"""The order of images is a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.data import Batches, epoch_order, scale

CPU = torch.device("cpu")


def test_an_epoch_visits_images_once_and_drops_the_partial_batch() -> None:
    order = epoch_order(seed=3, epoch=0, images=11, batch_size=4)
    assert order.shape == (2, 4)
    assert len(np.unique(order)) == 8
    assert (np.diff(order, axis=1) > 0).all()  # ascending inside a batch


def test_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    np.random.seed(0)  # the global generator must not matter
    first = epoch_order(3, 5, 100, 10)
    assert np.array_equal(first, epoch_order(3, 5, 100, 10))
    assert not np.array_equal(first, epoch_order(3, 6, 100, 10))
    assert not np.array_equal(first, epoch_order(4, 5, 100, 10))


def test_every_image_is_dropped_in_some_epoch() -> None:
    visited = [set(epoch_order(0, epoch, 5, 4).ravel().tolist()) for epoch in range(40)]
    assert {missing for seen in visited for missing in set(range(5)) - seen} == set(range(5))


def test_scale_maps_bytes_onto_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 4, 4, 3)
    images = scale(pixels)
    assert images.shape == (2, 3, 4, 4)
    assert images.dtype == torch.float32
    assert images[0, :, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_resident_and_a_mapped_set_give_the_same_batches(make_set: Callable[..., Path]) -> None:
    rows = PreparedSet.open(make_set(kept=10)).rows()
    resident = Batches(rows, batch_size=4, seed=1, device=CPU)
    mapped = Batches(rows, batch_size=4, seed=1, device=CPU, resident_bytes=10 * 32 * 32 * 3 - 1)
    assert resident.per_epoch == mapped.per_epoch == 2
    for batch in (0, 1, 2, 7, 3):
        assert torch.equal(resident.images(batch), mapped.images(batch))


def test_batches_hold_the_kept_images_where_the_order_says(make_set: Callable[..., Path]) -> None:
    rows = PreparedSet.open(make_set(kept=10)).rows()
    third = Batches(rows, batch_size=4, seed=1, device=CPU).images(3)  # second batch of the second epoch
    expected = rows.gather(epoch_order(1, 1, 10, 4)[1])
    assert np.array_equal(((third + 1) * 127.5).round().permute(0, 2, 3, 1).numpy(), expected)


def test_removed_images_are_never_seen(make_set: Callable[..., Path]) -> None:
    batches = Batches(PreparedSet.open(make_set(kept=8)).rows(), batch_size=4, seed=0, device=CPU)
    epoch = torch.cat([batches.images(0), batches.images(1)])
    assert not (epoch == 1).flatten(1).all(1).any()  # the duplicate is all white
