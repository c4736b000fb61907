"""A walk in the latent space: is it smooth, or does it jump from one memorised image to another (sec. 6.1)?

The paper interpolates between a series of 9 random points, and shows 10 rows (figure 4). It does not say how
the rows come of the points, how many images lie between two of them, or what a sharp transition is. Here each
row is the way from one point to the next, both shown, and the last point leads back to the first, so that
the animation has no cut. The points are the first samples of the seed, as ``sample --numbered`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import Figure, save_figure
from dcgan_data.evaluate.latent.animation import write_gif, write_video
from dcgan_data.evaluate.latent.interpolation import between, check_interpolation, interpolation_for
from dcgan_data.evaluate.latent.smoothness import Segment, Smoothness, smoothness
from dcgan_data.evaluate.latent.walk_picture import write_walk
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import Sampler, open_sampler

_NO_VIDEO = "no video: this OpenCV cannot write VP9; the GIF shows the same"
_FEWEST_FRAMES, _MOST_FRAMES = 8, 240
_MOST_IMAGES = 4096
"""Of a walk; they are kept in memory."""


@dataclass(frozen=True)
class WalkSettings:
    """Where to go."""

    points: int = 9
    """Random points to pass."""
    frames: int = 32
    """Steps from one to the next."""
    interpolation: str | None = None
    """linear or slerp; None: slerp for a model with normal latent vectors, linear for uniform ones."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the points."""
    device: str = "auto"
    """Where to draw: auto, cpu or cuda."""
    out: Path | None = None
    """Directory to write into; None: RUN/walk."""
    film: bool = True
    """Also as a video and a GIF, which take most of the time."""

    def __post_init__(self) -> None:
        if self.points < 2:
            raise BadRequest(f"--points {self.points}: a walk has 2 or more")
        if not _FEWEST_FRAMES <= self.frames <= _MOST_FRAMES:
            # With fewer, a sharp transition cannot be told from a smooth one.
            raise BadRequest(f"--frames {self.frames}: expected {_FEWEST_FRAMES} to {_MOST_FRAMES}")
        if self.points * self.frames > _MOST_IMAGES:
            raise BadRequest(
                f"--points {self.points} with --frames {self.frames}: {self.points * self.frames:,} images, "
                f"at most {_MOST_IMAGES:,} are drawn; give fewer points or frames"
            )
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")
        check_interpolation(self.interpolation)


@dataclass(frozen=True)
class WalkResult:
    """How it went."""

    model: str
    """What was examined."""
    step: int | None
    """Minibatches that it was trained for; None for a file."""
    seed: int
    """Of the points, which are samples 0, 1, 2, ... of it."""
    interpolation: str
    """linear or slerp."""
    smoothness: Smoothness
    """How evenly the images change."""
    signs: tuple[str, ...]
    """What speaks for memorisation."""
    warnings: tuple[str, ...]
    """These, and what else a person should know."""
    picture: str
    """A row for each way from one point to the next."""
    video: str | None
    """MP4; None if this OpenCV cannot write it, or no film was asked for."""
    animation: str | None
    """The same as GIF; None if no film was asked for."""
    file: str
    """JSON of all this."""


def walk(path: Path, settings: WalkSettings, reporter: Reporter) -> WalkResult:
    """Walk through the latent space of a run or a model's file; draw, film and judge it.

    Raises BadInput and BadRequest as ``open_sampler`` does, BadRequest for slerp between uniform vectors.
    """
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    interpolation = interpolation_for(sampler.shape, settings.interpolation)
    frames = _draw(sampler, settings, interpolation, reporter)
    found = smoothness(frames, settings.points)
    place = place_of(sampler.trained, "walk", settings.out)
    with place.writing():
        filmed = settings.film and write_video(place.file(".mp4"), frames)
        if settings.film:
            write_gif(place.file(".gif"), frames)
        signs = tuple(_signs(found))
        result = WalkResult(
            model=sampler.trained.name,
            step=sampler.trained.step,
            seed=settings.seed,
            interpolation=interpolation,
            smoothness=found,
            signs=signs,
            warnings=signs if filmed or not settings.film else (*signs, _NO_VIDEO),
            picture=str(place.file(".png")),
            video=str(place.file(".mp4")) if filmed else None,
            animation=str(place.file(".gif")) if settings.film else None,
            file=str(place.file(".json")),
        )
        title = f"{result.model}, seed {result.seed}: {interpolation} walk past {settings.points} points"
        write_walk(place.file(".png"), title, frames, found)
        write_json(place.file(".json"), asdict(result))
        save_figure(place, walk_figure(result))
    return result


def _draw(sampler: Sampler, settings: WalkSettings, interpolation: str, reporter: Reporter) -> np.ndarray:
    """All images of the way round: uint8 (points * frames, S, S, 3)."""
    with reporter.stage("draw", settings.points * settings.frames, "images") as stage:
        drawn = []
        for places in _ways(sampler, settings, interpolation):
            drawn.append(sampler.images(places))
            stage.advance(len(places))
    return np.concatenate(drawn)


def _ways(sampler: Sampler, settings: WalkSettings, interpolation: str) -> Iterator[torch.Tensor]:
    """From each point to the next, which is left out: float32 (frames, z_dim)."""
    points = sampler.latents(range(settings.points), settings.seed)
    for start, end in zip(points, points.roll(-1, dims=0), strict=True):
        yield between(start, end, settings.frames, interpolation)[:-1]


def _signs(found: Smoothness) -> Iterator[str]:
    if found.sharp:
        worst = max(found.sharp, key=lambda part: part.score or 0)
        yield (
            f"{len(found.sharp)} of {len(found.segments)} segments have a sharp transition, the sharpest "
            f"from sample {worst.start} to {worst.end}: step {worst.at + 1} of {found.steps} changes "
            f"{worst.score:.1f} times as much as the mean one (limit {found.limit:.1f}); the paper takes "
            "sharp transitions for a sign of memorisation"
        )
    if found.unchanging:
        yield (
            f"nothing changes from {_named(found.unchanging)}: "
            "the generator draws the same image all the way, as one that collapsed or memorised does"
        )


def _named(parts: tuple[Segment, ...]) -> str:
    return ", ".join(f"sample {part.start} to {part.end}" for part in parts)


def _shown(result: WalkResult) -> list[str]:
    film = result.video or result.animation
    return [result.picture, film] if film else [result.picture]


def walk_figure(result: WalkResult) -> Figure:
    """The rows, and the animation."""
    found = result.smoothness
    numbers = [("steps from point to point", str(found.steps)), ("interpolation", result.interpolation)]
    if found.worst is not None and found.cross_fade is not None:
        numbers += [
            ("largest change against the mean, worst segment", f"{found.worst:.2f}"),
            ("the same of a cross-fade", f"{found.cross_fade:.2f}"),
            ("the same of a jump", f"{found.steps}"),
            ("sharp above", f"{found.limit:.2f}"),
        ]
    if found.share is not None:
        numbers.append(("largest change, share of the difference of two samples", f"{found.share:.1%}"))
    return Figure(
        title="A walk in the latent space",
        paper="section 6.1, figure 4",
        caption=(
            f"Each row goes from one of {len(found.segments)} random points to the next, and the last one "
            "back to the first. The paper takes sharp transitions for a sign of memorisation, and changes "
            "of meaning, objects that come and go, for a sign that something was learnt. The bars show "
            "how much each step changes; a row is sharp if one of them reaches the red line. A smooth "
            "walk does not prove that nothing was memorised: a generator may blend what it stored."
        ),
        pictures=tuple(Path(file) for file in _shown(result)),
        numbers=tuple(numbers),
        warnings=result.warnings,
    )
