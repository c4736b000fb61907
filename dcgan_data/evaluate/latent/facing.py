"""Samples that face left and right, found by their landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.yaw import MISTAKEN, YawFinder
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import Sampler

_HARDLY_ANY = 2 * MISTAKEN
"""Share of samples with a face up to which they may well all be mistakes."""
_FEW = 0.5
HARDLY_TURNED = 15.0
"""Degrees from one side to the other; yaw is measured to some 4."""


@dataclass(frozen=True)
class Facing:
    """What was looked through, and who looks where."""

    samples: int
    """How many were drawn."""
    faces: int
    """How many show a face."""
    left: tuple[int, ...]
    """Numbers of those that face the picture's left, the most turned first."""
    left_yaw: tuple[float, ...]
    """Degrees towards the right: of a group that faces left they should be negative."""
    right: tuple[int, ...]
    """Of those that face its right, the most turned first."""
    right_yaw: tuple[float, ...]
    """Degrees."""

    def warnings(self) -> Iterator[str]:
        """What speaks against a turn vector made of them."""
        if self.faces < _FEW * self.samples:
            yield (
                f"only {self.faces:,} of {self.samples:,} samples show a face to the detector, and 99 % of "
                "real ones of this size do: the model's faces are poor, or it is no model of faces"
            )
        apart = float(np.mean(self.right_yaw) - np.mean(self.left_yaw))
        if apart < HARDLY_TURNED:
            yield (
                f"the groups are {apart:.0f} degrees apart, and yaw is measured to some 4: hardly anyone "
                "looks aside; give a larger --auto"
            )


def find_facing(sampler: Sampler, count: int, group: int, seed: int, reporter: Reporter) -> Facing:
    """Look through samples 0 to ``count`` - 1 for the ``group`` most turned to either side.

    BadRequest if there are too few faces.
    """
    finder, found = YawFinder(), []
    with reporter.stage("faces", count, "samples") as stage:
        for images in sampler.draw(count, seed):
            found.append(finder.yaw(images))
            stage.advance(len(images))
    yaw = np.concatenate(found)
    faces = np.flatnonzero(~np.isnan(yaw))
    _check_enough(sampler.trained.name, len(faces), count, group)
    order = faces[np.argsort(yaw[faces], kind="stable")]
    left, right = order[:group], order[::-1][:group]
    return Facing(
        samples=count,
        faces=len(faces),
        left=tuple(left.tolist()),
        left_yaw=tuple(yaw[left].tolist()),
        right=tuple(right.tolist()),
        right_yaw=tuple(yaw[right].tolist()),
    )


def _check_enough(name: str, faces: int, count: int, group: int) -> None:
    advice = (
        "if it is a model of faces, give a larger --auto or train it further; else pick samples by eye "
        "('dcgan-data sample RUN --numbered') and name them with --left and --right"
    )
    if faces < 2 * group:
        raise BadRequest(
            f"{name}: {faces} of {count:,} samples show a face, {2 * group} are needed; {advice}"
        )
    if faces <= _HARDLY_ANY * count:
        raise BadRequest(
            f"{name}: {faces} of {count:,} samples seem to show a face, no more than pass for one by mistake "
            f"(2 % of bedroom photos do); {advice}"
        )


def mean_yaw(turned: np.ndarray) -> tuple[tuple[float | None, ...], int]:
    """Which way each column of uint8 (rows, columns, S, S, 3) looks, over rows with a face in every column.

    Degrees towards the picture's right, None if there is no such row; and how many rows these are.
    """
    finder = YawFinder()
    yaw = np.stack([finder.yaw(row) for row in turned])
    whole = yaw[~np.isnan(yaw).any(axis=1)]
    if not len(whole):
        return (None,) * turned.shape[1], 0
    return tuple(round(float(value), 1) for value in whole.mean(axis=0)), len(whole)
