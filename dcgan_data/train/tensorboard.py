"""The log of a run for TensorBoard, which is an optional extra: all that metrics.jsonl and samples/ hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcgan_data.errors import BadRequest

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FLUSH_S = 15
"""Seconds until TensorBoard can see what was logged."""
_TAGS = {
    "loss_d": "loss/discriminator",
    "loss_g": "loss/generator",
    "p_real": "taken_for_real/real",
    "p_fake": "taken_for_real/generated",
    "images_per_s": "speed/images_per_s",
    "seconds": "speed/seconds",
    "epoch": "speed/epoch",
    "spread": "samples/spread",
    "told_real": "told_apart/held_out",
    "told_fake": "told_apart/samples",
    "nnd_1000": "nearest_sample/of_1000",
    "nnd_10000": "nearest_sample/of_10000",
    "nnd_100000": "nearest_sample/of_100000",
}
"""Where TensorBoard shows each measure; others go by their own name."""


class TensorBoardLog:
    """Writes scalars, grids and events into ``tensorboard/`` of a run."""

    def __init__(self, run_dir: Path, step: int) -> None:
        """Open the log of a session that begins after ``step`` minibatches.

        What an earlier session logged of later steps is hidden: those steps are trained again.
        Raises BadRequest if the package is not installed.
        """
        self._directory = run_dir / "tensorboard"
        self._writer = self._open(step)

    def scalars(self, line: dict[str, Any]) -> None:
        """Log a line of metrics.jsonl; measures that are not known are left out."""
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(_TAGS.get(name, name), value, line["step"])

    def grid(self, step: int, pixels: np.ndarray) -> None:
        """Log a grid of samples, uint8 (H, W, 3) RGB."""
        self._writer.add_image("samples/grid", pixels, step, dataformats="HWC")

    def event(self, step: int, kind: str, message: str) -> None:
        """Log a warning or a rollback, as text."""
        self._writer.add_text("events", f"{kind}: {message}", step)

    def return_to(self, step: int) -> None:
        """Hide what was logged of the steps after ``step``, which are trained again."""
        self.close()
        self._writer = self._open(step)

    def close(self) -> None:
        """Write what is pending, and end the writer's thread."""
        self._writer.close()

    def _open(self, step: int) -> SummaryWriter:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise BadRequest(
                "--tensorboard: tensorboard not installed; "
                "pip install 'dcgan-data[tensorboard]', or leave --tensorboard out"
            ) from None
        return SummaryWriter(str(self._directory), purge_step=step + 1, flush_secs=_FLUSH_S)
