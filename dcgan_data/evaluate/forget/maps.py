"""The feature maps of G's second-highest convolution layer: read them, and draw without some of them.

The highest maps, counted from z, are the 4x4 ones that the projection makes. The second-highest are what the
first transposed convolution makes of them, after batch norm and ReLU: 512x8x8 in the published 64x64 model,
8x8 in all others too.

Maps are dropped before the batch norms of the later layers. The authors normalise by the batch always, with
dropped maps by a batch without them; so the statistics of these norms are taken anew. With those of the whole
model, half of its maps gone, images lose their brightness and contrast, whichever maps they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from dcgan_data.device import send
from dcgan_data.evaluate.forget.boxes import Box
from dcgan_data.train.models import Generator, Stage
from dcgan_data.train.norm import BatchNorm, measure_statistics, set_standing
from dcgan_data.train.sample import Sampler
from dcgan_data.train.seeds import Stream, torch_rng

_BATCHES, _BATCH = 8, 128
"""Latent vectors that statistics are taken over: the authors' batch, eight times."""


def maps_of(sampler: Sampler, z: Tensor) -> np.ndarray:
    """Feature maps for latent vectors, float32 (N, z_dim): float32 (N, C, 8, 8), none below 0."""
    seen: list[Tensor] = []
    with _at_the_layer(sampler.generator, lambda maps: seen.append(maps.cpu())):
        sampler.images(z)
    # The sampler fills its last batch up.
    return torch.cat(seen)[: len(z)].contiguous().numpy()


class SamplerWithout:
    """Draws the images of a sampler without some of the feature maps."""

    def __init__(self, sampler: Sampler, keep_statistics: bool) -> None:
        """keep_statistics: later batch norms go on with those of the whole model."""
        self._sampler = sampler
        self._maps: np.ndarray | None = None
        if not keep_statistics:
            z = sampler.shape.draw_z(torch_rng(0, Stream.STANDING), _BATCHES * _BATCH)
            self._maps = maps_of(sampler, z)

    def images(self, z: Tensor, dropped: Sequence[int]) -> np.ndarray:
        """Draw latent vectors, float32 (N, z_dim), with the maps ``dropped`` zero: uint8 (N, S, S, 3)."""
        generator = self._sampler.generator
        layer = _layer(generator).conv
        assert isinstance(layer, nn.ConvTranspose2d)
        kept = torch.ones(layer.out_channels, 1, 1)
        kept[list(dropped)] = 0
        kept = kept.to(layer.weight.device)
        with self._statistics(kept), _at_the_layer(generator, lambda maps: maps * kept):
            return self._sampler.images(z)

    @contextmanager
    def _statistics(self, kept: Tensor) -> Iterator[None]:
        """Inside the block, later batch norms normalise by the statistics of what is kept."""
        if self._maps is None:
            yield
            return
        later = self._sampler.generator.stages[1:]
        before = {norm: norm.standing for norm in later.modules() if isinstance(norm, BatchNorm)}
        parts = torch.split(torch.from_numpy(self._maps), _BATCH)
        try:
            for norm in before:
                norm.standing = None
            set_standing(later, measure_statistics(later, (send(part, kept.device) * kept for part in parts)))
            yield
        finally:
            for norm, statistics in before.items():
                norm.standing = statistics


def centres(generator: Generator, side: int) -> np.ndarray:
    """The pixel, in rows as in columns, that the reach of each of ``side`` places is centred on: (side,).

    Not the middle of its share of the image: a transposed convolution of kernel 5, stride 2 and padding 2
    spreads place i over the places 2i - 2 to 2i + 2, so that at 64 px place i is centred on pixel 8i.
    """
    centre = np.arange(side, dtype=np.float64)
    for stage in list(generator.stages)[1:]:
        assert isinstance(stage, Stage) and isinstance(stage.conv, nn.ConvTranspose2d)
        conv = stage.conv
        centre = centre * conv.stride[0] - float(conv.padding[0]) + (conv.kernel_size[0] - 1) / 2
    return centre


def places_inside(box: Box, centre: np.ndarray) -> np.ndarray:
    """The places whose ``centres`` are inside a box: bool (side, side), at least one.

    A box so narrow, or so low, that it has no centre inside gets the column, or row, nearest to its middle.
    """
    rows = _along(centre, box.y, box.height)
    columns = _along(centre, box.x, box.width)
    inside: np.ndarray = rows[:, None] & columns[None, :]
    return inside


def _along(centre: np.ndarray, start: int, length: int) -> np.ndarray:
    inside: np.ndarray = (centre >= start) & (centre < start + length)
    if not inside.any():
        inside[np.abs(centre - (start + (length - 1) / 2)).argmin()] = True
    return inside


def _layer(generator: Generator) -> Stage:
    layer = generator.stages[0]
    assert isinstance(layer, Stage)
    return layer


@contextmanager
def _at_the_layer(generator: Generator, use: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Inside the block ``use`` sees the layer's maps, and what it returns, if anything, takes their place."""
    hook = _layer(generator).register_forward_hook(lambda _layer, _inputs, maps: use(maps))
    try:
        yield
    finally:
        hook.remove()
