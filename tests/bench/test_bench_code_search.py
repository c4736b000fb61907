"""``bench dedup --codes`` searches real code paths on synthetic codes whose copies are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcgan_data.bench import code_search
from dcgan_data.bench.code_search import (
    ScaleBench,
    ScaleLine,
    SyntheticQueries,
    bench_code_search,
    write_codes,
)
from dcgan_data.bench.ours import BenchSettings
from dcgan_data.bench.tables import scale_table
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.formats.atomic import save_array
from dcgan_data.recipe import Recipe, recipe_from_dict
from dcgan_data.reporter import SilentReporter


def test_planted_copies_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_search, "_MOST_BASES", 200)
    found = bench_code_search([600, 300], None, BenchSettings(Recipe()), 0, SilentReporter())
    assert [line.codes for line in found.lines] == [300, 600]
    for line in found.lines:
        assert line.views == 28
        assert line.planted_recall > 0.95
        assert line.candidate_pairs > 0
        assert min(line.parent_peak_mb, line.worker_peak_mb) > 10
        assert line.together_mb > line.mapped_mb > 0 or not Path("/proc").exists()
        assert (line.slices, line.merge_seconds, line.spilled_bytes) == (1, 0, 0)
    assert not found.real
    assert found.exponent is not None
    assert "random codes" in scale_table(found)


def test_little_memory_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two worker processes, and in slices: two chunks, because copies are of the same one."""
    monkeypatch.setattr(code_search, "_MOST_BASES", 200)
    monkeypatch.setattr(code_search, "resident_bytes", lambda: 0)
    settings = BenchSettings(Recipe(), workers=2)
    lines = []
    for memory in (0, 700_000_000):
        (line,) = bench_code_search([9000], None, settings, memory, SilentReporter()).lines
        lines.append(line)
    free, tight = lines
    assert free.slices == 1 < tight.slices and tight.spilled_bytes > 0
    for name in ("codes", "candidate_pairs", "planted_recall", "left_out"):
        assert getattr(free, name) == getattr(tight, name)


def test_codes_of_real_images_are_multiplied(tmp_path: Path) -> None:
    make_demo_lmdb(tmp_path / "lsun", count=40)
    few = {"max_updates": 8, "evaluate_every": 4}
    recipe = recipe_from_dict({"image": {"size": 32}, "autoencoder": few})
    found = bench_code_search([200], tmp_path / "lsun", BenchSettings(recipe), 0, SilentReporter())
    assert found.real
    assert found.exponent is None
    assert "codes of real images" in scale_table(found)


def drawn(folder: Path, seed: int, size: int = 2000) -> SyntheticQueries:
    folder.mkdir()
    queries = SyntheticQueries(folder, size, seed)
    save_array(folder / "bases.npy", np.random.default_rng(0).integers(0, 256, (50, 3, 16), dtype=np.uint8))
    return queries


def test_multiplied_codes_are_seeded_and_copies_are_near(tmp_path: Path) -> None:
    codes = {
        name: drawn(tmp_path / name, seed).first_codes(0) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    }
    assert np.array_equal(codes["a"], codes["b"])
    assert not np.array_equal(codes["a"], codes["c"])
    copies, originals = drawn(tmp_path / "d", 1).draw(0)[2].T
    assert 100 < len(copies) < 300
    distance = np.bitwise_count(codes["a"][copies] ^ codes["a"][originals]).sum(axis=1)
    assert distance.max() == 8


def test_chunks_are_drawn_again_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_search, "_CHUNK", 150)
    queries = drawn(tmp_path / "a", 3, 400)
    write_codes(queries)
    codes = np.load(tmp_path / "a" / "codes.npy")
    for chunk in range(3):
        views, own = queries.view_codes(chunk)
        assert own == 150 * chunk and len(views) == (150, 150, 100)[chunk]
        assert np.array_equal(codes[own : own + len(views)], views[:, 0])
    crowds = np.unique(codes, axis=0, return_counts=True)[1]
    assert len(codes) == 400 and crowds.max() < 20


def line(codes: int, seconds: float) -> ScaleLine:
    return ScaleLine(codes, 28, 1, 0.0, seconds, 0.0, 1, 1, 1, 1, 1, 1, 1, 1.0, 0)


def test_the_exponent_is_a_slope() -> None:
    lines = [line(10**n, 2.0 * 10 ** (1.5 * n)) for n in (2, 3, 4)]
    assert ScaleBench(lines, False).exponent == pytest.approx(1.5)
