"""The DCGAN generator and discriminator, as in the authors' code (DCGAN paper, sec. 3 and 4).

The published 64x64 model, at width 128:

    z 100 -> linear -> 1024x4x4 -> 512x8x8 -> 256x16x16 -> 128x32x32 -> 3x64x64     generator
    3x64x64 -> 128x32x32 -> 256x16x16 -> 512x8x8 -> 1024x4x4 -> linear -> 1 logit   discriminator

Every stage is a 5x5 convolution of stride 2. Other sizes are the same family with a stage fewer or
more, always between 4x4 and the image, the stage next to the image being ``width`` channels wide:
at 32x32 that is D = width, 2 width, 4 width, which at width 64 is the authors' SVHN discriminator
(64, 128, 256) and NOT their 32x32 ImageNet model, which has 3x3 convolutions and unstrided stages.

No convolution or linear layer has a bias. Batch norm uses the statistics of the batch it is given,
always, sampling included: it keeps no running averages, so ``train()`` and ``eval()`` do the same.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

IMAGE_SIZES = (32, 64, 128)
BASE_SIZE = 4
"""Side of the smallest feature map."""
BATCH_NORM_EPS = 1e-8
LEAK = 0.2
WEIGHT_STD = 0.02


@dataclass(frozen=True)
class ModelShape:
    """What fixes the shapes of both networks' parameters."""

    image_size: int
    """Side of the images in pixels: 32, 64 or 128."""
    width: int
    """Channels of the stage next to the image."""
    z_dim: int
    """Length of the latent vector."""

    def __post_init__(self) -> None:
        if self.image_size not in IMAGE_SIZES:
            raise ValueError(f"image_size={self.image_size}: must be one of {IMAGE_SIZES}")

    @property
    def stage_widths(self) -> list[int]:
        """Channels of the feature maps from the one next to the image down to 4x4."""
        stages = (self.image_size // BASE_SIZE).bit_length() - 1
        return [self.width << stage for stage in range(stages)]


class Generator(nn.Module):
    """Latent vectors, float32 (B, z_dim) in (-1, 1), to images, float32 (B, 3, S, S) in (-1, 1)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        widths = shape.stage_widths[::-1]
        units = widths[0] * BASE_SIZE**2
        self.project = nn.Linear(shape.z_dim, units, bias=False)
        # A gain for every unit, not for every channel: the authors normalise before they reshape.
        self.project_norm = nn.BatchNorm1d(units, eps=BATCH_NORM_EPS, track_running_stats=False)
        inner = [_up_stage(*pair) for pair in pairwise(widths)]
        self.stages = nn.Sequential(*inner, _image_stage(widths[-1]))
        self._base = (BASE_SIZE, BASE_SIZE, widths[0])

    def forward(self, z: Tensor) -> Tensor:
        """Draw one image for each latent vector, normalised over all of them."""
        units = torch.relu(self.project_norm(self.project(z)))
        # Channels last costs no copy here, and the order of the units is free.
        images: Tensor = self.stages(units.view(-1, *self._base).permute(0, 3, 1, 2))
        return images


class Discriminator(nn.Module):
    """Images, float32 (B, 3, S, S) in [-1, 1], to logits, float32 (B,): above 0 means real."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        widths = shape.stage_widths
        inner = [_down_stage(*pair, normalised=True) for pair in pairwise(widths)]
        self.stages = nn.Sequential(_down_stage(3, widths[0], normalised=False), *inner)
        self.classify = nn.Linear(widths[-1] * BASE_SIZE**2, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Judge each image, normalised over all of them."""
        features = self.stages(images).permute(0, 2, 3, 1).flatten(1)
        logits: Tensor = self.classify(features)
        return logits.squeeze(1)


Network = TypeVar("Network", Generator, Discriminator)


def allocate(network: type[Network], shape: ModelShape) -> Network:
    """Build a network on the CPU with memory for its parameters, whose values are still to be set."""
    # Built without storage first: torch's own initialisation would draw from its global generator.
    with torch.device("meta"):
        model = network(shape)
    model.to_empty(device="cpu")
    # A few per cent faster on a CPU, whose images come channels last anyway.
    return convert_conv2d_weight_memory_format(model, torch.channels_last)


@torch.no_grad()
def initialise(model: nn.Module, rng: torch.Generator) -> None:
    """Draw weights from N(0, 0.02) and batch-norm gains from N(1, 0.02), and zero batch-norm biases."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _fill_normal(module.weight, 0.0, rng)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            _fill_normal(module.weight, 1.0, rng)
            module.bias.zero_()


def _fill_normal(parameter: Tensor, mean: float, rng: torch.Generator) -> None:
    # Drawn apart and copied, so that the values do not depend on the parameter's memory layout.
    parameter.copy_(torch.normal(mean, WEIGHT_STD, parameter.shape, generator=rng))


def _up_stage(inputs: int, outputs: int) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](conv=_double_size(inputs, outputs))
    layers["norm"] = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, track_running_stats=False)
    layers["act"] = nn.ReLU()
    return nn.Sequential(layers)


def _image_stage(inputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict[str, nn.Module](conv=_double_size(inputs, 3), act=nn.Tanh()))


def _double_size(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1, bias=False)


def _down_stage(inputs: int, outputs: int, *, normalised: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False)
    layers = OrderedDict[str, nn.Module](conv=conv)
    if normalised:
        layers["norm"] = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, track_running_stats=False)
    layers["act"] = nn.LeakyReLU(LEAK)
    return nn.Sequential(layers)
