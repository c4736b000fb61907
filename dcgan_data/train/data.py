"""Minibatches in an order that is a pure function of seed and step, so that a resumed run sees the same."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from dcgan_data.device import send
from dcgan_data.train.seeds import Stream, numpy_rng

RESIDENT_BYTES = 2 * 2**30
"""A set of at most this size is copied to the device once; a larger one is read batch by batch."""


class ImageSource(Protocol):
    """Images by position; ``formats.prepared.ImageRows`` is one."""

    image_size: int

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy the images at int64 (B,) ``indices``: uint8 (B, S, S, 3) RGB."""
        ...


def epoch_order(seed: int, epoch: int, images: int, batch_size: int) -> np.ndarray:
    """The batches of one epoch as int64 (batches, batch_size) positions.

    A random permutation without its last, partial batch. Positions ascend inside a batch: their
    order means nothing to training, and memory maps are then read forwards.
    """
    shuffled = numpy_rng(seed, Stream.ORDER, epoch).permutation(images)
    whole = images - images % batch_size
    return np.sort(shuffled[:whole].reshape(-1, batch_size), axis=1)


class Batches:
    """The minibatches of a run, each one asked for by its number."""

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        seed: int,
        device: torch.device,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> None:
        self.per_epoch = len(source) // batch_size
        assert self.per_epoch > 0, (len(source), batch_size)
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._epoch = -1
        self._order = np.empty((0, batch_size), np.int64)
        self._resident: torch.Tensor | None = None
        if len(source) * source.image_size**2 * 3 <= resident_bytes:
            self._resident = torch.from_numpy(source.gather(np.arange(len(source)))).to(device)

    def images(self, batch: int) -> torch.Tensor:
        """Batch ``batch`` of the run: float32 (B, 3, S, S) in [-1, 1] on the device, channels last."""
        epoch, place = divmod(batch, self.per_epoch)
        if epoch != self._epoch:
            self._order = epoch_order(self._seed, epoch, len(self._source), self._batch_size)
            self._epoch = epoch
        return scale(self._pixels(self._order[place]))

    def _pixels(self, positions: np.ndarray) -> torch.Tensor:
        """uint8 (B, S, S, 3) on the device."""
        if self._resident is not None:
            return self._resident[send(torch.from_numpy(positions), self._device)]
        return send(torch.from_numpy(self._source.gather(positions)), self._device)


def scale(images_nhwc: torch.Tensor) -> torch.Tensor:
    """Map uint8 (B, S, S, 3) to float32 (B, 3, S, S) in [-1, 1] (sec. 4: the only preprocessing).

    Bytes cross to the device and are widened there; the result is a channels-last view, not a copy.
    """
    return (images_nhwc.float() / 127.5 - 1).permute(0, 3, 1, 2)
