"""Notice what ruins a run without any value being infinite: a saturated discriminator, collapsed samples.

It sees the numbers that are logged and nothing else. Each stretch of trouble is told once; the memory
that this takes is plain JSON and goes into checkpoints, so that a resumed run says what the undisturbed
one would have said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

SATURATED_BELOW = 0.02
"""Nats. D's loss is this low when it gives real and generated images alike 99 % to what they are."""
SATURATED_STEPS = 500
"""In narrow models (widths 16 to 64) that learned well, no logged loss was that low; with Adam's beta1 at
0.9 it was, for up to 100 steps at a time; with learning rates ten times too high for D and too low for G,
for more than 700."""
SATURATED_UNTIL = 0.1
"""Nats. Only from here on is D's loss out of its trouble, and may get into it again."""

HOPELESS_ABOVE = 50.0
"""Nats. A generator that is given e**-50 is beyond recovery; in good runs its loss stayed below 15."""

COLLAPSED_BELOW = 0.25
"""Share of the real images' spread. In pale but varied samples of narrow models it was 0.38 or more once
it had got there, with short dips to 0.27; in collapsed ones 0.05 to 0.22. A generator of k pictures has
1 - 1/k of their spread, so that this sees the end of a collapse, not its beginning."""
VARIED_FROM = 0.4
"""Share of the real images' spread at which samples have got away from grey, or out of a collapse."""
GREY_STEPS = 2_000
"""A generator that draws nothing but grey after so many steps has not begun slowly: it does not learn."""


@dataclass(frozen=True)
class Event:
    """Something in the course of a run that a person should know; a line of events.jsonl."""

    step: int
    """Minibatches done."""
    kind: str
    """A short name: ``saturated`` and ``collapse`` are the watchdog's."""
    message: str
    """What, where and what to do, in a sentence without a full stop."""
    since: int | None = None
    """First step of the trouble, where that is known: a checkpoint from before is sound."""


@dataclass
class Watchdog:
    """What has to be remembered of the numbers seen."""

    low_since: int | None = None
    """First step of the present stretch of low losses of D; None outside one."""
    saturated: bool = False
    """Whether the present trouble of D has been told."""
    varied: bool = False
    """Whether samples have ever been as varied as they should."""
    collapsed: bool = False
    """Whether the present collapse has been told."""

    def see(self, line: Mapping[str, Any]) -> list[Event]:
        """Look at one line of metrics.jsonl; returns what is to be told now, mostly nothing.

        line: ``step``, and if they were measured ``loss_d`` (nats) and ``spread``, the mean pairwise
        distance of the grid's samples over that of real images.
        """
        step, loss_d, spread = line["step"], line.get("loss_d"), line.get("spread")
        loss_g = line.get("loss_g") or 0.0
        found = (
            None if loss_d is None else self._see_loss(step, loss_d, hopeless=loss_g > HOPELESS_ABOVE),
            None if spread is None else self._see_spread(step, spread),
        )
        return [event for event in found if event is not None]

    def as_dict(self) -> dict[str, Any]:
        """All that it remembers, as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Watchdog:
        """The watchdog that ``as_dict`` was asked of; KeyError if something is missing."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def _see_loss(self, step: int, loss_d: float, *, hopeless: bool) -> Event | None:
        if loss_d >= SATURATED_UNTIL:
            self.saturated = False
        if not loss_d < SATURATED_BELOW:
            self.low_since = None
            return None
        if self.low_since is None:
            self.low_since = step
        if self.saturated or (step - self.low_since < SATURATED_STEPS and not hopeless):
            return None
        self.saturated = True
        return Event(
            step,
            "saturated",
            f"D is saturated at step {step}: its loss was below {SATURATED_BELOW:g} at every log since step "
            f"{self.low_since}, so it is hardly ever wrong, and G learns little from it; what helps: "
            "--spectral-norm, --augment (on a small set), a smaller --learning-rate, more images",
            since=self.low_since,
        )

    def _see_spread(self, step: int, spread: float) -> Event | None:
        if spread >= VARIED_FROM:
            self.varied, self.collapsed = True, False
        begun = self.varied or step >= GREY_STEPS
        if self.collapsed or not begun or not spread < COLLAPSED_BELOW:
            return None
        self.collapsed = True
        return Event(
            step,
            "collapse",
            f"the samples collapsed at step {step}: they differ from one another only {spread:.0%} as much "
            "as real images do; what helps: an earlier checkpoint (--on-collapse rollback), another --seed, "
            "a smaller --learning-rate, a larger --batch-size, --spectral-norm",
        )


def mean_pairwise_distance(images_nhwc: np.ndarray) -> float:
    """Mean Euclidean distance of two different images of uint8 (N, S, S, 3), in [-1, 1] pixel units; N >= 2.

    Takes 8 bytes a value: meant for some hundred images.
    """
    count = len(images_nhwc)
    assert count >= 2 and images_nhwc.dtype == np.uint8, (count, images_nhwc.dtype)
    # Sums of products of bytes are whole numbers far below 2**53: float64 holds them without rounding.
    flat = images_nhwc.reshape(count, -1).astype(np.float64)
    products = flat @ flat.T
    squares = np.diag(products)
    distances = np.sqrt(squares[:, None] + squares - 2 * products)
    return float(distances.sum() / (count * (count - 1)) / 127.5)
