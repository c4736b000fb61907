"""The commands that look around in the latent space: walk, arithmetic, turn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcgan_data.cli_options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunArgument,
    SeedOption,
    as_json_text,
)
from dcgan_data.console import ConsoleReporter
from dcgan_data.errors import BadRequest

latent_app = typer.Typer()


def _numbers(option: str, given: str) -> tuple[int, ...]:
    """``3,17,40``; empty if nothing was given."""
    try:
        return tuple(int(number) for number in given.split(",")) if given else ()
    except ValueError:
        raise BadRequest(f"{option} {given}: expected numbers of samples, such as 3,17,40") from None


def _group(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar="N,N,...", help=text, show_default=False)
    return option


def _place(command: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        "--out", help=f"Directory for the results (default: RUN/{command})", show_default=False
    )
    return option


@latent_app.command()
def walk(
    run_directory: RunArgument,
    points: Annotated[int, typer.Option(help="Random points to pass: samples 0, 1, 2, ...")] = 9,
    frames: Annotated[int, typer.Option(help="Steps from one point to the next, 8 to 240.")] = 32,
    interpolation: Annotated[
        str | None,
        typer.Option(help="linear or slerp (default: linear; slerp if z is Gaussian)", show_default=False),
    ] = None,
    out: Annotated[Path | None, _place("walk")] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Walk from one random point of the latent space to the next: a grid, an MP4, a GIF and a score.

    The paper (sec. 6.1, figure 4) interpolates between 9 random points; sharp
    transitions would be a sign of memorisation. It leaves open how its 10 rows
    come of them, and what is sharp. Here each row is the way from one point to
    the next, ends included, and the last point leads back to the first.

    Score: largest change of a step against the mean one of its segment. A
    cross-fade has 1, a jump as many as there are steps; a warning is given
    above the square root of that, midway between the two as factors go. Slerp
    is for Gaussian z only: uniform z lie in a cube, which a great circle leaves.

    Example: dcgan-data walk runs/out
    """
    from dcgan_data.evaluate.latent.tables import walk_table
    from dcgan_data.evaluate.latent.walk import WalkSettings
    from dcgan_data.evaluate.latent.walk import walk as examine

    settings = WalkSettings(points, frames, interpolation, checkpoint, seed or 0, device, out)
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else walk_table(result))


@latent_app.command()
def arithmetic(
    run_directory: RunArgument,
    a: Annotated[str, _group("--a", "Samples that show the first concept.")],
    b: Annotated[str, _group("--b", "Samples that show what is taken away.")],
    c: Annotated[str, _group("--c", "Samples that show what is added.")],
    names: Annotated[
        tuple[str, str, str], typer.Option(metavar="A B C", help="What the three are called.")
    ] = ("A", "B", "C"),
    noise: Annotated[float, typer.Option(help="Uniform noise of the 8 variations, to either side.")] = 0.25,
    allow_few: Annotated[
        bool, typer.Option("--allow-few", help="Take fewer than 3 exemplars of a concept.")
    ] = False,
    out: Annotated[Path | None, _place("arithmetic")] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Add and subtract concepts: smiling woman - neutral woman + neutral man.

    As in the paper (sec. 6.3.2, figure 7): a concept is the mean z of three
    exemplars, single ones were unstable; A - B + C is drawn in the centre, with
    8 variations of uniform noise on (-0.25, 0.25) round it, and the same is done
    with pixels as a control. Left open, and chosen here: the sum is not cut to
    the range of z, and more than three exemplars may be given.

    Pick exemplars by their numbers from 'dcgan-data sample RUN --numbered', with
    the same --seed and --checkpoint.

    Example: dcgan-data arithmetic runs/out --a 3,17,40 --b 5,9,11 --c 2,8,30
    """
    from dcgan_data.evaluate.latent.arithmetic import ArithmeticSettings
    from dcgan_data.evaluate.latent.arithmetic import arithmetic as examine
    from dcgan_data.evaluate.latent.tables import arithmetic_table

    settings = ArithmeticSettings(
        a=_numbers("--a", a),
        b=_numbers("--b", b),
        c=_numbers("--c", c),
        names=names,
        noise=noise,
        allow_few=allow_few,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        out=out,
    )
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else arithmetic_table(result))


@latent_app.command()
def turn(
    run_directory: RunArgument,
    left: Annotated[str, _group("--left", "Samples that face the picture's left.")] = "",
    right: Annotated[str, _group("--right", "Samples that face its right.")] = "",
    auto: Annotated[
        int | None, typer.Option(help="Find both groups among so many samples.", show_default=False)
    ] = None,
    group: Annotated[int, typer.Option(help="With --auto: samples of each group.")] = 4,
    rows: Annotated[int, typer.Option(help="Random samples to turn.")] = 8,
    columns: Annotated[int, typer.Option(help="Places along the axis, an odd number.")] = 9,
    reach: Annotated[float, typer.Option(help="Turn vectors added at the ends, to either side.")] = 0.5,
    allow_few: Annotated[
        bool, typer.Option("--allow-few", help="Take fewer than 4 samples of a group.")
    ] = False,
    out: Annotated[Path | None, _place("turn")] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Turn faces: add steps along the axis from left-facing to right-facing samples to random z.

    As in the paper (sec. 6.3.2, figure 8): the turn vector is the mean z of four
    right-facing samples minus that of four left-facing ones. It leaves open how
    far to go; here the ends are as far apart as the two means are (--reach 0.5),
    with the sample itself in the middle column.

    Pick the groups from 'dcgan-data sample RUN --numbered', or let --auto find
    those that are turned most, by landmarks of the face detector that made the
    face set; it then also measures how far the drawn faces turn.

    Example: dcgan-data turn runs/faces --auto 500
    """
    from dcgan_data.evaluate.latent.tables import turn_table
    from dcgan_data.evaluate.latent.turn import TurnSettings
    from dcgan_data.evaluate.latent.turn import turn as examine

    settings = TurnSettings(
        left=_numbers("--left", left),
        right=_numbers("--right", right),
        auto=auto,
        group=group,
        rows=rows,
        columns=columns,
        reach=reach,
        allow_few=allow_few,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        out=out,
    )
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else turn_table(result))
