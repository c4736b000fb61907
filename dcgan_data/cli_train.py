"""The commands of the trainer: train, sample."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dcgan_data import render
from dcgan_data.cli_options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunArgument,
    SeedOption,
    as_json_text,
    given,
    local_path,
)
from dcgan_data.console import ConsoleReporter

train_app = typer.Typer()


def _option(text: str) -> Any:
    return typer.Option(help=text, show_default=False)


def _switch(name: str, text: str) -> Any:
    return typer.Option(name, help=text, show_default=False)


@train_app.command()
def train(
    prepared: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="PATH",
            help="A prepared set; only kept images are used (with --resume: the run's own)",
            show_default=False,
        ),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where to (default: runs/NAME OF THE SET)")] = None,
    preset: Annotated[str | None, _option("paper or fast, see below (default: paper)")] = None,
    steps: Annotated[int | None, _option("Minibatches to train for.")] = None,
    epochs: Annotated[int | None, _option("Passes over the set (default: 25)")] = None,
    width: Annotated[int | None, _option("Channels of D's first layer (default: 128, the paper's)")] = None,
    layers: Annotated[
        str | None, _option("strided, or paired: the 32x32 ImageNet model's, see below.")
    ] = None,
    z_dim: Annotated[int | None, _option("Length of latent vectors (default: 100)")] = None,
    latent: Annotated[str | None, _option("They are uniform or normal (default: uniform)")] = None,
    batch_size: Annotated[int | None, _option("Images in a minibatch (default: 128)")] = None,
    learning_rate: Annotated[float | None, _option("Of Adam (default: 0.0002)")] = None,
    precision: Annotated[str | None, _option("float32, tf32, bf16 or auto, the device's quickest.")] = None,
    ema: Annotated[
        float | None, _option("Decay of the average of G that samples come from; 0: none.")
    ] = None,
    spectral_norm: Annotated[bool | None, _switch("--spectral-norm", "Normalise D's weights.")] = None,
    augment: Annotated[
        bool | None, _switch("--augment", "Differentiable augmentation of all that D sees: for small sets.")
    ] = None,
    include_duplicates: Annotated[
        bool | None, _switch("--include-duplicates", "Train on the set as it was before removal.")
    ] = None,
    held_out: Annotated[
        int | None, _option("Images kept from training for the score (default: 5 %, at most 10,000)")
    ] = None,
    on_collapse: Annotated[
        str | None, _option("warn, stop or rollback (to the checkpoint before) (default: warn)")
    ] = None,
    sample_every: Annotated[
        int | None, _option("Steps between sample grids (default: every epoch, and every 1,000 steps)")
    ] = None,
    checkpoint_every: Annotated[int | None, _option("Steps between checkpoints (default: 500)")] = None,
    score_every: Annotated[
        int | None, _option("Epochs between scores of 1,000, 10,000 and 100,000 samples (default: never)")
    ] = None,
    compile_: Annotated[str | None, typer.Option("--compile", help="torch.compile: auto, on or off.")] = None,
    deterministic: Annotated[
        bool | None, _switch("--deterministic", "The same bits in every run on a GPU too; slower.")
    ] = None,
    tensorboard: Annotated[
        bool | None, _switch("--tensorboard", "Also log for TensorBoard; needs the extra tensorboard.")
    ] = None,
    seed: SeedOption = None,
    device: Annotated[str | None, _option("auto, cpu or cuda (default: auto)")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run, with its own settings where none are given.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a DCGAN on a prepared set.

    --preset paper is the authors' recipe to the letter: each minibatch
    updates either G or D, in turn; Adam with 2e-4 and 0.5, L2 of 1e-5 on
    every parameter; float32; batch statistics in batch norm.

    --preset fast has the same networks, losses and optimiser, and differs
    in this: each minibatch updates D and then G, on the same generated
    images; bfloat16 in convolutions, where the device has it; samples come
    from a moving average of G's weights (--ema 0.999).

    Both differ from the authors in this: 5 % of the images are held out for
    the score (--held-out 0: none), and samples are drawn with batch
    statistics that were measured once, so that an image does not depend on
    the others drawn with it.

    The authors' other models: ImageNet at 32x32 is --layers paired --z-dim
    256 (3x3 convolutions); SVHN is --width 64 --latent normal
    --learning-rate 0.0005 --batch-size 64 --epochs 200.

    Several GPUs: torchrun --nproc-per-node N -m dcgan_data train ... The
    batch is shared; each process normalises over its own part of it.

    Example: dcgan-data train --prepared out --preset fast --width 32
    --steps 300
    """
    from dcgan_data.train.config import TrainConfig
    from dcgan_data.train.distributed import asked_ranks
    from dcgan_data.train.loop import resumed_config
    from dcgan_data.train.loop import train as run_training

    if deterministic:  # cuBLAS reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if prepared is None and not (resume and run_dir):
        raise typer.BadParameter("Missing option '--prepared'.")
    run_dir = run_dir or Path("runs") / (prepared or Path()).resolve().name
    options = given(
        preset=preset,
        steps=steps,
        epochs=epochs,
        width=width,
        layers=layers,
        z_dim=z_dim,
        latent=latent,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
        ema=ema,
        spectral_norm=spectral_norm,
        augment=augment,
        include_duplicates=include_duplicates,
        held_out=held_out,
        on_collapse=on_collapse,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        score_every=score_every,
        compile=compile_,
        deterministic=deterministic,
        tensorboard=tensorboard,
        seed=seed,
        device=device,
    )
    if resume:
        config = resumed_config(prepared, run_dir, **options)
    else:
        config = TrainConfig.of_preset(
            **{"preset": "paper", "prepared": prepared, "run_dir": run_dir, **options}
        )
    with ConsoleReporter().training() as on_step:
        summary = run_training(config, resume, on_step)
    if asked_ranks().first:
        print(as_json_text(summary) if as_json else render.training(summary))


@train_app.command()
def sample(
    run_directory: RunArgument,
    count: Annotated[int, typer.Option("-n", "--count", help="How many images.")] = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="The grid, a PNG file.")] = Path("grid.png"),
    numbered: Annotated[
        bool, typer.Option("--numbered", help="Enlarged, each with its number: for arithmetic and turn.")
    ] = False,
    checkpoint: CheckpointOption = "last",
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw images from a trained generator into one grid.

    The same seed gives the same images, however many are drawn, with
    --numbered and without.

    Example: dcgan-data sample runs/out -n 64 -o grid.png
    """
    from dcgan_data.train.sample import open_sampler

    if numbered:
        from dcgan_data.evaluate.latent.numbered import numbered_sheet as draw
    else:
        from dcgan_data.train.sample import sample as draw

    sampler = open_sampler(run_directory, checkpoint, device)
    written = draw(sampler, count, out, seed or 0)
    values = {"grid": written, "count": count, "checkpoint": sampler.trained.weights}
    print(as_json_text(values) if as_json else written)
