"""Killed, interrupted, out of space: nothing is left under the final name, and the next export succeeds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcgan_data.export import ExportResult, ExportSettings, export, webdataset
from dcgan_data.reporter import SilentReporter, Stage

Run = Callable[..., ExportResult]
KINDS = ["stylegan-zip", "webdataset", "imagefolder", "parquet", "lmdb"]

WAITS_HALF_WAY = """
import sys
from contextlib import contextmanager
from pathlib import Path
from dcgan_data.export import ExportSettings, export, image_folder, parquet, stylegan_zip, webdataset
from dcgan_data.reporter import SilentReporter

webdataset.IMAGES_PER_TAR = image_folder.IMAGES_PER_TASK = parquet.MOST_ROWS_OF_A_GROUP = 3
parquet.PIXEL_BYTES_PER_FILE, stylegan_zip.IMAGES_AT_A_TIME = 32 * 32 * 9, 3

class Waiting(SilentReporter):
    @contextmanager
    def stage(self, name, total, unit):
        yield self

    def advance(self, amount, note=""):
        print("half way", flush=True)
        sys.stdin.read()

prepared, kind, destination, workers = sys.argv[1:]
export(Path(prepared), ExportSettings(kind, Path(destination), int(workers)), Waiting())
"""

FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from dcgan_data.errors import DcganDataError
from dcgan_data.export import ExportSettings, export
from dcgan_data.reporter import SilentReporter

prepared, kind, destination, workers = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    export(Path(prepared), ExportSettings(kind, Path(destination), int(workers)), SilentReporter())
except (OSError, DcganDataError) as error:
    print(error)
"""


def files_below(root: Path) -> dict[str, bytes]:
    paths = [root] if root.is_file() else [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def start(script: str, *arguments: object, **options: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_half_way(tmp_path: Path, finished_set: Path, run: Run, kind: str) -> None:
    workers = 2 if kind == "webdataset" else 1  # whose workers end with their parent
    destination = tmp_path / "x.zip"
    process = start(WAITS_HALF_WAY, finished_set, kind, destination, workers, stderr=subprocess.DEVNULL)
    assert process.stdout and process.stdout.readline() == "half way\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for pipe in (process.stdin, process.stdout):
        assert pipe
        pipe.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip.tmp"]
    assert len(list(tmp_path.glob("x.zip.tmp/export.*"))) == 1
    run(finished_set, kind, destination)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
    run(finished_set, kind, tmp_path / "other.zip")
    assert files_below(destination) == files_below(tmp_path / "other.zip")


@pytest.mark.parametrize("kind", KINDS)
def test_no_space_left(tmp_path: Path, finished_set: Path, kind: str) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the midst of it."""
    process = start(FILLS_THE_DISK, finished_set, kind, tmp_path / "x.zip", 1)
    output, _ = process.communicate()
    assert process.returncode == 0  # an error that the command turns into one line
    assert re.search("File too large|No space left", output) and output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


class Interrupting(SilentReporter):
    """Like a person who presses Ctrl-C when something is done."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        yield self

    def advance(self, amount: int, note: str = "") -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted(
    tmp_path: Path, finished_set: Path, monkeypatch: pytest.MonkeyPatch, kind: str, workers: int
) -> None:
    monkeypatch.setattr(webdataset, "IMAGES_PER_TAR", 2)
    with pytest.raises(KeyboardInterrupt):
        export(finished_set, ExportSettings(kind, tmp_path / "x.zip", workers), Interrupting())
    assert os.listdir(tmp_path) == []
