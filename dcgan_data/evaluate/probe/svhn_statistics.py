"""Batch-norm statistics of a discriminator as the authors' SVHN script takes them (DCGAN paper, sec. 5.2)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dcgan_data.reporter import Reporter
from dcgan_data.train.data import scale
from dcgan_data.train.models import Discriminator
from dcgan_data.train.norm import BatchNorm, Statistics, set_standing

_BATCH = 128


def use_mean_statistics(discriminator: Discriminator, images: np.ndarray, reporter: Reporter) -> None:
    """Let batch norms use, from now on, the mean of batch means and the mean of batch variances.

    images: uint8 (N, 32, 32, 3), in batches of 128 in this order, each normalised by its own statistics on
    the way; the remainder is a batch that counts as much as the others. The mean of the batches' variances
    is less than the variance of all images together, by the variance of the batches' means.
    """
    found: dict[str, list[Tensor]] = {}
    norms = {name: part for name, part in discriminator.named_modules() if isinstance(part, BatchNorm)}
    discriminator.eval()  # spectral norm's vectors, too, stay what they are
    hooks = [norm.register_forward_pre_hook(partial(_note, found, name)) for name, norm in norms.items()]
    try:
        with torch.no_grad(), reporter.stage("statistics", len(images), "images") as stage:
            for start in range(0, len(images), _BATCH):
                pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH]))
                discriminator(scale(pixels.to(discriminator.classify.weight.device)))
                stage.advance(len(pixels))
    finally:
        for hook in hooks:
            hook.remove()
    set_standing(discriminator, _means(found))


def _note(found: dict[str, list[Tensor]], name: str, _norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    over = [dim for dim in range(inputs[0].ndim) if dim != 1]
    variance, mean = torch.var_mean(inputs[0].double(), over, correction=0)
    found.setdefault(name, []).append(torch.stack([mean, variance]))


def _means(found: dict[str, list[Tensor]]) -> Statistics:
    means = {name: torch.stack(batches).mean(0).float() for name, batches in found.items()}
    return {name: (mean, variance) for name, (mean, variance) in means.items()}
