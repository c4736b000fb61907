"""Arguments and options that several commands of ``dcgan-data`` share, and what they do with them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from dcgan_data.errors import BadRequest

_PREFIXES = ("", "K", "M", "G", "T")


def local_path(text: str) -> Path:
    """A path of a set; BadRequest for a URL, with what fetches it."""
    if "://" not in text:
        return Path(text)
    from dcgan_data.sources.location import copy_command, parse_url

    url = parse_url(text)
    raise BadRequest(
        f"{url}: a prepared set is mapped into memory and so needs a local disk; "
        f"fetch it first: {copy_command(url, directory=True)}"
    )


SourceArgument = Annotated[
    str,  # not a Path, which would make s3:/b of s3://b
    typer.Argument(
        metavar="SRC",
        help="LSUN LMDB, folder, tar, zip, parquet, ... of images (tar and parquet also at s3://, gs:// or "
        "https://), or a prepared set.",
        show_default=False,
    ),
]
SetArgument = Annotated[
    Path, typer.Argument(parser=local_path, metavar="OUT", help="A prepared set.", show_default=False)
]
RunDirectoryArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)
]
RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run directory, or a model's .safetensors file.", show_default=False
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="Where to: a directory, or s3://BUCKET/PREFIX (default: out; a prepared SRC: itself)",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="What SRC is: lsun, folder, tar, zip, parquet, cifar or svhn (default: found out)",
        show_default=False,
    ),
]
SizeOption = Annotated[int | None, typer.Option("--image-size", help="32, 64, 128 or 256 (default: 64)")]
LimitOption = Annotated[int | None, typer.Option(help="Read only the first so many records.")]
SeedOption = Annotated[int | None, typer.Option(help="Seeds everything random (default: 0)")]
WorkersOption = Annotated[int | None, typer.Option(help="Processes (default: one a core)")]
BackendOption = Annotated[
    str, typer.Option("--backend", help="Where tasks run: loky (processes here), dask or ray (a cluster).")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="The cluster's address: of Dask's scheduler tcp://HOST:8786, of Ray HOST:6379.",
        show_default=False,
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        help="What the search may use, all processes here together, such as 4GB (default: no limit)",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
MovedSetOption = Annotated[
    Path | None,
    typer.Option(
        "--prepared",
        parser=local_path,
        metavar="PATH",
        help="Where the run's set is now, if it was moved; for a model's file, a set.",
        show_default=False,
    ),
]
RejectedOption = Annotated[str, typer.Option(help="Exit with 3 if a larger share of the records is bad.")]
CheckpointOption = Annotated[str, typer.Option(help="last, best (by its score), or a step.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace this tool's own files in --out.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe and plan, and stop.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more about how it went.")]


def given(**options: Any) -> dict[str, Any]:
    """Only the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def as_json_text(result: Any) -> str:
    """A result, a dataclass or a dict, as JSON."""
    values = result if isinstance(result, dict) else dataclasses.asdict(result)
    return json.dumps(values, indent=2, default=str)


def parse_bytes(text: str | None) -> int:
    """A size such as 4GB or 512MiB in bytes; 0 if none was given. BadRequest if it is not one."""
    if text is None:
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    size = (
        int(float(found[1]) * (1024 if found[3] else 1000) ** _PREFIXES.index(found[2].upper()))
        if found
        else 0
    )
    if not size:
        raise BadRequest(f"--memory {text}: expected a size such as 4GB or 512MiB")
    return size


def all_cores() -> int:
    """The processors that there are."""
    from dcgan_data.parallel import default_workers

    return default_workers()
