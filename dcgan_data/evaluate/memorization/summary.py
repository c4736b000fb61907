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
        lines += ["", _name(run) + ":", *(f"  {line}" for line in _told(run))]
        if not run.signs:
            lines.append(f"  {_NOTHING}")
    return "\n".join([*lines, "", f"look: {result.page}", f"data: {result.file}"])


def memorization_figure(result: MemorizationResult) -> Figure:
    """The summary alone, for a page of other figures."""
    run = result.runs[0]
    return Figure(
        title="Memorisation",
        paper="an addition; the paper judges by walks and by de-duplication",
        caption=_CAPTION if run.signs else f"{_CAPTION} {_NOTHING}",
        pictures=tuple(map(Path, [run.sheet] if run.sheet else [])),
        numbers=tuple(_measures([run])),
        warnings=tuple(_told(run)),
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


def _told(run: Memorization) -> list[str]:
    """What speaks for copying, and what could not be asked."""
    return [*run.signs, *(f"Not asked: {line}." for line in run.untested)]


_CAPTION = (
    "How near samples are to training images, held against real images that training never saw (the "
    "control): first the samples, then the control. A generator that copies has larger shares than the "
    "control. In pixels alone, blurred or plain samples are near to everything: nearness there proves "
    "nothing by itself. Copies are counted by the check that removed the set's duplicates, which sees "
    "mirrored, shifted and zoomed views; as it has removed all such from the held-out images too, the share "
    "of the set that it removed stands beside them: a perfect generator repeats as much. A sharp transition "
    "in a walk is the paper's mark of memorisation (sec. 6.1). The nearest-neighbour score is the authors': "
    "the mean distance from held-out images to the nearest of so many samples; beside it, of so many "
    "training images."
)


def _summary(result: MemorizationResult) -> Figure:
    several = len(result.runs) > 1
    told = [f"{_name(run)}: {line}" if several else line for run in result.runs for line in _told(run)]
    calm = [f"{_name(run)}: {_NOTHING}" if several else _NOTHING for run in result.runs if not run.signs]
    names = [("", *map(_name, result.runs))] if several else []
    return Figure(
        title="What the numbers say",
        paper="section 6.1 and additions",
        caption=" ".join([_CAPTION, *calm]),
        pictures=(),
        numbers=(*names, *_measures(result.runs)),
        warnings=tuple(told),
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
    return Figure(
        title="A walk from sample to sample",
        paper="figure 4, section 6.1",
        caption="Objects that appear and vanish bit by bit speak for a model that has learnt a "
        "representation; sharp transitions speak for memorisation.",
        pictures=(Path(walk.picture),),
        warnings=walk.warnings,
    )


def _name(run: Memorization) -> str:
    duplicates = "with duplicates" if run.neighbours.with_duplicates else "without duplicates"
    return f"{run.neighbours.run}, step {run.neighbours.step:,} ({duplicates})"


def _measures(runs: Sequence[Memorization]) -> list[tuple[str, ...]]:
    """A row a measure: its name, then a value for each run."""
    columns = [_measured(run) for run in runs]
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, *(column.get(name, _NONE) for column in columns)) for name in names]


def _measured(run: Memorization) -> dict[str, str]:
    scores = run.score.nearest if run.score else ()
    return {
        "training images": f"{run.neighbours.training_images:,}",
        **_space("pixels", run.neighbours.pixels),
        **_space("codes", run.neighbours.codes),
        "copies by the set's check": _copies(run),
        "walk: largest step against the mean one": _walk(run),
        **{
            f"held-out images to the nearest of {one.samples:,} samples / training images": (
                f"{one.to_samples:.2f} / {one.to_training_images:.2f}"
            )
            for one in scores
        },
    }


def _space(name: str, space: Space | None) -> dict[str, str]:
    names = [f"{name}: nearer than {share} of training images are" for share in ("half", "5 %", "1 %")]
    names.append(f"{name}: one training image far nearer than the next")
    if space is None:
        return dict.fromkeys(names, _NONE)
    control = _shares(space.held_out) if space.held_out else [_NONE] * len(names)
    pairs = zip(_shares(space.samples), control, strict=True)
    return {name: f"{found} / {real}" for name, (found, real) in zip(names, pairs, strict=True)}


def _shares(found: Closeness) -> list[str]:
    return [f"{share:.1%}" for share in (*found.below, found.singled_out)]


def _copies(run: Memorization) -> str:
    if run.copies is None:
        return _NONE
    samples, real = run.copies.samples, run.copies.held_out
    control = f"{real.copies:,} of {real.images:,}" if real else _NONE
    removed = f"{run.copies.removed_share:.1%} of the set"
    return f"{samples.copies:,} of {samples.images:,} / {control} / {removed}"


def _walk(run: Memorization) -> str:
    found = run.walk.smoothness
    return (
        f"{found.worst:.2f} (sharp from {found.limit:.2f})" if found.worst is not None else "nothing changes"
    )
