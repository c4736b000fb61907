"""What forgetting did."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.forget.change import Change, mean_change
from dcgan_data.evaluate.forget.regression import Regression


@dataclass(frozen=True)
class ForgetResult:
    """What was dropped, and what that changed."""

    model: str
    """Run and step, or file."""
    step: int | None
    """Minibatches that the checkpoint was trained for; None for a file."""
    boxes: int
    """Boxes that a person drew."""
    boxed_samples: int
    """Samples with a box: the others are not learnt from."""
    samples: int
    """Samples that the person was shown."""
    regularisation: float
    """Strength of the regression's L2 penalty."""
    keep_statistics: bool
    """Whether later batch norms kept the statistics of the whole model."""
    regression: Regression
    """What tells places inside boxes from places outside."""
    dropped: tuple[int, ...]
    """The maps whose weight is above 0: all of them were dropped."""
    change: Change
    """Of the samples with boxes, without these maps."""
    controls: tuple[Change, ...]
    """Of the same samples, without as many maps chosen at random, once for each choice."""
    warnings: tuple[str, ...]
    """What a person should know before believing it."""
    picture: str
    """Samples with and without."""
    file: str
    """JSON of all this."""

    @property
    def control(self) -> Change:
        """The mean of ``controls``."""
        return mean_change(self.controls)
