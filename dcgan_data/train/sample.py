"""Draw images from a trained generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.train.models import Generator, ModelShape
from dcgan_data.train.norm import Statistics, measure_statistics
from dcgan_data.train.seeds import Stream, torch_rng
from dcgan_data.train.trained import Trained, open_trained

STANDING_BATCHES = 16
"""Batches of the training's size that standing statistics are taken over."""
_CHUNK = 64
"""Images drawn at once, always: the same latent vector then gives the same bits, however many are drawn."""
_MOST_IN_A_GRID = 10_000
_BLANK = 255


def standing_statistics(generator: Generator, seed: int, batch_size: int) -> Statistics:
    """Batch statistics for sampling, over batches of the training's size; a function of weights and seed."""
    rng = torch_rng(seed, Stream.STANDING)
    device = generator.project.weight.device
    batches = (generator.shape.draw_z(rng, batch_size) for _ in range(STANDING_BATCHES))
    return measure_statistics(generator, (send(z, device) for z in batches))


@torch.no_grad()
def draw_images(generator: Generator, z: torch.Tensor) -> np.ndarray:
    """One image for each latent vector, float32 (N, z_dim): uint8 (N, S, S, 3) RGB.

    With standing statistics an image depends on its own latent vector alone.
    """
    drawn = []
    for part in torch.split(z, _CHUNK):
        whole = torch.zeros(_CHUNK, z.shape[1])
        whole[: len(part)] = part
        images = generator(send(whole, generator.project.weight.device))
        drawn.append(to_pixels(images)[: len(part)])
    return np.concatenate(drawn)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Map float32 (N, 3, S, S) in [-1, 1] to uint8 (N, S, S, 3), the inverse of ``data.scale``."""
    pixels: np.ndarray = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


class Sampler:
    """A trained generator that draws images; the same latent vector gives the same image always."""

    def __init__(self, generator: Generator, trained: Trained) -> None:
        self.generator = generator
        """With standing statistics."""
        self.trained = trained
        """Where the weights are from."""

    @property
    def shape(self) -> ModelShape:
        """Image size, width and length of latent vectors."""
        return self.trained.shape

    def images(self, z: torch.Tensor) -> np.ndarray:
        """One image for each latent vector, float32 (N, z_dim): uint8 (N, S, S, 3) RGB."""
        return draw_images(self.generator, z)

    def draw(self, count: int, seed: int = 0) -> Iterator[np.ndarray]:
        """``count`` images in chunks, uint8 (n, S, S, 3); the first are the same whatever ``count`` is."""
        yield from draw_chunks(self.generator, torch_rng(seed, Stream.SAMPLE), count)

    def latents(self, indices: Sequence[int], seed: int = 0) -> torch.Tensor:
        """The latent vectors of some samples of ``draw``, by their numbers from 0: float32 (N, z_dim)."""
        rng = torch_rng(seed, Stream.SAMPLE)
        chunks = -(-(max(indices) + 1) // _CHUNK)
        drawn = torch.cat([self.shape.draw_z(rng, _CHUNK) for _ in range(chunks)])
        return drawn[list(indices)]


def draw_chunks(generator: Generator, rng: torch.Generator, count: int) -> Iterator[np.ndarray]:
    """``count`` images in chunks, uint8 (n, S, S, 3), from latent vectors that ``rng`` draws."""
    for start in range(0, count, _CHUNK):
        z = generator.shape.draw_z(rng, _CHUNK)  # whole chunks: rng moves on alike
        yield draw_images(generator, z[: count - start])


def open_sampler(path: Path, checkpoint: str = "last", device: str = "auto") -> Sampler:
    """Load the generator of a run, or of a file; raises as ``open_trained`` and ``resolve_device`` do."""
    place = resolve_device(device)
    trained = open_trained(path, checkpoint)
    return Sampler(trained.generator(place), trained)


def sample(sampler: Sampler, count: int, out: Path, seed: int = 0) -> Path:
    """Draw ``count`` images into one PNG grid; returns ``out``.

    The same seed gives the same images in the same places, however many are drawn. BadRequest for an
    impossible count, seed or name.
    """
    if not 1 <= count <= _MOST_IN_A_GRID:
        raise BadRequest(f"--count {count}: must be 1 to {_MOST_IN_A_GRID:,}")
    if seed < 0:
        raise BadRequest(f"--seed {seed}: must be 0 or more")
    if out.suffix.lower() != ".png":
        raise BadRequest(f"{out}: samples are written as PNG; give a name that ends in .png")
    images = np.concatenate(list(sampler.draw(count, seed)))
    try:
        write_png(out, image_grid(images, math.ceil(math.sqrt(count))))
    except OSError as error:
        raise BadRequest(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    return out


def image_grid(images_nhwc: np.ndarray, columns: int) -> np.ndarray:
    """Lay out uint8 (N, S, S, 3) row by row as uint8 (rows * S, columns * S, 3); empty places are white."""
    count, size = images_nhwc.shape[:2]
    rows = math.ceil(count / columns)
    cells = np.full((rows * columns, size, size, 3), _BLANK, np.uint8)
    cells[:count] = images_nhwc
    return cells.reshape(rows, columns, size, size, 3).swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
