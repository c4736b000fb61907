"""How much arithmetic a way of training does: counted from a step that it really takes."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from dcgan_data.bench.ways import Way, Workload

_BATCH = 2
"""Images in each counted minibatch: the count grows in proportion, and two have batch statistics."""
_STEPS = 2
"""Alternating ways move each player once."""


def flops_per_image(way: Way, work: Workload) -> float:
    """FLOPs (2 a multiply-add, convolutions and matrix products only) for each real image consumed.

    Two steps on two images are taken on the CPU and counted, so that what is counted is what is done:
    which gradients are computed, and how often images are drawn. A gradient that is computed and thrown
    away counts; batch norm, activations and optimisers, some per cent of the time, do not.
    """
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as folder:
        file = Path(folder) / "images.npy"
        # So many that no epoch ends, and no worker starts, while counting.
        np.save(file, np.zeros((8 * _STEPS * _BATCH, work.image_size, work.image_size, 3), np.uint8))
        small = replace(work, file=file, batch_size=_BATCH, device=torch.device("cpu"))
        plain = way.uncompiled()
        with plain.numerics(small.device), closing(plain.start(small)) as training:
            for _ in range(_STEPS):
                training.step()
            with FlopCounterMode(display=False) as counter:
                for _ in range(_STEPS):
                    training.step()
    flops: int = counter.get_total_flops()
    return flops / (_STEPS * _BATCH)
