"""Turning faces: mean of those that look left, mean of those that look right, and the way between them.

The paper (sec. 6.3.2, figure 8) averages four samples of each, calls the difference the turn vector, and adds
interpolations along it to random samples. How far it goes is left open. Here the middle column is the random
sample itself, and with a reach of 0.5 the outer columns are as far apart as the two means are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import Figure, save_figure
from dcgan_data.evaluate.latent.exemplars import check_groups, latents_of, mean_latent
from dcgan_data.evaluate.latent.facing import HARDLY_TURNED, Facing, find_facing, mean_yaw
from dcgan_data.evaluate.latent.numbered import MOST_NUMBERED
from dcgan_data.evaluate.latent.turn_picture import Strip, write_turn
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import Sampler, open_sampler

EXEMPLARS = 4
"""The paper's number for each side."""
_MOST_ROWS, _MOST_COLUMNS = 100, 25


@dataclass(frozen=True)
class TurnSettings:
    """Whom to turn, and how far."""

    left: tuple[int, ...] = ()
    """Numbers of samples that face the picture's left."""
    right: tuple[int, ...] = ()
    """Numbers of samples that face its right."""
    auto: int | None = None
    """Find them by their landmarks among so many samples instead."""
    group: int = EXEMPLARS
    """With ``auto``: how many of each."""
    rows: int = 8
    """Random samples to turn."""
    columns: int = 9
    """Places along the axis; the middle one is the sample itself."""
    reach: float = 0.5
    """How many turn vectors the outer columns are away from the sample."""
    allow_few: bool = False
    """Take fewer than 4 exemplars."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of all samples."""
    device: str = "auto"
    """Where to draw: auto, cpu or cuda."""
    out: Path | None = None
    """Directory to write into; None: RUN/turn."""

    def __post_init__(self) -> None:
        self._check_groups()
        if not 1 <= self.rows <= _MOST_ROWS:
            raise BadRequest(f"--rows {self.rows}: expected 1 to {_MOST_ROWS}")
        if not (3 <= self.columns <= _MOST_COLUMNS and self.columns % 2):
            raise BadRequest(f"--columns {self.columns}: expected an odd number, 3 to {_MOST_COLUMNS}")
        if not 0 < self.reach <= 10:
            raise BadRequest(f"--reach {self.reach:g}: expected more than 0, at most 10")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")

    @property
    def places(self) -> tuple[float, ...]:
        """Of the columns: how many turn vectors are added, none in the middle."""
        half = self.columns // 2
        return tuple(self.reach * step / half for step in range(-half, half + 1))

    def _check_groups(self) -> None:
        if self.auto is None:
            if not (self.left or self.right):
                raise BadRequest(
                    "turn: needs samples that face left and right; pick them with --left and --right from "
                    "'dcgan-data sample RUN --numbered', or have them found with --auto N"
                )
            check_groups({"--left": self.left, "--right": self.right}, EXEMPLARS, self.allow_few)
            return
        if self.left or self.right:
            raise BadRequest("--auto finds both groups; leave out either --auto, or --left and --right")
        least = 1 if self.allow_few else EXEMPLARS
        if self.group < least:
            raise BadRequest(
                f"--group {self.group}: {least} or more are needed: the paper averages {EXEMPLARS}"
                + ("" if self.allow_few else "; to try fewer, say --allow-few")
            )
        if not 2 * self.group <= self.auto <= MOST_NUMBERED:
            raise BadRequest(
                f"--auto {self.auto}: expected {2 * self.group} (two groups) to {MOST_NUMBERED:,} samples"
            )


@dataclass(frozen=True)
class TurnResult:
    """What was drawn."""

    model: str
    """What was examined."""
    step: int | None
    """Minibatches that it was trained for; None for a file."""
    seed: int
    """Of all samples."""
    left: tuple[int, ...]
    """Samples that face left."""
    right: tuple[int, ...]
    """Samples that face right."""
    facing: Facing | None
    """How they were found; None if they were picked."""
    rows: tuple[int, ...]
    """Samples that were turned."""
    places: tuple[float, ...]
    """Of the columns: turn vectors added."""
    yaw: tuple[float | None, ...]
    """Mean yaw of the faces in each column, degrees towards the picture's right; None without a face. Only of
    rows that show a face in every column. Empty if the groups were picked."""
    measured: int
    """How many rows these are."""
    warnings: tuple[str, ...]
    """What a person should know."""
    picture: str
    """The groups, their means, and the samples as they turn."""
    file: str
    """JSON of all this."""


def turn(path: Path, settings: TurnSettings, reporter: Reporter) -> TurnResult:
    """Turn random samples of a run or a model's file, a model of faces.

    Raises BadInput and BadRequest as ``open_sampler`` does, BadRequest if ``auto`` finds too few faces.
    """
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    facing = None
    if settings.auto is not None:
        facing = find_facing(sampler, settings.auto, settings.group, settings.seed, reporter)
    groups = (facing.left, facing.right) if facing else (settings.left, settings.right)
    means = [mean_latent(latents) for latents in latents_of(sampler, groups, settings.seed)]
    # Samples that had no part in the turn vector.
    first = settings.auto or max(map(max, groups)) + 1
    rows = tuple(range(first, first + settings.rows))
    turned = _turned(sampler, sampler.latents(rows, settings.seed), means[1] - means[0], settings.places)
    yaw, measured = mean_yaw(turned) if facing else ((), 0)
    place = place_of(sampler.trained, "turn", settings.out)
    result = TurnResult(
        model=sampler.trained.name,
        step=sampler.trained.step,
        seed=settings.seed,
        left=groups[0],
        right=groups[1],
        facing=facing,
        rows=rows,
        places=settings.places,
        yaw=yaw,
        measured=measured,
        warnings=tuple(_warnings(facing, yaw)) if facing else (),
        picture=str(place.file(".png")),
        file=str(place.file(".json")),
    )
    with place.writing():
        write_turn(
            place.file(".png"), _title(result), _strips(sampler, result, means), turned, _labels(result)
        )
        write_json(place.file(".json"), asdict(result))
        save_figure(place, turn_figure(result))
    return result


def _turned(
    sampler: Sampler, latents: torch.Tensor, vector: torch.Tensor, places: tuple[float, ...]
) -> np.ndarray:
    """uint8 (rows, columns, S, S, 3): each latent vector at each place along the vector."""
    along = torch.tensor(places)[:, None] * vector
    images = sampler.images((latents[:, None] + along).flatten(0, 1))
    return images.reshape(len(latents), len(places), *images.shape[1:])


def _strips(sampler: Sampler, result: TurnResult, means: list[torch.Tensor]) -> list[Strip]:
    groups = {"left": result.left, "right": result.right}
    yaw = (result.facing.left_yaw, result.facing.right_yaw) if result.facing else (None, None)
    strips = []
    for (name, numbers), mean, degrees in zip(groups.items(), means, yaw, strict=True):
        images = sampler.images(torch.cat([sampler.latents(numbers, result.seed), mean[None]]))
        said = tuple(map(str, numbers))
        if degrees:
            said = tuple(
                f"{number}: {angle:+.0f}\N{DEGREE SIGN}" for number, angle in zip(said, degrees, strict=True)
            )
        strips.append(Strip(name, images[:-1], said, images[-1]))
    return strips


def _title(result: TurnResult) -> tuple[str, str]:
    shown = "above: who makes the turn vector; below: other samples, the vector added"
    if result.facing:
        shown += f"; faces in {result.facing.faces:,} of {result.facing.samples:,} samples"
    return f"{result.model}, seed {result.seed}: turn", shown


def _labels(result: TurnResult) -> tuple[list[str], list[str]]:
    columns = [f"{place:+.2f}" for place in result.places]
    if result.measured:
        columns = [
            f"{text}: {angle:+.0f}\N{DEGREE SIGN}" for text, angle in zip(columns, result.yaw, strict=True)
        ]
    return [str(number) for number in result.rows], columns


def _warnings(facing: Facing, yaw: tuple[float | None, ...]) -> Iterator[str]:
    yield from facing.warnings()
    if yaw[0] is None or yaw[-1] is None:
        yield "no row shows a face in every column: whether they turn must be seen by eye"
    elif yaw[-1] - yaw[0] < HARDLY_TURNED:
        yield (
            f"the faces hardly turn: by {yaw[-1] - yaw[0]:.0f} degrees from the first column to the last, "
            "and yaw is measured to some 4; give a larger --reach, --auto or --group"
        )


def turn_figure(result: TurnResult) -> Figure:
    """Random samples that turn."""
    numbers = [
        ("samples facing left", ", ".join(map(str, result.left))),
        ("samples facing right", ", ".join(map(str, result.right))),
    ]
    if result.facing:
        numbers.append(("samples with a face", f"{result.facing.faces:,} of {result.facing.samples:,}"))
    if result.measured:
        numbers.append(
            (
                f"mean yaw from the first column to the last, {result.measured} rows",
                f"{result.yaw[0]:+.0f} to {result.yaw[-1]:+.0f} degrees",
            )
        )
    return Figure(
        title="Turning faces",
        paper="section 6.3.2, figure 8",
        caption=(
            "The turn vector leads from the mean latent vector of the samples that face left to the mean "
            "of those that face right. Below, it is added to other random samples; the middle column is "
            "the sample itself. Faces should turn from left to right and stay who they are. Yaw is an "
            "estimate from five landmarks, right to some 4 degrees on real faces and to less on poor "
            "ones."
        ),
        pictures=(Path(result.picture),),
        numbers=tuple(numbers),
        warnings=result.warnings,
    )
