"""The ways of training that ``bench train`` compares: how each is set up, and how it does a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from dcgan_data.bench.plain_loop import PlainLoop
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import Batches, Share
from dcgan_data.train.engine import Stepper, numerics, resolve_precision
from dcgan_data.train.game import new_state
from dcgan_data.train.models import ModelShape

Z_DIM = 100
_LONG_RUN = 10**9
"""Steps of the run that is measured, as far as the trainer knows: what pays in a long one is done."""


@dataclass(frozen=True)
class Workload:
    """What is trained: the same for every way."""

    file: Path
    """The images, uint8 (N, S, S, 3), N at least ``batch_size``, as ``.npy``."""
    image_size: int
    """Their side in pixels."""
    width: int
    """Channels of the stage next to the image."""
    batch_size: int
    """Images in a minibatch."""
    device: torch.device
    """Where the networks are."""

    @property
    def shape(self) -> ModelShape:
        """Shape of both networks."""
        return ModelShape(self.image_size, self.width, Z_DIM)


class FileImages:
    """The images of a workload's file, as the trainer's ``ImageSource``."""

    def __init__(self, work: Workload) -> None:
        self.image_size = work.image_size
        self._pixels = np.load(work.file, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._pixels)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy the images at int64 (B,) ``indices``: uint8 (B, S, S, 3)."""
        images: np.ndarray = self._pixels[indices]
        return images


class Training(Protocol):
    """A way of training that was set up."""

    @property
    def notes(self) -> Sequence[str]:
        """What could not be had here."""

    def step(self) -> object:
        """Do, or queue, one minibatch."""

    def close(self) -> None:
        """End what runs beside."""


class Way(Protocol):
    """A way of training. Can be pickled."""

    @property
    def name(self) -> str:
        """As in the table and in JSON."""

    @property
    def says(self) -> str:
        """What is done, in a few words."""

    def precision(self, device: torch.device) -> str:
        """Of most of its arithmetic there: float32, tf32 or bf16."""

    def numerics(self, device: torch.device) -> AbstractContextManager[None]:
        """torch's switches as this way wants them; set-up and steps take place inside."""

    def start(self, work: Workload) -> Training:
        """Set up networks, optimisers and feed."""

    def uncompiled(self) -> Way:
        """The same arithmetic, step by step, for counting it."""


@dataclass(frozen=True)
class PlainWay:
    """The plain reference loop."""

    name: str = "plain"
    says: str = "eager float32 loop, DataLoader"

    def precision(self, device: torch.device) -> str:
        """TF32 on a GPU, where torch's convolutions use it unless they are told not to."""
        return "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"

    def numerics(self, device: torch.device) -> AbstractContextManager[None]:
        """As they are found."""
        return nullcontext()

    def start(self, work: Workload) -> Training:
        """Set up networks, optimisers and loader."""
        return _Plain(work)

    def uncompiled(self) -> Way:
        """It is."""
        return self


class _Plain:
    notes = ()

    def __init__(self, work: Workload) -> None:
        self._loop = PlainLoop(work.shape, work.batch_size, work.file, work.device)

    def step(self) -> object:
        return self._loop.step()

    def close(self) -> None:
        self._loop.close()


@dataclass(frozen=True)
class TrainerWay:
    """The project's own trainer, without logs and checkpoints."""

    name: str
    says: str
    preset: str
    """paper or fast."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of TrainConfig that differ from the preset."""
    together: bool | None = None
    """Real and generated images in one call; None: as the trainer chooses on the device."""

    def precision(self, device: torch.device) -> str:
        """As its configuration asks for."""
        asked = self.changes.get("precision") or TrainConfig.of_preset(self.preset, **_NOWHERE).precision
        return resolve_precision(asked, device)

    def numerics(self, device: torch.device) -> AbstractContextManager[None]:
        """As a run sets them."""
        return numerics(TrainConfig.of_preset(self.preset, **_NOWHERE, **self.changes), device)

    def start(self, work: Workload) -> Training:
        """Set up state, stepper and batches."""
        return _Trainer(self, work)

    def uncompiled(self) -> Way:
        """The same with neither compiler nor recorded graphs."""
        return replace(self, changes={**self.changes, "compile": "off", "cuda_graphs": False})


_NOWHERE = {"prepared": Path(), "run_dir": Path()}
"""Nothing is read from a set, and nothing is written."""


class _Trainer:
    def __init__(self, way: TrainerWay, work: Workload) -> None:
        shape = {"width": work.width, "z_dim": Z_DIM, "batch_size": work.batch_size}
        config = TrainConfig.of_preset(way.preset, **_NOWHERE, **shape, **way.changes)
        self._state = new_state(config, work.image_size, work.device)
        self._stepper = Stepper(config, self._state, _LONG_RUN)
        if way.together is not None:
            self._stepper.players = replace(self._stepper.players, together=way.together)
        self.notes = self._stepper.notes
        share = Share(stride=2 if config.alternate else 1)
        self._batches = Batches(FileImages(work), work.batch_size, config.seed, work.device, share)

    def step(self) -> object:
        pixels = self._batches.pixels(self._state.step) if self._stepper.reads_pixels else None
        self._stepper.step(pixels)
        return None

    def close(self) -> None:
        self._batches.close()


PLAIN = PlainWay()
PAPER = TrainerWay("paper", "preset paper: G and D in turn, a minibatch each", "paper")
FAST = TrainerWay("fast", "preset fast: D, then G, on each minibatch", "fast")
