"""Batch norm in its two ways: over the batch (training), or by standing statistics (sampling).

The authors normalise by the statistics of the batch always, sampling included, so that an image depends
on the others that are drawn with it. Here a generator's statistics are taken once over many batches, when
a checkpoint is written, and stand from then on: an image then depends on its latent vector alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-8
"""The authors' floor of the variance."""
Statistics = dict[str, tuple[Tensor, Tensor]]
"""Name of a batch norm -> mean and variance of each of its channels, float32 (C,)."""


class BatchNorm(nn.Module):
    """Normalise each channel of (B, C) or (B, C, H, W), then scale and shift it; statistics are float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.standing: tuple[Tensor, Tensor] | None = None
        """Mean and variance to use in place of the batch's."""

    def forward(self, x: Tensor, groups: int = 1) -> Tensor:
        """Normalise; the batch is ``groups`` batches of equal size, each with statistics of its own."""
        if self.standing is not None:
            mean, variance = self.standing
            return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=EPS)
        if groups == 1:
            return self._by_batch(x)
        return torch.cat([self._by_batch(part) for part in x.chunk(groups)])

    def _by_batch(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=EPS)


@torch.no_grad()
def measure_statistics(model: nn.Module, batches: Iterator[Tensor]) -> Statistics:
    """Statistics over all inputs, each normalised by its own batch on the way, as in training.

    Sums are float64. The variance is of all inputs together (the biased one, as within a batch).
    """
    sums: dict[str, Tensor] = {}
    norms = {name: module for name, module in model.named_modules() if isinstance(module, BatchNorm)}
    hooks = [norm.register_forward_pre_hook(partial(_add_up, sums, name)) for name, norm in norms.items()]
    try:
        for batch in batches:
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    statistics = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0)
        statistics[name] = (mean.float(), variance.float())
    return statistics


def _add_up(sums: dict[str, Tensor], name: str, _norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    x = inputs[0].double()
    every = [dim for dim in range(x.ndim) if dim != 1]
    count = torch.full((x.shape[1],), x.numel() / x.shape[1], dtype=x.dtype, device=x.device)
    seen = torch.stack([count, x.sum(every), x.square().sum(every)])
    sums[name] = sums[name] + seen if name in sums else seen


@contextmanager
def standing(model: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Inside the block the model's batch norms use ``statistics``."""
    set_standing(model, statistics)
    try:
        yield
    finally:
        for name in statistics:
            _norm_at(model, name).standing = None


def set_standing(model: nn.Module, statistics: Statistics) -> None:
    """Use ``statistics`` from now on. KeyError, ValueError unless they are for this very model."""
    names = {name for name, module in model.named_modules() if isinstance(module, BatchNorm)}
    if names != statistics.keys():
        raise KeyError(f"statistics for {sorted(statistics)}, expected {sorted(names)}")
    for name, pair in statistics.items():  # all of them, before the first is used
        expected = tuple(_norm_at(model, name).weight.shape)
        if (found := {tuple(values.shape) for values in pair}) != {expected}:
            raise ValueError(f"statistics of {name}: {sorted(found)}, expected {expected}")
    for name, (mean, variance) in statistics.items():
        norm = _norm_at(model, name)
        norm.standing = (mean.to(norm.weight.device), variance.to(norm.weight.device))


def _norm_at(model: nn.Module, name: str) -> BatchNorm:
    norm = model.get_submodule(name)
    assert isinstance(norm, BatchNorm)
    return norm
