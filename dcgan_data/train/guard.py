"""Stop on the first value that is not finite, without reading a value from the GPU at every step.

Two wishes meet here: a bad loss must be caught BEFORE the parameters are updated, and a GPU must
not stand still at every step while the host reads a loss. So the test is made on the device, and
its result handed to the optimiser as the flag by which torch's fused Adam skips an update (the one
that gradient scaling uses). The flag stays set: every later update is skipped too. The host reads
it with the losses, some steps later, and before it writes anything; parameters and optimisers are
then still as they were before the failed step, however many steps were queued since.

All tensors are changed in place, so that a recorded CUDA graph finds them where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan_data.train.distributed import Ranks


@dataclass(frozen=True)
class Failure:
    """The first update that had to be skipped."""

    step: int
    """Its number, from 1."""
    player: str
    """Whose update it was: discriminator or generator."""
    loss: float
    """Its loss; finite if only the gradient was not."""


PLAYERS = ("discriminator", "generator")


class FiniteGuard:
    """Remembers, on the device, the first step whose loss or gradient was not finite."""

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.skip = torch.zeros((), device=device)
        """float32 (): 1.0 once an update had to be skipped."""
        self.step = torch.zeros((), dtype=torch.float64, device=device)
        """float64 (): the number of the step that is being done, from 1."""
        self.seen = torch.zeros(3, dtype=torch.float64, device=device)
        """float64 (3,): step, player and loss of the first failure."""
        self._ranks = ranks

    def check(self, player: str, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """``skip``, brought up to date by a loss and its gradients."""
        norms = torch._foreach_norm(list(gradients))  # not finite if any value is not
        bad = (~torch.isfinite(loss + torch.stack(norms).sum())).float()
        self._ranks.take_largest(bad)
        first = bad * (1 - self.skip) > 0
        number = torch.full_like(self.step, PLAYERS.index(player))  # filled on the device: nothing is copied
        self.seen.copy_(torch.where(first, torch.stack([self.step, number, loss.double()]), self.seen))
        self.skip.copy_(torch.maximum(self.skip, bad))
        return self.skip


def failure_of(skip: float, seen: Sequence[float]) -> Failure | None:
    """What the host has read of ``FiniteGuard.skip`` and ``.seen``; None if nothing failed."""
    return Failure(int(seen[0]), PLAYERS[int(seen[1])], seen[2]) if skip else None
