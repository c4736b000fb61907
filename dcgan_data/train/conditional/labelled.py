"""Grey images of 28x28 pixels and what they show, in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.train.seeds import Stream, numpy_rng

CLASSES = 10
SIDE = 28
"""Of an image, in pixels."""


@dataclass(frozen=True)
class LabelledImages:
    """Images, and the class of each."""

    images: np.ndarray
    """uint8 (N, 28, 28), 255 is white."""
    labels: np.ndarray
    """uint8 (N,), 0 to 9."""

    def __post_init__(self) -> None:
        assert self.images.dtype == self.labels.dtype == np.uint8
        assert self.images.shape == (len(self.labels), SIDE, SIDE), self.images.shape

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | np.ndarray) -> LabelledImages:
        """Those of a slice, or at int64 (M,) positions."""
        return LabelledImages(self.images[chosen], self.labels[chosen])

    @property
    def sha256(self) -> str:
        """Hash of labels and pixels, in their order."""
        return hashlib.sha256(self.labels.tobytes() + self.images.tobytes()).hexdigest()


def split(data: LabelledImages, held_out: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Images to train on, and ``held_out`` others chosen at random, each in the order of ``data``.

    BadRequest unless two or more are left to train on.
    """
    if len(data) - held_out < 2:
        raise BadRequest(f"held_out={held_out}: there are {len(data):,} images; hold out fewer")
    order = numpy_rng(seed, Stream.HELD_OUT, 0).permutation(len(data))
    return data[np.sort(order[held_out:])], data[np.sort(order[:held_out])]
