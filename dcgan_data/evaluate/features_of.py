"""What a discriminator sees in images: the activations of all its convolutions (DCGAN paper, sec. 5.1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcgan_data.errors import BadRequest
from dcgan_data.train.data import scale
from dcgan_data.train.models import Discriminator, ModelShape, build
from dcgan_data.train.norm import measure_statistics, set_standing
from dcgan_data.train.seeds import Stream, torch_rng

GRID = 4
"""Side of the grid that each map is pooled to, as in the paper."""
_CHUNK = 128
"""Images at once, always: an image then has the same bits, whatever it is among."""


def random_discriminator(shape: ModelShape, seed: int, device: torch.device) -> Discriminator:
    """The same architecture with fresh weights: what it is worth without training.

    They are not those that a run of the same seed began with, which its trained weights stay near to.
    """
    return build(Discriminator, shape, torch_rng(seed, Stream.BASELINE)).to(device)


def with_statistics(discriminator: Discriminator, images: np.ndarray) -> Discriminator:
    """Let it normalise by its statistics over uint8 (N, S, S, 3) images from now on; returns it.

    They are those of all images together, each layer's inputs normalised by batches of 128 on the way, so
    that what is seen in an image does not depend on the others beside it. (The authors' SVHN script takes the
    mean of the batches' variances: ``probe.svhn_statistics``.) A single image that is left over is left out.
    """
    _check_size(discriminator, images)
    discriminator.eval()  # spectral norm, where there is one, goes on estimating while it trains
    place = discriminator.classify.weight.device
    starts = range(0, len(images), _CHUNK)
    parts = (images[start : start + _CHUNK] for start in starts if len(images) - start > 1)
    batches = (scale(torch.from_numpy(np.ascontiguousarray(part)).to(place)) for part in parts)
    set_standing(discriminator, measure_statistics(discriminator, batches))
    return discriminator


def feature_count(shape: ModelShape, grid: int = GRID) -> int:
    """How many features an image has: 28,672 for the authors' ImageNet model."""
    return sum(layer.outputs for layer in shape.discriminator_layers) * grid**2


@torch.no_grad()
def discriminator_features(discriminator: Discriminator, images: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Activations of every convolution for uint8 (N, S, S, 3) images, pooled and side by side.

    Each map, after its LeakyReLU, is max-pooled to grid x grid. Returns float32 (N, F), F as in
    ``feature_count``; channel by channel, row by row, layer by layer. Set statistics first
    (``with_statistics``). BadRequest if the images are not of the model's size.
    """
    _check_size(discriminator, images)
    found = np.empty((len(images), feature_count(discriminator.shape, grid)), np.float32)
    whole = np.zeros((_CHUNK, *images.shape[1:]), np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        whole[: len(part)] = part
        pixels = torch.from_numpy(whole).to(discriminator.classify.weight.device)
        seen = _pooled(discriminator, scale(pixels), grid)[: len(part)]
        found[start : start + len(part)] = seen.cpu().numpy()
    return found


def _pooled(discriminator: Discriminator, images: Tensor, grid: int) -> Tensor:
    maps, pooled = images, []
    for stage in discriminator.stages:
        maps = stage(maps)
        pooled.append(F.max_pool2d(maps, maps.shape[-1] // grid).flatten(1))
    return torch.cat(pooled, dim=1)


def _check_size(discriminator: Discriminator, images: np.ndarray) -> None:
    size = discriminator.shape.image_size
    if images.shape[1:] != (size, size, 3):
        found = "x".join(map(str, images.shape[1:3]))
        raise BadRequest(
            f"images of {found} pixels: the model is for {size}x{size}; use a model or images of one size"
        )
