"""Draw images from a trained generator."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.train.checkpoint import checkpoints_in, load_network
from dcgan_data.train.models import Generator
from dcgan_data.train.rundir import RunDirectory
from dcgan_data.train.seeds import Stream, draw_z, torch_rng

_BLANK = 255


def sample(run_dir: Path, count: int, out: Path, seed: int = 0, device: str = "auto") -> Path:
    """Draw ``count`` images from the newest checkpoint of a run into one PNG grid; returns ``out``.

    The same seed gives the same images in the same places, however many are drawn. Raises BadInput
    if ``run_dir`` is not a run or has no checkpoint, BadRequest for an impossible count, name or device.
    """
    if count < 1:
        raise BadRequest(f"count={count}: must be 1 or more")
    if out.suffix.lower() != ".png":
        raise BadRequest(f"{out}: samples are written as PNG; give a name that ends in .png")
    place = resolve_device(device)
    run = RunDirectory(run_dir)
    record = run.read()
    saved = checkpoints_in(run.checkpoints)
    if not saved:
        raise BadInput(f"{run_dir}: has no checkpoint yet; train it further with 'dcgan-data train'")
    generator = load_network(saved[-1], Generator, record.shape).to(place)
    rng = torch_rng(seed, Stream.SAMPLE)
    images = generate(generator, rng, count, record.batch_size)
    write_png(out, image_grid(images, math.ceil(math.sqrt(count))))
    return out


@torch.no_grad()
def generate(generator: Generator, rng: torch.Generator, count: int, batch_size: int) -> np.ndarray:
    """Draw ``count`` images: uint8 (count, S, S, 3) RGB.

    An image depends on the other latent vectors of its batch, since batch norm uses the batch's own
    statistics (as in training). Batches are therefore always full: the last one is filled up with
    further draws, whose images are dropped. So no image is normalised over fewer others than the
    generator was trained with, and the first images are the same whatever ``count`` is.
    """
    device = generator.project.weight.device
    batches = []
    for _ in range(math.ceil(count / batch_size)):
        z = send(draw_z(rng, batch_size, generator.project.in_features), device)
        batches.append(to_pixels(generator(z)))
    return np.concatenate(batches)[:count]


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Map float32 (N, 3, S, S) in [-1, 1] to uint8 (N, S, S, 3), the inverse of ``data.scale``."""
    pixels: np.ndarray = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


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
