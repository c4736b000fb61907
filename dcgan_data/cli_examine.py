"""The commands that examine a trained model: neighbours, score; and import-authors, which brings one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcgan_data.cli_options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MovedSetOption,
    RunDirectoryArgument,
    SeedOption,
    as_json_text,
)
from dcgan_data.console import ConsoleReporter

examine_app = typer.Typer()


@examine_app.command()
def neighbours(
    run_directory: RunDirectoryArgument,
    prepared: MovedSetOption = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="Images to draw.")] = 1000,
    rows: Annotated[int, typer.Option(help="Samples on the sheet: closest ones, and some as drawn.")] = 16,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Does the model copy? Show samples beside their nearest training images, in pixels and in codes.

    Says what share of samples is nearer to a training image than training
    images are to each other, and the same of held-out images, the control.
    Blurred or plain samples are near to everything in pixels: a large share
    there proves nothing by itself. Look at codes and control, and at
    RUN/neighbours/step-NNNNNN.png.

    Example: dcgan-data neighbours runs/out
    """
    from dcgan_data.evaluate.neighbours import NeighboursSettings
    from dcgan_data.evaluate.neighbours import neighbours as examine
    from dcgan_data.evaluate.tables import neighbours_table

    settings = NeighboursSettings(
        samples=samples, rows=rows, checkpoint=checkpoint, seed=seed or 0, device=device, prepared=prepared
    )
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else neighbours_table(result))


@examine_app.command()
def score(
    run_directory: RunDirectoryArgument,
    prepared: MovedSetOption = None,
    samples: Annotated[
        list[int] | None,
        typer.Option(help="Among so many samples; may be repeated (default: 1000, 10000 and 100000)"),
    ] = None,
    fid: Annotated[
        bool,
        typer.Option("--fid", help="Also FID and KID; needs the extra fid, and downloads 96 MB once."),
    ] = False,
    fid_samples: Annotated[int, typer.Option(help="Samples for FID and KID; hours without a GPU.")] = 50_000,
    inception: Annotated[
        Path | None,
        typer.Option(help="Weights for --fid, where nothing can be downloaded.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score samples: mean distance from held-out images to their nearest of 1,000, 10,000, 100,000 samples.

    This is what the DCGAN authors logged; the distance to as many training
    images stands beside it. --fid adds FID and KID by torch-fidelity, whose
    Inception weights (96 MB) are downloaded at first use; features of the
    set's images are kept in $XDG_CACHE_HOME or ~/.cache, below
    dcgan-data/fid, for the next time.

    Example: dcgan-data score runs/out --samples 1000
    """
    from dcgan_data.evaluate.score import AUTHORS_COUNTS, ScoreSettings
    from dcgan_data.evaluate.score import score as measure
    from dcgan_data.evaluate.tables import score_table

    settings = ScoreSettings(
        samples=tuple(samples or AUTHORS_COUNTS),
        fid=fid,
        fid_samples=fid_samples,
        inception=inception,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        prepared=prepared,
    )
    result = measure(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else score_table(result))


@examine_app.command("import-authors")
def import_authors(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The authors' .npy files.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A .safetensors file to write.")] = Path(
        "model.safetensors"
    ),
    epoch: Annotated[int | None, typer.Option(help="Which, if there are several.")] = None,
    latent: Annotated[
        str | None, typer.Option(help="z are uniform or normal (default: as published)", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read weights that the authors published, to examine them like a run.

    DIR is one of the models in github.com/Newmu/dcgan_code: files such as
    30_discrim_params.jl_01.npy and 30_gen_params.jl_01.npy. Both kinds are
    known: SVHN (5x5 convolutions) and ImageNet at 32x32 (3x3). Theano's
    kernels are turned by 180 degrees; batch norm, which takes the batch's
    statistics there, gets standing ones for G, over 16 batches of 128.

    Example: dcgan-data import-authors svhn-weights -o svhn.safetensors
    """
    from dcgan_data.evaluate.tables import imported_lines
    from dcgan_data.train.authors import import_authors as read

    result = read(directory, out, epoch, latent)
    print(as_json_text(result) if as_json else imported_lines(result))
