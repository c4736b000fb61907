"""The ``dcgan-data`` command: parse, one library call, render.

Libraries are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dcgan_data import __version__, recipe, render
from dcgan_data.cli_bench import bench_app
from dcgan_data.cli_options import (
    DeviceOption,
    DryRunOption,
    JsonOption,
    LimitOption,
    OutOption,
    OverwriteOption,
    RejectedOption,
    RunArgument,
    SeedOption,
    SetArgument,
    SizeOption,
    SourceArgument,
    VerboseOption,
    WorkersOption,
    all_cores,
    as_json_text,
    given,
)
from dcgan_data.console import ConsoleReporter
from dcgan_data.errors import BadRequest, DcganDataError
from dcgan_data.recipe import Recipe

if TYPE_CHECKING:
    from dcgan_data.plan import Job


_FULL_OR_FAILING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says that is full, over a quota, read-only or failing: no bug of ours."""


class _Group(TyperGroup):
    """Turns the project's errors into one line on stderr and their exit code: the only place that does."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DcganDataError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno not in _FULL_OR_FAILING:
                raise
            print(
                f"error: {error.filename or 'writing'}: {error.strerror}; what is finished is kept: "
                "make room or mend it, and give the same command again",
                file=sys.stderr,
            )
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print(
                "interrupted: what is finished is kept; the same command goes on (train: with --resume)",
                file=sys.stderr,
            )
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(bench_app, name="bench")


@app.command()
def dedup(
    src: SourceArgument,
    out: OutOption = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="The paper's rule: all 128 bits of the colours' code collide.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of copies, 0.5 to 1 (default: 0.73)")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Which copy stays: best, first or FILE:COLUMN (default: best)")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Remove only copies of what this other prepared set keeps.")
    ] = None,
    multiplicity: Annotated[
        bool | None,
        typer.Option(
            "--multiplicity/--no-multiplicity", help="Record how many images each kept one stands for."
        ),
    ] = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    max_rejected: RejectedOption = "1%",
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Decode, crop, resize and de-duplicate SRC into a prepared set.

    A prepared SRC is decided anew where it is; with --threshold, --keep or --multiplicity in seconds.

    Example: dcgan-data dedup lsun/bedroom_train_lmdb --out out
    """
    if exact and threshold is not None:
        raise BadRequest(f"--threshold {threshold}: has no meaning with --exact, where all bits are equal")
    if against and (keep is not None or multiplicity or seed is not None):
        raise BadRequest(
            "--against: takes no --keep, --multiplicity or --seed; it is the other set that stays"
        )
    decision = given(
        rule="exact" if exact else None, threshold=threshold, keep=keep, multiplicity=multiplicity
    )
    resolved = _resolve(_own_recipe(src, exact), image_size, limit, seed, **decision)
    job = _job(resolved, src, out, workers, device, max_rejected, overwrite)
    _make(dataclasses.replace(job, against=against), dry_run, as_json, verbose)


@app.command()
def prepare(
    src: SourceArgument,
    out: OutOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    max_rejected: RejectedOption = "1%",
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Decode, crop and resize SRC into a prepared set, removing nothing.

    Example: dcgan-data prepare photos/ --out out --image-size 128
    """
    resolved = _resolve(Recipe(), image_size, limit, seed, rule="none")
    _make(_job(resolved, src, out, workers, device, max_rejected, overwrite), dry_run, as_json, verbose)


@app.command()
def run(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML recipe.", show_default=False)],
    source: Annotated[Path | None, typer.Option(help="Source, instead of the recipe's.")] = None,
    out: OutOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    max_rejected: RejectedOption = "1%",
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a prepared set by a recipe.

    Example: dcgan-data run pipelines/lsun_bedroom.toml --source lsun/bedroom_train_lmdb --out out
    """
    resolved = _resolve(recipe.load_recipe(recipe_file), image_size, limit, seed)
    src = source or Path(resolved.source.path)
    if not source and not resolved.source.path:
        raise BadRequest(f"{recipe_file}: names no source; give one with --source")
    _make(_job(resolved, src, out, workers, device, max_rejected, overwrite), dry_run, as_json, verbose)


@app.command()
def report(out: SetArgument) -> None:
    """Write OUT/report/index.html: counts, a contact sheet, duplicate groups, rejected records.

    Example: dcgan-data report out
    """
    from dcgan_data.report import write_report

    print(write_report(out))


@app.command()
def verify(out: SetArgument, as_json: JsonOption = False) -> None:
    """Check OUT from its files alone: every byte, every count, every removal.

    Example: dcgan-data verify out
    """
    from dcgan_data.verify import verify as check

    result = check(out)
    print(json.dumps(dataclasses.asdict(result)) if as_json else render.verification(out, result))


@app.command()
def audit(
    out: SetArgument,
    verdicts: Annotated[
        Path, typer.Argument(metavar="VERDICTS", help="From the report's audit mode.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Count wrong removals from a person's verdicts, with exact 95 % bounds, and store it in the report.

    Example: dcgan-data audit out verdicts.json
    """
    from dcgan_data.audit import audit as compute

    result = compute(out, verdicts)
    print(as_json_text(result) if as_json else render.audit(out, result))


@app.command("query")
def query_set(
    out: SetArgument,
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO...", help="Image files, or directories of them.", show_default=False),
    ],
    top: Annotated[int, typer.Option(help="Matches listed for a photo.")] = 5,
    sheet: Annotated[Path | None, typer.Option(help="Also draw photos and matches into a PNG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask whether photos, or copies of them, are among OUT's images, the removed ones included.

    Example: dcgan-data query out photo.jpg --sheet matches.png
    """
    from dcgan_data.query import QuerySettings, query

    result = query(out, photos, QuerySettings(top, sheet), ConsoleReporter())
    print(as_json_text(result) if as_json else render.answers(result))
    if result.all_unreadable:
        raise typer.Exit(1)


@app.command()
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


@app.command()
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


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where to.")] = Path("demo"),
    images: Annotated[int, typer.Option(help="Records to draw, planted copies included.")] = 3000,
    steps: Annotated[int, typer.Option(help="Minibatches to train for.")] = 4000,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    draw_only: Annotated[bool, typer.Option("--draw-only", help="Only draw the LMDB.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw bedrooms with planted copies into an LSUN LMDB, find the copies, train a DCGAN on the rest.

    Example: dcgan-data demo
    """
    from dcgan_data import tour

    settings = tour.TourSettings(directory, images, steps, seed or 0, workers or all_cores())
    if draw_only:
        truth = tour.draw(settings, ConsoleReporter())
        print(render.drawn(directory, truth))
        return
    result = tour.take_tour(settings, ConsoleReporter())
    print(as_json_text(result) if as_json else render.tour(directory, result))


def _own_recipe(src: Path, exact: bool) -> Recipe:
    """What options change: a prepared set's own recipe, else the defaults; its rule becomes that of dedup."""
    from dcgan_data.plan import set_recipe

    own = set_recipe(src) or Recipe()
    if own.dedup.rule == ("exact" if exact else "near"):
        return own
    dedup = dataclasses.replace(own.dedup, rule="near")
    return dataclasses.replace(
        own, dedup=dedup, autoencoder=dataclasses.replace(own.autoencoder, inputs="luma")
    )


def _resolve(
    base: Recipe, image_size: int | None, limit: int | None, seed: int | None, **decision: Any
) -> Recipe:
    """The recipe with the options that were given put in; decision: those of [dedup]."""
    exact: dict[str, Any] = {}
    if decision.get("rule") == "exact":
        exact["inputs"] = "rgb"  # as the paper's encoder
    return dataclasses.replace(
        base,
        image=dataclasses.replace(base.image, **given(size=image_size)),
        source=dataclasses.replace(base.source, **given(limit=limit)),
        autoencoder=dataclasses.replace(base.autoencoder, **exact),
        dedup=dataclasses.replace(base.dedup, **decision),
        **given(seed=seed),
    )


def _job(
    resolved: Recipe,
    src: Path,
    out: Path | None,
    workers: int | None,
    device: str,
    max_rejected: str,
    overwrite: bool,
) -> Job:
    from dcgan_data.plan import Job, default_out

    count = all_cores() if workers is None else workers
    return Job(resolved, src, out or default_out(src), count, device, _share(max_rejected), overwrite)


def _make(job: Job, dry_run: bool, as_json: bool, verbose: bool) -> None:
    from dcgan_data.pipeline import run_job
    from dcgan_data.plan import make_plan

    if dry_run:
        plan = make_plan(job)
        print(as_json_text(render.plan_values(job, plan)) if as_json else render.plan(job, plan))
        return
    info = run_job(job, ConsoleReporter())
    print(render.set_json(job.out, info) if as_json else render.prepared_set(job.out, info, verbose))


def _share(text: str) -> float:
    """A share such as '1%' or '0.01'."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise BadRequest(f"--max-rejected {text}: expected a share such as 1% or 0.01") from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dcgan-data {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Prepare image sets for generative models, remove near-duplicates, train and examine a DCGAN."""


def main() -> None:
    """Entry point of the console script."""
    # OpenMP threads that wait actively stall each other as soon as another process wants a core: one
    # competitor made training 3 to 20 times slower on 2 cores. Passive waiting costs 5 % on an idle machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
