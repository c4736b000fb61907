"""The commands that make prepared sets: dedup, prepare, faces, run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcgan_data import recipe, render
from dcgan_data.cli_options import (
    BackendOption,
    DeviceOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    LimitOption,
    MemoryOption,
    OutOption,
    OverwriteOption,
    RejectedOption,
    SchedulerOption,
    SeedOption,
    SizeOption,
    SourceArgument,
    VerboseOption,
    WorkersOption,
    all_cores,
    as_json_text,
    given,
    local_path,
    parse_bytes,
)
from dcgan_data.console import ConsoleReporter
from dcgan_data.errors import BadRequest
from dcgan_data.recipe import FACES, Recipe

if TYPE_CHECKING:
    from dcgan_data.plan import Job

make_app = typer.Typer()


@make_app.command()
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
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="PATH",
            help="Remove only copies of what this other prepared set keeps.",
        ),
    ] = None,
    multiplicity: Annotated[
        bool | None,
        typer.Option(
            "--multiplicity/--no-multiplicity", help="Record how many images each kept one stands for."
        ),
    ] = None,
    source_format: FormatOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
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
    resolved = _resolve(_own_recipe(src, exact), _Asked(source_format, image_size, limit, seed), **decision)
    running = _Running(workers, backend, scheduler, memory, device, max_rejected, overwrite)
    job = _job(resolved, src, out, running)
    _make(dataclasses.replace(job, against=against), dry_run, as_json, verbose)


@make_app.command()
def prepare(
    src: SourceArgument,
    out: OutOption = None,
    source_format: FormatOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
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
    resolved = _resolve(Recipe(), _Asked(source_format, image_size, limit, seed), rule="none")
    running = _Running(workers, backend, scheduler, memory, device, max_rejected, overwrite)
    _make(_job(resolved, src, out, running), dry_run, as_json, verbose)


@make_app.command()
def faces(
    src: SourceArgument,
    out: OutOption = None,
    crop: Annotated[
        str | None, typer.Option(help="box, aligned (by eyes and mouth) or celeba (default: box)")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="yunet or haar (default: yunet)")] = None,
    min_face: Annotated[
        int | None, typer.Option(help="Smallest face in pixels of the photo (default: 64)")
    ] = None,
    max_faces: Annotated[
        int | None, typer.Option(help="Only so many faces of a photo, the largest (default: all)")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of copies, 0.5 to 1 (default: 0.83)")
    ] = None,
    source_format: FormatOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    max_rejected: RejectedOption = "1%",
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find the faces in SRC's photos, crop and de-duplicate them into a prepared set.

    Example: dcgan-data faces photos/ --out faces --crop aligned --image-size 128
    """
    cropped = dataclasses.replace(
        FACES.faces, **given(crop=crop, detector=detector, min_face=min_face, max_faces=max_faces)
    )
    if crop == "none":
        raise BadRequest("--crop none: whole pictures are what 'prepare' and 'dedup' make")
    asked = _Asked(source_format, image_size, limit, seed)
    resolved = _resolve(dataclasses.replace(FACES, faces=cropped), asked, **given(threshold=threshold))
    running = _Running(workers, backend, scheduler, memory, device, max_rejected, overwrite)
    _make(_job(resolved, src, out, running), dry_run, as_json, verbose)


@make_app.command()
def run(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML recipe.", show_default=False)],
    source: Annotated[
        str | None, typer.Option(metavar="SRC", help="Source, instead of the recipe's.")
    ] = None,
    out: OutOption = None,
    source_format: FormatOption = None,
    image_size: SizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
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
    resolved = _resolve(recipe.load_recipe(recipe_file), _Asked(source_format, image_size, limit, seed))
    src = source or resolved.source.path
    if not src:
        raise BadRequest(f"{recipe_file}: names no source; give one with --source")
    running = _Running(workers, backend, scheduler, memory, device, max_rejected, overwrite)
    _make(_job(resolved, src, out, running), dry_run, as_json, verbose)


def _own_recipe(src: str, exact: bool) -> Recipe:
    """What options change: a prepared set's own recipe, else the defaults; its rule becomes that of dedup."""
    from dcgan_data.plan import set_recipe
    from dcgan_data.sources.location import parse_location

    own = set_recipe(parse_location(src)) or Recipe()
    if own.dedup.rule == ("exact" if exact else "near"):
        return own
    dedup = dataclasses.replace(own.dedup, rule="near")
    return dataclasses.replace(
        own, dedup=dedup, autoencoder=dataclasses.replace(own.autoencoder, inputs="luma")
    )


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Options that all commands here have; None if not given."""

    source_format: str | None
    image_size: int | None
    limit: int | None
    seed: int | None


def _resolve(base: Recipe, asked: _Asked, **decision: Any) -> Recipe:
    """The recipe with the options that were given put in; decision: those of [dedup]."""
    exact: dict[str, Any] = {}
    if decision.get("rule") == "exact":
        exact["inputs"] = "rgb"  # as the paper's encoder
    return dataclasses.replace(
        base,
        image=dataclasses.replace(base.image, **given(size=asked.image_size)),
        source=dataclasses.replace(base.source, **given(limit=asked.limit, format=asked.source_format)),
        autoencoder=dataclasses.replace(base.autoencoder, **exact),
        dedup=dataclasses.replace(base.dedup, **decision),
        **given(seed=asked.seed),
    )


@dataclasses.dataclass(frozen=True)
class _Running:
    """Options about how it is made, which all commands here have."""

    workers: int | None
    backend: str
    scheduler: str | None
    memory: str | None
    device: str
    max_rejected: str
    overwrite: bool


def _job(resolved: Recipe, src: str, out: str | None, how: _Running) -> Job:
    from dcgan_data.plan import Job, default_out
    from dcgan_data.sources.location import Url, parse_location
    from dcgan_data.upload import local_copy

    source = parse_location(src)
    place = parse_location(out) if out else default_out(source)
    return Job(
        recipe=_without_secret(resolved),
        source=source,
        out=local_copy(place) if isinstance(place, Url) else place,
        workers=_all_workers(how.backend) if how.workers is None else how.workers,
        device=how.device,
        max_rejected=_share(how.max_rejected),
        overwrite=how.overwrite,
        backend=how.backend,
        scheduler=how.scheduler or "",
        memory=parse_bytes(how.memory),
        upload=place if isinstance(place, Url) else None,
    )


def _without_secret(resolved: Recipe) -> Recipe:
    """The recipe as it may be stored: a URL in it may hold a signature."""
    from dcgan_data.sources.location import Url, parse_location

    source = parse_location(resolved.source.path)
    if not isinstance(source, Url):
        return resolved
    return dataclasses.replace(resolved, source=dataclasses.replace(resolved.source, path=str(source)))


def _all_workers(backend: str) -> int:
    return all_cores() if backend == "loky" else 0  # what a cluster has is known when it is asked


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
