"""The scale bench searches real code paths on synthetic codes whose copies are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcgan_data.bench import scale
from dcgan_data.bench.ours import BenchSettings
from dcgan_data.bench.scale import ScaleBench, ScaleLine, bench_scale
from dcgan_data.bench.tables import scale_table
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.recipe import Recipe, recipe_from_dict
from dcgan_data.reporter import SilentReporter


def test_planted_copies_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "_MOST_BASES", 200)
    found = bench_scale([600, 300], None, BenchSettings(Recipe()), SilentReporter())
    assert [line.codes for line in found.lines] == [300, 600]
    for line in found.lines:
        assert line.views == 28
        assert line.planted_recall > 0.95
        assert line.candidate_pairs > 0
        assert min(line.parent_peak_mb, line.worker_peak_mb) > 10
    assert not found.real
    assert found.exponent is not None
    assert "random codes" in scale_table(found)


def test_codes_of_real_images_are_multiplied(tmp_path: Path) -> None:
    make_demo_lmdb(tmp_path / "lsun", count=40)
    few = {"max_updates": 8, "evaluate_every": 4}
    recipe = recipe_from_dict({"image": {"size": 32}, "autoencoder": few})
    found = bench_scale([200], tmp_path / "lsun", BenchSettings(recipe), SilentReporter())
    assert found.real
    assert found.exponent is None
    assert "codes of real images" in scale_table(found)


def test_multiplied_codes_are_seeded_and_copies_are_near(tmp_path: Path) -> None:
    bases = np.random.default_rng(0).integers(0, 256, (50, 3, 16), dtype=np.uint8)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        scale._multiply(bases, 2000, tmp_path / name, seed)
    codes = {name: np.load(tmp_path / name / "codes.npy") for name in "abc"}
    assert np.array_equal(codes["a"], codes["b"])
    assert not np.array_equal(codes["a"], codes["c"])
    copies, originals = np.load(tmp_path / "a" / "planted-00000.npy").T
    assert 100 < len(copies) < 300
    distance = np.bitwise_count(codes["a"][copies] ^ codes["a"][originals]).sum(axis=1)
    assert distance.max() == 8


def test_the_exponent_is_a_slope() -> None:
    lines = [ScaleLine(10**n, 28, 0.0, 2.0 * 10 ** (1.5 * n), 1, 1, 1, 1.0, 0) for n in (2, 3, 4)]
    assert ScaleBench(lines, False).exponent == pytest.approx(1.5)
