"""Vector arithmetic with concepts: smiling woman - neutral woman + neutral man (sec. 6.3.2, figure 7).

A concept is the mean latent vector of three exemplars: with single ones the paper's results were unstable.
A - B + C is drawn in the centre of a block; the 8 others round it have uniform noise on (-0.25, 0.25) added.
The control does the same with pixels. What the paper leaves open: the result is not cut to (-1, 1), which
uniform latent vectors are drawn from, and the noise is drawn for each number of the vector by itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import Figure, save_figure
from dcgan_data.evaluate.latent.arithmetic_picture import Column, write_arithmetic
from dcgan_data.evaluate.latent.exemplars import check_groups, latents_of, mean_latent
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import Sampler, open_sampler

EXEMPLARS = 3
"""The paper's number for each concept."""
VARIATIONS = 8
_CENTRE = 4


@dataclass(frozen=True)
class ArithmeticSettings:
    """What to add up."""

    a: tuple[int, ...]
    """Numbers of the samples that show the first concept."""
    b: tuple[int, ...]
    """Of the one that is taken away."""
    c: tuple[int, ...]
    """Of the one that is added."""
    names: tuple[str, str, str] = ("A", "B", "C")
    """What the concepts are called."""
    noise: float = 0.25
    """Half the width of the uniform noise of the 8 variations."""
    allow_few: bool = False
    """Take fewer than 3 exemplars."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the samples, and of the noise."""
    device: str = "auto"
    """Where to draw: auto, cpu or cuda."""
    out: Path | None = None
    """Directory to write into; None: RUN/arithmetic."""

    def __post_init__(self) -> None:
        check_groups({"--a": self.a, "--b": self.b, "--c": self.c}, EXEMPLARS, self.allow_few)
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")
        if not 0 <= self.noise <= 1:
            raise BadRequest(f"--noise {self.noise:g}: expected 0 to 1")


@dataclass(frozen=True)
class ArithmeticResult:
    """What was drawn."""

    model: str
    """What was examined."""
    step: int | None
    """Minibatches that it was trained for; None for a file."""
    seed: int
    """Of the samples."""
    names: tuple[str, str, str]
    """Of the concepts."""
    exemplars: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Numbers of each concept's samples."""
    noise: float
    """Half the width of the variations' noise."""
    length: float
    """Of the resulting vector, Euclidean."""
    usual_length: float
    """Mean of the exemplars' lengths: what the generator is used to."""
    picture: str
    """Exemplars, means, the result with its variations, and the control."""
    file: str
    """JSON of all this."""


def arithmetic(path: Path, settings: ArithmeticSettings, reporter: Reporter) -> ArithmeticResult:
    """Add and subtract concepts of a run or a model's file, and draw what comes of it.

    Raises BadInput and BadRequest as ``open_sampler`` does.
    """
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    groups = (settings.a, settings.b, settings.c)
    latents = latents_of(sampler, groups, settings.seed)
    a, b, c = (mean_latent(group) for group in latents)
    block = _varied(a - b + c, settings)
    place = place_of(sampler.trained, "arithmetic", settings.out)
    result = ArithmeticResult(
        model=sampler.trained.name,
        step=sampler.trained.step,
        seed=settings.seed,
        names=settings.names,
        exemplars=groups,
        noise=settings.noise,
        length=float(torch.linalg.vector_norm(a - b + c)),
        usual_length=float(torch.linalg.vector_norm(torch.cat(latents), dim=1).mean()),
        picture=str(place.file(".png")),
        file=str(place.file(".json")),
    )
    with reporter.stage("draw", len(block) + sum(map(len, groups)) + 3, "images") as stage:
        columns = [
            _column(sampler, name, numbers, group)
            for name, numbers, group in zip(settings.names, groups, latents, strict=True)
        ]
        drawn = sampler.images(block)
        stage.advance(len(block) + sum(map(len, groups)) + 3)
    with place.writing():
        control = _in_pixels(*(column.blend for column in columns))
        write_arithmetic(place.file(".png"), _title(result), columns, drawn, control)
        write_json(place.file(".json"), asdict(result))
        save_figure(place, arithmetic_figure(result))
    return result


def _varied(result: torch.Tensor, settings: ArithmeticSettings) -> torch.Tensor:
    """float32 (9, z_dim): the result in the middle, and with noise."""
    rng = np.random.default_rng(settings.seed)
    noise = rng.uniform(-settings.noise, settings.noise, (VARIATIONS, len(result))).astype(np.float32)
    return result + torch.from_numpy(np.insert(noise, _CENTRE, 0, axis=0))


def _column(sampler: Sampler, name: str, numbers: tuple[int, ...], latents: torch.Tensor) -> Column:
    images = sampler.images(torch.cat([latents, mean_latent(latents)[None]]))
    blend = images[:-1].astype(np.float64).mean(axis=0)
    return Column(name, numbers, images[:-1], images[-1], blend)


def _in_pixels(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """A - B + C of mean images, float64 (S, S, 3) in grey levels, cut to what can be shown: uint8."""
    pixels: np.ndarray = np.rint(np.clip(a - b + c, 0, 255)).astype(np.uint8)
    return pixels


def _title(result: ArithmeticResult) -> tuple[str, str]:
    a, b, c = result.names
    return f"{result.model}, seed {result.seed}", f"{a} - {b} + {c}"


def arithmetic_figure(result: ArithmeticResult) -> Figure:
    """The sum, its parts, and the control."""
    a, b, c = result.names
    exemplars = zip(result.names, result.exemplars, strict=True)
    return Figure(
        title=f"Vector arithmetic: {a} - {b} + {c}",
        paper="section 6.3.2, figure 7",
        caption=(
            "Each concept is the mean latent vector of the samples above it. The image in the centre of "
            f"the block is A - B + C; uniform noise up to {result.noise:g} was added for the 8 round it. "
            "Below, the same is done with pixels: a blurred overlay, where the latent space should give a "
            "clear image. What the samples show, and whether the result shows what was asked for, is for "
            "the eye to judge."
        ),
        pictures=(Path(result.picture),),
        numbers=(
            *((f"samples of {name}", ", ".join(map(str, numbers))) for name, numbers in exemplars),
            ("length of the result", f"{result.length:.2f}"),
            ("length of a random latent vector", f"{result.usual_length:.2f}"),
        ),
    )
