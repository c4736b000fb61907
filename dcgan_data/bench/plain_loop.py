"""The plain reference: how tutorials train this model, kept as plain as they keep it.

Eager, float32, channels first; a DataLoader whose workers turn one image after another into floats;
torch's own batch norm, loss and Adam at their defaults; losses read at every step. The networks have
the shapes of the paper's (sec. 3), so only the way of training differs. torch's settings stay as they
are found: on a GPU its convolutions are then done in TF32.

It has one advantage that tutorials lack: its images lie in memory as pixels, so no file is decoded.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dcgan_data.train.models import BASE_SIZE, ModelShape

_LOADER_WORKERS = 2
LEARNING_RATE, BETAS = 2e-4, (0.5, 0.999)


class PlainImages(Dataset[Tensor]):
    """One image at a time as float32 (3, S, S) in [-1, 1], from a file of uint8 (N, S, S, 3)."""

    def __init__(self, file: Path) -> None:
        self._pixels = np.load(file, allow_pickle=False)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Tensor:
        image = torch.from_numpy(self._pixels[index]).permute(2, 0, 1)
        return image.float().div(255).sub(0.5).div(0.5)


class PlainGenerator(nn.Module):
    """Latent vectors, float32 (B, z_dim), to images, float32 (B, 3, S, S) in (-1, 1)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        widths = shape.stage_widths[::-1]
        units = widths[0] * BASE_SIZE**2
        layers: list[nn.Module] = [
            nn.Linear(shape.z_dim, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Unflatten(1, (widths[0], BASE_SIZE, BASE_SIZE)),
        ]
        for inputs, outputs in pairwise(widths):
            layers += [_double_size(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _double_size(widths[-1], 3), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Draw one image for each latent vector."""
        images: Tensor = self.layers(z)
        return images


class PlainDiscriminator(nn.Module):
    """Images, float32 (B, 3, S, S) in [-1, 1], to logits, float32 (B, 1): above 0 means real."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        widths = shape.stage_widths
        layers: list[nn.Module] = [_halve_size(3, widths[0]), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(widths):
            layers += [_halve_size(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        units = widths[-1] * BASE_SIZE**2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(units, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """Judge each image."""
        logits: Tensor = self.layers(images)
        return logits


class PlainTrainer:
    """Both networks and their optimisers. Draws from torch's global random numbers, as tutorials do."""

    def __init__(self, shape: ModelShape, device: torch.device) -> None:
        self.generator = PlainGenerator(shape).apply(_initialise).to(device)
        self.discriminator = PlainDiscriminator(shape).apply(_initialise).to(device)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self._criterion = nn.BCEWithLogitsLoss()
        self._z_dim = shape.z_dim

    def update_discriminator(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """One step of D on float32 (B, 3, S, S) images; returns G's images, as many, and D's loss in nats."""
        self.discriminator.zero_grad()
        logits = self.discriminator(real)
        loss_real: Tensor = self._criterion(logits, torch.ones_like(logits))
        loss_real.backward()  # type: ignore[no-untyped-call]
        fake = self.generator(torch.randn(len(real), self._z_dim, device=real.device))
        logits = self.discriminator(fake.detach())
        loss_fake: Tensor = self._criterion(logits, torch.zeros_like(logits))
        loss_fake.backward()  # type: ignore[no-untyped-call]
        self.adam_d.step()
        return fake, loss_real.detach() + loss_fake.detach()

    def update_generator(self, fake: Tensor) -> Tensor:
        """One step of G on the images that it drew; returns its loss in nats."""
        self.generator.zero_grad()
        logits = self.discriminator(fake)
        loss: Tensor = self._criterion(logits, torch.ones_like(logits))
        # D's weights get gradients too, which its next step throws away.
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam_g.step()
        return loss.detach()


class PlainLoop:
    """The whole loop: a DataLoader feeds a PlainTrainer."""

    def __init__(self, shape: ModelShape, batch_size: int, file: Path, device: torch.device) -> None:
        """file: uint8 (N, S, S, 3) as ``.npy``, N at least ``batch_size``."""
        self.trainer = PlainTrainer(shape, device)
        self._device = device
        loader = DataLoader(
            PlainImages(file),
            batch_size=batch_size,
            shuffle=True,
            num_workers=_LOADER_WORKERS,
            drop_last=True,
            pin_memory=device.type == "cuda",
        )
        self._batches = _endless(loader)

    def step(self) -> tuple[float, float]:
        """Update D, then G, on the next minibatch; returns their losses in nats. Waits for the device."""
        fake, loss_d = self.trainer.update_discriminator(next(self._batches).to(self._device))
        loss_g = self.trainer.update_generator(fake)
        return loss_d.item(), loss_g.item()

    def close(self) -> None:
        """End the loader's worker processes."""
        self._batches.close()


def _endless(loader: Iterable[Tensor]) -> Generator[Tensor, None, None]:
    while True:
        yield from loader


def _double_size(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1, bias=False)


def _halve_size(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
