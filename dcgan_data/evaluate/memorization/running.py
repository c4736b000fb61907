"""Does a model copy? All that can be asked of it, for one run, or for two side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.examined import Examined, open_examined, some_of
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.gallery.page import write_gallery
from dcgan_data.evaluate.latent.walk import WalkSettings, walk
from dcgan_data.evaluate.memorization.copies import (
    Copies,
    Looked,
    copies_rows,
    look_all_up,
    open_training_images,
)
from dcgan_data.evaluate.memorization.findings import Memorization, MemorizationResult
from dcgan_data.evaluate.memorization.summary import memorization_figure, memorization_figures
from dcgan_data.evaluate.neighbours import NeighboursSettings, neighbours
from dcgan_data.evaluate.place import Place, place_of
from dcgan_data.evaluate.score import ScoreSettings, score
from dcgan_data.evaluate.sheet import write_sheet
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.reporter import Reporter

_SHEET_ROWS = 6


@dataclass(frozen=True)
class MemorizationSettings:
    """How to look."""

    beside: Path | None = None
    """Another run, to be held beside: one that was trained with duplicates, for instance."""
    samples: int = 1000
    """Samples to look up, and held-out images, at most."""
    frames: int = 32
    """Steps of the walk from one sample to the next."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step; of both runs."""
    seed: int = 0
    """Of samples, walks and choices."""
    device: str = "auto"
    """Where to draw and to search: auto, cpu or cuda."""
    prepared: Path | None = None
    """Where the run's set is now; None: where it was."""
    out: Path | None = None
    """Directory of the page; None: RUN/memorization."""

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadRequest(f"-n {self.samples}: expected 2 or more samples")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


def memorization(run_dir: Path, settings: MemorizationSettings, reporter: Reporter) -> MemorizationResult:
    """Ask everything about copying, of one run or two, and write one page.

    All that is written goes below the page's directory. Raises BadInput and BadRequest as ``neighbours``,
    ``walk`` and ``score`` do.
    """
    first = open_examined(run_dir, settings.checkpoint, settings.device, settings.prepared)
    asked = [first, _open_beside(settings)] if settings.beside else [first]  # both, before any work
    place = place_of(first.sampler.trained, "memorization", settings.out)
    with place.writing():
        runs = [
            _ask(run, settings, place, suffix, reporter)
            for run, suffix in zip(asked, ("", "-beside"), strict=False)
        ]
        result = MemorizationResult(tuple(runs), str(place.file(".html")), str(place.file(".json")))
        title = f"Does it copy? {first.sampler.trained.name}"
        write_gallery(place.file(".html"), title, str(first.prepared.path), memorization_figures(result))
        signs = [list(run.signs) for run in result.runs]
        write_json(place.file(".json"), {**asdict(result), "signs": signs})
        save_figure(place, memorization_figure(result))
    return result


def _open_beside(settings: MemorizationSettings) -> Examined:
    """The other run; its set may have moved together with the first one's."""
    assert settings.beside is not None
    try:
        return open_examined(settings.beside, settings.checkpoint, settings.device, None)
    except BadRequest:
        if settings.prepared is None:
            raise
        return open_examined(settings.beside, settings.checkpoint, settings.device, settings.prepared)


def _ask(
    run: Examined, settings: MemorizationSettings, place: Place, suffix: str, reporter: Reporter
) -> Memorization:
    trained = run.sampler.trained
    # This very checkpoint: a run may go on, and write newer ones meanwhile.
    shared: dict[str, Any] = {
        "checkpoint": str(trained.step),
        "seed": settings.seed,
        "device": settings.device,
    }
    of_set: dict[str, Any] = {**shared, "prepared": run.prepared.path}
    copies, picture = _copies(run, settings, (place, suffix), reporter)
    held_out = len(run.split.held_out)
    near = place.directory / f"neighbours{suffix}"
    ask_neighbours = NeighboursSettings(samples=settings.samples, out=near, **of_set)
    ask_walk = WalkSettings(
        frames=settings.frames, film=False, out=place.directory / f"walk{suffix}", **shared
    )
    ask_score = ScoreSettings(samples=(settings.samples, 10 * settings.samples), **of_set)
    return Memorization(
        neighbours=neighbours(trained.path, ask_neighbours, reporter),
        copies=copies,
        walk=walk(trained.path, ask_walk, reporter),
        score=score(trained.path, ask_score, reporter) if held_out else None,
        sheet=picture,
    )


def _copies(
    run: Examined, settings: MemorizationSettings, sheet: tuple[Place, str], reporter: Reporter
) -> tuple[Copies | None, str | None]:
    """Samples and held-out images looked up among the training images, and a sheet of the best matches."""
    if AUTOENCODER not in run.prepared.info.files:
        return None, None
    lookup = open_training_images(run)
    samples = np.concatenate(list(run.sampler.draw(settings.samples, settings.seed)))
    looked = look_all_up(lookup, samples, reporter)
    held_out = run.split.held_out
    control = None
    if len(held_out):
        chosen = some_of(np.arange(len(held_out)), settings.samples, settings.seed)
        control = look_all_up(lookup, held_out.gather(chosen), reporter)
    threshold = lookup.recipe.threshold
    counts = run.prepared.info.counts
    found = Copies(
        threshold,
        looked.checked(threshold),
        control.checked(threshold) if control else None,
        counts.duplicate / max(1, counts.kept + counts.duplicate),
    )
    return found, _write_sheet(run, looked, sheet)


def _write_sheet(run: Examined, looked: Looked, sheet: tuple[Place, str]) -> str | None:
    rows = copies_rows(run, looked, _SHEET_ROWS)
    if not rows:
        return None
    place, suffix = sheet
    path = place.file(f"-copies{suffix}.png")
    title = (
        run.sampler.trained.name,
        "samples, each beside the training image that it is most like under views; 1 is equal",
    )
    write_sheet(path, title, ["sample", "training image"] * (max(map(len, rows)) // 2), rows)
    return str(path)
