"""Stop on the first value that is not finite, without reading a value from the GPU at every step.

Two wishes meet here: a bad loss must be caught BEFORE the parameters are updated, and a GPU must
not stand still at every step while the host reads a loss. So the test is made on the device, and
its result handed to the optimiser as the flag by which torch's fused Adam skips an update (the one
that gradient scaling uses). The flag stays set: every later update is skipped too. The host reads
it when it reads the losses, and before it writes anything; parameters and optimisers are then still
as they were before the failed step, however many steps were queued since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Failure:
    """The first update that had to be skipped."""

    step: int
    """Its number, from 1."""
    loss: float
    """Its loss; finite if only the gradient was not."""


class FiniteGuard:
    """Remembers, on the device, the first step whose loss or gradient was not finite."""

    def __init__(self, device: torch.device) -> None:
        self._tripped = torch.zeros((), dtype=torch.bool, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)

    def skip_flag(self, step: int, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """1.0 if the update of ``step`` must be skipped, else 0.0: float32 () on the device."""
        # One pass over the gradients and no mask of their size: a sum is finite only if all its terms are.
        total = loss + torch.stack([gradient.sum() for gradient in gradients]).sum()
        bad = ~torch.isfinite(total)
        first = bad & ~self._tripped
        # full_like fills on the device; a bare number would be copied to it, and the copy waited for.
        self._step = torch.where(first, torch.full_like(self._step, step), self._step)
        self._loss = torch.where(first, loss, self._loss)
        self._tripped = self._tripped | bad
        return self._tripped.float()

    def failure(self) -> Failure | None:
        """The first failed step, None if there is none. Waits for the device."""
        if not self._tripped.item():
            return None
        return Failure(int(self._step.item()), self._loss.item())
