"""Change real and generated images alike before the discriminator sees them: for small sets.

Zhao, Liu, Lin, Zhu and Han, "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020.
A discriminator soon knows the images of a small set by heart. Changing the real ones alone would teach
the generator the changes; here both are changed, and the generator's gradients pass through them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

AUGMENT_DRAWS = 7
"""Random numbers for an image: brightness, saturation, contrast, way down, way right, row and column cut."""
_SHIFT_SHARE = 8
"""Images move by up to an eighth of their side."""
_CUT_SHARE = 2
"""A square of half the side is cut out."""


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """Change the colours of each image, move it, and cut a square out of it, as its draws say.

    images: float (N, 3, S, S) in [-1, 1]. draws: float (N, AUGMENT_DRAWS), uniform in [0, 1).
    Returns what the images are, channels last; colours may leave [-1, 1], as clipping would stop gradients.
    What was moved in or cut out is 0, a middle grey.

    An image depends on its own draws only, and nothing else is random. Fit for recording in CUDA graphs:
    the host waits for nothing, and no shape depends on a value.
    """
    brightness, saturation, contrast, down, right, cut_row, cut_column = draws.unbind(1)
    colours = (draw.to(images.dtype).view(-1, 1, 1, 1) for draw in (brightness, saturation, contrast))
    images = _recolour(images, *colours)
    reach = images.shape[2] // _SHIFT_SHARE
    moved: Tensor = _Move.apply(  # type: ignore[no-untyped-call]
        images, _whole(down, -reach, reach), _whole(right, -reach, reach)
    )
    return _cut_out(moved, cut_row, cut_column)


def _recolour(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Draws (N, 1, 1, 1): 0.5 changes nothing."""
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _cut_out(images: Tensor, cut_row: Tensor, cut_column: Tensor) -> Tensor:
    """The square's centre may lie anywhere in the image, so that part of it may lie outside."""
    size = images.shape[2]
    side = size // _CUT_SHARE
    place = torch.arange(size, device=images.device)

    def within(draw: Tensor) -> Tensor:
        first = _whole(draw, 0, size).unsqueeze(1) - side // 2
        return (place >= first) & (place < first + side)

    hole = within(cut_row)[:, None, :, None] & within(cut_column)[:, None, None, :]
    return images * ~hole  # masked_fill would lose channels last


def _whole(draw: Tensor, least: int, most: int) -> Tensor:
    """Turn uniform draws into whole numbers from ``least`` to ``most``, all equally likely: int64 (N,)."""
    return (draw * (most - least + 1)).long() + least


class _Move(torch.autograd.Function):
    """Move images by whole pixels; what comes from outside is 0.

    The gradient moves the other way. Written out because autograd would scatter it pixel by pixel, on a
    GPU in an order that differs from run to run.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(down, right)
        return _moved(images, down, right)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _moved(gradient, -down, -right), None, None


def _moved(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Images (N, 3, S, S) moved by int64 (N,) pixels, channels last."""
    count, _, size, _ = images.shape
    place = torch.arange(size, device=images.device)
    rows = (place - down[:, None])[:, :, None]
    columns = (place - right[:, None])[:, None, :]
    outside = (rows < 0) | (rows >= size) | (columns < 0) | (columns >= size)
    number = torch.arange(count, device=images.device)[:, None, None]
    # One list of pixels: on a CPU several times as quick as an index for each axis.
    pixel = (number * size + rows.clamp(0, size - 1)) * size + columns.clamp(0, size - 1)
    picked = images.permute(0, 2, 3, 1).reshape(-1, 3).index_select(0, pixel.flatten())
    return picked.view(count, size, size, 3).masked_fill(outside[..., None], 0.0).permute(0, 3, 1, 2)
