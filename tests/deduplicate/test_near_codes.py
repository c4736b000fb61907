"""Slices change nothing but the memory: what is found is the same, whatever they are, killed or not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import Run, deduplicate, near_codes, slices
from dcgan_data.deduplicate.near_codes import (
    CodeSearch,
    forget_found,
    found_for,
    plan_slices,
    search_slices,
    told_of,
)
from dcgan_data.deduplicate.slices import Room
from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.ops.bands import Bands
from dcgan_data.ops.search import Limits
from dcgan_data.recipe import recipe_from_dict

COUNT, SHARD, SHARDS, VIEWS, BANDS = 2400, 1300, 2, 3, 6
UNCUT, IN_GROUPS, CUT = 0, 200_000, 100_000
"""Limits that make one slice, some of whole bands, and many of parts of bands."""


@dataclass(frozen=True)
class Drawn:
    """Crowds and chains of near codes, each seen under three views."""

    def view_codes(self, shard: int) -> tuple[np.ndarray, int]:
        views = self.all()[shard * SHARD : (shard + 1) * SHARD]
        return views, shard * SHARD

    def all(self) -> np.ndarray:
        rng = np.random.default_rng(5)
        bits = rng.integers(0, 2, (60, 1, 128))[rng.integers(0, 60, COUNT)]
        bits = bits ^ (rng.random((COUNT, 1, 128)) < 0.03) ^ (rng.random((COUNT, VIEWS, 128)) < 0.01)
        bits[-300:] = bits[0]
        return np.packbits(bits.astype(np.uint8), axis=2)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes take nothing and crowds find little: limits are then those of small indexes."""
    for module, name in ((slices, "PROCESS_BYTES"), (slices, "_BLOCK_BYTES"), (slices, "_VIEW_BYTES")):
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(slices, "KEY_BYTES", 0)


def searched(folder: Path, memory: int, main: int = 0) -> tuple[CodeSearch, Room]:
    folder.mkdir(exist_ok=True)
    save_array(folder / "codes.npy", np.ascontiguousarray(Drawn().all()[:, 0]))
    bands = Bands.for_codes(COUNT, BANDS, 1)
    room = Room(bands, COUNT, VIEWS, 8, 1, memory, main)
    return CodeSearch(Drawn(), folder, bands, Limits(16, 8), plan_slices(folder, room)), room


def outcome(search: CodeSearch) -> list[tuple[list[tuple[int, int]], int]]:
    """By shard: all (first query, key), and what was left out."""
    found = [list(found_for(search, shard)) for shard in range(SHARDS)]
    return [
        ([(f.first, key) for f in of for key in f.keys.tolist()], sum(f.left_out for f in of)) for of in found
    ]


def run(search: CodeSearch, room: Room) -> list[tuple[int, int | None]]:
    return list(search_slices(search, room, range(SHARDS)))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a search in one slice finds."""
    search, room = searched(tmp_path_factory.mktemp("one"), UNCUT)
    assert len(search.slices) == 1
    assert run(search, room) == [(0, None)]
    found = outcome(search)
    assert sum(len(keys) for keys, _ in found) > 10_000 and sum(left for _, left in found) > 10_000
    return found


@pytest.mark.parametrize("memory", [IN_GROUPS, CUT])
def test_slices_find_the_same(tmp_path: Path, bare: None, expected: Any, memory: int) -> None:
    search, room = searched(tmp_path / "index", memory)
    assert len(search.slices) > 1
    assert (sum(map(len, search.slices)) > BANDS) == (memory == CUT)
    assert "slices, each with an index of at most" in told_of(search.slices)
    steps = run(search, room)
    assert sorted(step for step in steps if step[1] is not None) == [
        (number, shard) for number in range(len(search.slices)) for shard in range(SHARDS)
    ]
    assert not list(search.folder.glob("words-*"))  # each index is gone once all are looked up in it
    assert outcome(search) == expected
    for shard in range(SHARDS):
        forget_found(search, shard)
    assert not list(search.folder.glob("found-*/*"))


def test_the_index_of_every_slice_fits(tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk at a time is no more than was reckoned with, headers of files aside."""
    search, room = searched(tmp_path / "index", CUT)
    most = 0
    for _, shard in search_slices(search, room, range(SHARDS)):
        if shard is None:
            files = list(search.folder.glob("*-*-*.npy"))
            most = max(most, sum(path.stat().st_size - 128 for path in files))
    assert 0 < most <= CUT
    assert most == max(sum(part.index_bytes for part in parts) for parts in search.slices)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("memory", [IN_GROUPS, CUT])
@pytest.mark.parametrize(
    ("name", "nth"), [("spill_shards", 2), ("_look_up_lots", 2), ("build_index", 2), ("remove_index", 1)]
)
def test_a_killed_search_goes_on(
    tmp_path: Path,
    bare: None,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    name: str,
    nth: int,
) -> None:
    calls = 0

    def breaking(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return original(*arguments)

    original = getattr(near_codes, name)
    monkeypatch.setattr(near_codes, "_TASKS_OF_A_WORKER", 2)  # several shards a task
    search, room = searched(tmp_path / "index", memory)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(near_codes, name, breaking)
        run(search, room)
    done = set(search.folder.glob("found-*/*.npy"))
    again, room = searched(tmp_path / "index", 10 * memory)  # the slices that were begun fit this too
    assert again.slices == search.slices
    spilled: list[Path] = []

    def watching(search: CodeSearch, number: int, shards: Sequence[int]) -> Sequence[int]:
        spilled.extend(search.spilled(number, shard) for shard in shards)
        return spill_shards(search, number, shards)

    spill_shards = near_codes.spill_shards
    monkeypatch.setattr(near_codes, "spill_shards", watching)
    run(again, room)
    assert not done & set(spilled)
    assert len(done) + len(spilled) == SHARDS * len(search.slices)
    assert outcome(again) == expected


def test_a_main_process_that_is_a_little_larger_than_before(tmp_path: Path, bare: None) -> None:
    """It never takes the same memory twice, and cut bands fill the limit: what was found is not dropped."""
    search, room = searched(tmp_path / "index", CUT, main=10_000)
    assert sum(map(len, search.slices)) > BANDS
    run(search, room)
    found = set(search.folder.glob("found-*/*.npy"))
    again, _ = searched(tmp_path / "index", CUT, main=10_400)
    assert again.slices == search.slices
    assert found and found == set(search.folder.glob("found-*/*.npy"))


def test_less_memory_than_a_killed_run_had(tmp_path: Path, bare: None, expected: Any) -> None:
    """Its slices are too large: they are dropped with all that they found, and others made."""
    search, room = searched(tmp_path / "index", IN_GROUPS)
    for step in search_slices(search, room, range(SHARDS)):
        if step == (1, 0):
            break
    assert list(search.folder.glob("found-*/*")) and list(search.folder.glob("words-*"))
    again, room = searched(tmp_path / "index", CUT)
    assert len(again.slices) > len(search.slices)
    assert not list(search.folder.glob("found-*")) and not list(search.folder.glob("words-*"))
    run(again, room)
    assert outcome(again) == expected


def test_a_full_disk_is_told_before_it_is_full(
    tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(BadRequest, match=r"index: needs about \d+ MB more for the index, 0 are free"):
        searched(tmp_path / "index", CUT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=CUT))
    search, room = searched(tmp_path / "index", CUT)
    text = r"MB more for what is found, and the index, .*; make room, and run the same command again: what"
    with pytest.raises(BadRequest, match=text):
        run(search, room)


def test_a_disk_that_is_full_of_what_was_found(
    tmp_path: Path, bare: None, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed at the end of its search needs no more room for the finds that are there."""
    search, room = searched(tmp_path / "index", CUT)
    run(search, room)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    again, room = searched(tmp_path / "index", CUT)
    run(again, room)
    assert outcome(again) == expected


def test_no_queries_in_a_shard(tmp_path: Path, bare: None) -> None:
    class Nobody(Drawn):
        def view_codes(self, shard: int) -> tuple[np.ndarray, int]:
            return np.zeros((0, VIEWS, 16), np.uint8), 0

    for memory in (UNCUT, IN_GROUPS):
        search, room = searched(tmp_path / f"{memory}", memory)
        nobody = CodeSearch(Nobody(), search.folder, search.bands, search.limits, search.slices)
        run(nobody, room)
        assert outcome(nobody) == [([], 0)] * SHARDS


def small_changes(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    scenes = [np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))) for _ in range(count // 2)]
    noise = rng.integers(-6, 7, (count, 32, 32, 3))
    return [np.clip(scenes[n % len(scenes)] + noise[n], 0, 255).astype(np.uint8) for n in range(count)]


def test_a_whole_deduplication_with_little_memory(
    tmp_path: Path, stage: Any, reporter: Any, bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcgan_data.deduplicate.searching.resident_bytes", lambda: 0)
    pictures = [*small_changes(60), *small_changes(4)]
    few = {"max_updates": 8, "evaluate_every": 4}
    recipe = recipe_from_dict({"image": {"size": 32}, "autoencoder": few})
    found: list[tuple[list[int], Path]] = []
    for name, limit in (("free", 0), ("groups", 20_000), ("cut", 2_700)):
        images = stage(tmp_path / name, [pictures[:30], pictures[30:]])
        if found:  # which is the same, and need not be fitted again
            shutil.copyfile(tmp_path / "free" / AUTOENCODER, tmp_path / name / AUTOENCODER)
        decisions = deduplicate(Run(images, recipe, 1, "cpu", reporter, {}, memory=limit))
        found.append((decisions.kept_by.tolist(), images.staging.path))
    free = found[0][1]
    assert max(found[0][0]) >= 0 and not list((free / "index").glob("found-*"))
    for kept_by, tight in found[1:]:
        assert kept_by == found[0][0]
        for name in ("pairs/00000.npy", "pairs/00001.npy", "pairs/00000.json", "found/pairs.npy"):
            assert (free / name).read_bytes() == (tight / name).read_bytes(), name
        assert (free / "found/findings.json").read_bytes() == (tight / "found/findings.json").read_bytes()
        assert list((tight / "index").glob("found-*")) and not list((tight / "index").glob("found-*/*"))
    slices_told = [text for text in reporter.said if text.startswith("search in ")]
    assert len(slices_told) == 2
