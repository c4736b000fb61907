"""The commands that put examinations together on one page: memorization, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcgan_data.cli_options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MovedSetOption,
    RunArgument,
    RunDirectoryArgument,
    SeedOption,
    as_json_text,
)
from dcgan_data.console import ConsoleReporter

figures_app = typer.Typer()


@figures_app.command()
def memorization(
    run_directory: RunDirectoryArgument,
    beside: Annotated[
        Path | None,
        typer.Option(help="Another run, to hold beside: one with duplicates.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="Samples to look up.")] = 1000,
    frames: Annotated[int, typer.Option(help="Steps of the walk from one sample to the next.")] = 32,
    prepared: MovedSetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of the page (default: RUN/memorization)")
    ] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Everything about copying on one page, for a run, or for two side by side.

    Samples, and held-out images as the control: how near they are to
    training images in pixels and in codes; how many are copies by the very
    check that removed the set's duplicates, which sees mirrored, shifted
    and zoomed views; how smooth a walk between samples is; and the authors'
    nearest-neighbour score. A difference from the control is told if chance
    explains it in fewer than 1 of 100 cases (Fisher's exact test). That
    check has already removed all copies from the held-out images, so copies
    among samples are held against the share of the set that it removed.

    The paper judged by walks and by de-duplicating only. To see what that
    does, train once more with --include-duplicates, and give that --beside.

    Example: dcgan-data memorization runs/out --beside runs/with-duplicates
    """
    from dcgan_data.evaluate.memorization.running import MemorizationSettings
    from dcgan_data.evaluate.memorization.running import memorization as examine
    from dcgan_data.evaluate.memorization.summary import memorization_table

    settings = MemorizationSettings(
        beside=beside,
        samples=samples,
        frames=frames,
        prepared=prepared,
        out=out,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
    )
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else memorization_table(result))


@figures_app.command()
def figures(
    run_directory: RunArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the page.")] = Path("figures"),
    samples: Annotated[int, typer.Option("-n", "--samples", help="Samples to look up.")] = 1000,
    frames: Annotated[int, typer.Option(help="Steps of a walk from one sample to the next.")] = 32,
    again: Annotated[bool, typer.Option("--again", help="Make anew what was made before.")] = False,
    prepared: MovedSetOption = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """The paper's figures of a model, as one page in one file.

    Samples, walk, features and memorization are made now, unless they were
    made of these weights before (with any seed; --again makes them anew).
    Arithmetic, turn and forget need a person's choices, and the probes need
    data: they are on the page once their commands have been given (without
    --out); until then it says which.

    Example: dcgan-data figures runs/out -o figures
    """
    from dcgan_data.evaluate.figures import FiguresSettings, figures_lines
    from dcgan_data.evaluate.figures import figures as draw

    settings = FiguresSettings(
        out=out,
        samples=samples,
        frames=frames,
        again=again,
        prepared=prepared,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
    )
    result = draw(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else figures_lines(result))
