"""Another threshold, another choice: from the recorded pairs, with the bytes of a run from scratch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dcgan_data.cli import app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import DatasetInfo, read_info, write_info
from dcgan_data.formats.manifest import PAIR_SCHEMA, read_table, table_writer
from dcgan_data.formats.shards import stamp_file
from dcgan_data.verify import verify

Make = Callable[..., DatasetInfo]
WORK = (
    "dcgan_data.cutting.decode_square",
    "dcgan_data.deduplicate.running.fit",
    "dcgan_data.deduplicate.encoding.encode_shard",
    "dcgan_data.deduplicate.index.index_band",
    "dcgan_data.deduplicate.searching.search_shard",
    "dcgan_data.deduplicate.searching.null_scores",
)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a new decision has no need of fails."""

    def forbidden(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("not in place")

    for name in WORK:
        monkeypatch.setattr(name, forbidden)


@pytest.fixture(scope="module")
def fresh(
    tmp_path_factory: pytest.TempPathFactory, near_source: Path, near: Any, make: Make
) -> dict[float, str]:
    """Hashes of sets made from scratch, by threshold."""
    out = tmp_path_factory.mktemp("fresh")
    thresholds = (0.55, 0.88, 1.0)
    return {t: make(near_source, out / str(t), near(threshold=t)).content_sha256 for t in thresholds}


@pytest.mark.usefixtures("no_work")
def test_up_and_down_and_back(
    copied_near_set: Path, near: Any, make: Make, fresh: dict[float, str], removals_of: Any
) -> None:
    first = read_info(copied_near_set)
    shard = copied_near_set / "images" / "00001.npy"
    before = shard.stat().st_mtime_ns, shard.stat().st_ino
    removed = {}
    for threshold in (0.88, 0.55, 1.0, 0.55):
        info = make(copied_near_set, copied_near_set, near(threshold=threshold))
        assert info.content_sha256 == fresh[threshold]
        assert info.deduplication["threshold"] == threshold
        removed[threshold] = len(removals_of(copied_near_set, threshold))
        verify(copied_near_set)
    assert removed == {0.55: 9, 0.88: 7, 1.0: 2}
    assert make(copied_near_set, copied_near_set, near()).deduplication == first.deduplication
    assert read_info(copied_near_set).content_sha256 == first.content_sha256
    assert (shard.stat().st_mtime_ns, shard.stat().st_ino) == before


@pytest.mark.usefixtures("no_work")
def test_another_choice_of_who_stays(
    copied_near_set: Path, near: Any, make: Make, removals_of: Any, rows_of: Any
) -> None:
    make(copied_near_set, copied_near_set, near(keep="first", multiplicity=True))
    # LMDB order is the order of the keys: "00" comes before "00 crop".
    assert all(removed > kept for removed, kept in removals_of(copied_near_set).items())
    assert sum(row["weight"] or 0 for row in rows_of(copied_near_set).values()) == 23
    verify(copied_near_set)


def test_a_crowd_decided_anew(
    tmp_path: Path,
    texture: Callable[..., Any],
    grain: Any,
    write_set: Any,
    near: Any,
    make: Make,
    removals_of: Any,
    pairs_of: Any,
) -> None:
    """What was asked for one threshold is not taken for what the search found."""
    shown = {f"{number:03d}": grain(texture(5, 32, 32), 6, number) for number in range(60)}
    sets = {}
    for threshold in (0.8, 0.9):
        recipe = near(30, max_candidates=1, window=1, threshold=threshold)
        sets[threshold] = write_set(tmp_path / f"{threshold}", shown, recipe)
    assert "group" in {pair["found"] for pair in pairs_of(sets[0.8])}
    wanted = read_info(sets[0.9])
    found = make(sets[0.8], sets[0.8], near(30, max_candidates=1, window=1, threshold=0.9))
    assert found.content_sha256 == wanted.content_sha256
    assert found.deduplication == wanted.deduplication
    removals_of(sets[0.8], 0.9)


def test_what_changes_the_search_is_searched_anew(
    copied_near_set: Path, near_source: Path, tmp_path: Path, near: Any, make: Make, reporter: Any
) -> None:
    info = make(copied_near_set, copied_near_set, near(mirror=False), reporter)
    assert "search" in reporter.stages
    assert info.content_sha256 == make(near_source, tmp_path / "fresh", near(mirror=False)).content_sha256


def test_the_exact_rule_falls_back_to_the_whole_run(
    copied_near_set: Path, recipe: Any, near_recipe: Any, near_set: Path, make: Make, reporter: Any
) -> None:
    make(copied_near_set, copied_near_set, recipe("exact"))
    assert verify(copied_near_set).removals < 8
    info = make(copied_near_set, copied_near_set, near_recipe, reporter)
    assert {"fit", "encode", "search"} <= set(reporter.stages)
    assert info.content_sha256 == read_info(near_set).content_sha256


def test_pairs_that_name_nobody(copied_near_set: Path, near: Any, make: Make) -> None:
    path = copied_near_set / "duplicates.parquet"
    table = read_table(path, PAIR_SCHEMA).to_pylist()
    table[0]["key_a"] = "nobody"
    with table_writer(path, PAIR_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(table, schema=PAIR_SCHEMA))
    info = read_info(copied_near_set)
    files = {**info.files, "duplicates.parquet": stamp_file(path)}
    write_info(copied_near_set, dataclasses.replace(info, files=files))
    with pytest.raises(BadInput, match="names keys that the manifest does not have; run the command that"):
        make(copied_near_set, copied_near_set, near(threshold=0.9))
    assert (copied_near_set / "dataset.json").exists()  # nothing was done


def test_changed_pairs_are_refused(copied_near_set: Path, near: Any, make: Make) -> None:
    path = copied_near_set / "duplicates.parquet"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"duplicates\.parquet: its bytes were changed"):
        make(copied_near_set, copied_near_set, near(threshold=0.9))


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


OPTIONS = ("--workers", 1, "--device", "cpu", "--max-rejected", "10%")


@pytest.mark.usefixtures("no_work")
def test_the_command_keeps_the_sets_own_recipe(copied_near_set: Path, fresh: dict[float, str]) -> None:
    before = read_info(copied_near_set).recipe
    done = run("dedup", copied_near_set, "--threshold", 0.88, *OPTIONS)
    assert done.exit_code == 0, done.output
    info = read_info(copied_near_set)
    assert info.content_sha256 == fresh[0.88]
    assert info.recipe == {**before, "dedup": {**before["dedup"], "threshold": 0.88}}
    done = run("dedup", copied_near_set, "--keep", "first", *OPTIONS)
    assert done.exit_code == 0, done.output
    wanted = {**before["dedup"], "threshold": 0.88, "keep": "first"}
    assert read_info(copied_near_set).recipe["dedup"] == wanted


def test_thresholds_that_are_none(copied_near_set: Path) -> None:
    for value in (0.49, 1.5, -1):
        done = run("dedup", copied_near_set, "--threshold", value)
        assert done.exit_code == 1
        assert done.stderr.startswith(
            f"error: dedup.threshold: {float(value)} is not allowed; expected 0.5 to 1 (pairs that score less"
        )
    verify(copied_near_set)


@pytest.mark.parametrize("target", ["load_pairs", "decide"])
def test_the_same_command_goes_on_after_a_kill(
    copied_near_set: Path, fresh: dict[float, str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Though the index, which said how the set was made, is gone."""

    class Killed(BaseException):
        pass

    def dying(*arguments: Any) -> Any:
        raise Killed

    words = ("dedup", copied_near_set, "--threshold", 0.88, *OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(f"dcgan_data.deduplicate.running.{target}", dying)
        with pytest.raises(Killed):
            run(*words)
    assert not (copied_near_set / "dataset.json").exists()
    with pytest.raises(BadInput, match="unfinished"):
        verify(copied_near_set)
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert read_info(copied_near_set).content_sha256 == fresh[0.88]
    assert not list(copied_near_set.rglob("*.tmp")) and not (copied_near_set / ".staging").exists()


def test_a_file_of_wishes_is_part_of_the_job(
    tmp_path: Path, copied_near_set: Path, near: Any, make: Make, reporter: Any, rows_of: Any
) -> None:
    wishes = tmp_path / "wishes.csv"
    wishes.write_text("key,value\n03 equal,1\n")
    recipe = near(keep=f"{wishes}:value")
    make(copied_near_set, copied_near_set, recipe)
    assert rows_of(copied_near_set)["03"]["duplicate_of"] == "03 equal"
    make(copied_near_set, copied_near_set, recipe, reporter)
    assert "nothing to do" in reporter.said[-1]
    wishes.write_text("key,value\n03,1\n")
    make(copied_near_set, copied_near_set, recipe)
    assert rows_of(copied_near_set)["03 equal"]["duplicate_of"] == "03"
    shutil.move(wishes, tmp_path / "elsewhere.csv")
    with pytest.raises(BadRequest) as caught:
        make(copied_near_set, copied_near_set, recipe)
    assert str(caught.value) == (f"--keep: {wishes}: no such file; expected best, first or FILE:COLUMN")


def test_a_bad_wish_leaves_the_set_as_it_was(
    copied_near_set: Path, tmp_path: Path, near: Any, make: Make
) -> None:
    before = (copied_near_set / "dataset.json").read_bytes()
    wishes = tmp_path / "wishes.csv"
    for text, message in (("key,s\na,1\n", "has no column wrong"), ("key,key,wrong\n", "is not a column")):
        wishes.write_text(text)
        with pytest.raises(BadRequest, match=message):
            make(copied_near_set, copied_near_set, near(keep=f"{wishes}:wrong"))
        assert (copied_near_set / "dataset.json").read_bytes() == before


@pytest.mark.parametrize("missing", ["autoencoder.safetensors", "images/00000.npy"])
def test_a_damaged_set_is_refused_while_its_index_is_there(
    copied_near_set: Path, near: Any, make: Make, missing: str
) -> None:
    (copied_near_set / missing).unlink()
    with pytest.raises(BadInput, match=missing):
        make(copied_near_set, copied_near_set, near(threshold=0.88))
    assert (copied_near_set / "dataset.json").exists()


def test_a_broken_decision_can_be_given_up_for_another(
    copied_near_set: Path, near: Any, make: Make, fresh: dict[float, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("dcgan_data.pipeline.write_manifest", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(copied_near_set, copied_near_set, near(threshold=0.6))
    assert not (copied_near_set / "dataset.json").exists()
    with pytest.raises(BadRequest, match="or decide otherwise with --overwrite"):
        make(copied_near_set, copied_near_set, near(threshold=0.88))
    info = make(copied_near_set, copied_near_set, near(threshold=0.88), overwrite=True)
    assert info.content_sha256 == fresh[0.88]
    verify(copied_near_set)
