"""Drop the feature maps that draw an object, and draw again: with and without (DCGAN paper, sec. 6.3.1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.forget.boxes import BoxFile, check_boxes, read_boxes
from dcgan_data.evaluate.forget.change import Change, change_between, mean_change, pixels_inside
from dcgan_data.evaluate.forget.findings import forget_figure
from dcgan_data.evaluate.forget.maps import SamplerWithout, centres, maps_of, places_inside
from dcgan_data.evaluate.forget.pictures import ThreeWays, write_picture
from dcgan_data.evaluate.forget.regression import Regression, choose_places, fit
from dcgan_data.evaluate.forget.result import ForgetResult
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import Sampler, open_sampler

SHOWN = 12
"""Samples in each half of the picture."""
_HARDLY = 0.05
"""Accuracy above chance that is worth nothing."""


@dataclass(frozen=True)
class ForgetSettings:
    """How to forget."""

    boxes: Path
    """The file that the page of ``forget annotate`` lets download."""
    regularisation: float = 1.0
    """Strength of the regression's L2 penalty: the inverse of scikit-learn's C."""
    controls: int = 10
    """How often as many maps are dropped at random."""
    keep_statistics: bool = False
    """Later batch norms keep the statistics of the whole model, instead of having them taken anew."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the places outside boxes, and of the maps dropped at random; the samples' seed is the boxes'."""
    device: str = "auto"
    """Where to draw: auto, cpu or cuda."""
    out: Path | None = None
    """Where the results go; None: RUN/forget."""

    def __post_init__(self) -> None:
        if not 0 < self.regularisation < float("inf"):
            raise BadRequest(f"--regularisation {self.regularisation:g}: expected a number above 0")
        if self.controls < 1:
            raise BadRequest(f"controls={self.controls}: expected 1 or more")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


def forget(path: Path, settings: ForgetSettings, reporter: Reporter) -> ForgetResult:
    """Drop the maps that speak for what is in the boxes, and write a picture and a JSON of what that does.

    They go to ``RUN/forget/step-NNNNNN.png`` and ``.json``, and the figure beside them. Raises BadInput and
    BadRequest as ``open_sampler``, ``read_boxes`` and ``check_boxes`` do, BadInput for weights that draw
    nothing, and BadRequest if there is nothing to tell apart.
    """
    file = read_boxes(settings.boxes)
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    check_boxes(settings.boxes, file, sampler.generator, sampler.trained)
    rng = np.random.default_rng(settings.seed)
    regression, random = _learn(sampler, file, settings, rng)
    dropped = tuple(int(number) for number in np.flatnonzero(np.array(regression.weights) > 0))
    without = SamplerWithout(sampler, settings.keep_statistics)
    drawn, changes = _redraw(sampler, without, file, [list(dropped), *random], reporter)
    place = place_of(sampler.trained, "forget", settings.out)
    result = ForgetResult(
        model=sampler.trained.name,
        step=sampler.trained.step,
        boxes=len(file.boxes),
        boxed_samples=len(_boxed(file)),
        samples=file.samples,
        regularisation=settings.regularisation,
        keep_statistics=settings.keep_statistics,
        regression=regression,
        dropped=dropped,
        change=changes[0],
        controls=tuple(changes[1:]),
        warnings=_warnings(regression, changes[0], mean_change(changes[1:])),
        picture=str(place.file(".png")),
        file=str(place.file(".json")),
    )
    with place.writing():
        _write_picture(result, drawn, file)
        write_json(Path(result.file), asdict(result))
        save_figure(place, forget_figure(result))
    return result


def _boxed(file: BoxFile) -> list[int]:
    """The samples that have a box."""
    return sorted({box.sample for box in file.boxes})


def _learn(
    sampler: Sampler, file: BoxFile, settings: ForgetSettings, rng: np.random.Generator
) -> tuple[Regression, list[list[int]]]:
    """Tell places in boxes from others; and choose as many maps as speak for them at random, repeatedly."""
    boxed = _boxed(file)
    maps = maps_of(sampler, sampler.latents(boxed, file.seed))
    if not np.isfinite(maps).all():
        raise BadInput(
            f"{sampler.trained.weights}: its feature maps are not finite; choose another --checkpoint"
        )
    side = maps.shape[2]
    centre = centres(sampler.generator, side)
    inside = np.zeros((len(boxed), side, side), bool)
    for box in file.boxes:
        inside[boxed.index(box.sample)] |= places_inside(box, centre)
    if inside.all():
        raise BadRequest(
            f"{settings.boxes}: the boxes cover their samples entirely, no place outside is left; draw boxes "
            "around the object alone"
        )
    regression = fit(choose_places(maps, inside, rng), settings.regularisation)
    count = sum(weight > 0 for weight in regression.weights)
    # A map that is zero everywhere could be dropped without a trace: no fair control.
    active = np.flatnonzero(maps.any(axis=(0, 2, 3)))
    return regression, [rng.choice(active, count, replace=False).tolist() for _ in range(settings.controls)]


def _redraw(
    sampler: Sampler, without: SamplerWithout, file: BoxFile, choices: list[list[int]], reporter: Reporter
) -> tuple[ThreeWays, list[Change]]:
    """Draw the samples with boxes, and new ones after them, without each choice of maps; the first is shown,
    and the second as the control."""
    boxed = _boxed(file)
    numbers = [*boxed, *range(file.samples, file.samples + SHOWN)]
    z = sampler.latents(numbers, file.seed)
    before = sampler.images(z)
    inside = pixels_inside(file.boxes, boxed, file.image_size)
    shown: list[np.ndarray] = []
    changes = []
    with reporter.stage("draw", len(choices), "choices of maps") as stage:
        for maps in choices:
            after = without.images(z, maps)
            changes.append(change_between(before[: len(boxed)], after[: len(boxed)], inside))
            shown = [*shown, after][:2]
            stage.advance(1)
    return ThreeWays(numbers, before, *shown), changes


def _write_picture(result: ForgetResult, drawn: ThreeWays, file: BoxFile) -> None:
    """New samples, as in the paper; and, below them, some of those that the boxes are on."""
    title = (
        f"{result.model}: {len(result.dropped)} of {len(result.regression.weights)} feature maps dropped",
        "new samples, then samples with boxes; control: as many maps chosen at random are dropped",
    )
    fresh = drawn.part(result.boxed_samples, len(drawn.numbers))
    boxed = drawn.part(0, min(SHOWN, result.boxed_samples))
    write_picture(Path(result.picture), title, (fresh, boxed), file.boxes)


def _warnings(regression: Regression, change: Change, control: Change) -> tuple[str, ...]:
    said = []
    if regression.accuracy is None:
        said.append(
            "the images with boxes are too few to hold some out: how well the regression does is unknown"
        )
    elif regression.accuracy < regression.chance + _HARDLY:
        said.append(
            f"places in boxes are hardly told from others ({regression.accuracy:.1%} right on held-out "
            f"images, {regression.chance:.1%} by chance): the dropped maps need not be those of the object"
        )
    if change.inside * control.outside <= control.inside * change.outside:
        said.append(
            "the change is not more within the boxes than it is without as many maps chosen at random"
        )
    return tuple(said)
