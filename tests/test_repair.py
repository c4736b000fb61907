"""``verify --repair``: what is damaged comes back byte by byte, or is left as it is and the reason told."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import kill_at
from set_contents import contents
from typer.testing import CliRunner

from dcgan_data.cli import app
from dcgan_data.errors import BadInput, BadRequest, DamagedSet
from dcgan_data.formats.dataset import DatasetInfo, read_info, write_info
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import FileStamp
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.formats.staging import Staging
from dcgan_data.repair import Repair, RepairSettings, repair
from dcgan_data.sources.detect import SUPPORTED
from dcgan_data.verify import verify

Make = Callable[..., DatasetInfo]
MakeRecipe = Callable[..., Any]

FILES = [
    ".dataset.json",
    "autoencoder.safetensors",
    "dataset.json",
    "duplicates.parquet",
    "images/00000.npy",
    "images/00001.npy",
    "images/00002.npy",
    "manifest.parquet",
    "report/contact_sheet.png",
    "report/index.html",
]

REPAIR = """
import sys
from pathlib import Path
from dcgan_data.repair import RepairSettings, repair

repair(Path(sys.argv[1]), RepairSettings())
"""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def mend(out: Path, reporter: Any = None, **settings: Any) -> Repair:
    return repair(out, RepairSettings(**settings), reporter)


def reasons(out: Path, **settings: Any) -> dict[str, str]:
    result = mend(out, **settings)
    assert result.verification is None
    assert not (out / ".repair").exists()
    return result.not_rebuilt


@pytest.fixture
def near_copy(tmp_path: Path, near_set: Path) -> Path:
    """A copy of ``near_set`` by the same name, which its report shows."""
    return Path(shutil.copytree(near_set, tmp_path / "set"))


@pytest.fixture
def exact_copy(tmp_path: Path, finished_set: Path) -> Path:
    """A copy of ``finished_set`` by the same name."""
    return Path(shutil.copytree(finished_set, tmp_path / "set"))


def test_the_files_of_a_set(near_set: Path) -> None:
    assert sorted(contents(near_set)) == FILES


@pytest.mark.parametrize(("name", "damage"), list(zip(FILES, cycle([cut, flip, Path.unlink]), strict=False)))
def test_every_file_comes_back(
    near_copy: Path, near_set: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(near_copy / name)
    result = mend(near_copy)
    assert result.rebuilt == (name,)
    assert result.verification is not None and result.verification.removals == 8
    assert contents(near_copy) == contents(near_set)


def test_nearly_nothing_is_left(near_copy: Path, near_set: Path, reporter: Any) -> None:
    for name in FILES:
        if name != ".dataset.json":
            (near_copy / name).unlink()
    (near_copy / "images").rmdir()
    result = mend(near_copy, reporter, workers=2)
    assert set(result.rebuilt) == set(FILES) - {".dataset.json"}
    assert f"{near_copy}/manifest.parquet: rebuilt" in reporter.said
    assert contents(near_copy) == contents(near_set)


def test_only_what_is_damaged_is_made_again(near_copy: Path, reporter: Any) -> None:
    flip(near_copy / "images/00001.npy")
    untouched = [near_copy / name for name in FILES if name != "images/00001.npy" and "report" not in name]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in untouched]
    mend(near_copy, reporter)
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in untouched] == before
    assert reporter.stages == {"decode": 24}
    assert reporter.said == [f"{near_copy}/images/00001.npy: rebuilt"]


def test_a_good_set_is_left_alone(near_copy: Path, reporter: Any) -> None:
    before = contents(near_copy)
    result = mend(near_copy, reporter)
    assert (result.rebuilt, result.not_rebuilt, reporter.said) == ((), {}, [])
    assert contents(near_copy) == before


def test_the_exact_rule(exact_copy: Path, finished_set: Path) -> None:
    for name in ("manifest.parquet", "images/00002.npy", "autoencoder.safetensors"):
        flip(exact_copy / name)
    mend(exact_copy).require_whole()
    assert contents(exact_copy) == contents(finished_set)


def test_a_set_that_was_only_prepared_and_limited(
    tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    out = tmp_path / "set"
    make(source, out, recipe("none", source={"limit": 13}))
    before = contents(out)
    for name in ("manifest.parquet", "duplicates.parquet", "images/00001.npy"):
        cut(out / name)
    mend(out).require_whole()
    assert contents(out) == before


def test_records_that_ended_a_process_are_not_decoded_again(
    tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repair would end with them, and on a faster machine it might not."""
    out = tmp_path / "set"
    reason = "worker_died: it ended the process that decoded it, twice"
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "rejected_records", lambda self, shard: {3: reason} if shard == 1 else {})
        make(source, out, recipe("none"))
    assert PreparedSet.open(out).manifest()["reason"].to_pylist()[8 + 3] == reason
    before = contents(out)
    flip(out / "images/00001.npy")
    mend(out).require_whole()
    assert contents(out) == before


def test_a_set_that_was_compared_with_another(
    tmp_path: Path, near_set: Path, near_source: Path, near: MakeRecipe, make: Make
) -> None:
    out = tmp_path / "set"
    make(near_source, out, near(records_per_shard=10), against=near_set)
    before = contents(out)
    for name in ("manifest.parquet", "duplicates.parquet", "autoencoder.safetensors"):
        flip(out / name)
    mend(out).require_whole()
    assert contents(out) == before


def test_a_set_made_of_another_set_comes_from_the_first_source(
    tmp_path: Path, near_set: Path, near: MakeRecipe, make: Make
) -> None:
    out = tmp_path / "set"
    make(near_set, out, near(threshold=0.8))
    before = contents(out)
    flip(out / "images/00000.npy")
    (out / "manifest.parquet").unlink()
    mend(out).require_whole()
    assert contents(out) == before


def test_the_tables_within_a_limit_of_memory(copied_near_set: Path) -> None:
    before = (copied_near_set / "manifest.parquet").read_bytes()
    (copied_near_set / "manifest.parquet").unlink()
    assert "--memory: 0MB are too little" in reasons(copied_near_set, memory=1)["manifest.parquet"]
    mend(copied_near_set, memory=1_200_000_000).require_whole()
    assert (copied_near_set / "manifest.parquet").read_bytes() == before


def test_files_that_another_set_has_are_copied(
    tmp_path: Path, near_set: Path, near: MakeRecipe, make: Make, reporter: Any
) -> None:
    out = tmp_path / "set"
    make(near_set, out, near(threshold=0.8))
    before = contents(out)
    donor = Path(shutil.copytree(near_set, tmp_path / "donor"))
    flip(donor / "images/00002.npy")
    for name in ("images/00000.npy", "images/00002.npy", "autoencoder.safetensors", "duplicates.parquet"):
        flip(out / name)
    mend(out, reporter, source=donor).require_whole()
    assert contents(out) == before
    changed = "its bytes were changed (sha256 differs from dataset.json)"
    assert f"{donor}/images/00002.npy: {changed}; not copied" in reporter.said
    assert "fit" not in reporter.stages


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_a_source_that_was_moved(
    tmp_path: Path, near_records: dict[bytes, bytes], make: Make, kind: str, recipe: MakeRecipe
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for key, data in near_records.items():
        (folder / f"{key.decode()}.png").write_bytes(data)
    with tarfile.open(tmp_path / "pictures.tar", "w") as archive:
        archive.add(folder, "pictures")
    source, moved = folder, tmp_path / "moved"
    if kind == "tar":
        source, moved = tmp_path / "pictures.tar", tmp_path / "moved.tar"
    out = tmp_path / "set"
    make(source, out, recipe("none"))
    before = contents(out)
    source.rename(moved)
    flip(out / "images/00001.npy")
    if kind == "tar":
        flip(out / ".source_index.npz")
    assert reasons(out) == {
        "images/00001.npy": f"its source cannot be read ({source}: no such file or directory; "
        f"expected {SUPPORTED}); if it was moved, say where to with --source"
    }
    result = mend(out, source=moved)
    after = contents(out)
    if kind == "tar":
        assert ".source_index.npz" in result.rebuilt
        assert read_source_index(out)
        del before[".source_index.npz"], after[".source_index.npz"]  # it names the archive
    assert after == before


def test_what_can_be_rebuilt_without_the_source(
    tmp_path: Path, near_source: Path, near_set: Path, near_copy: Path, near_recipe: Any, make: Make
) -> None:
    info = read_info(near_copy)
    write_info(near_copy, dataclasses.replace(info, source={**info.source, "path": "/nowhere"}))
    before = contents(near_copy)
    for name in ("autoencoder.safetensors", "duplicates.parquet", "report/index.html"):
        (near_copy / name).unlink()
    mend(near_copy).require_whole()
    after = contents(near_copy)
    del before["report/index.html"], after["report/index.html"]  # it shows the source's path
    assert after == before
    for name in ("autoencoder.safetensors", "manifest.parquet"):
        flip(near_copy / name)
    result = mend(near_copy)
    assert result.rebuilt == ("autoencoder.safetensors",)
    assert list(result.not_rebuilt) == ["manifest.parquet"]
    assert "its source cannot be read (/nowhere: no such file" in result.not_rebuilt["manifest.parquet"]


def test_what_needs_what_cannot_be_rebuilt(near_copy: Path) -> None:
    flip(near_copy / "images/00001.npy")
    flip(near_copy / "duplicates.parquet")
    (near_copy / "autoencoder.safetensors").unlink()
    found = reasons(near_copy, source=Path("/nowhere"))
    assert found["images/00001.npy"].startswith("its source cannot be read (/nowhere: no such")
    needs = "needs images/00001.npy, which could not be rebuilt"
    assert found["autoencoder.safetensors"] == found["duplicates.parquet"] == needs


def test_another_source(near_copy: Path, source: Path) -> None:
    flip(near_copy / "images/00001.npy")
    before = contents(near_copy)
    assert reasons(near_copy, source=source) == {
        "images/00001.npy": f"{source}: is not the source that the set was made from, or was changed since "
        "(its records' keys or sizes are others); give the right one with --source"
    }
    assert contents(near_copy) == before


def test_a_record_that_was_changed(
    tmp_path: Path,
    near_copy: Path,
    near_set: Path,
    near_records: dict[bytes, bytes],
    write_lmdb: Any,
) -> None:
    """With the same key, in a file of the same size: the fingerprint cannot know."""
    first = near_records[b"07"]
    changed = write_lmdb(tmp_path / "lmdb", {**near_records, b"07": first[:-20] + bytes(20)})
    flip(near_copy / "images/00000.npy")
    flip(near_copy / "images/00001.npy")
    flip(near_copy / "images/00002.npy")
    found = mend(near_copy, source=changed)
    assert found.rebuilt == ("images/00000.npy", "images/00002.npy")
    assert found.not_rebuilt == {
        "images/00001.npy": "the source was changed: its record 07 has other bytes than when the set was "
        "made; give an unchanged one with --source, or run the command that made the set again with "
        "--overwrite"
    }
    assert mend(near_copy).rebuilt == ("images/00001.npy",)
    assert contents(near_copy) == contents(near_set)


def restamp(out: Path, name: str, **changes: Any) -> None:
    """Let the index say that a file had other bytes: those that other versions would have made."""
    info = read_info(out)
    files = {**info.files, name: FileStamp(info.files[name].bytes, "ab")}
    write_info(out, dataclasses.replace(info, files=files, **changes))


@pytest.mark.parametrize("name", ["images/00001.npy", "autoencoder.safetensors", "manifest.parquet"])
def test_other_versions(near_copy: Path, name: str) -> None:
    restamp(near_copy, name, libraries={**read_info(near_copy).libraries, "numpy": "0.1"})
    before = contents(near_copy)
    assert reasons(near_copy) == {
        name: "made again, it is not what dataset.json says, other versions: "
        f"numpy (then 0.1, now {np.__version__}); repair it where the set was made, "
        "or run the command that made the set again with --overwrite"
    }
    assert contents(near_copy) == before


def test_another_processor(near_copy: Path) -> None:
    restamp(near_copy, "autoencoder.safetensors")
    assert (
        "not what dataset.json says, perhaps for another processor; repair it where"
        in (reasons(near_copy)["autoencoder.safetensors"])
    )


BUT_ONE = [name for name in FILES if name not in (".dataset.json", "images/00002.npy")]


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


def break_at(target: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repair until some function is called; the only difference to a kill is that temporary files go."""

    def refuse(*given: Any, **options: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, refuse)
        with pytest.raises(Killed):
            mend(out)


@pytest.mark.parametrize(
    "target",
    [
        "repair.workshop._move",
        "repair.decisions.write_manifest",
        "repair.running.write_info",
        "repair.running.write_report",
    ],
)
def test_broken_anywhere(
    near_copy: Path, near_set: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for damaged in BUT_ONE:
        flip(near_copy / damaged)
    break_at(f"dcgan_data.{target}", near_copy, monkeypatch)
    mend(near_copy).require_whole()
    assert contents(near_copy) == contents(near_set)


def test_killed_while_decoding(near_copy: Path, near_set: Path) -> None:
    for damaged in BUT_ONE:
        flip(near_copy / damaged)
    good = (near_copy / "images/00002.npy").read_bytes()
    kill_at("dcgan_data.cutting", "decode_square", 12, REPAIR, str(near_copy))
    assert (near_copy / "images/00002.npy").read_bytes() == good
    mend(near_copy).require_whole()
    assert contents(near_copy) == contents(near_set)
    assert mend(near_copy).rebuilt == ()


def test_a_killed_repair_is_gone_on_with(
    near_copy: Path, near_set: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("manifest.parquet", "images/00000.npy"):
        flip(near_copy / name)
    break_at("dcgan_data.deduplicate.running.decide", near_copy, monkeypatch)
    with pytest.raises(DamagedSet) as caught:
        verify(near_copy)
    assert set(caught.value.files) == {"manifest.parquet"}
    mend(near_copy, reporter)
    assert "decode" in reporter.stages and "search" not in reporter.stages
    assert contents(near_copy) == contents(near_set)


def test_leftovers_are_cleared_and_what_is_a_users_stays(near_copy: Path, near_set: Path) -> None:
    (near_copy / ".staging").mkdir()
    (near_copy / "images/00000.npy.0123abcd.tmp").write_bytes(b"")
    for name in ("notes.txt", "images/mine.npy", "report/audit.json"):
        (near_copy / name).write_text("{}")
    mend(near_copy)
    for name in ("notes.txt", "images/mine.npy", "report/audit.json"):
        assert (near_copy / name).read_text() == "{}"
        (near_copy / name).unlink()
    mend(near_copy)  # the report mentioned the audit
    assert contents(near_copy) == contents(near_set)


def test_what_lies_in_the_way(near_copy: Path, near_set: Path) -> None:
    path = near_copy / "images/00001.npy"
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("mine")
    assert reasons(near_copy) == {"images/00001.npy": f"{path}: a directory that is not empty; move it away"}
    (path / "mine").unlink()
    mend(near_copy).require_whole()
    assert contents(near_copy) == contents(near_set)
    shutil.rmtree(near_copy / "images")
    (near_copy / "images").write_text("mine")
    found = reasons(near_copy)
    assert set(found.values()) == {f"{near_copy}/images: lies in the way (File exists); move it away"}
    assert (near_copy / "images").read_text() == "mine"


def test_images_on_another_disk(near_copy: Path, near_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if ".repair/images" in str(source) and ".repair" not in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)
    flip(near_copy / "images/00001.npy")
    mend(near_copy).require_whole()
    assert contents(near_copy) == contents(near_set)


def test_a_link_is_replaced_and_its_target_left(near_copy: Path, near_set: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    (near_copy / "images/00001.npy").unlink()
    (near_copy / "images/00001.npy").symlink_to(target)
    mend(near_copy).require_whole()
    assert target.read_text() == "mine"
    assert contents(near_copy) == contents(near_set)
    assert not (near_copy / "images/00001.npy").is_symlink()


def test_not_while_another_run_is_working(near_copy: Path) -> None:
    with locked(near_copy, "--out"), pytest.raises(BadRequest, match="another run is working on it"):
        mend(near_copy)


def test_nothing_to_repair_at_all(tmp_path: Path, near_copy: Path) -> None:
    with pytest.raises(BadInput, match="no such directory"):
        mend(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (near_copy / "dataset.json").unlink()
    (near_copy / ".staging").mkdir()
    with pytest.raises(BadInput, match=r"unfinished, it has no dataset\.json"):
        mend(near_copy)
    (near_copy / ".staging").rmdir()
    (near_copy / ".dataset.json").unlink()
    with pytest.raises(BadInput, match=r"neither dataset\.json nor a whole copy .* with another --out"):
        mend(near_copy)


def test_an_index_that_lists_too_little(near_copy: Path) -> None:
    info = read_info(near_copy)
    files = {name: stamp for name, stamp in info.files.items() if name != "duplicates.parquet"}
    write_info(near_copy, dataclasses.replace(info, files=files))
    with pytest.raises(
        BadInput, match=r"duplicates\.parquet: dataset\.json does not list it; 'dcgan-data verify"
    ):
        verify(near_copy)
    with pytest.raises(
        BadInput, match=r"does not list duplicates\.parquet, so that nothing proves it; run the"
    ):
        mend(near_copy)


def test_bad_settings() -> None:
    with pytest.raises(BadRequest, match="--workers 0: expected 1 or more"):
        RepairSettings(workers=0)


def command(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_the_command(near_copy: Path, near_set: Path) -> None:
    flip(near_copy / "images/00001.npy")
    flip(near_copy / "duplicates.parquet")
    changed = "its bytes were changed (sha256 differs from dataset.json)"
    code, out, err = command("verify", near_copy, "-v", "--json")
    assert (code, json.loads(out)) == (
        1,
        {"damaged": {"duplicates.parquet": changed, "images/00001.npy": changed}},
    )
    assert err.splitlines() == [
        f"{near_copy}/duplicates.parquet: {changed}",
        f"{near_copy}/images/00001.npy: {changed}",
        f"error: {near_copy}/duplicates.parquet: {changed}, and 1 more file is damaged (-v); "
        f"'dcgan-data verify {near_copy} --repair' rebuilds it",
    ]
    code, out, err = command("verify", near_copy, "--repair", "--source", "/nowhere", "--workers", 1, "-v")
    assert (code, out) == (1, f"{near_copy}: nothing was rebuilt\n")
    lines = err.splitlines()
    assert lines[0].startswith(f"{near_copy}/images/00001.npy: its source cannot be read (/nowhere: no such")
    assert lines[1] == f"{near_copy}/duplicates.parquet: needs images/00001.npy, which could not be rebuilt"
    assert lines[2].startswith(
        f"error: {near_copy}/images/00001.npy: not rebuilt (and 1 more file, see -v): its source cannot be"
    )
    code, out, _ = command("verify", near_copy, "--repair", "--workers", 1)
    assert (code, out.splitlines()) == (
        0,
        [
            f"{near_copy}: rebuilt images/00001.npy, duplicates.parquet",
            f"{near_copy}: good. 6 files have their recorded bytes, 24 rows add up, "
            "8 removals are proved from the pixels",
        ],
    )
    code, out, _ = command("verify", near_copy, "--repair", "--workers", 1)
    assert (code, out.splitlines()[0]) == (0, f"{near_copy}: nothing to repair")
    code, out, _ = command("verify", near_copy, "--repair", "--workers", 1, "--json")
    assert json.loads(out) == {
        "path": str(near_copy),
        "rebuilt": [],
        "not_rebuilt": {},
        "verification": {"files": 6, "rows": 24, "removals": 8, "notes": []},
    }
    code, _, err = command("verify", near_copy, "--source", near_set)
    assert (code, err) == (
        1,
        f"error: --source {near_set}: OUT is checked from its own files; give --repair with it\n",
    )
    code, _, err = command("verify", near_copy, "--memory", "1GB")
    assert (code, err) == (
        1,
        "error: --memory 1GB: nothing is searched for in a check; give --repair with it\n",
    )
