"""The command ``probe svhn``."""

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
    WorkersOption,
    all_cores,
    as_json_text,
)
from dcgan_data.console import ConsoleReporter

svhn_app = typer.Typer()


@svhn_app.command()
def svhn(
    run_directory: RunArgument,
    data: Annotated[
        Path, typer.Option(help="Directory of train_32x32.mat and test_32x32.mat.", show_default=False)
    ],
    validation: Annotated[int, typer.Option(help="Images of train that C is chosen by.")] = 10_000,
    draws: Annotated[int, typer.Option(help="Draws of 1,000 labels to measure with.")] = 100,
    search_draws: Annotated[int, typer.Option(help="Draws of 1,000 labels for each C.")] = 10,
    supervised: Annotated[
        bool,
        typer.Option(
            "--supervised", help="Also train the same architecture on 1,000 labels alone; see above."
        ),
    ] = False,
    trials: Annotated[int, typer.Option(help="Of the random search of --supervised.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the results (default: RUN/probe-svhn)", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """SVHN with 1,000 labels: what the discriminator's features are worth (table 2 of the paper).

    The protocol is that of the authors' published script. Files:
    train_32x32.mat and test_32x32.mat (not extra) from
    http://ufldl.stanford.edu/housenumbers/. 10,000 images of train are for
    validation: the first of its order shuffled as the script does it, with
    the same seed, 42. Batch norm uses the mean, over batches of 128 of the
    other images, of the batches' means and variances. Each map of each
    convolution is max-pooled to 4x4: 7,168 features for D of width 64. C is
    one of 1, 2, 5, 10, 20, 50, 100, times 1e-4: the one with the lowest
    mean validation error over 10 draws of 100 images a digit, other draws
    for each C. Then 100 draws: mean error on the test images, and 1.96
    standard deviations. The classifier is scikit-learn's LinearSVC, one
    against the others.

    The paper does not say what D was trained on. The authors' script reads
    one that was trained on SVHN without labels; 'train --help' has its
    settings. --seed is of the draws, and of the search below.

    --supervised also trains D's architecture from scratch, with ten logits
    on top, on 1,000 labels, by a random search of 64 trials for the lowest
    validation error. What is drawn is not in the paper. Here: a learning
    rate for Adam, log-uniform on 1e-4 to 1e-2; beta1, 0.5 or 0.9; L2, log-
    uniform on 1e-6 to 1e-2; batches of 32, 64 or 128; dropout below the
    logits, 0 to 0.7. Up to 100 epochs, judged every 5, stopped after 5 of
    these without a lower validation error. All trials see the labels of
    the first draw. It takes hours without a GPU; finished trials are kept,
    and the same command goes on.

    Example: dcgan-data probe svhn runs/out --data svhn
    """
    from dcgan_data.evaluate.probe.svhn import probe_svhn
    from dcgan_data.evaluate.probe.svhn_settings import SvhnSettings
    from dcgan_data.evaluate.probe.svhn_table import svhn_table

    settings = SvhnSettings(
        data=data,
        validation=validation,
        draws=draws,
        search_draws=search_draws,
        supervised=supervised,
        trials=trials,
        checkpoint=checkpoint,
        seed=seed or 0,
        workers=all_cores() if workers is None else workers,
        device=device,
        out=out,
    )
    result = probe_svhn(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else svhn_table(result))
