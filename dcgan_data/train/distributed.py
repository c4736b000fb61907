"""Several processes, one GPU each, as ``torchrun`` starts them; one process is the same code alone.

Each rank takes its own part of every minibatch, of the latent vectors drawn for all of them, and of
nothing else: weights, optimisers and the order of the data are the same in all. Gradients are averaged
by torch's DistributedDataParallel. Batch norm is NOT synchronised: a rank normalises over its own part,
as is usual, so N processes are not the same computation as one; with small parts, prefer fewer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _abort_process_group

from dcgan_data.errors import BadRequest

_PATIENCE = timedelta(hours=2)
"""The first rank alone draws, scores and writes, while the others wait."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run."""

    rank: int = 0
    """Its number; the first, 0, is the one that writes."""
    count: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """This rank's rows of what was drawn for a whole minibatch, (B, ...) to (B / count, ...)."""
        return batch.chunk(self.count)[self.rank]

    def take_largest(self, value: Tensor) -> None:
        """Replace ``value`` in place by the largest of all ranks'."""
        if self.count > 1:
            dist.all_reduce(value, dist.ReduceOp.MAX)

    def take_mean(self, value: Tensor) -> None:
        """Replace ``value`` in place by the mean of all ranks'."""
        if self.count > 1:
            dist.all_reduce(value)
            value /= self.count

    def meet(self) -> None:
        """Wait for all ranks."""
        if self.count > 1:
            dist.barrier()

    def take_first(self, value: Tensor) -> None:
        """Replace ``value`` in place by the first rank's."""
        if self.count > 1:
            dist.broadcast(value, 0)


ALONE = Ranks()


def asked_ranks() -> Ranks:
    """What torchrun says in the environment; one process if it did not start this one."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined(device: torch.device, batch_size: int) -> Iterator[tuple[Ranks, torch.device]]:
    """Meet the other ranks; yields which this is and its device. BadRequest if a batch cannot be shared."""
    ranks = asked_ranks()
    if ranks.count == 1:
        yield ranks, device
        return
    # The first alone says so: the others wait for it, and torchrun ends them when it has gone.
    if ranks.first and (batch_size % ranks.count or batch_size // ranks.count < 2):
        raise BadRequest(
            f"--batch-size {batch_size}: cannot be shared by {ranks.count} processes; "
            f"give a multiple of {ranks.count}, with 2 images or more for each"
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise BadRequest(
                f"process {local} of this machine has no GPU: torch sees {torch.cuda.device_count()}; "
                "give torchrun a smaller --nproc-per-node"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    on_gpu = device.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=_PATIENCE, device_id=device if on_gpu else None
    )
    try:
        yield ranks, device
    except BaseException:
        # NCCL's orderly end waits for all ranks: one that fails alone would wait as long as they wait for it.
        _abort_process_group() if on_gpu else dist.destroy_process_group()
        raise
    dist.destroy_process_group()
