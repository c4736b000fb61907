"""Generators that draw what a test asks for, in place of a trained one; and a model's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_data.evaluate.latent import arithmetic, turn, walk
from dcgan_data.train.model_file import save_model
from dcgan_data.train.models import Discriminator, Generator, ModelShape, build
from dcgan_data.train.sample import Sampler, standing_statistics
from dcgan_data.train.trained import Trained

Paint = Callable[[np.ndarray], np.ndarray]
"""Latent vectors, float32 (N, z_dim), to images, uint8 (N, S, S, 3)."""
SHAPE = ModelShape(image_size=32, width=2, z_dim=3)


class Painter(Sampler):
    """Draws by a function."""

    def __init__(self, paint: Paint, shape: ModelShape, path: Path) -> None:
        generator: Any = None
        super().__init__(generator, Trained(path, path, shape, None))
        self._paint = paint

    def images(self, z: torch.Tensor) -> np.ndarray:
        return self._paint(z.numpy())

    def draw(self, count: int, seed: int = 0) -> Iterator[np.ndarray]:
        for start in range(0, count, 5):
            yield self.images(self.latents(range(start, min(start + 5, count)), seed))


@pytest.fixture
def paints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Sampler]:
    """Let walk, arithmetic and turn draw by a function, whatever they open."""

    def use(paint: Paint, **shape: Any) -> Sampler:
        painter = Painter(paint, ModelShape(**{**vars(SHAPE), **shape}), tmp_path / "painted.safetensors")
        for module in (walk, arithmetic, turn):
            monkeypatch.setattr(module, "open_sampler", lambda path, checkpoint, device: painter)
        return painter

    return use


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model with normal latent vectors and fresh weights, as one file."""
    shape = ModelShape(image_size=32, width=2, z_dim=3, latent="normal")
    rng = torch.Generator().manual_seed(0)
    generator, discriminator = build(Generator, shape, rng), build(Discriminator, shape, rng)
    path = tmp_path / "model.safetensors"
    save_model(path, generator, discriminator, standing_statistics(generator, 0, 8), "a test")
    return path


def grey(levels: np.ndarray) -> np.ndarray:
    """Plain images: (N,) in [-1, 1] to uint8 (N, 32, 32, 3)."""
    pixels = np.rint((levels + 1) * 127.5).astype(np.uint8)
    return np.tile(pixels[:, None, None, None], (1, 32, 32, 3))


@pytest.fixture(scope="session")
def plain() -> Paint:
    return grey


def look_aside(face: np.ndarray, share: float, size: int) -> np.ndarray:
    """A drawn face that looks to the right (share > 0) or left: its middle is moved by so much."""
    side = len(face)
    middle = side / 2 * (1 + share)
    x = np.arange(side)
    source = np.where(x < middle, x / middle, 1 + (x - middle) / (side - middle)) * side / 2
    across = np.tile(source.astype(np.float32), (side, 1))
    down = np.tile(np.arange(side, dtype=np.float32)[:, None], (1, side))
    moved = cv2.remap(face, across, down, cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(moved).resize((size, size), Image.Resampling.BOX))


@pytest.fixture(scope="session")
def aside() -> Callable[[np.ndarray, float, int], np.ndarray]:
    return look_aside
