"""What each thing that makes the fast preset fast is worth: added to the plain loop, one after the other.

First the plain loop's own networks are trained ever less plainly; then the trainer takes over, with what it
has switched on one by one. Rows that do not pay stay, and show it. On a CPU the last ones go beyond the
fast preset, which leaves them out there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from dcgan_data.bench.plain_loop import BETAS, LEARNING_RATE, PlainTrainer
from dcgan_data.bench.ways import FileImages, PlainWay, TrainerWay, Training, Way, Workload
from dcgan_data.train.data import Batches, scale
from dcgan_data.train.engine import resolve_precision


@dataclass(frozen=True)
class TunedWay(PlainWay):
    """The plain loop's networks and updates, fed from the device, and tuned as the fields say."""

    reads_losses: bool = True
    """At every step, as tutorials do."""
    channels_last: bool = False
    """Weights and images in that layout."""
    freezes: bool = False
    """No gradients of D's weights are computed in G's update, where nobody uses them."""
    fused: bool = False
    """Adam in one kernel for all parameters."""
    tries_algorithms: bool = False
    """cuDNN times its algorithms for each convolution once, and takes the quickest."""

    def numerics(self, device: torch.device) -> AbstractContextManager[None]:
        """As they are found, but for that."""
        return _trying_algorithms() if self.tries_algorithms else nullcontext()

    def start(self, work: Workload) -> Training:
        """Set up networks, optimisers and batches."""
        return _Tuned(self, work)


class _Tuned:
    notes = ()

    def __init__(self, way: TunedWay, work: Workload) -> None:
        self._way = way
        self._trainer = trainer = PlainTrainer(work.shape, work.device)
        if way.channels_last:
            for network in (trainer.generator, trainer.discriminator):
                convert_conv2d_weight_memory_format(network, torch.channels_last)
        if way.fused:
            trainer.adam_g, trainer.adam_d = _fused(trainer.generator), _fused(trainer.discriminator)
        self._batches = Batches(FileImages(work), work.batch_size, 0, work.device)
        self._step = 0

    def step(self) -> object:
        real = scale(self._batches.pixels(self._step))
        self._step += 1
        if not self._way.channels_last:
            real = real.contiguous()
        fake, loss_d = self._trainer.update_discriminator(real)
        with _frozen(self._trainer.discriminator) if self._way.freezes else nullcontext():
            loss_g = self._trainer.update_generator(fake)
        return (loss_d.item(), loss_g.item()) if self._way.reads_losses else None

    def close(self) -> None:
        self._batches.close()


def _fused(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS, fused=True)


@contextmanager
def _trying_algorithms() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def ablation_ways(device: torch.device) -> list[Way]:
    """The rows between the plain loop and the fast preset on ``device``, and beyond it."""
    feed = "batches picked by the trainer's feed, no DataLoader"
    frozen = {"reads_losses": False, "channels_last": True, "freezes": True}
    ways: list[Way] = [
        TunedWay("+ feed", feed),
        TunedWay("+ no waiting", "losses stay on the device", reads_losses=False),
        TunedWay("+ channels last", "memory layout of convolutions", reads_losses=False, channels_last=True),
        TunedWay("+ D frozen", "no gradients of D's weights in G's update", **frozen),
        TunedWay("+ fused Adam", "one kernel for all parameters", **frozen, fused=True),
    ]
    if device.type == "cuda":
        says = "cuDNN times its convolutions and takes the quickest"
        ways.append(TunedWay("+ cuDNN's choice", says, **frozen, fused=True, tries_algorithms=True))
    return ways + _trainer_ways(device)


def _trainer_ways(device: torch.device) -> list[Way]:
    gpu = device.type == "cuda"
    # TF32 on a GPU, since the rows before have it there by torch's default.
    first = {"precision": "tf32" if gpu else "float32", "compile": "off", "cuda_graphs": False}
    quick = first | {"precision": resolve_precision("auto", device)}
    compiled = quick | {"compile": "on"}
    recorded = compiled | {"cuda_graphs": True}
    own = "networks of the paper, guard against non-finite values, moving average of G"
    ways: list[Way] = [TrainerWay("+ the trainer", own, "fast", first, together=False)]
    if quick != first:
        name, says = f"+ {quick['precision']}", "autocast of convolutions"
        ways.append(TrainerWay(name, says, "fast", quick, together=False))
    ways.append(TrainerWay("+ one call", "real and generated through D together", "fast", quick, True))
    ways.append(TrainerWay("+ compile", "torch.compile of both networks", "fast", compiled, True))
    if gpu:
        ways.append(TrainerWay("+ CUDA graphs", "a step's kernels launched as one", "fast", recorded, True))
    return ways
