"""The commands ``probe``: cifar10 here, svhn in ``cli_svhn``."""

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
from dcgan_data.cli_svhn import svhn_app
from dcgan_data.console import ConsoleReporter

probe_app = typer.Typer(
    no_args_is_help=True, help="What a discriminator's features are worth to linear classifiers."
)
probe_app.add_typer(svhn_app)


@probe_app.command()
def cifar10(
    run_directory: RunArgument,
    data: Annotated[Path, typer.Option(help="Directory of CIFAR-10; see above.", show_default=False)],
    limit: Annotated[
        int, typer.Option(help="Fit on so many training images, every class its share; 0: all.")
    ] = 0,
    kmeans: Annotated[
        int, typer.Option(help="Centroids of the K-means baseline, up to 4800; 0: without it.")
    ] = 400,
    draws: Annotated[int, typer.Option(help="Draws of 400 labels a class; 0: without them.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the results (default: RUN/probe-cifar10)", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """CIFAR-10: what the discriminator's features are worth (table 1 of the paper).

    As in the paper: the activations of all convolutions of D, max-pooled to
    a 4x4 grid, side by side (28,672 features for the authors' ImageNet
    model), and a linear L2-SVM with squared hinge loss, one class against
    the others, on all 50,000 training images. Accuracy on all 10,000 test
    images; and with 400 labels a class. The paper's D was trained on
    ImageNet-1k, not on CIFAR-10.

    Left open by the paper, and chosen here: batch norm uses its statistics
    over the training images. Features are not scaled. C is one of 1e-6,
    3.2e-6, 1e-5 ... 100: the best of 5-fold cross-validation on 10,000
    training images (more where there are fewer than 7,168 features), from
    the smallest up until two in a row are worse; it is used for all
    50,000 as it is. 400 labels a class: 10 draws, each with a C
    cross-validated on its own images; mean and standard deviation. The test
    images decide nothing. The solver is our own, of the objective of
    scikit-learn's LinearSVC, whose copy of the features would take over
    20 GB.

    Beside it, by the same classifiers: D with random weights (one draw, by
    --seed), raw pixels, and one layer of K-means (Coates, Lee and Ng, 2011:
    whitened 6x6 patches, triangle activation, four quadrants, standardised).
    That pipeline is known to reach 77 % with 1,600 centroids and 79.6 % with
    4,000 on the original files; on JPEG copies of CIFAR-10, less. More
    centroids take longer in proportion.

    DIR holds train*.parquet and test*.parquet (Hugging Face), or the python
    version (data_batch_1 to 5, test_batch), or sub-directories train and
    test with a folder for each class.

    Example: dcgan-data probe cifar10 runs/out --data cifar10
    """
    from dcgan_data.evaluate.probe.cifar10 import probe_cifar10
    from dcgan_data.evaluate.probe.cifar10_result import Cifar10Settings
    from dcgan_data.evaluate.probe.probe_table import cifar10_table

    settings = Cifar10Settings(
        data=data,
        limit=limit,
        kmeans=kmeans,
        draws=draws,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        out=out,
    )
    result = probe_cifar10(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else cifar10_table(result))
