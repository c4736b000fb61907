"""The commands of the trainer: train, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcgan_data import render
from dcgan_data.cli_options import DeviceOption, JsonOption, RunArgument, SeedOption, as_json_text, given
from dcgan_data.console import ConsoleReporter

train_app = typer.Typer()


@train_app.command()
def train(
    prepared: Annotated[Path, typer.Option(help="A prepared set; only kept images are used.")],
    run_dir: Annotated[Path | None, typer.Option(help="Where to (default: runs/NAME OF THE SET)")] = None,
    steps: Annotated[int | None, typer.Option(help="Minibatches; each updates either G or D.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the set (default: 25)")] = None,
    width: Annotated[int, typer.Option(help="Channels of D's first layer; 128 is the paper's.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Images in a minibatch.")] = 128,
    sample_every: Annotated[int, typer.Option(help="Steps between sample grids.")] = 100,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the paper's DCGAN on a prepared set.

    Example: dcgan-data train --prepared out --width 32 --steps 300
    """
    from dcgan_data.train.config import TrainConfig
    from dcgan_data.train.loop import train as run_training

    config = TrainConfig(
        prepared=prepared,
        run_dir=run_dir or Path("runs") / prepared.resolve().name,
        **given(steps=steps, epochs=epochs, width=width, batch_size=batch_size, seed=seed, device=device),
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
    )
    with ConsoleReporter().training() as on_step:
        summary = run_training(config, resume, on_step)
    print(as_json_text(summary) if as_json else render.training(summary))


@train_app.command()
def sample(
    run_directory: RunArgument,
    count: Annotated[int, typer.Option("-n", "--count", help="How many images.")] = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="The grid, a PNG file.")] = Path("grid.png"),
    seed: SeedOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Draw images from a trained generator into one grid.

    Example: dcgan-data sample runs/out -n 64 -o grid.png
    """
    from dcgan_data.train.sample import sample as draw

    print(draw(run_directory, count, out, seed or 0, device))
