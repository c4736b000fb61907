"""Fit the 3072-128-3072 de-noising, dropout-regularised ReLU autoencoder (DCGAN paper, sec. 4.1.1).

The paper gives the shape, "de-noising", "dropout" and "ReLU"; the rest is chosen here: inputs
standardised per image, a linear decoder, mean squared error, Adam, early stop on held-out images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from dcgan_data.errors import BadRequest
from dcgan_data.ops.codes import CODE_BITS, INPUTS, MAX_WEIGHT, Encoder, snap_to_grid

_GAIN = 0.005
"""A held-out loss that is lower by less than this share counts as no better."""

_MOST_HELD_OUT = 2000
"""Enough to see the loss to half a percent; more would only cost time at every look."""


@dataclass(frozen=True)
class FitSettings:
    """How to fit, as plain values; ``recipe.AutoencoderRecipe`` explains them."""

    standardise: bool
    noise: str
    noise_level: float
    dropout: float
    holdout: float
    batch_size: int
    learning_rate: float
    max_updates: int
    max_epochs: int
    evaluate_every: int
    patience: int
    seed: int


@dataclass(frozen=True)
class FitResult:
    """The fitted weights and how the fit went."""

    encoder: Encoder
    """Ready to hash with, on the fixed-point grid."""
    decoder_weight: np.ndarray
    """float32 (128, 3072)."""
    decoder_bias: np.ndarray
    """float32 (3072,)."""
    holdout_losses: list[float]
    """Mean squared reconstruction error on held-out images at each look, in units of the input."""
    updates: int
    """Gradient steps taken."""


class Autoencoder(nn.Module):
    """Linear 3072-128, ReLU, dropout, linear 128-3072.

    It starts at the mean image: random features centred on it, a decoder that knows only it. Every unit is
    then on for about half of the images from the first update to the last. With a random decoder the fit
    begins by switching nearly all units off, and a small set never gets them back: its codes all collide.
    """

    def __init__(self, dropout: float, mean: torch.Tensor, generator: torch.Generator) -> None:
        super().__init__()
        # By way of "meta": torch's own initialisation would draw from the global generator.
        self.encoder = nn.Linear(INPUTS, CODE_BITS, device="meta").to_empty(device="cpu")
        self.decoder = nn.Linear(CODE_BITS, INPUTS, device="meta").to_empty(device="cpu")
        self.dropout = dropout
        with torch.no_grad():
            self.encoder.weight.normal_(0.0, INPUTS**-0.5, generator=generator)
            self.encoder.bias.copy_(-(self.encoder.weight @ mean))
            self.decoder.weight.zero_()
            self.decoder.bias.copy_(mean)

    def forward(self, inputs: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Reconstruct float32 (B, 3072); ``keep`` (B, 128) is the dropout mask, None outside of fitting."""
        code = F.relu(self.encoder(inputs))
        if keep is not None:
            code = code * keep / (1.0 - self.dropout)
        reconstruction: torch.Tensor = self.decoder(code)
        return reconstruction


def fit_autoencoder(
    pixels: np.ndarray,
    settings: FitSettings,
    device: torch.device,
    on_look: Callable[[int, float], None] | None = None,
) -> FitResult:
    """Fit on uint8 (N, 3072) images, N >= 1, and snap the encoder to the grid.

    The same bytes for the same pixels, settings and kind of processor: on the CPU one thread does the
    arithmetic, so that the number of cores does not change the order of sums. A GPU gives other weights.
    """
    order = np.random.default_rng(settings.seed).permutation(len(pixels))
    held = min(_MOST_HELD_OUT, max(1, round(len(pixels) * settings.holdout)))
    # Row numbers, not copies: the sample may be 600 MB.
    holdout, training = order[:held], order[held:] if held < len(pixels) else order
    with _one_torch_thread():
        generator = torch.Generator().manual_seed(settings.seed)
        model = Autoencoder(settings.dropout, _mean_input(pixels, training, settings), generator).to(device)
        losses, updates = _fit(model, pixels, (training, holdout), settings, on_look)
    weight = model.encoder.weight.detach().cpu().numpy().T
    return FitResult(
        Encoder(
            snap_to_grid(weight, zero_sum=settings.standardise),
            model.encoder.bias.detach().cpu().numpy().astype(np.float64),
            settings.standardise,
        ),
        model.decoder.weight.detach().cpu().numpy().T.copy(),
        model.decoder.bias.detach().cpu().numpy().copy(),
        losses,
        updates,
    )


def _fit(
    model: Autoencoder,
    pixels: np.ndarray,
    split: tuple[np.ndarray, np.ndarray],
    settings: FitSettings,
    on_look: Callable[[int, float], None] | None,
) -> tuple[list[float], int]:
    """Adam until the held-out loss stops falling; leaves the best weights in ``model``.

    split: row numbers of the images to fit on, and of those held out.
    """
    training, holdout = split
    device = model.encoder.weight.device
    draws = torch.Generator(device).manual_seed(settings.seed + 1)
    batches = _batches(training, settings)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
    most = min(settings.max_updates, settings.max_epochs * math.ceil(len(training) / settings.batch_size))
    best, losses, stale, updates = float("inf"), list[float](), 0, 0
    best_state = _copy(model)
    while updates < most and stale < settings.patience:
        span = min(settings.evaluate_every, most - updates)
        for _ in range(span):
            clean = to_inputs(pixels[next(batches)], settings.standardise, device)
            keep = torch.rand(len(clean), CODE_BITS, generator=draws, device=device) >= settings.dropout
            loss = F.mse_loss(model(_corrupt(clean, settings, draws), keep), clean)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        updates += span
        losses.append(_holdout_loss(model, pixels, holdout, settings))
        _require_sane(model, losses[-1], settings)
        stale = 0 if losses[-1] < best * (1 - _GAIN) else stale + 1
        if losses[-1] < best:
            best, best_state = losses[-1], _copy(model)
        if on_look:
            on_look(span, losses[-1])
    model.load_state_dict(best_state)
    return losses, updates


def _require_sane(model: Autoencoder, loss: float, settings: FitSettings) -> None:
    if not math.isfinite(loss) or model.encoder.weight.abs().max() >= MAX_WEIGHT / 8:
        raise BadRequest(
            f"the autoencoder's fit diverged (held-out loss {loss:.3g}); "
            f"lower [autoencoder] learning_rate, which is {settings.learning_rate:g}"
        )


def _batches(rows: np.ndarray, settings: FitSettings) -> Iterator[np.ndarray]:
    """Row numbers of one batch after the other, each pass over ``rows`` in a new order; endless."""
    shuffler = np.random.default_rng(settings.seed + 2)
    while True:
        order = shuffler.permutation(rows)
        for start in range(0, len(order), settings.batch_size):
            yield np.sort(order[start : start + settings.batch_size])


def _copy(model: Autoencoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def to_inputs(pixels: np.ndarray, standardise: bool, device: torch.device) -> torch.Tensor:
    """uint8 (B, 3072) -> float32: mean 0 and deviation 1 per image, or plainly [-1, 1]."""
    values = torch.from_numpy(pixels).to(device).float()
    if not standardise:
        return values / 127.5 - 1.0
    values = values - values.mean(dim=1, keepdim=True)
    # A flat image becomes zeros instead of amplified rounding.
    return values / values.std(dim=1, correction=0, keepdim=True).clamp_min(1.0)


def _mean_input(pixels: np.ndarray, rows: np.ndarray, settings: FitSettings) -> torch.Tensor:
    """The mean over some images as the network sees them: float32 (3072,)."""
    total = torch.zeros(INPUTS, dtype=torch.float64)
    for chunk in _chunks(rows):
        total += to_inputs(pixels[chunk], settings.standardise, torch.device("cpu")).double().sum(0)
    return (total / len(rows)).float()


def _corrupt(clean: torch.Tensor, settings: FitSettings, draws: torch.Generator) -> torch.Tensor:
    if settings.noise == "mask":
        return clean * (torch.rand(clean.shape, generator=draws, device=clean.device) >= settings.noise_level)
    return clean + settings.noise_level * torch.randn(clean.shape, generator=draws, device=clean.device)


@torch.no_grad()
def _holdout_loss(model: Autoencoder, pixels: np.ndarray, rows: np.ndarray, settings: FitSettings) -> float:
    device = model.encoder.weight.device
    total = 0.0
    for chunk in _chunks(rows):
        clean = to_inputs(pixels[chunk], settings.standardise, device)
        total += float(F.mse_loss(model(clean), clean)) * len(clean)
    return total / len(rows)


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers in runs that bound the float copies of their images."""
    for start in range(0, len(rows), 1024):
        yield rows[start : start + 1024]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
