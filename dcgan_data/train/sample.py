"""Draw images from a trained generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.train.checkpoint import best_checkpoint, checkpoints_in, load_drawing_generator
from dcgan_data.train.models import Generator, ModelShape
from dcgan_data.train.norm import Statistics, measure_statistics
from dcgan_data.train.rundir import RunDirectory, RunRecord
from dcgan_data.train.seeds import Stream, draw_z, torch_rng

STANDING_BATCHES = 16
"""Batches of the training's size that standing statistics are taken over."""
_CHUNK = 64
"""Images drawn at once, always: the same latent vector then gives the same bits, however many are drawn."""
_MOST_IN_A_GRID = 10_000
_BLANK = 255


def standing_statistics(generator: Generator, seed: int, batch_size: int) -> Statistics:
    """Batch statistics for sampling, over batches of the training's size; a function of weights and seed."""
    rng = torch_rng(seed, Stream.STANDING)
    weight = generator.project.weight
    batches = (draw_z(rng, batch_size, weight.shape[1]) for _ in range(STANDING_BATCHES))
    return measure_statistics(generator, (send(z, weight.device) for z in batches))


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

    def __init__(self, generator: Generator, record: RunRecord, checkpoint: Path) -> None:
        self.record = record
        """The run's settings."""
        self.checkpoint = checkpoint
        """Where the weights are from."""
        self._generator = generator

    @property
    def shape(self) -> ModelShape:
        """Image size, width and length of latent vectors."""
        return self.record.shape

    def images(self, z: torch.Tensor) -> np.ndarray:
        """One image for each latent vector, float32 (N, z_dim): uint8 (N, S, S, 3) RGB."""
        return draw_images(self._generator, z)

    def draw(self, count: int, seed: int = 0) -> Iterator[np.ndarray]:
        """``count`` images in chunks, uint8 (n, S, S, 3); the first are the same whatever ``count`` is."""
        yield from draw_chunks(self._generator, torch_rng(seed, Stream.SAMPLE), count)


def draw_chunks(generator: Generator, rng: torch.Generator, count: int) -> Iterator[np.ndarray]:
    """``count`` images in chunks, uint8 (n, S, S, 3), from latent vectors that ``rng`` draws."""
    for start in range(0, count, _CHUNK):
        z = draw_z(rng, _CHUNK, generator.project.weight.shape[1])  # whole chunks: rng moves on alike
        yield draw_images(generator, z[: count - start])


def open_sampler(run_dir: Path, checkpoint: str = "last", device: str = "auto") -> Sampler:
    """Load the generator of a run: its newest checkpoint, the ``best`` by its score, or one by step.

    Raises BadInput if ``run_dir`` is not a run or the checkpoint is missing or damaged, BadRequest for
    another device.
    """
    place = resolve_device(device)
    run = RunDirectory(run_dir)
    record = run.read()
    path = _choose(run, checkpoint)
    return Sampler(load_drawing_generator(path, record.shape).to(place), record, path)


def _choose(run: RunDirectory, name: str) -> Path:
    saved = checkpoints_in(run.checkpoints)
    if not saved:
        raise BadInput(f"{run.path}: has no checkpoint yet; train it further with 'dcgan-data train'")
    if name == "last":
        return saved[-1]
    if name == "best":
        if (best := best_checkpoint(run.checkpoints)) is not None:
            return best
        raise BadInput(f"{run.path}: no checkpoint has a score, no images were held out; use last, or a step")
    for path in saved:
        if name.isdecimal() and int(path.name) == int(name):
            return path
    steps = ", ".join(str(int(path.name)) for path in saved)
    raise BadRequest(f"--checkpoint {name}: {run.path} has {steps}; give one of these, last, or best")


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
