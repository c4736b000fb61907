"""Digits from a conditional generator; with standing statistics a digit depends on its z and label alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dcgan_data.device import send
from dcgan_data.train.conditional.labelled import CLASSES, LabelledImages
from dcgan_data.train.conditional.models import ConditionalGenerator, condition, one_hot
from dcgan_data.train.norm import Statistics, measure_statistics
from dcgan_data.train.sample import STANDING_BATCHES, image_grid
from dcgan_data.train.seeds import Stream, torch_rng

_CHUNK = 500
"""Images drawn at once, always: the same latent vector then gives the same bits, however many are drawn."""


def draw_latents(rng: torch.Generator, count: int, z_dim: int) -> Tensor:
    """float32 (count, z_dim) on the CPU, uniform on (-1, 1)."""
    return torch.empty(count, z_dim).uniform_(-1, 1, generator=rng)


def draw_digits(
    generator: ConditionalGenerator, rng: torch.Generator, count: int
) -> Iterator[LabelledImages]:
    """``count`` images in chunks, their labels uniformly random, as in the authors' evaluation.

    The first ones are the same whatever ``count`` is.
    """
    for start in range(0, count, _CHUNK):
        z = draw_latents(rng, _CHUNK, generator.shape.z_dim)  # whole chunks: rng moves on alike
        labels = torch.randint(CLASSES, (_CHUNK,), generator=rng)
        some = slice(count - start)
        yield draw_of(generator, z[some], labels[some])


@torch.no_grad()
def draw_of(generator: ConditionalGenerator, z: Tensor, labels: Tensor) -> LabelledImages:
    """An image for each latent vector, float32 (N, z_dim), and label, int64 (N,); in float32 always."""
    conditioned = condition(z, one_hot(labels))
    drawn = []
    for part in torch.split(conditioned, _CHUNK):
        whole = torch.zeros(_CHUNK, conditioned.shape[1])
        whole[: len(part)] = part
        images = generator(send(whole, generator.full.device))[: len(part), 0]
        drawn.append((images * 255).round().to(torch.uint8).cpu().numpy())
    return LabelledImages(np.concatenate(drawn), labels.numpy().astype(np.uint8))


def draw_rows(generator: ConditionalGenerator, columns: int, seed: int) -> np.ndarray:
    """A row of ``columns`` images for each class, always from the same latent vectors: uint8 (N, 28, 28)."""
    z = draw_latents(torch_rng(seed, Stream.GRID), CLASSES * columns, generator.shape.z_dim)
    return draw_of(generator, z, torch.arange(CLASSES).repeat_interleave(columns)).images


def grid_of(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay out uint8 (N, 28, 28) row by row, as ``write_png`` takes it."""
    return image_grid(np.repeat(images[..., None], 3, axis=3), columns)


def standing_statistics(generator: ConditionalGenerator, seed: int, batch_size: int) -> Statistics:
    """Batch statistics for sampling, over batches of the training's size with random labels."""
    rng = torch_rng(seed, Stream.STANDING)
    return measure_statistics(
        generator,
        (
            send(_conditioned(rng, batch_size, generator.shape.z_dim), generator.full.device)
            for _ in range(STANDING_BATCHES)
        ),
    )


def _conditioned(rng: torch.Generator, count: int, z_dim: int) -> Tensor:
    z = draw_latents(rng, count, z_dim)
    return condition(z, one_hot(torch.randint(CLASSES, (count,), generator=rng)))
