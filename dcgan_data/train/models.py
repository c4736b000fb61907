"""The DCGAN generator and discriminator, as in the authors' code (DCGAN paper, sec. 3 and 4).

The published 64x64 model, at width 128:

    z 100 -> linear -> 1024x4x4 -> 512x8x8 -> 256x16x16 -> 128x32x32 -> 3x64x64     generator
    3x64x64 -> 128x32x32 -> 256x16x16 -> 512x8x8 -> 1024x4x4 -> linear -> 1 logit   discriminator

Every stage is a 5x5 convolution of stride 2. Other sizes are the same family with a stage fewer or
more, always between 4x4 and the image, the stage next to the image being ``width`` channels wide:
at 32x32 that is D = width, 2 width, 4 width, which at width 64 is the authors' SVHN model.

Their 32x32 ImageNet model has the layers called paired: 3x3 convolutions, an unstrided one beside each
strided one, so that D at width 128 is 128, 128, 256, 256, 512, 512.

No convolution or linear layer has a bias. Batch norm is in ``norm``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format, parametrizations, parametrize

from dcgan_data.train.config import LATENT, LAYERS
from dcgan_data.train.norm import BatchNorm

IMAGE_SIZES = (32, 64, 128)
BASE_SIZE = 4
"""Side of the smallest feature map."""
LEAK = 0.2
WEIGHT_STD = 0.02


@dataclass(frozen=True)
class Layer:
    """A convolution of D, or a transposed one of G."""

    inputs: int
    """Channels."""
    outputs: int
    """Channels."""
    kernel: int
    """Side of the kernel: 5 or 3."""
    stride: int
    """2: halves the side of the maps (D), or doubles it (G); 1: keeps it."""


@dataclass(frozen=True)
class ModelShape:
    """What a model is, beside its weights."""

    image_size: int
    """Side of the images in pixels: 32, 64 or 128."""
    width: int
    """Channels of the stage next to the image."""
    z_dim: int
    """Length of the latent vector."""
    spectral_norm: bool = False
    """The discriminator's weights are divided by their largest singular value."""
    layers: str = "strided"
    """5x5 convolutions, all of stride 2; or paired: 3x3, of stride 1 and 2 in turn (ImageNet, 32x32)."""
    latent: str = "uniform"
    """What latent vectors are drawn from: uniform on (-1, 1), or normal (SVHN)."""
    generator_channels: tuple[int, ...] = ()
    """Channels of G's maps from 4x4 to the one before the image, if they are not D's the other way round."""

    def __post_init__(self) -> None:
        for name, allowed in (("image_size", IMAGE_SIZES), ("layers", LAYERS), ("latent", LATENT)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)}: must be one of {allowed}")
        if min(self.width, self.z_dim, *self.generator_channels) < 1:
            raise ValueError(f"width={self.width}, z_dim={self.z_dim}: must be 1 or more")

    @classmethod
    def of(cls, settings: Mapping[str, Any], image_size: int) -> ModelShape:
        """The shape that the values of a TrainConfig ask for."""
        names = ("width", "z_dim", "spectral_norm", "layers", "latent")
        return cls(image_size, **{name: settings[name] for name in names})

    @property
    def stage_widths(self) -> list[int]:
        """Channels of the feature maps of each size, from the one next to the image down to 4x4."""
        stages = (self.image_size // BASE_SIZE).bit_length() - 1
        return [self.width << stage for stage in range(stages)]

    @property
    def discriminator_layers(self) -> list[Layer]:
        """Of D, from the image on."""
        maps = [3, *self.stage_widths]
        if self.layers == "strided":
            return [Layer(a, b, 5, 2) for a, b in pairwise(maps)]
        pairs = ((Layer(a, b, 3, 1), Layer(b, b, 3, 2)) for a, b in pairwise(maps))
        return [layer for pair in pairs for layer in pair]

    @property
    def generator_layers(self) -> list[Layer]:
        """Of G, from the 4x4 maps on: D's the other way round."""
        mirrored = [
            Layer(layer.outputs, layer.inputs, layer.kernel, layer.stride)
            for layer in reversed(self.discriminator_layers)
        ]
        if not self.generator_channels:
            return mirrored
        channels = pairwise((*self.generator_channels, 3))
        return [
            Layer(a, b, layer.kernel, layer.stride) for (a, b), layer in zip(channels, mirrored, strict=True)
        ]

    def draw_z(self, rng: torch.Generator, count: int) -> Tensor:
        """Draw latent vectors, float32 (count, z_dim) on the CPU (sec. 4)."""
        z = torch.empty(count, self.z_dim)
        return z.normal_(generator=rng) if self.latent == "normal" else z.uniform_(-1, 1, generator=rng)


class Stage(nn.Module):
    """Convolution, batch norm unless the paper leaves it out, activation."""

    def __init__(self, conv: nn.Module, norm: BatchNorm | None, act: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.act = act

    def forward(self, features: Tensor, groups: int = 1) -> Tensor:
        """Feature maps of half or double the side; ``groups`` as in BatchNorm."""
        features = self.conv(features)
        if self.norm is not None:
            features = self.norm(features, groups)
        activated: Tensor = self.act(features)
        return activated


class Generator(nn.Module):
    """Latent vectors, float32 (B, z_dim), to images, float32 (B, 3, S, S) in (-1, 1)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        *inner, last = shape.generator_layers
        base = (inner[0] if inner else last).inputs
        units = base * BASE_SIZE**2
        self.project = nn.Linear(shape.z_dim, units, bias=False)
        # A gain for every unit, not for every channel: the authors normalise before they reshape.
        self.project_norm = BatchNorm(units)
        hidden = [Stage(_transposed(layer), BatchNorm(layer.outputs), nn.ReLU()) for layer in inner]
        self.stages = nn.Sequential(*hidden, Stage(_transposed(last), None, nn.Tanh()))
        self._base = (BASE_SIZE, BASE_SIZE, base)

    def forward(self, z: Tensor) -> Tensor:
        """Draw one image for each latent vector."""
        units = torch.relu(self.project_norm(self.project(z)))
        # Channels last costs no copy here, and the order of the units is free.
        images: Tensor = self.stages(units.view(-1, *self._base).permute(0, 3, 1, 2))
        return images


class Discriminator(nn.Module):
    """Images, float32 (B, 3, S, S) in [-1, 1], to logits, float32 (B,): above 0 means real."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        first, *others = shape.discriminator_layers
        inner = [Stage(_convolution(layer), BatchNorm(layer.outputs), nn.LeakyReLU(LEAK)) for layer in others]
        self.stages = nn.ModuleList([Stage(_convolution(first), None, nn.LeakyReLU(LEAK)), *inner])
        self.classify = nn.Linear(shape.stage_widths[-1] * BASE_SIZE**2, 1, bias=False)

    def forward(self, images: Tensor, groups: int = 1) -> Tensor:
        """Judge each image; the batch is ``groups`` batches of equal size, normalised apart."""
        features = images
        for stage in self.stages:
            features = stage(features, groups)
        logits: Tensor = self.classify(features.permute(0, 2, 3, 1).flatten(1))
        return logits.squeeze(1)


Network = TypeVar("Network", Generator, Discriminator)


def build(network: type[Network], shape: ModelShape, rng: torch.Generator) -> Network:
    """A network on the CPU, channels last, with fresh weights.

    Weights come from N(0, 0.02), batch-norm gains from N(1, 0.02), batch-norm biases are 0.
    """
    # Built without storage first: torch's own initialisation would draw from its global generator.
    with torch.device("meta"):
        model = network(shape)
    model.to_empty(device="cpu")
    model = convert_conv2d_weight_memory_format(model, torch.channels_last)
    _initialise(model, rng)
    if network is Discriminator and shape.spectral_norm:
        _limit_singular_values(model, rng)
    return model


_SPARE_BYTES = 1 << 26
"""So much may be taken in vain: then the tensors' shapes say better what is wrong."""


def check_bytes(path: Path, network: type[Network], shape: ModelShape) -> None:
    """ValueError if a file is too small for the weights of such a network, before memory is taken."""
    with torch.device("meta"):
        needed = sum(weights.numel() * weights.element_size() for weights in network(shape).parameters())
    if needed > path.stat().st_size + _SPARE_BYTES:
        raise ValueError(f"{path.name} is too small for the {needed:,} bytes of weights of such a model")


@torch.no_grad()
def _initialise(model: nn.Module, rng: torch.Generator) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _fill_normal(module.weight, 0.0, rng)
        elif isinstance(module, BatchNorm):
            _fill_normal(module.weight, 1.0, rng)
            module.bias.zero_()


def _fill_normal(parameter: Tensor, mean: float, rng: torch.Generator) -> None:
    # Drawn apart and copied, so that the values do not depend on the parameter's memory layout.
    parameter.copy_(torch.normal(mean, WEIGHT_STD, parameter.shape, generator=rng))


def _limit_singular_values(model: nn.Module, rng: torch.Generator) -> None:
    # torch starts its power iteration from global random numbers: lend it some, and put its own back.
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would seed the GPU's generators too, which are not put back.
        torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=rng)))
        for module in list(model.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                parametrize.register_parametrization(module, "weight", _SpectralNorm(module.weight))


class _SpectralNorm(parametrizations._SpectralNorm):
    """As ``parametrizations.spectral_norm`` registers it, but in float32 always."""

    def forward(self, weight: Tensor) -> Tensor:
        # Autocast on a GPU would have the power iteration's products in bf16, and its result with them.
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


def _transposed(layer: Layer) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        layer.inputs,
        layer.outputs,
        layer.kernel,
        stride=layer.stride,
        padding=layer.kernel // 2,
        output_padding=layer.stride - 1,
        bias=False,
    )


def _convolution(layer: Layer) -> nn.Conv2d:
    return nn.Conv2d(
        layer.inputs, layer.outputs, layer.kernel, layer.stride, padding=layer.kernel // 2, bias=False
    )
