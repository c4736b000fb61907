"""Whole runs of the near rule: what is found, what is not, and that nothing but the images matters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import Run, deduplicate
from dcgan_data.formats.dataset import AUTOENCODER, read_info
from dcgan_data.formats.manifest import Counts
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.verify import verify

Texture = Callable[..., np.ndarray]

COPIES = {
    "00 crop": "00",
    "01 mirror": "01",
    "02 jpeg": "02",
    "03 equal": "03",
    "04 larger": "04",
    "05 both": "05",
    "06 grainy": "06",
    "21 black": "20 black",
}


def test_every_copy_and_nothing_else(near_set: Path, removals_of: Any, rows_of: Any, pairs_of: Any) -> None:
    removed = removals_of(near_set)
    assert {tuple(sorted(pair)) for pair in removed.items()} == {
        tuple(sorted(pair)) for pair in COPIES.items()
    }
    rows = rows_of(near_set)
    assert rows["04"]["duplicate_of"] == "04 larger"  # the larger source stays
    assert rows["03 equal"]["duplicate_of"] == "03"  # all else is equal: the smaller key
    assert rows["21 black"]["status"] == "kept"  # the larger
    assert all(row["weight"] is None for row in rows.values())
    views = {key: row["view"] for key, row in rows.items() if row["view"]}
    assert views["03 equal"] == views["20 black"] == "identity"
    assert "mirror" in views.get("01", "") + views.get("01 mirror", "")
    assert "zoom" in views.get("00", "") + views.get("00 crop", "")
    found = {tuple(sorted((pair["key_a"], pair["key_b"]))): pair["found"] for pair in pairs_of(near_set)}
    assert {pair for pair, how in found.items() if how == "pixels"} == {
        ("03", "03 equal"),
        ("20 black", "21 black"),
    }
    assert ("08", "08 grainy") in found  # checked and recorded, but under the threshold
    assert verify(near_set).removals == 8


def test_what_the_index_says(near_set: Path) -> None:
    info = read_info(near_set)
    assert info.counts == Counts(read=24, kept=15, duplicate=8, rejected=1)
    found = info.deduplication
    assert (found["rule"], found["threshold"], found["keep"]) == ("near", 0.74, "best")
    assert (found["low_contrast_images"], found["equal_pixels"]) == (3, 2)
    assert found["checked_pairs"] == found["candidate_pairs"] - found["candidates_left_out"]
    assert sum(found["score_histogram"]["counts"]) == found["checked_pairs"]
    assert len(found["score_histogram"]["edges"]) == len(found["score_histogram"]["counts"]) + 1
    curve = dict(map(tuple, found["removal_curve"]))
    assert (curve[0.56], curve[0.74], curve[0.88]) == (9, 8, 7)


def test_mirrored_copies_are_the_recipes_choice(
    tmp_path: Path, near_source: Path, near: Any, make: Any, removals_of: Any
) -> None:
    make(near_source, tmp_path / "set", near(mirror=False))
    removed = {tuple(sorted(pair)) for pair in removals_of(tmp_path / "set").items()}
    missed = {("01", "01 mirror"), ("05", "05 both")}
    assert removed == {tuple(sorted(pair)) for pair in COPIES.items()} - missed


def test_two_workers_make_the_same_bytes(
    tmp_path: Path, near_source: Path, near_set: Path, near_recipe: Any, make: Any
) -> None:
    info = make(near_source, tmp_path / "set", near_recipe, workers=2)
    assert info.content_sha256 == read_info(near_set).content_sha256


@pytest.mark.parametrize("records_per_shard", [5, 100])
def test_the_size_of_shards_changes_no_decision(
    tmp_path: Path, near_source: Path, near_set: Path, near: Any, make: Any, records_per_shard: int
) -> None:
    make(near_source, tmp_path / "set", near(records_per_shard))
    one, other = (PreparedSet.open(path).manifest() for path in (tmp_path / "set", near_set))
    assert one.drop_columns(["shard", "row"]).equals(other.drop_columns(["shard", "row"]))
    pairs = [(path / "duplicates.parquet").read_bytes() for path in (tmp_path / "set", near_set)]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_the_source_changes_no_decision(
    tmp_path: Path, near_set: Path, stage: Any, near_recipe: Any, reporter: Any, rows_of: Any, seed: int
) -> None:
    """With ``keep = "best"`` and the same autoencoder: the sample it is fitted on is in source order."""
    rows = [row for row in rows_of(near_set).values() if row["status"] != "rejected"]
    shards = [np.load(path) for path in sorted((near_set / "images").iterdir())]
    facts = [{name: row[name] for name in ("key", "width", "height", "bytes")} for row in rows]
    order = np.random.default_rng(seed).permutation(len(rows))
    pictures = [shards[rows[n]["shard"]][rows[n]["row"]] for n in order]
    images = stage(tmp_path, [pictures[:7], pictures[7:]], {new: facts[old] for new, old in enumerate(order)})
    shutil.copyfile(near_set / AUTOENCODER, tmp_path / AUTOENCODER)
    decisions = deduplicate(Run(images, near_recipe, 1, "cpu", reporter, {}))
    found = {
        facts[order[n]]["key"]: facts[order[kept]]["key"] if kept >= 0 else None
        for n, kept in enumerate(decisions.kept_by)
    }
    assert found == {row["key"]: row["duplicate_of"] for row in rows}


def test_weights_add_up_to_the_images(
    tmp_path: Path, near_source: Path, near: Any, make: Any, rows_of: Any
) -> None:
    make(near_source, tmp_path / "set", near(multiplicity=True))
    weights = {key: row["weight"] for key, row in rows_of(tmp_path / "set").items()}
    assert sum(weight or 0 for weight in weights.values()) == 23
    assert (weights["07"], weights["03"], weights["03 equal"], weights["23 cut"]) == (1, 2, None, None)


def test_what_a_limit_on_candidates_left_out_is_counted(
    tmp_path: Path, texture: Texture, grain: Any, write_set: Any, near: Any
) -> None:
    shown = {f"{number}": grain(texture(5, 32, 32), 5, number) for number in range(6)}
    out = write_set(tmp_path / "few", shown, near(max_candidates=2))
    found = read_info(out).deduplication
    assert (found["candidate_pairs"], found["checked_pairs"], found["candidates_left_out"]) == (30, 12, 18)
    assert found["comparisons_left_out"] == 0
    out = write_set(tmp_path / "narrow", shown, near(window=2))
    assert read_info(out).deduplication["comparisons_left_out"] > 0


def counts(out: Path) -> tuple[int, int, int]:
    verify(out)
    found = read_info(out).counts
    return found.kept, found.duplicate, found.rejected


def test_the_same_image_three_hundred_times(
    tmp_path: Path, texture: Texture, encoded: Any, write_set: Any, near: Any, removals_of: Any
) -> None:
    data = encoded(texture(1, 32, 32))
    out = write_set(tmp_path / "set", {f"{n:03d}": data for n in range(300)}, near(100))
    assert counts(out) == (1, 299, 0)
    assert set(removals_of(out).values()) == {"000"}


def test_black_images_are_one_and_almost_black_ones_are_not(
    tmp_path: Path, encoded: Any, write_set: Any, near: Any
) -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    out = write_set(tmp_path / "black", {f"{n}": black for n in range(12)}, near())
    assert counts(out) == (1, 11, 0)
    noise = np.random.default_rng(0).integers(0, 3, (12, 32, 32, 3), dtype=np.uint8)
    out = write_set(tmp_path / "almost", {f"{n}": image for n, image in enumerate(noise)}, near())
    assert counts(out) == (12, 0, 0)
    assert read_info(out).deduplication["low_contrast_images"] == 12


def test_of_flat_images_only_equal_pixels_go(
    tmp_path: Path, near_source: Path, near: Any, make: Any, removals_of: Any
) -> None:
    """Of what counts as flat no pixels are compared, however alike they are."""
    info = make(near_source, tmp_path / "set", near(min_contrast=200.0))
    assert removals_of(tmp_path / "set") == {"03 equal": "03", "20 black": "21 black"}
    found = info.deduplication
    assert (found["low_contrast_images"], found["checked_pairs"]) == (23, 0)
    verify(tmp_path / "set")


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_images(tmp_path: Path, texture: Texture, write_set: Any, near: Any, count: int) -> None:
    shown = {f"{number}": texture(number, 32, 32) for number in range(count)}
    assert counts(write_set(tmp_path / "set", shown, near())) == (count, 0, 0)


def test_two_copies(tmp_path: Path, texture: Texture, write_set: Any, near: Any) -> None:
    shown = {"a": texture(1, 32, 32), "b": np.ascontiguousarray(texture(1, 32, 32)[:, ::-1])}
    assert counts(write_set(tmp_path / "set", shown, near())) == (1, 1, 0)


def test_nothing_but_rejected_records(tmp_path: Path, write_set: Any, near: Any) -> None:
    out = write_set(tmp_path / "set", {"a": b"no image", "b": b"nor this"}, near())
    assert counts(out) == (0, 0, 2)


def test_a_shard_without_an_image(tmp_path: Path, texture: Texture, write_set: Any, near: Any) -> None:
    shown: dict[str, Any] = {f"{n:02d}": b"no image" for n in range(4)}
    shown |= {f"{n:02d}": texture(n % 3, 32, 32) for n in range(4, 10)}
    assert counts(write_set(tmp_path / "set", shown, near(2))) == (3, 3, 4)
