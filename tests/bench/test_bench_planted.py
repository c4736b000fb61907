"""``bench dedup`` on planted copies, from photos to table."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.bench import planted
from dcgan_data.bench.changes import KINDS
from dcgan_data.bench.copies import PlantSettings
from dcgan_data.bench.ours import BenchSettings
from dcgan_data.bench.planted import PlantedBench, bench_planted
from dcgan_data.bench.tables import planted_table
from dcgan_data.errors import BadRequest
from dcgan_data.recipe import Recipe
from dcgan_data.reporter import Reporter

NO_PEERS = any(importlib.util.find_spec(name) is None for name in ("imagehash", "pdqhash"))
METHODS = ["ours", "phash_6", "phash_8", "phash_10", "dhash_6", "pdq_31", "pdq_60"]


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Callable[..., np.ndarray],
    encoded: Callable[..., bytes],
    write_lmdb: Callable[[Path, Mapping[bytes, bytes]], Path],
) -> Path:
    """24 photos, of which the last is byte for byte the first, and a record that is none."""
    records = {b"%02d" % n: encoded(picture(96, 72, seed=n), "JPEG", quality=90) for n in range(23)}
    records[b"23"] = records[b"00"]
    records[b"24 text"] = b"not an image"
    return write_lmdb(tmp_path_factory.mktemp("photos") / "lmdb", records)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sheets")


@pytest.fixture(scope="module")
def result(photos: Path, recipe: Callable[..., Recipe], sheets: Path) -> PlantedBench:
    from dcgan_data.reporter import SilentReporter

    settings = BenchSettings(recipe(), 1, "cpu", peers=not NO_PEERS, sheets=sheets)
    return bench_planted(PlantSettings(photos, per_kind=2), settings, SilentReporter())


def test_what_was_planted(result: PlantedBench) -> None:
    assert (result.photos, result.images, result.left_out) == (24, 24 + 2 * len(KINDS), 1)
    assert result.scores["ours"].planted == {kind.name: 2 for kind in KINDS}
    assert result.scores["ours"].rejected == {}
    assert list(result.scores) == (METHODS[:1] if NO_PEERS else METHODS)


def test_real_copies_are_counted_apart(result: PlantedBench) -> None:
    """The exact rule must put the two equal photos together, and say so."""
    assert result.cross_originals["ours"] >= 1
    pair = next(pair for pair in result.cross if {pair.removed, pair.kept} == {"00", "23"})
    assert pair.originals_match
    assert [pair.originals_match for pair in result.cross] == sorted(
        pair.originals_match for pair in result.cross
    )


@pytest.mark.skipif(
    NO_PEERS, reason="imagehash and pdqhash are not installed: pip install 'dcgan-data[bench]'"
)
def test_peers_find_what_they_are_known_to_find(result: PlantedBench) -> None:
    assert result.scores["phash_10"].recall["jpeg_75"] == 1.0
    assert result.scores["phash_6"].recall["mirror"] == 0.0
    for peer in METHODS[1:]:
        assert result.cross_originals[peer] >= 1  # the two equal photos
        assert (result.scores[peer].wrong_pairs or 0) >= 1
    for name in ("phash_6", "phash_8"):
        assert result.scores[name].recall["frame"] <= result.scores["phash_10"].recall["frame"]


def test_as_json(result: PlantedBench) -> None:
    values = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert list(values["planted"]) == list(result.scores)
    assert list(values["planted"]["ours"]) == [kind.name for kind in KINDS]
    assert all(0 <= share <= 1 for share in values["planted"]["ours"].values())
    assert values["planted_wrong"]["ours"] == {
        "wrong_removals": result.scores["ours"].wrong_removals,
        "cross_originals": result.cross_originals["ours"],
        "wrong_pairs": None,
    }
    assert values["planted_set"]["rule"] == "exact"
    assert {"removed", "kept", "score", "originals_match"} == values["planted_cross"][0].keys()


def test_as_a_table(result: PlantedBench) -> None:
    lines = planted_table(result).splitlines()
    assert lines[0] == (
        "planted: 2 changed copies of each kind among 24 photos (60 images, ours at 32 px, seed 0)"
    )
    assert lines[1].split()[2:] == list(result.scores)
    assert [line.split()[0] for line in lines[2:20]] == [kind.name for kind in KINDS]
    assert lines[2].split()[1] == f"{result.scores['ours'].recall['jpeg_75']:.3f}"
    assert "left out: 1 records, not to be read or too small" in lines


def test_the_pages(result: PlantedBench, sheets: Path) -> None:
    assert [path.name for path in sheets.iterdir()] == [
        f"planted-{n:02d}.png" for n in range(-(-len(result.cross) // 24))
    ]
    with Image.open(sheets / "planted-00.png") as page:
        assert page.width == 4 * (2 * 192 + 16)


def test_the_same_again_and_nothing_left(
    result: PlantedBench,
    photos: Path,
    recipe: Callable[..., Recipe],
    reporter: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = BenchSettings(recipe(), 2, "cpu", peers=False)
    again = bench_planted(PlantSettings(photos, per_kind=2), settings, reporter)
    assert (again.scores["ours"], again.cross) == (result.scores["ours"], result.cross)
    assert list(again.scores) == ["ours"]
    assert reporter.stages["plant"] == 2 * len(KINDS)
    assert list(tmp_path.glob("dcgan-data-*")) == []


def test_peers_that_are_not_installed_are_said_first(
    photos: Path, recipe: Callable[..., Recipe], reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise BadRequest("--peers: not installed")

    monkeypatch.setattr(planted, "require_peers", refuse)
    with pytest.raises(BadRequest, match="--peers: not installed"):
        bench_planted(PlantSettings(photos, per_kind=2), BenchSettings(recipe()), reporter)
