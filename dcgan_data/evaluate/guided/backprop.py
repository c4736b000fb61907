"""Responses of D's last convolution, and guided backpropagation of them (Springenberg et al., 2014).

A gradient passes an activation backwards only where it is positive itself and the activation's input was
positive: what is left shows what in the image speaks for a unit. For a LeakyReLU both conditions are kept, so
that nothing passes where its input was negative; the fifth that its slope would let through is blocked.

A batch norm with standing statistics multiplies and adds, so that gradients pass it as any linear layer, and
those of one image do not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.data import scale
from dcgan_data.train.models import LEAK, Discriminator, Stage

_CHUNK = 64
"""Images at once, always: an image then has the same bits, whatever it is among."""


@dataclass(frozen=True)
class Unit:
    """One place of one feature map of the last convolution."""

    channel: int
    """The feature."""
    row: int
    """Of its map, from the top."""
    column: int
    """Of its map, from the left."""


@dataclass(frozen=True)
class Field:
    """A unit's receptive field, as far as it is within the image."""

    x: int
    """The leftmost column, in pixels."""
    y: int
    """The topmost row."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    def cut(self, images: np.ndarray) -> np.ndarray:
        """What is in it of (..., S, S, 3) images."""
        part: np.ndarray = images[..., self.y : self.y + self.height, self.x : self.x + self.width, :]
        return part


def responses(discriminator: Discriminator, images: np.ndarray, channels: int) -> np.ndarray:
    """Activations of the last convolution's first features, after its LeakyReLU.

    images: uint8 (N, S, S, 3). Returns float32 (N, channels, h, w).
    """
    found = []
    with torch.no_grad():
        for maps, count in _parts(discriminator, images):
            for stage in discriminator.stages:
                maps = stage(maps)
            found.append(maps[:count, :channels].cpu().numpy())
    return np.concatenate(found)


def guided_maps(discriminator: Discriminator, images: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """Guided gradient of one unit for each image: uint8 (N, S, S, 3) and N units to float32 (N, S, S, 3).

    It starts at the unit before its activation, so that a unit that is below 0 has a gradient, too.
    """
    found = []
    for number, (pixels, count) in enumerate(_parts(discriminator, images)):
        maps = _before_last_activation(discriminator, pixels.requires_grad_())
        chosen = units[number * _CHUNK :][:count]
        picked = [maps[place, unit.channel, unit.row, unit.column] for place, unit in enumerate(chosen)]
        (gradient,) = torch.autograd.grad(torch.stack(picked).sum(), pixels)
        found.append(gradient[:count].permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(found)


def _parts(discriminator: Discriminator, images: np.ndarray) -> Iterator[tuple[Tensor, int]]:
    """Images as D takes them, float32 (64, 3, S, S), and how many of these are not there to fill up only."""
    device = discriminator.classify.weight.device
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        whole = np.zeros((_CHUNK, *images.shape[1:]), np.uint8)
        whole[: len(part)] = part
        yield scale(torch.from_numpy(whole).to(device)), len(part)


def _before_last_activation(discriminator: Discriminator, maps: Tensor) -> Tensor:
    last = len(discriminator.stages) - 1
    for number, stage in enumerate(_stages(discriminator)):
        maps = stage.conv(maps)
        if stage.norm is not None:
            maps = stage.norm(maps)
        if number < last:
            maps = _GuidedLeakyReLU.apply(maps)  # type: ignore[no-untyped-call]
    return maps


class _GuidedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return F.leaky_relu(x, LEAK)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        passed: Tensor = gradient * ((x > 0) & (gradient > 0))
        return passed


def field_of(discriminator: Discriminator, unit: Unit) -> Field:
    """The part of the image that a unit depends on."""
    size = discriminator.shape.image_size
    (left, right), (top, bottom) = (_span(discriminator, place) for place in (unit.column, unit.row))
    x, y = max(left, 0), max(top, 0)
    return Field(x, y, min(right, size) - x, min(bottom, size) - y)


def field_side(discriminator: Discriminator) -> int:
    """Side of a field that no border cuts, in pixels: 61 for the published 64x64 model."""
    first, end = _span(discriminator, 0)
    return end - first


def _span(discriminator: Discriminator, place: int) -> tuple[int, int]:
    """The rows, or columns, from the first to before the second, that a place of the last maps depends on."""
    first = last = place
    for stage in reversed(_stages(discriminator)):
        assert isinstance(stage.conv, nn.Conv2d)
        stride, padding = stage.conv.stride[0], int(stage.conv.padding[0])
        first = first * stride - padding
        last = last * stride - padding + stage.conv.kernel_size[0] - 1
    return first, last + 1


def _stages(discriminator: Discriminator) -> list[Stage]:
    return [cast(Stage, stage) for stage in discriminator.stages]
