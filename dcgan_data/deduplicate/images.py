"""The images of a run in progress, numbered through all shards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.shards import open_shard
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.codes import INPUTS, area_sums, to_luma


@dataclass(frozen=True)
class ImageSet:
    """The decoded images of a run in progress, numbered through all shards."""

    staging: Staging
    """Where their rows are."""
    shard_rows: list[int]
    """Images in each shard."""
    image_size: int
    """Side in pixels."""

    def __len__(self) -> int:
        return sum(self.shard_rows)

    @cached_property
    def ends(self) -> np.ndarray:
        """int64: number of images up to and including each shard."""
        return np.cumsum(np.array(self.shard_rows, np.int64))

    def first(self, shard: int) -> int:
        """Number of a shard's first image."""
        return int(self.ends[shard]) - self.shard_rows[shard]

    def pixels(self, shard: int) -> np.ndarray:
        """One shard's images, uint8 (n, S, S, 3), memory-mapped."""
        return open_shard(self.staging.out / shard_name(shard), self.shard_rows[shard], self.image_size)

    def gather(self, images: np.ndarray) -> np.ndarray:
        """Copy the pixels of int64 (B,) images: uint8 (B, S, S, 3)."""
        pixels = np.empty((len(images), self.image_size, self.image_size, 3), np.uint8)
        for shard, here, rows in self.by_shard(images):
            pixels[here] = self.pixels(shard)[rows]
        return pixels

    def by_shard(self, images: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Where int64 (B,) images are: (shard, places in ``images``, rows in the shard), rows ascending."""
        order = np.argsort(images, kind="stable")
        shards = np.searchsorted(self.ends, images[order], side="right")
        bounds = np.flatnonzero(np.diff(shards, prepend=-1, append=len(self.shard_rows)))
        found = []
        for start, end in pairwise(bounds.tolist()):
            shard, here = int(shards[start]), order[start:end]
            found.append((shard, here, images[here] - self.first(shard)))
        return found


def sample_pixels(images: ImageSet, most: int, seed: int, luma: bool) -> np.ndarray:
    """A seeded sample of the set as uint8 (n, 3072): 32x32 area averages, rounded, in source order.

    luma: all three channels carry the luminance.
    """
    total = len(images)
    chosen = np.arange(total)
    if total > most:
        chosen = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    sample = np.empty((len(chosen), INPUTS), np.uint8)
    for shard, here, rows in images.by_shard(chosen):
        pixels = images.pixels(shard)
        for start in range(0, len(rows), 1024):
            block = pixels[rows[start : start + 1024]]
            sample[here[start : start + 1024]] = _small(block, luma)
    return sample


def _small(pixels: np.ndarray, luma: bool) -> np.ndarray:
    if luma:
        return np.repeat(to_luma(pixels).reshape(len(pixels), -1), 3, axis=1)
    cells = (pixels.shape[1] // 32) ** 2
    small: np.ndarray = np.rint(area_sums(pixels) / cells)
    return small
