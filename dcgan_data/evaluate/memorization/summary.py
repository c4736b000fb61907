"""What was found out about copying, as figures and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dcgan_data.evaluate.closeness import Closeness, Space
from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.memorization.findings import Memorization, MemorizationResult
from dcgan_data.evaluate.text_table import aligned

_NONE = "-"
_NOTHING = "Nothing here speaks for copying."


def memorization_table(result: MemorizationResult) -> str:
    """All measures, a column a run, and what speaks for copying."""
    named = [("samples / held-out images", *(_name(run) for run in result.runs))]
    lines = aligned([*named, *_measures(result.runs)])
    for run in result.runs:
        lines += ["", _name(run) + ":", *(f"  {sign}" for sign in run.signs or (_NOTHING,))]
    return "\n".join([*lines, "", f"look: {result.page}", f"data: {result.file}"])


def memorization_figure(result: MemorizationResult) -> Figure:
    """The summary alone, for a page of other figures."""
    run = result.runs[0]
    return Figure(
        title="Memorisation",
        paper="an addition; the paper judges by walks and by de-duplication",
        caption=_CAPTION,
        pictures=tuple(map(Path, [run.sheet] if run.sheet else [])),
        numbers=tuple(_measures([run])),
        warnings=run.signs,
    )


def memorization_figures(result: MemorizationResult) -> list[Figure]:
    """The whole page, run after run."""
    figures = [_summary(result)]
    for run in result.runs:
        of_run = f": {_name(run)}" if len(result.runs) > 1 else ""
        shown = [_copies_figure(run)] if run.sheet else []
        shown += [_neighbours_figure(run), _walk_figure(run)]
        figures += [replace(figure, title=f"{figure.title}{of_run}") for figure in shown]
    return figures


_CAPTION = (
    "How near samples are to training images, held against real images that training never saw (the "
    "control): first the samples, then the control. A generator that copies has larger shares than the "
    "control. In pixels alone, blurred or plain samples are near to everything: nearness there proves "
    "nothing by itself. Copies are counted by the check that removed the set's duplicates, which sees "
    "mirrored, shifted and zoomed views. A sharp transition in a walk is the paper's mark of memorisation "
    "(sec. 6.1). The nearest-neighbour score is the authors': the mean distance from held-out images to the "
    "nearest of so many samples; beside it, of so many training images."
)


def _summary(result: MemorizationResult) -> Figure:
    several = len(result.runs) > 1
    signs = [f"{_name(run)}: {sign}" if several else sign for run in result.runs for sign in run.signs]
    names = [("", *map(_name, result.runs))] if several else []
    return Figure(
        title="What the numbers say",
        paper="section 6.1 and additions",
        caption=_CAPTION + ("" if signs else f" {_NOTHING}"),
        pictures=(),
        numbers=(*names, *_measures(result.runs)),
        warnings=tuple(signs),
    )


def _copies_figure(run: Memorization) -> Figure:
    threshold = run.copies.threshold if run.copies else 0
    return Figure(
        title="Best matches under views",
        paper="section 4.1.1's question, asked of samples",
        caption="The samples with the highest scores, each with the training image that it is most like "
        f"under views. From a score of {threshold:.2f} on they are copies.",
        pictures=(Path(run.sheet or ""),),
    )


def _neighbours_figure(run: Memorization) -> Figure:
    return Figure(
        title="Nearest training images",
        paper="an addition",
        caption="Samples beside their nearest training images, in pixels and in codes: those that are "
        "closest, and some as they were drawn.",
        pictures=(Path(run.neighbours.picture),),
    )


def _walk_figure(run: Memorization) -> Figure:
    walk = run.walk
    film = walk.video or walk.animation
    return Figure(
        title="A walk from sample to sample",
        paper="figure 4, section 6.1",
        caption="Objects that appear and vanish bit by bit speak for a model that has learnt a "
        "representation; sharp transitions speak for memorisation.",
        pictures=(Path(walk.picture), Path(film)),
        warnings=walk.warnings,
    )


def _name(run: Memorization) -> str:
    duplicates = "with duplicates" if run.neighbours.with_duplicates else "without duplicates"
    return f"{run.neighbours.run}, step {run.neighbours.step:,} ({duplicates})"


def _measures(runs: Sequence[Memorization]) -> list[tuple[str, ...]]:
    """A row a measure: its name, then a value for each run."""
    names = ["training images", *_space_names("pixels"), *_space_names("codes"), "copies by the set's check"]
    columns = [
        [
            f"{run.neighbours.training_images:,}",
            *_space_values(run.neighbours.pixels),
            *_space_values(run.neighbours.codes),
            _copies(run),
            _walk(run),
            *_scores(run),
        ]
        for run in runs
    ]
    names.append("walk: largest step against the mean one")
    score = runs[0].score
    counts = [found.samples for found in score.nearest] if score else []
    names += [f"held-out images to the nearest of {count:,} samples / training images" for count in counts]
    longest = len(names)
    padded = [[*column, *[_NONE] * (longest - len(column))][:longest] for column in columns]
    return [(name, *values) for name, *values in zip(names, *padded, strict=True)]


def _space_names(space: str) -> list[str]:
    return [f"{space}: nearer than {share} of training images are" for share in ("half", "5 %", "1 %")] + [
        f"{space}: one training image far nearer than the next"
    ]


def _space_values(space: Space | None) -> list[str]:
    if space is None:
        return [_NONE] * 4
    control = _shares(space.held_out) if space.held_out else [_NONE] * 4
    return [f"{a} / {b}" for a, b in zip(_shares(space.samples), control, strict=True)]


def _shares(found: Closeness) -> list[str]:
    return [f"{share:.1%}" for share in (*found.below, found.singled_out)]


def _copies(run: Memorization) -> str:
    if run.copies is None:
        return _NONE
    samples, real = run.copies.samples, run.copies.held_out
    control = f"{real.copies:,} of {real.images:,}" if real else _NONE
    return f"{samples.copies:,} of {samples.images:,} / {control}"


def _walk(run: Memorization) -> str:
    found = run.walk.smoothness
    return (
        f"{found.worst:.2f} (sharp from {found.limit:.2f})" if found.worst is not None else "nothing changes"
    )


def _scores(run: Memorization) -> list[str]:
    nearest = run.score.nearest if run.score else ()
    return [f"{one.to_samples:.2f} / {one.to_training_images:.2f}" for one in nearest]
