"""What is due after a step."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.train.config import TrainConfig

_STEPS_BETWEEN_GRIDS = 1_000
"""Within an epoch, if no other interval is asked for: LSUN's epoch is 23,000 steps."""
FEW_SAMPLES, ALL_COUNTS = 1_000, (1_000, 10_000, 100_000)
"""Numbers of samples of the nearest-neighbour score; the authors logged all three."""


@dataclass(frozen=True)
class Due:
    """What is to be done after a step."""

    log: bool
    """Write a line of metrics."""
    draw: bool
    """Draw a grid."""
    save: bool
    """Write a checkpoint."""
    scores: tuple[int, ...]
    """Nearest-neighbour scores of so many samples."""

    @property
    def halts(self) -> bool:
        """Whether the host needs the device's results at once."""
        return self.draw or self.save or bool(self.scores)


def due_after(step: int, config: TrainConfig, total_steps: int, per_epoch: int) -> Due:
    """What is due after ``step``; after the last one, everything but the costly scores."""
    last = step == total_steps
    if config.sample_every is None:
        draw = step % per_epoch == 0 or step % _STEPS_BETWEEN_GRIDS == 0
    else:
        draw = step % config.sample_every == 0
    save = last or step % config.checkpoint_every == 0
    scores: tuple[int, ...] = (FEW_SAMPLES,) if save else ()
    if config.score_every and step % (config.score_every * per_epoch) == 0:
        scores = ALL_COUNTS
    draw = draw or last
    return Due(last or draw or save or bool(scores) or step % config.log_every == 0, draw, save, scores)
