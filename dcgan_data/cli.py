"""The ``dcgan-data`` command, put together: what errors become, and the commands of the ``cli_*`` modules.

Every command parses, makes one library call and renders. Libraries are imported inside the commands, so that
``--help`` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dcgan_data import __version__, render
from dcgan_data.cli_bench import bench_app
from dcgan_data.cli_examine import examine_app
from dcgan_data.cli_features import features_app
from dcgan_data.cli_figures import figures_app
from dcgan_data.cli_latent import latent_app
from dcgan_data.cli_make import make_app
from dcgan_data.cli_mnist import mnist_app
from dcgan_data.cli_options import JsonOption, SeedOption, WorkersOption, all_cores, as_json_text
from dcgan_data.cli_probe import probe_app
from dcgan_data.cli_sets import sets_app
from dcgan_data.cli_train import train_app
from dcgan_data.console import ConsoleReporter
from dcgan_data.errors import DcganDataError, one_line

_FULL_OR_FAILING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says that is full, over a quota, read-only or failing: no bug of ours."""
_OF_PATHS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR)
"""What is said of a path that a person gave, or of a file that lies in our way."""


class _Group(TyperGroup):
    """Turns the project's errors into one line on stderr and their exit code: the only place that does."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DcganDataError as error:
            if os.environ.get("RANK", "0") == "0":  # the others of torchrun's processes say the same
                print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno in _FULL_OR_FAILING:
                advice = "what is finished is kept: make room or mend it, and give the same command again"
            elif error.errno in (errno.EMFILE, errno.ENFILE):
                advice = "allow more open files ('ulimit -n 1024'), or use fewer --workers"
            elif error.errno in _OF_PATHS and error.filename:
                advice = "mend it, or choose another path"
            else:
                raise
            where = error.filename or ("writing" if error.errno in _FULL_OR_FAILING else "opening a file")
            print(one_line(f"error: {where}: {error.strerror}; {advice}"), file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interrupt:
            if os.environ.get("RANK", "0") == "0":
                kept = (
                    str(interrupt)
                    or "what is finished is kept; the same command goes on (train: with --resume)"
                )
                print(f"interrupted: {kept}", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _commands in (make_app, sets_app, train_app, examine_app, latent_app, features_app, figures_app):
    app.add_typer(_commands)
app.add_typer(probe_app, name="probe")
app.add_typer(mnist_app, name="mnist")
app.add_typer(bench_app, name="bench")


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where to.")] = Path("demo"),
    images: Annotated[int, typer.Option(help="Records to draw, planted copies included.")] = 3000,
    steps: Annotated[int, typer.Option(help="Minibatches to train for.")] = 2000,
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
