"""Codes on a GPU: the same bytes as ``codes.encode_views``, the products made by torch."""

from __future__ import annotations

import numpy as np
import torch

from dcgan_data.ops.codes import CODE_BITS, Encoder, network_inputs, spread

_BLOCK = 4096
"""Images at a time: their activations under 28 views take 120 MB."""


def encode_views_on(
    device: torch.device, images: np.ndarray, encoder: Encoder
) -> tuple[np.ndarray, np.ndarray]:
    """See ``codes.encode_views``. Sums are exact in float64 there as here; the rest is elementwise IEEE."""
    views = encoder.weight.shape[1] // CODE_BITS
    weight = torch.from_numpy(encoder.weight).to(device)
    bias = torch.from_numpy(encoder.bias).to(device)
    if not encoder.standardise:
        bias = bias - weight.sum(dim=0)
    codes = np.empty((len(images), views, CODE_BITS // 8), np.uint8)
    contrast = np.empty(len(images))
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        inputs, scale = network_inputs(images[block], encoder)
        deviation = spread(inputs)
        contrast[block] = deviation / scale
        if encoder.standardise:
            divisor = torch.from_numpy(np.where(deviation > 0, deviation, 1.0))[:, None].to(device)
        else:
            divisor = torch.tensor(127.5 * scale, dtype=torch.float64, device=device)
        products = torch.from_numpy(inputs).to(device) @ weight
        codes[block] = _pack(products / divisor + bias > 0).reshape(-1, views, CODE_BITS // 8).cpu().numpy()
    return codes, contrast


def _pack(bits: torch.Tensor) -> torch.Tensor:
    """bool (B, 8 K) -> uint8 (B, K), first bit highest, as ``numpy.packbits``."""
    values = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    packed: torch.Tensor = (bits.view(len(bits), -1, 8) * values).sum(dim=2, dtype=torch.uint8)
    return packed
