"""``dcgan-data bench``: measure speed and quality."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from dcgan_data import render
from dcgan_data.cli_options import (
    DeviceOption,
    JsonOption,
    LimitOption,
    MemoryOption,
    SeedOption,
    WorkersOption,
    all_cores,
    as_json_text,
    parse_bytes,
)
from dcgan_data.console import ConsoleReporter
from dcgan_data.recipe import Recipe

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed and quality, as ratios within one run.")


@bench_app.command("decode")
def bench_decode(
    source: Annotated[Path, typer.Option(help="An LSUN LMDB or a folder of images.")],
    image_size: Annotated[int, typer.Option(help="32, 64, 128 or 256.")] = 64,
    limit: LimitOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure our decode path against the plain way: full decode, Lanczos, PNGs in a zip, one process.

    Example: dcgan-data bench decode --source lsun/bedroom_train_lmdb
    """
    from dcgan_data.bench.decode import bench_decode as measure

    result = measure(source, image_size, workers or all_cores(), limit or 0)
    print(as_json_text(result) if as_json else render.decode_bench(result))


@bench_app.command("faces")
def bench_faces(
    source: Annotated[Path, typer.Option(help="Photos of people.")],
    boxes: Annotated[
        Path | None,
        typer.Option(help='Hand-made boxes: JSON, [{"file": ..., "boxes": [[x, y, w, h], ...]}].'),
    ] = None,
    image_size: Annotated[int, typer.Option(help="32, 64, 128 or 256.")] = 64,
    limit: LimitOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every face detector: photos a second with one worker and with all, and what it finds.

    Example: dcgan-data bench faces --source photos
    """
    from dcgan_data.bench.faces import bench_faces as measure

    result = measure(source, image_size, workers or all_cores(), limit or 0, boxes)
    print(as_json_text(result) if as_json else render.faces_bench(result))


@bench_app.command("dedup")
def bench_dedup(
    source: Annotated[Path | None, typer.Option(help="Real photos to plant changed copies of.")] = None,
    cifar: Annotated[Path | None, typer.Option(help="CIFAR-10 as parquet, with ciFAIR's list.")] = None,
    codes: Annotated[list[int] | None, typer.Option(help="Search so many codes; several times.")] = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also pHash, dHash and PDQ; needs the extra 'bench'.")
    ] = False,
    per_kind: Annotated[int, typer.Option(help="Copies of each kind of change.")] = 200,
    limit: LimitOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    sheet: Annotated[Path | None, typer.Option(help="Directory for pages of pairs to look at.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure recall and wrong removals on planted copies and on CIFAR-10, and the search's growth.

    Example: dcgan-data bench dedup --codes 100000
    """
    from dcgan_data.bench import cifar as on_cifar
    from dcgan_data.bench import code_search, copies, ours, planted, tables

    count, limit_bytes = workers or all_cores(), parse_bytes(memory)
    how = ours.BenchSettings(Recipe(seed=seed or 0), count, device, peers, sheet)
    values: dict[str, Any] = {}
    texts = []
    if source:
        what = copies.PlantSettings(source, per_kind, limit or 0, seed or 0)
        found = planted.bench_planted(what, how, ConsoleReporter())
        values |= found.as_dict()
        texts.append(tables.planted_table(found))
    if cifar:
        pairs = on_cifar.bench_cifar(cifar, how, ConsoleReporter())
        values |= pairs.as_dict()
        texts.append(tables.cifar_table(pairs))
    if codes or not (source or cifar):
        sizes = codes or [100_000, 300_000, 1_000_000]
        grown = code_search.bench_code_search(sizes, source, how, limit_bytes, ConsoleReporter())
        values |= {"scale": [dataclasses.asdict(line) for line in grown.lines], "exponent": grown.exponent}
        texts.append(tables.scale_table(grown))
    print(as_json_text(values) if as_json else "\n\n".join(texts))


@bench_app.command("scale")
def bench_scale(
    work: Annotated[
        Path, typer.Option(help="Directory for what is made: some 45 kB an image while it runs.")
    ],
    images: Annotated[list[int] | None, typer.Option(help="Records of a set; several times.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="Photos to make the records from (default: drawn bedrooms)")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave LMDBs and sets in --work, and use LMDBs that are there.")
    ] = False,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a whole de-duplication, stage by stage: time, memory of all processes, bytes, truth, growth.

    The records have LSUN's shape: windows of two photos that fade into each
    other, so that any number of different pictures comes of a few thousand
    photos; a tenth are planted copies, some of them of a few favourites, and
    some pictures crowd: flat walls, small photos on white.

    Example: dcgan-data bench scale --images 30000 --work scratch
    """
    from dcgan_data.bench.scale.measuring import ScaleSettings
    from dcgan_data.bench.scale.measuring import bench_scale as measure
    from dcgan_data.bench.scale.table import scale_text

    asked = ScaleSettings(
        images=tuple(images or [30_000]),
        work=work,
        source=source,
        workers=workers or all_cores(),
        memory=parse_bytes(memory),
        recipe=Recipe(seed=seed or 0),
        keep=keep,
    )
    result = measure(asked, ConsoleReporter())
    print(as_json_text(result) if as_json else scale_text(result))


@bench_app.command("train")
def bench_train(
    prepared: Annotated[
        Path | None, typer.Option(help="A prepared set to take the images from (default: random pixels)")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="32, 64 or 128 (default: the prepared set's own, or 64)")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Of the networks (default: 128 on a GPU, 64 on a CPU)")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images in a minibatch (default: 128 on a GPU, 64 on a CPU)")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each way of training in each of five rounds.")] = 3.0,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also each thing that makes the fast preset fast, by itself.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the plain reference loop, the paper preset and the fast preset: rates, rooflines, memory.

    Example: dcgan-data bench train --image-size 32
    """
    from dcgan_data.bench.train_table import train_table
    from dcgan_data.bench.training import TrainBenchSettings
    from dcgan_data.bench.training import bench_train as measure

    asked = TrainBenchSettings(
        prepared=prepared,
        image_size=image_size,
        width=width,
        batch_size=batch_size,
        seconds=seconds,
        ablate=ablate,
        device=device,
    )
    result = measure(asked, ConsoleReporter())
    print(as_json_text(result) if as_json else train_table(result))
