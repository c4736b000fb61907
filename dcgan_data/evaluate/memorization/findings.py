"""What was found out about copying."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.closeness import Space
from dcgan_data.evaluate.latent.walk import WalkResult
from dcgan_data.evaluate.memorization.copies import Copies
from dcgan_data.evaluate.neighbours import NeighboursResult
from dcgan_data.evaluate.score import ScoreResult

SIGNIFICANT = 0.01
"""Chance, at most, of a difference as large as one that is told, if samples were as near as real images."""
_LOWEST = 2
"""Of a Space's quantiles: the 1 % one."""


@dataclass(frozen=True)
class Memorization:
    """One run."""

    neighbours: NeighboursResult
    """Nearest training images, in pixels and in codes."""
    copies: Copies | None
    """By the set's own check, through views; None for a set that was only prepared."""
    walk: WalkResult
    """Smoothness between samples."""
    score: ScoreResult | None
    """Nearest-neighbour score; None if no images were held out."""
    sheet: str | None
    """PNG: the samples with the highest scores, beside their training images."""

    @property
    def signs(self) -> tuple[str, ...]:
        """What speaks for copying, each as a sentence; empty if nothing does."""
        found = [*_of_copies(self.copies)]
        if self.neighbours.codes:
            found += _of_space("codes", self.neighbours.codes)
        found += _singled_out(self.neighbours.pixels)
        return (*found, *self.walk.signs)

    @property
    def untested(self) -> tuple[str, ...]:
        """What could not be asked, and why."""
        found = []
        if self.copies is None:
            found.append("the set was only prepared: it has no codes, and no check for copies")
        if self.neighbours.pixels.held_out is None:
            found.append("no images were held out of training: nearness has no control")
        return tuple(found)


@dataclass(frozen=True)
class MemorizationResult:
    """One run, or two."""

    runs: tuple[Memorization, ...]
    """The run, and the one beside it."""
    page: str
    """To look at."""
    file: str
    """JSON of all this."""


def _of_copies(copies: Copies | None) -> list[str]:
    """Beyond the share that a perfect generator would repeat (binomial test, one-sided)."""
    from scipy.stats import binomtest  # takes longer to load than to use

    if copies is None or not copies.samples.copies:
        return []
    samples, usual = copies.samples, copies.removed_share
    if usual and binomtest(samples.copies, samples.images, usual, "greater").pvalue >= SIGNIFICANT:
        return []
    return [
        f"{samples.copies:,} of {samples.images:,} samples ({samples.copies / samples.images:.1%}) are "
        f"copies of training images by the set's own check, which removed {usual:.1%} of the real ones"
    ]


def _of_space(name: str, space: Space) -> list[str]:
    if not space.held_out:
        return []
    found, real = space.samples, space.held_out
    share, usual = found.below[_LOWEST], real.below[_LOWEST]
    if not _more(round(share * found.images), found.images, round(usual * real.images), real.images):
        return []
    return [
        f"in {name}, {share:.1%} of the samples are nearer to a training image than 1 % of the training "
        f"images are to another; of held-out images {usual:.1%}"
    ]


def _singled_out(space: Space) -> list[str]:
    if not space.held_out:
        return []
    found, real = space.samples, space.held_out
    counts = [round(one.singled_out * one.images) for one in (found, real)]
    if not _more(counts[0], found.images, counts[1], real.images):
        return []
    return [
        f"in pixels, {found.singled_out:.1%} of the samples have one training image less than a third "
        f"as far away as the next; of held-out images {real.singled_out:.1%}"
    ]


def _more(count: int, of: int, usual: int, of_usual: int) -> bool:
    """Whether a share is larger than the usual one, beyond chance (Fisher's exact test, one-sided)."""
    from scipy.stats import fisher_exact  # takes longer to load than to use

    table = [[count, of - count], [usual, of_usual - usual]]
    return bool(fisher_exact(table, alternative="greater").pvalue < SIGNIFICANT)
