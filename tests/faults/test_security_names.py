"""Names from data: keys, labels, members of archives. They are text: never a path, a script or a command to a
terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.errors import BadInput, one_line
from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.gallery.page import Missing, write_gallery
from dcgan_data.export import ExportSettings, export
from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.report import write_report
from dcgan_data.reporter import SilentReporter
from dcgan_data.sources import open_source

ROOT = Path(__file__).parents[2]
Outcome = Callable[..., None]
Page = Any
"""Of tests/conftest.py."""
STEALS = "window.stolen = 1"
SCRIPTS = [
    f"<script>{STEALS}</script>",
    f"</script><script>{STEALS}</script>",
    f'"><img src=x onerror="{STEALS}">',
    f"'><svg onload='{STEALS}'>",
    f"\u2028{STEALS}\u2029//",
    f'\\"];{STEALS};//',
    f"<!--<script>{STEALS}",
    f"javascript:{STEALS}",
    "&lt;b&gt;${policy}$style</style>",
]
PATHS = [
    "../../escaped",
    "/absolute/escaped",
    "a/../../escaped",
    "..\\..\\escaped",
    "C:\\escaped",
    "nul\0escaped",
    "long" * 1000,
    "con",
    ".",
    "..",
    "~/escaped",
    "-rf",
]
TERMINAL = "\x1b]0;owned\x07\x1b[2J\x1b[31m\r\nerror: other\x9b31m\u202eevil"


@pytest.fixture
def pictures(picture: Callable[..., np.ndarray], encoded: Callable[..., bytes]) -> Callable[[int], bytes]:
    return lambda number: encoded(picture(seed=number), "PNG")


@pytest.fixture
def evil_set(
    tmp_path: Path,
    pictures: Callable[[int], bytes],
    write_lmdb: Callable[[Path, Mapping[bytes, bytes]], Path],
    make: Callable[..., DatasetInfo],
    near: Callable[..., Any],
) -> Path:
    """Every evil name is a key twice, of the same picture: one kept, one removed; and once of no picture."""
    names = [name for name in (*SCRIPTS, *PATHS, TERMINAL) if len(name.encode()) < 400]
    found = {}
    for number, name in enumerate(names):
        for copy in (b"a", b"b"):
            found[name.encode() + copy] = pictures(number)
        found[name.encode() + b"c"] = name.encode()
    make(write_lmdb(tmp_path / "lmdb", found), tmp_path / "set", near())
    return tmp_path / "set"


def test_pages_of_evil_keys(tmp_path: Path, evil_set: Path, browser: Page, outcome: Outcome) -> None:
    write_report(evil_set)
    figure = Figure(SCRIPTS[0], SCRIPTS[1], SCRIPTS[2], (), ((SCRIPTS[3], SCRIPTS[4]),), tuple(SCRIPTS))
    write_gallery(tmp_path / "figures.html", SCRIPTS[1], SCRIPTS[2], [figure], [Missing(*SCRIPTS[:3])])
    pages = [evil_set / "report" / "index.html", tmp_path / "figures.html"]
    for page in pages:
        for fragment in ("", "#audit"):
            browser.events.clear()
            browser.open(page.as_uri() + fragment)
            assert browser.evaluate("typeof window.stolen") == "undefined"
            assert browser.complaints() == []
            assert browser.requests() == {page.as_uri()}
    outcome(
        "hostile names", "scripts as keys, titles and messages, in Chromium", "shown as text", len(SCRIPTS)
    )


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset", "stylegan-zip", "parquet", "lmdb"])
def test_exports_of_evil_names(tmp_path: Path, evil_set: Path, kind: str, outcome: Outcome) -> None:
    destination = tmp_path / "exports" / ("x.zip" if kind == "stylegan-zip" else "x")
    destination.parent.mkdir()
    export(evil_set, ExportSettings(kind, destination, 1), SilentReporter())
    assert [path.name for path in destination.parent.iterdir()] == [destination.name]
    assert not [path for path in tmp_path.rglob("*escaped*") if path.parent != tmp_path / "exports"]
    if destination.is_dir():
        assert not [path for path in destination.rglob("*") if path.is_symlink()]
    for path in destination.rglob("*.tar"):
        with tarfile.open(path) as archive:
            names = archive.getnames()
        assert not [name for name in names if name.startswith("/") or ".." in name]
    outcome("hostile names", f"keys such as ../../x, exported as {kind}", "nothing outside DEST", len(PATHS))


def test_labels_never_become_paths(
    tmp_path: Path,
    pictures: Callable[[int], bytes],
    make: Callable[..., DatasetInfo],
    recipe: Any,
    outcome: Outcome,
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, name in enumerate([*PATHS, *SCRIPTS, TERMINAL]):
            for kind, data in ((".png", pictures(number)), (".txt", name.encode())):
                member = tarfile.TarInfo(f"{number:03d}{kind}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    make(tmp_path / "x.tar", tmp_path / "set", recipe())
    (tmp_path / "exports").mkdir()
    export(tmp_path / "set", ExportSettings("imagefolder", tmp_path / "exports" / "x", 1), SilentReporter())
    inside = list((tmp_path / "exports" / "x").iterdir())
    assert len([path for path in inside if path.is_dir()]) > len(PATHS)
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["x"]
    assert all(path.name.isprintable() and len(os.fsencode(path.name)) < 200 for path in inside)
    outcome("hostile names", "labels such as ../../x, exported as directories", "harmless names", len(PATHS))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_of_archives(
    tmp_path: Path,
    kind: str,
    pictures: Callable[[int], bytes],
    make: Callable[..., DatasetInfo],
    recipe: Any,
    outcome: Outcome,
) -> None:
    """They are rejected, or are keys; nothing is ever extracted."""
    base = tmp_path / "base"
    base.mkdir()
    path = base / f"x.{kind}"
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            for number, name in enumerate(PATHS):
                member = tarfile.TarInfo(f"{name}.png")
                member.size = len(pictures(number))
                archive.addfile(member, io.BytesIO(pictures(number)))
    else:
        with zipfile.ZipFile(buffer, "w") as packed:
            for number, name in enumerate(PATHS):
                packed.writestr(f"{name.replace(chr(0), '')}.png", pictures(number))
    path.write_bytes(buffer.getvalue())
    assert len(open_source(path, 8)) >= len(PATHS) - 3  # names with a point first are hidden
    before = set(tmp_path.rglob("*"))
    make(path, tmp_path / "set", recipe())
    made = set(tmp_path.rglob("*")) - before
    assert all(entry.is_relative_to(tmp_path / "set") for entry in made)
    rows = PreparedSet.open(tmp_path / "set").manifest(["key", "status", "reason"]).to_pylist()
    unsafe = [row for row in rows if row["reason"] and row["reason"].startswith("unsafe_name")]
    assert len(unsafe) >= 3
    outcome(
        "hostile names",
        f"members of a {kind} such as ../../x",
        "rejected as unsafe_name, or keys",
        len(PATHS),
    )


def test_a_terminal_is_not_commanded(
    tmp_path: Path, picture: Callable[..., np.ndarray], encoded: Callable[..., bytes], outcome: Outcome
) -> None:
    """Names that a command repeats: of a source, in an error; of a member; of a column."""
    source = tmp_path / TERMINAL.replace("/", "")
    source.mkdir()
    (source / "x.png").write_bytes(encoded(picture(), "PNG"))
    runs = [
        ("prepare", source, "--out", tmp_path / "out", "--image-size", "32"),
        ("verify", source),
        ("report", source),
        ("prepare", tmp_path / f"missing {TERMINAL}", "--out", tmp_path / "out2"),
        ("run", tmp_path / f"missing {TERMINAL}.toml"),
    ]
    for arguments in runs:
        done = subprocess.run(
            [sys.executable, "-m", "dcgan_data", *map(str, arguments)],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        said = (done.stdout + done.stderr).decode()
        assert "Traceback" not in said
        assert [sign for sign in said if not sign.isprintable() and sign != "\n"] == [], (arguments, said)
    outcome("hostile names", "terminal sequences in names", "shown as text", len(runs))


def test_one_line() -> None:
    assert (
        one_line("a\x1b[31m\nb\u2028c\x9b\u202e\udcff\u00e9") == r"a\x1b[31m b c\x9b\u202e\udcff" + "\u00e9"
    )
    assert str(BadInput("a\nb")) == "a b"


def test_a_link_in_the_destination_is_not_written_through(
    tmp_path: Path, source: Path, make: Callable[..., DatasetInfo], recipe: Any, outcome: Outcome
) -> None:
    """Another user can plant it only where they may write; files behind the links stay as they are."""
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    mine = elsewhere / "mine.txt"
    mine.write_text("mine")
    for name in ("dataset.json.tmp", "manifest.parquet.tmp", "manifest.parquet"):
        (out / name).symlink_to(mine)
    try:
        make(source, out, recipe())
    except Exception as error:  # noqa: BLE001
        assert "choose another --out" in str(error)
    assert mine.read_text() == "mine"
    outcome("hostile names", "links in --out to a user's file", "refused, or replaced; the file stays", 3)


def test_files_follow_the_umask(
    tmp_path: Path, source: Path, make: Callable[..., DatasetInfo], recipe: Any
) -> None:
    before = os.umask(0o077)
    try:
        make(source, tmp_path / "out", recipe())
        save_array(tmp_path / "x.npy", np.zeros(3))
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
