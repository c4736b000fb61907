"""The commands of the paper's appendix: mnist train, mnist evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dcgan_data.cli_options import DeviceOption, JsonOption, SeedOption, as_json_text, given
from dcgan_data.console import ConsoleReporter

mnist_app = typer.Typer(
    no_args_is_help=True, help="The appendix: a conditional DCGAN on MNIST, and its 1-nearest-neighbour test."
)


def _option(text: str) -> Any:
    return typer.Option(help=text, show_default=False)


DigitsOption = Annotated[Path, _option("The directory of MNIST's four files, .gz or unpacked.")]


@mnist_app.command()
def train(
    data: DigitsOption,
    run_dir: Annotated[Path, typer.Option(help="Where to.")] = Path("runs/mnist"),
    preset: Annotated[str | None, _option("paper or quick, see below (default: paper)")] = None,
    epochs: Annotated[int | None, _option("Passes at the full learning rate (default: 100)")] = None,
    decay_epochs: Annotated[
        int | None, _option("Passes after these, over which it goes down to 0 (default: 100)")
    ] = None,
    batch_size: Annotated[int | None, _option("Images in a minibatch (default: 128)")] = None,
    learning_rate: Annotated[float | None, _option("Of Adam (default: 0.0002)")] = None,
    precision: Annotated[str | None, _option("float32, bf16, or auto: bf16 where it is quick.")] = None,
    held_out: Annotated[
        int | None, _option("Images kept from training for the score (default: 10,000)")
    ] = None,
    checkpoint_every: Annotated[int | None, _option("Steps between checkpoints (default: 1,000)")] = None,
    seed: SeedOption = None,
    device: Annotated[str | None, _option("auto, cpu or cuda (default: auto)")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run, with its own settings where none are given.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the appendix's conditional DCGAN on MNIST's digits and their labels.

    --preset paper is the authors' script: 28x28 pixels in [0, 1]; labels put
    beside the inputs of every layer; batch norm without gain and bias; each
    minibatch of 128 updates either G or D, in turn; Adam with 2e-4 and 0.5, L2
    of 2.5e-5; 50,000 images, the other 10,000 held out; 100 epochs, and 100
    more over which the learning rate goes down to 0. That is 78,200
    minibatches, of which a processor's core does about two a second.

    --preset quick is 5 + 5 such epochs, with bfloat16 where the machine has it
    in hardware.

    Unlike the authors' script, which always draws by the statistics of the
    batch, batch norm's statistics are measured once per checkpoint and stand
    while samples are drawn, so that an image does not depend on the others
    drawn with it. After 10 epochs, 10,000 samples of the seeds 0, 1, 2 left
    791, 769, 797 of the 10,000 test images wrong so, and 791, 788, 775 when
    drawn in batches of 128. At each checkpoint the held-out images are
    classified by 1,000 samples, the smallest of the three scores that the
    authors logged.

    Example: dcgan-data mnist train --data mnist --run-dir runs/mnist
    --preset quick
    """
    from dcgan_data.evaluate.mnist.idx import read_training_digits
    from dcgan_data.evaluate.mnist.table import training_text
    from dcgan_data.train.conditional.loop import resumed_settings, train_conditional
    from dcgan_data.train.conditional.settings import ConditionalSettings

    options = given(
        preset=preset,
        epochs=epochs,
        decay_epochs=decay_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
        held_out=held_out,
        checkpoint_every=checkpoint_every,
        seed=seed,
        device=device,
    )
    if resume:
        settings = resumed_settings(run_dir, **options)
    else:
        settings = ConditionalSettings.of_preset(**{"preset": "paper", "run_dir": run_dir, **options})
    with ConsoleReporter().training() as on_step:
        summary = train_conditional(settings, read_training_digits(data), resume, on_step)
    print(as_json_text(summary) if as_json else training_text(summary))


@mnist_app.command()
def evaluate(
    data: DigitsOption,
    run_directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="A run of mnist train; without, real digits only.", show_default=False
        ),
    ] = None,
    samples: Annotated[
        list[int] | None,
        typer.Option(help="So many generated references; may be repeated (default: 50000)"),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="last, or a step.")] = "last",
    out: Annotated[Path | None, typer.Option(help="Directory for the results (default: RUN/mnist)")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """The appendix's test: classify real digits by their nearest generated one.

    References: samples of RUN, their labels uniformly random, 50,000 of them;
    the paper's other column has 10 million (--samples 10000000: memory stays
    bounded; hours on a processor). Queries: MNIST's 10,000 test images.
    Distance: Euclidean, on pixels. Beside it stand real training images as
    references: the first 50,000, whose error the paper gives as 3.1 %, and all
    60,000. Without RUN there is nothing but these.

    Left open by the paper and chosen here: samples are rounded to 256 greys,
    so that distances are exact and the same on every machine (of a model of 10
    epochs that changed 1 of 10,000 labels); of equally near references the
    first counts; the first 50,000 real ones are those in the files' order.

    Example: dcgan-data mnist evaluate runs/mnist --data mnist
    """
    from dcgan_data.evaluate.mnist.classification import PAPERS_COUNT, MnistSettings, evaluate_mnist
    from dcgan_data.evaluate.mnist.table import mnist_table

    settings = MnistSettings(
        data=data,
        samples=tuple(samples or (PAPERS_COUNT,)),
        checkpoint=checkpoint,
        seed=seed or 0,
        device=device,
        out=out,
    )
    result = evaluate_mnist(run_directory, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else mnist_table(result))
