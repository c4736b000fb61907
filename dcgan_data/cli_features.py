"""The commands that look inside a trained model: features, forget annotate, forget run."""

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
    SeedOption,
    as_json_text,
)
from dcgan_data.console import ConsoleReporter

features_app = typer.Typer()
forget_app = typer.Typer(
    no_args_is_help=True, help="Make G forget an object: draw boxes around it, then drop it."
)
features_app.add_typer(forget_app, name="forget")

ResultsOption = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the results (default: below RUN)", show_default=False),
]


@features_app.command()
def features(
    run_directory: RunArgument,
    prepared: MovedSetOption = None,
    images: Annotated[int, typer.Option("-n", "--images", help="Real images to look through.")] = 2000,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    out: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """What do D's features answer to? Real images, and guided gradients, beside those of random weights.

    As in the paper (sec. 6.2, figure 5): guided backpropagation of the
    strongest responses of the first 6 features of D's last convolution. The
    paper leaves open, and here is chosen: the images (training images, at
    random by --seed), an image's own maximum over places as its response,
    the 6 images with the strongest ones; batch norms with the statistics of
    these images, so that they do not depend on each other. Through a
    LeakyReLU nothing passes backwards where its input or the gradient is
    below 0.

    Guided gradients look sharp with many weights, and act in part as edge
    detectors. So D's layers are made random, from the last one down, and
    the same gradients are compared by rank: they should come down to what
    two random networks have in common. Look at what the images of a feature
    share, at RUN/features/step-NNNNNN.png.

    Example: dcgan-data features runs/out
    """
    from dcgan_data.evaluate.guided.findings import features_table
    from dcgan_data.evaluate.guided.running import FeaturesSettings
    from dcgan_data.evaluate.guided.running import features as examine

    settings = FeaturesSettings(
        images=images, checkpoint=checkpoint, seed=seed or 0, device=device, prepared=prepared, out=out
    )
    result = examine(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else features_table(result))


@forget_app.command("annotate")
def forget_annotate(
    run_directory: RunArgument,
    samples: Annotated[int, typer.Option("-n", "--samples", help="Samples to show.")] = 150,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    out: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page with samples, on which a person draws boxes around what G is to forget.

    The page opens from disk and keeps the boxes in the browser. It lets
    boxes.json download, for 'dcgan-data forget run'. The paper drew 52 boxes
    around windows on 150 samples of bedrooms.

    Example: dcgan-data forget annotate runs/out
    """
    from dcgan_data.evaluate.forget.annotate import AnnotateSettings, annotate

    settings = AnnotateSettings(
        samples=samples, checkpoint=checkpoint, seed=seed or 0, device=device, out=out
    )
    result = annotate(run_directory, settings)
    print(as_json_text(result) if as_json else f"open in a browser, draw, download: {result.page}")


@forget_app.command("run")
def forget_run(
    run_directory: RunArgument,
    boxes: Annotated[
        Path, typer.Option(help="boxes.json, as the page lets it download.", show_default=False)
    ],
    regularisation: Annotated[
        float, typer.Option(help="Strength of the L2 penalty: 1 / C of scikit-learn.")
    ] = 1.0,
    keep_statistics: Annotated[
        bool,
        typer.Option("--keep-statistics", help="Do not take statistics of later batch norms anew."),
    ] = False,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    out: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the feature maps that draw what is in the boxes; show samples with and without them.

    As in the paper (sec. 6.3.1): a logistic regression tells, from the
    features of G's second-highest convolution layer (the output of the first
    transposed convolution, after batch norm and ReLU; 512 maps of 8x8 in the
    published model), places inside boxes from places outside; all maps with
    a weight above 0 are set to zero everywhere; new samples are drawn with
    and without them.

    The paper leaves open, and here is chosen: a place belongs to a box if
    the pixel that its reach is centred on does; of each image with boxes as
    many places outside as inside are taken, at random by --seed; the penalty
    is L2, of strength 1.

    The authors' batch norms use the statistics of the batch always. Here
    those after the layer get statistics that are measured without the
    dropped maps, over 1,024 samples. With --keep-statistics they keep those
    of the whole model: images then also lose brightness and contrast.

    Ours: accuracy on held-out images; the change of pixels inside and
    outside the boxes; and the control, as many maps dropped at random.

    Example: dcgan-data forget run runs/out --boxes boxes.json
    """
    from dcgan_data.evaluate.forget.findings import forget_table
    from dcgan_data.evaluate.forget.running import ForgetSettings, forget

    settings = ForgetSettings(
        boxes=boxes,
        regularisation=regularisation,
        keep_statistics=keep_statistics,
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        out=out,
    )
    result = forget(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else forget_table(result))
