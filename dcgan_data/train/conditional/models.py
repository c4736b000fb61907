"""The authors' conditional networks for digits of 28x28 (DCGAN paper, appendix).

    z 100 -> 1024 -> 128x7x7 -> 64x14x14 -> 1x28x28                generator
    1x28x28 -> 64x14x14 -> 128x7x7 -> 1024 -> 1 logit              discriminator

Before every layer the one-hot label is put beside its inputs: ten more units, or ten more maps that are 0 or
1 all over. Convolutions are 5x5 with stride 2. No layer has a bias, and batch norm no gain and no bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.conditional.labelled import CLASSES
from dcgan_data.train.models import LEAK, WEIGHT_STD
from dcgan_data.train.norm import BatchNorm

BASE_SIZE = 7
"""Side of the smallest feature map."""
_KERNEL = 5


@dataclass(frozen=True)
class ConditionalShape:
    """What fixes the shapes of both networks' weights."""

    z_dim: int
    """Length of the latent vector."""
    filters: int
    """Channels of the maps of 14x14; those of 7x7 have twice as many."""
    units: int
    """Of the fully connected layers."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ConditionalShape:
        """The shape that the values of ConditionalSettings ask for."""
        return cls(settings["z_dim"], settings["filters"], settings["units"])

    @property
    def flat(self) -> int:
        """Values of all maps of 7x7 together."""
        return 2 * self.filters * BASE_SIZE**2


class PlainBatchNorm(BatchNorm):
    """Batch norm without gain and bias: they are fixed at 1 and 0, and not saved."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        del self.weight, self.bias
        self.register_buffer("weight", torch.ones(channels), persistent=False)
        self.register_buffer("bias", torch.zeros(channels), persistent=False)


class ConditionalGenerator(nn.Module):
    """Latent vectors beside one-hot labels, float32 (B, z_dim + 10), to images, (B, 1, 28, 28) in (0, 1)."""

    def __init__(self, shape: ConditionalShape, rng: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.full = _weight(rng, shape.units, shape.z_dim + CLASSES)
        self.base = _weight(rng, shape.flat, shape.units + CLASSES)
        self.middle = _weight(rng, 2 * shape.filters + CLASSES, shape.filters, _KERNEL, _KERNEL)
        self.last = _weight(rng, shape.filters + CLASSES, 1, _KERNEL, _KERNEL)
        self.full_norm = PlainBatchNorm(shape.units)
        # For every unit, not for every channel: the authors normalise before they reshape.
        self.base_norm = PlainBatchNorm(shape.flat)
        self.middle_norm = PlainBatchNorm(shape.filters)

    def forward(self, conditioned: Tensor) -> Tensor:
        """Draw an image of each label; ``condition`` puts the two together."""
        labels = conditioned[:, self.shape.z_dim :]
        units = F.relu(self.full_norm(F.linear(conditioned, self.full)))
        units = F.relu(self.base_norm(F.linear(condition(units, labels), self.base)))
        maps = units.view(-1, 2 * self.shape.filters, BASE_SIZE, BASE_SIZE)
        maps = F.relu(self.middle_norm(_doubled(condition(maps, labels), self.middle)))
        # In float32 always: bfloat16 knows no more than 256 greys of the lighter half.
        return _doubled(condition(maps, labels), self.last).float().sigmoid()


class ConditionalDiscriminator(nn.Module):
    """Images, float32 (B, 1, 28, 28) in [0, 1], and their labels to logits, (B,): above 0 means real."""

    def __init__(self, shape: ConditionalShape, rng: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.first = _weight(rng, shape.filters, 1 + CLASSES, _KERNEL, _KERNEL)
        self.middle = _weight(rng, 2 * shape.filters, shape.filters + CLASSES, _KERNEL, _KERNEL)
        self.full = _weight(rng, shape.units, shape.flat + CLASSES)
        self.classify = _weight(rng, 1, shape.units + CLASSES)
        self.middle_norm = PlainBatchNorm(2 * shape.filters)
        self.full_norm = PlainBatchNorm(shape.units)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge whether each is a real image of its label, float32 (B, 10) one-hot."""
        maps = F.leaky_relu(_halved(condition(images, labels), self.first), LEAK)
        maps = F.leaky_relu(self.middle_norm(_halved(condition(maps, labels), self.middle)), LEAK)
        units = F.linear(condition(maps.flatten(1), labels), self.full)
        units = F.leaky_relu(self.full_norm(units), LEAK)
        return F.linear(condition(units, labels), self.classify).float().squeeze(1)


def condition(features: Tensor, labels: Tensor) -> Tensor:
    """Put one-hot labels (B, 10) beside units (B, C), or maps of them beside maps (B, C, H, W)."""
    labels = labels.to(features.dtype)
    if features.ndim == 4:
        labels = labels[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, labels], dim=1)


def one_hot(labels: Tensor) -> Tensor:
    """float32 (B, 10) of integers (B,)."""
    return F.one_hot(labels.long(), CLASSES).float()


def _doubled(maps: Tensor, weight: Tensor) -> Tensor:
    return F.conv_transpose2d(maps, weight, stride=2, padding=_KERNEL // 2, output_padding=1)


def _halved(maps: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(maps, weight, stride=2, padding=_KERNEL // 2)


def _weight(rng: torch.Generator, *shape: int) -> nn.Parameter:
    """From N(0, 0.02)."""
    return nn.Parameter(torch.normal(0.0, WEIGHT_STD, shape, generator=rng))
