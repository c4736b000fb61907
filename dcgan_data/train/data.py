"""Minibatches of a run, each a pure function of seed and number, so that a resumed run sees the same.

The images are copied to the device once if they fit, and read ahead of need if they do not. What is in a
batch, and in which order, depends on neither, nor on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dcgan_data.train.order import epoch_order
from dcgan_data.train.prefetch import Prefetch

CPU_RESIDENT_BYTES = 2 * 2**30
"""On a CPU, a set of at most this size is copied to memory; a larger one is left to the page cache."""
_CHUNK_BYTES = 16 * 2**20
_CPU = torch.device("cpu")


class ImageSource(Protocol):
    """Images by position; ``formats.prepared.ImageRows`` is one."""

    image_size: int

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy the images at int64 (B,) ``indices``: uint8 (B, S, S, 3) RGB. Several threads may call it."""
        ...


@dataclass(frozen=True)
class Share:
    """What one process reads of a run's batches."""

    rank: int = 0
    """The process's number among ``ranks``: it takes the rank-th of the equal parts of each batch."""
    ranks: int = 1
    """Processes that share each batch."""
    stride: int = 1
    """From one batch that is asked for to the next: 2 if every second one is passed over unread."""

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.ranks and self.stride >= 1, self


class Batches:
    """The minibatches of a run, each one asked for by its number."""

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        seed: int,
        device: torch.device,
        share: Share = Share(),
        resident_bytes: int | None = None,
    ) -> None:
        """batch_size: of all ranks together; they must be able to share it evenly.

        resident_bytes: the largest set to copy to the device; None: as much as is sensible there.
        """
        self.per_epoch = len(source) // batch_size
        """Batches in an epoch; the images of a last, partial one are dropped, others in each epoch."""
        assert self.per_epoch > 0 and batch_size % share.ranks == 0, (len(source), batch_size, share)
        limit = _room_for_images(device) if resident_bytes is None else resident_bytes
        self.resident = len(source) * source.image_size**2 * 3 <= limit
        """Whether the set was copied to the device."""
        way = _Resident if self.resident else _Streamed
        self._way = way(source, batch_size, seed, device, share)

    def pixels(self, batch: int) -> Tensor:
        """This rank's part of batch ``batch`` of the run, counted over epochs: uint8 (B / ranks, S, S, 3).

        It is on the device, and the caller's own. The host does not wait for a GPU.
        """
        return self._way.pixels(batch)

    def close(self) -> None:
        """Let go of threads and memory."""
        self._way.close()


def scale(images_nhwc: Tensor) -> Tensor:
    """Map uint8 (B, S, S, 3) to float32 (B, 3, S, S) in [-1, 1] (sec. 4: the only preprocessing).

    Bytes cross to the device and are widened there; the result is a channels-last view, not a copy.
    """
    return (images_nhwc.float() / 127.5 - 1).permute(0, 3, 1, 2)


class _Slices:
    """Which images are in a batch; several threads may ask."""

    def __init__(self, images: int, batch_size: int, seed: int, device: torch.device, share: Share) -> None:
        self._per_epoch = images // batch_size
        self._batch_size = batch_size
        self._part = batch_size // share.ranks
        self._first = share.rank * self._part
        # Two: threads read on both sides of an epoch's end.
        self._order = lru_cache(maxsize=2)(partial(epoch_order, seed, images=images, device=device))
        self._lock = Lock()  # so that a new epoch's order is computed by one of them only

    def positions(self, batch: int) -> Tensor:
        """int64 (B / ranks,) on the device."""
        epoch, place = divmod(batch, self._per_epoch)
        with self._lock:
            order = self._order(epoch)
        # Not sorted, though a disk would like it: rank 0 would then see the beginning of the set only.
        first = place * self._batch_size + self._first
        return order[first : first + self._part]


class _Resident:
    """All images on the device, from where a batch is picked at memory speed."""

    def __init__(
        self, source: ImageSource, batch_size: int, seed: int, device: torch.device, share: Share
    ) -> None:
        self._slices = _Slices(len(source), batch_size, seed, device, share)
        self._images = _copy_all(source, device)

    def pixels(self, batch: int) -> Tensor:
        return self._images.index_select(0, self._slices.positions(batch))

    def close(self) -> None:
        self._images = torch.empty(0, dtype=torch.uint8)


class _Streamed:
    """Batches read through memory maps, ahead of need."""

    def __init__(
        self, source: ImageSource, batch_size: int, seed: int, device: torch.device, share: Share
    ) -> None:
        read = partial(_read, source, _Slices(len(source), batch_size, seed, _CPU, share))
        size = source.image_size
        shape = (batch_size // share.ranks, size, size, 3)
        self._prefetch = Prefetch(read, shape, device, share.stride)

    def pixels(self, batch: int) -> Tensor:
        return self._prefetch.get(batch)

    def close(self) -> None:
        self._prefetch.close()


def _read(source: ImageSource, slices: _Slices, batch: int) -> np.ndarray:
    return source.gather(slices.positions(batch).numpy())


def _room_for_images(device: torch.device) -> int:
    """Bytes that images may take of the device's memory."""
    if device.type == "cpu":
        return CPU_RESIDENT_BYTES
    # Half of what is free: the networks' activations, which grow with the batch, the libraries' workspaces
    # and recorded graphs come later. Three million images of 64 px are 35 GiB: they fit on 80 GB.
    free, _ = torch.cuda.mem_get_info(device)
    return free // 2


def _copy_all(source: ImageSource, device: torch.device) -> Tensor:
    """All images in their order, uint8 (N, S, S, 3) on the device; read in chunks, one ahead of the other."""
    count, size = len(source), source.image_size
    images = torch.empty((count, size, size, 3), dtype=torch.uint8, device=device)
    rows = min(count, max(1, _CHUNK_BYTES // (size**2 * 3)))

    def read(chunk: int) -> np.ndarray:
        # The threads also read beyond the last chunk, where nothing is.
        return source.gather(np.arange(min(count, chunk * rows), min(count, (chunk + 1) * rows)))

    chunks = Prefetch(read, (rows, size, size, 3), device)
    try:
        for chunk, first in enumerate(range(0, count, rows)):
            images[first : first + rows] = chunks.get(chunk)
    finally:
        chunks.close()
    return images
