"""A run that is killed anywhere goes on with the same command, and ends in the same bytes."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killing import kill_at
from set_contents import contents

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import DatasetInfo, read_info
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import Staging
from dcgan_data.verify import verify

Make = Callable[..., DatasetInfo]
MakeRecipe = Callable[..., Any]

RUN = """
import json, sys
from pathlib import Path
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job
from dcgan_data.recipe import recipe_from_dict
from dcgan_data.reporter import SilentReporter

source, out, recipe = sys.argv[1:]
recipe = recipe_from_dict(json.loads(recipe))
run_job(Job(recipe, Path(source), Path(out), device="cpu", max_rejected=1.0), SilentReporter())
"""


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


def kill_run_at(module: str, name: str, nth: int, source: Path, out: Path, recipe: Any) -> None:
    """Run in another process until the nth call of a function, and kill that process there."""
    kill_at(module, name, nth, RUN, str(source), str(out), json.dumps(recipe.as_dict()))


def break_at(monkeypatch: pytest.MonkeyPatch, target: str, nth: int, make: Make, *arguments: Any) -> None:
    """The same in this process, where the only difference is that temporary files are cleared away."""
    owner_path, name = target.rsplit(".", 1)
    module_path, _, class_name = owner_path.partition(":")
    owner = importlib.import_module(module_path)
    if class_name:
        owner = getattr(owner, class_name)
    original, calls = getattr(owner, name), 0

    def breaking(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return original(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaking)
        with pytest.raises(Killed):
            make(*arguments)


def files_below(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "set"  # the name of finished_set, which its report shows


def test_killed_in_the_middle_of_a_shard(
    out: Path, source: Path, finished_set: Path, make: Make, recipe: MakeRecipe, reporter: Any
) -> None:
    kill_run_at("dcgan_data.cutting", "decode_square", 12, source, out, recipe())
    left = files_below(out)
    assert any(re.fullmatch(r"images/00001\.npy\.[0-9a-f]{8}\.tmp", name) for name in left)
    assert "images/00001.npy" not in left
    with pytest.raises(BadInput, match=r"unfinished, it has no dataset\.json; run the command that was"):
        PreparedSet.open(out)
    first = identity(out / "images" / "00000.npy")
    make(source, out, reporter=reporter)
    assert identity(out / "images" / "00000.npy") == first  # not done again
    assert f"{out}: going on with an unfinished run" in reporter.said
    assert reporter.stages["decode"] == 20
    assert contents(out) == contents(finished_set)  # no leftover among them


def test_killed_while_encoding(
    out: Path, source: Path, finished_set: Path, make: Make, recipe: MakeRecipe
) -> None:
    kill_run_at("dcgan_data.deduplicate.encoding", "encode_shard", 2, source, out, recipe())
    kept = ["autoencoder.safetensors", ".staging/codes/00000.npy", "images/00002.npy"]
    before = [identity(out / name) for name in kept]
    (out / "manifest.parquet.0123abcd.tmp").write_bytes(b"of an even earlier kill")
    seen: list[list[tuple[int, int]]] = []
    remove = Staging.remove

    def remember(staging: Staging) -> None:
        seen.append([identity(out / name) for name in kept])
        remove(staging)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staging, "remove", remember)
        make(source, out)
    assert seen == [before]
    assert contents(out) == contents(finished_set)


@pytest.mark.parametrize(
    ("module", "name", "nth"),
    [
        ("encoding", "encode_shard", 2),
        ("encoding", "save_array", 3),  # the codes of the first shard: its views are there
        ("index", "index_band", 2),
        ("searching", "search_shard", 2),
        ("running", "decide", 1),
    ],
)
def test_killed_anywhere_in_the_near_rule(
    out: Path,
    near_source: Path,
    near_set: Path,
    near_recipe: Any,
    make: Make,
    module: str,
    name: str,
    nth: int,
) -> None:
    kill_run_at(f"dcgan_data.deduplicate.{module}", name, nth, near_source, out, near_recipe)
    assert not (out / "dataset.json").exists()
    make(near_source, out, near_recipe)
    assert contents(out) == contents(near_set)  # nothing temporary or staged among them


@pytest.mark.parametrize(
    ("target", "nth"),
    [
        ("dcgan_data.deduplicate.restore_pairs", 1),
        ("dcgan_data.formats.staging:Staging.write_plan", 1),
        ("pathlib:Path.unlink", 1),
        ("dcgan_data.deduplicate.running.decide", 1),
        ("dcgan_data.pipeline.write_manifest", 1),
        ("dcgan_data.pipeline.write_info", 1),
    ],
)
def test_broken_while_deciding_anew(
    out: Path,
    near_source: Path,
    near_set: Path,
    near_recipe: Any,
    near: Any,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    nth: int,
) -> None:
    shutil.copytree(near_set, out)
    make(out, out, near(threshold=0.9))
    break_at(monkeypatch, target, nth, make, out, out, near_recipe)
    make(out, out, near_recipe)
    assert contents(out) == contents(near_set)


def test_killed_while_deciding_in_place(
    tmp_path: Path, out: Path, source: Path, finished_set: Path, make: Make, recipe: MakeRecipe
) -> None:
    make(source, out, recipe("none"))
    shards = [identity(path) for path in sorted((out / "images").iterdir())]
    kill_run_at("dcgan_data.deduplicate.running", "decide", 1, out, out, recipe())
    assert not (out / "dataset.json").exists()
    with pytest.raises(BadInput, match="an unfinished set; run the command that was making it again"):
        make(out, tmp_path / "elsewhere")
    make(out, out)
    assert [identity(path) for path in sorted((out / "images").iterdir())] == shards
    assert contents(out) == contents(finished_set)


@pytest.mark.parametrize(
    ("target", "nth"),
    [
        ("dcgan_data.formats.staging:Staging.write_plan", 1),
        ("dcgan_data.prepare.prepare_shard", 1),
        ("dcgan_data.formats.staging:Staging.write_records", 2),
        ("dcgan_data.deduplicate.running.fit", 1),
        ("dcgan_data.deduplicate.fitting.write_autoencoder", 1),
        ("dcgan_data.deduplicate.running.decide", 1),
        ("dcgan_data.pipeline.write_manifest", 1),
        ("dcgan_data.pipeline.write_info", 1),
        ("dcgan_data.pipeline.write_report", 1),
        ("dcgan_data.formats.staging:Staging.remove", 1),
    ],
)
def test_broken_anywhere(
    out: Path,
    source: Path,
    finished_set: Path,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    nth: int,
) -> None:
    break_at(monkeypatch, target, nth, make, source, out)
    make(source, out)
    assert contents(out) == contents(finished_set)


@pytest.mark.parametrize(
    ("target", "nth"),
    [
        ("dcgan_data.formats.staging:Staging.write_records", 2),
        ("dcgan_data.formats.staging:Staging.write_plan", 1),
        ("pathlib:Path.unlink", 1),  # of the index: the set is still complete, and already staged
        ("dcgan_data.deduplicate.running.fit", 1),
        ("dcgan_data.pipeline.write_manifest", 1),
        ("dcgan_data.pipeline.write_info", 1),
        ("dcgan_data.pipeline.write_report", 1),
    ],
)
def test_broken_anywhere_in_place(
    out: Path,
    source: Path,
    finished_set: Path,
    make: Make,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    nth: int,
) -> None:
    make(source, out, recipe("none"))
    break_at(monkeypatch, target, nth, make, out, out)
    make(out, out)
    assert contents(out) == contents(finished_set)


@pytest.mark.parametrize("nth", [1, 2])
def test_broken_while_copying_a_set(
    tmp_path: Path,
    out: Path,
    source: Path,
    finished_set: Path,
    make: Make,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
) -> None:
    make(source, tmp_path / "undecided", recipe("none"))
    break_at(monkeypatch, "shutil.copyfile", nth, make, tmp_path / "undecided", out)
    make(tmp_path / "undecided", out)
    assert contents(out) == contents(finished_set)


def test_a_kill_in_place_may_leave_the_old_set_which_is_still_good(
    out: Path, source: Path, make: Make, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(source, out, recipe("none"))
    before = contents(out)
    break_at(monkeypatch, "pathlib:Path.unlink", 1, make, out, out)
    verify(out)
    make(out, out, recipe("none"))  # the first wish after all: complete, only cleared up
    assert contents(out) == before


def test_an_unfinished_run_of_another_job_is_refused(
    tmp_path: Path,
    out: Path,
    source: Path,
    make: Make,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_at(monkeypatch, "dcgan_data.deduplicate.running.fit", 1, make, source, out)
    with pytest.raises(BadRequest) as caught:
        make(source, out, recipe(seed=5))
    assert str(caught.value) == (
        f"{out}: holds an unfinished run of another job: recipe.seed (there: 0, asked: 5); "
        "finish that one, choose another --out, or start afresh with --overwrite"
    )
    make(source, out, recipe(seed=5), overwrite=True)
    make(source, tmp_path / "fresh" / "set", recipe(seed=5))
    assert contents(out) == contents(tmp_path / "fresh" / "set")


def test_an_unfinished_run_in_place_is_finished_or_given_up(
    out: Path, source: Path, make: Make, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(source, out, recipe("none"))
    break_at(monkeypatch, "dcgan_data.deduplicate.running.fit", 1, make, out, out)
    with pytest.raises(BadRequest) as caught:
        make(out, out, recipe(seed=5))
    assert str(caught.value).endswith(
        "job: recipe.seed (there: 0, asked: 5); finish that one, or decide otherwise with --overwrite"
    )
    make(out, out, recipe(seed=5), overwrite=True)
    make(source, out.with_name("fresh"), recipe(seed=5))
    assert read_info(out).content_sha256 == read_info(out.with_name("fresh")).content_sha256
    verify(out)


def test_libraries_are_not_mixed_within_a_run(
    out: Path, source: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, "dcgan_data.deduplicate.running.fit", 1, make, source, out)
    monkeypatch.setattr("dcgan_data.pipeline.library_versions", lambda: {"numpy": "0.1"})
    with pytest.raises(BadRequest, match=r"libraries\.numpy \(there: '[\d.]+', asked: '0\.1'\)"):
        make(source, out)


def test_what_is_there_counts_towards_the_disk(
    out: Path, source: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, "dcgan_data.deduplicate.running.fit", 1, make, source, out)
    present = sum(path.stat().st_size for path in (out / "images").iterdir())
    needed = 20 * (32 * 32 * 3 + 300) - present
    monkeypatch.setattr("dcgan_data.pipeline.free_bytes", lambda path: needed - 1)
    with pytest.raises(BadRequest, match="needs about 1 MB more, 0 are free"):
        make(source, out)
    monkeypatch.setattr("dcgan_data.pipeline.free_bytes", lambda path: needed)
    make(source, out)


def spoil(plan: dict[str, Any], keys: str) -> None:
    *above, last = keys.split(".")
    for key in above:
        plan = plan[key]
    plan[last] = None


@pytest.mark.parametrize(
    "keys", ["in_place", "source", "full_recipe", "origin", "origin.kind", "origin.records"]
)
def test_a_plan_that_is_not_whole(
    tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe, keys: str
) -> None:
    out = tmp_path / "set"
    plan = {
        "in_place": True,
        "source": {},
        "full_recipe": recipe().as_dict(),
        "origin": {"kind": "folder", "path": "photos", "records": 3, "fingerprint": "0" * 64},
    }
    spoil(plan, keys)
    Staging(out).write_plan(plan)
    for asked in (out, source):
        with pytest.raises(BadInput) as caught:
            make(asked, out)
        assert str(caught.value) == (
            f"{out}/.staging/plan.json: damaged ('{keys.split('.')[-1]}' is missing or of another kind); "
            "start afresh with --overwrite"
        )
