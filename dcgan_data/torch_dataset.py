"""Kept images as a torch Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from dcgan_data.reading import KeptImages

Item = torch.Tensor | tuple[torch.Tensor, int]


class TorchImages(torch.utils.data.Dataset[Item]):
    """float32 (3, S, S) in [-1, 1]; with labels (image, class number)."""

    def __init__(self, images: KeptImages, labels: bool) -> None:
        self.images = images
        numbers = {name: number for number, name in enumerate(images.classes)} if labels else {}
        self.targets = [numbers[label] for label in images.labels if label is not None] if labels else None
        """int, one an image; None without labels."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """A whole batch at once: DataLoader asks for it, and the pixels of a batch are read together."""
        pixels = torch.from_numpy(self.images[np.asarray(indices)])
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        scaled = scaled.div_(127.5).sub_(1)
        if self.targets is None:
            return list(scaled)
        return [(image, self.targets[index]) for image, index in zip(scaled, indices, strict=True)]
