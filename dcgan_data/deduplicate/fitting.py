"""Fit the autoencoder on a sample of the set, and read its encoder back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from dcgan_data.deduplicate.images import ImageSet, sample_pixels
from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.autoencoder_file import read_autoencoder, write_autoencoder
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.recipe import AutoencoderRecipe


def fit(
    images: ImageSet,
    recipe: AutoencoderRecipe,
    seed: int,
    device: str = "auto",
    on_look: Callable[[int, float], None] | None = None,
) -> None:
    """Fit the autoencoder on a seeded sample and write it; keeps one of the same recipe and seed."""
    path = images.staging.out / AUTOENCODER
    if _is_fitted(path, recipe, seed):
        return
    # torch: not for --help, nor in workers
    from dcgan_data.device import resolve_device
    from dcgan_data.ops.autoencoder import FitSettings, fit_autoencoder

    values = asdict(recipe)
    max_images, luma = values.pop("max_images"), values.pop("inputs") == "luma"
    settings = FitSettings(**values, seed=seed)
    sample = sample_pixels(images, max_images, seed, luma)
    place = resolve_device(device)
    result = fit_autoencoder(sample, settings, place, on_look)
    tensors = {
        "encoder.weight": result.encoder.weight,
        "encoder.bias": result.encoder.bias,
        "decoder.weight": result.decoder_weight,
        "decoder.bias": result.decoder_bias,
    }
    notes = {
        "recipe": asdict(recipe),
        "seed": seed,
        "device": place.type,
        "images": len(sample),
        "updates": result.updates,
        "holdout_losses": result.holdout_losses,
    }
    write_autoencoder(path, tensors, notes)


def adopt_autoencoder(path: Path, own: Path) -> None:
    """Take over another set's autoencoder, so that codes can be compared."""
    with atomic_path(own) as temporary:
        shutil.copyfile(path, temporary)


def _is_fitted(path: Path, recipe: AutoencoderRecipe, seed: int) -> bool:
    try:
        _, notes = read_autoencoder(path)
    except BadInput:
        return False
    return bool(notes["recipe"] == asdict(recipe) and notes["seed"] == seed)
