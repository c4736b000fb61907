"""The commands on a finished set: report, verify, audit, query, export."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dcgan_data import render
from dcgan_data.cli_options import (
    JsonOption,
    MemoryOption,
    SetArgument,
    VerboseOption,
    WorkersOption,
    all_cores,
    as_json_text,
    parse_bytes,
)
from dcgan_data.console import ConsoleReporter
from dcgan_data.errors import BadRequest, DamagedSet

sets_app = typer.Typer()


@sets_app.command()
def report(out: SetArgument) -> None:
    """Write OUT/report/index.html: counts, a contact sheet, duplicate groups, rejected records.

    Example: dcgan-data report out
    """
    from dcgan_data.report import write_report

    print(write_report(out))


@sets_app.command()
def verify(
    out: SetArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild damaged files from the source.")] = False,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SRC",
            help="With --repair: where the source is now, or another prepared set with the same files.",
            show_default=False,
        ),
    ] = None,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check OUT from its files alone: every byte, every count, every removal.

    Example: dcgan-data verify out --repair
    """
    if source and not repair:
        raise BadRequest(f"--source {source}: OUT is checked from its own files; give --repair with it")
    if memory and not repair:
        raise BadRequest(f"--memory {memory}: nothing is searched for in a check; give --repair with it")
    processes = all_cores() if workers is None else workers
    try:
        if repair:
            _repair(out, source, processes, parse_bytes(memory), as_json)
            return
        from dcgan_data.verify import verify as check

        result = check(out, processes)
    except DamagedSet as damaged:
        if as_json and not repair:
            print(as_json_text({"damaged": damaged.files}))
        if verbose:
            print(render.damaged_files(out, damaged.files), file=sys.stderr)
        raise
    print(json.dumps(dataclasses.asdict(result)) if as_json else render.verification(out, result))


def _repair(out: Path, source: str | None, workers: int, memory: int, as_json: bool) -> None:
    from dcgan_data.repair import RepairSettings
    from dcgan_data.repair import repair as mend
    from dcgan_data.sources.location import parse_location

    place = parse_location(source) if source else None
    result = mend(out, RepairSettings(place, workers, memory), ConsoleReporter())
    print(as_json_text(result) if as_json else render.repaired(result))
    result.require_whole()


@sets_app.command()
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


@sets_app.command("query")
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


@sets_app.command()
def export(
    out: SetArgument,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="What to write; must not exist.", show_default=False)
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="stylegan-zip, webdataset, imagefolder, parquet, keys or lmdb.",
            show_default=False,
        ),
    ],
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the kept images of OUT for other programs; keys and lmdb speak of the original records.

    Example: dcgan-data export out --format stylegan-zip bedrooms.zip
    """
    from dcgan_data.export import ExportSettings
    from dcgan_data.export import export as write

    settings = ExportSettings(kind, destination, workers or all_cores())
    result = write(out, settings, ConsoleReporter())
    print(as_json_text(result) if as_json else render.exported(result))
