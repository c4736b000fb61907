"""The whole-set driver: who counts as the same, who stays, and how the codes are doing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.deduplicate import (
    ImageSet,
    choose_largest,
    code_health,
    decide,
    encode_all,
    encode_shard,
    fit,
    read_encoder,
    sample_pixels,
)
from dcgan_data.formats.autoencoder_file import read_autoencoder
from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.manifest import RECORD_SCHEMA
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.codes import encode
from dcgan_data.recipe import DedupRecipe

Picture = Callable[..., np.ndarray]
Row = tuple[str, int, int]  # key, width, height


def stage(out: Path, shards: list[list[np.ndarray]], sizes: dict[int, Row] | None = None) -> ImageSet:
    """Images as a run in progress has them. The key of image n is n in words of three digits."""
    staging = Staging(out)
    number = 0
    for index, images in enumerate(shards):
        path = out / shard_name(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        with path.open("wb") as file:
            writer = ShardWriter(file, 32)
            for image in images:
                key, width, height = (sizes or {}).get(number, (f"{number:03d}", 32, 32))
                place = {"key": key, "part": 0, "status": "kept", "shard": index, "row": writer.append(image)}
                rows.append({**place, "width": width, "height": height})
                rows.append({"key": f"{key} bad", "part": 0, "status": "rejected", "shard": index})
                number += 1
            writer.close()
        table = pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)
        staging.write_records(index, table, stamp_file(path), len(images))
    return ImageSet(staging, [len(images) for images in shards], 32)


def decided(images: ImageSet, recipe: Any, min_contrast: float = 4.0) -> Any:
    fit(images, recipe.autoencoder, recipe.seed, "cpu")
    list(encode_all(images, min_contrast, 1))
    return decide(images, DedupRecipe(min_contrast=min_contrast))


def test_equal_images_form_groups_across_shards(
    tmp_path: Path, picture: Picture, recipe: Callable[..., Any]
) -> None:
    a, b, c, d = (picture(32, 32, seed=seed) for seed in range(4))
    images = stage(tmp_path, [[a, b], [c, a], [], [d, b, a]])
    found = decided(images, recipe())
    assert found.kept_by.tolist() == [-1, -1, -1, 0, -1, 1, 0]
    assert found.group.tolist() == [0, 1, -1, 0, -1, 1, 0]
    assert {name: values.tolist() for name, values in found.pairs.items() if name != "score"} == {
        "a": [0, 1, 0],
        "b": [3, 5, 6],
        "view": ["identity"] * 3,
        "distance": [0, 0, 0],
    }
    assert np.isnan(found.pairs["score"]).all()
    assert found.codes.shape == (7, 16)
    assert found.findings["rule"] == "exact"
    assert found.findings["low_contrast_images"] == 0
    assert found.findings["code_health"]["distinct_codes"] == 4


def test_the_largest_source_stays_and_then_the_smallest_key(
    tmp_path: Path, picture: Picture, recipe: Callable[..., Any]
) -> None:
    a, b = picture(32, 32, seed=0), picture(32, 32, seed=1)
    sizes = {
        0: ("z", 40, 40),
        1: ("m", 60, 50),  # the largest of the first group
        2: ("a", 50, 50),
        3: ("y", 70, 40),
        4: ("c", 40, 70),  # as large as y, and the smaller key
        5: ("d", 70, 40),
    }
    found = decided(stage(tmp_path, [[a, a, a, b], [b, b]], sizes), recipe())
    assert found.kept_by.tolist() == [1, -1, 1, 4, -1, 4]


@given(st.data())
def test_choice_does_not_depend_on_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Against the rule written plainly: most pixels, then the smallest key, and everyone names the winner."""
    groups = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=8))
    widths = data.draw(st.lists(st.integers(32, 34), min_size=len(groups), max_size=len(groups)))
    order = data.draw(st.permutations(range(len(groups))))
    keys = [f"{place:02d}" for place in order]
    images = _FakeSet({n: (keys[n], widths[n], 40) for n in range(len(groups))})
    first = np.array([groups.index(group) for group in groups])
    members = np.array([n for n, group in enumerate(groups) if groups.count(group) > 1], np.int64)
    found = choose_largest(images, first, members)  # type: ignore[arg-type]
    for number, group in enumerate(groups):
        rivals = [n for n, other in enumerate(groups) if other == group]
        winner = min(rivals, key=lambda n: (-widths[n], keys[n]))
        assert found[number] == (-1 if winner == number else winner)


class _FakeSet:
    """As much of an ImageSet as the choice reads: one shard's records."""

    def __init__(self, rows: dict[int, Row]) -> None:
        self.shard_rows = [len(rows)]
        self.staging = self
        self._table = pa.table(
            {
                "key": [rows[n][0] for n in range(len(rows))],
                "part": [0] * len(rows),
                "row": list(range(len(rows))),
                "width": [rows[n][1] for n in range(len(rows))],
                "height": [rows[n][2] for n in range(len(rows))],
            }
        )

    def read_records(self, shard: int, columns: list[str]) -> pa.Table:
        return self._table.select(columns)


def flat(level: int, seed: int | None = None) -> np.ndarray:
    image = np.full((32, 32, 3), level, np.uint8)
    if seed is not None:
        image += np.random.default_rng(seed).integers(0, 2, image.shape, dtype=np.uint8)
    return image


def test_flat_images_are_the_same_only_if_their_pixels_are(
    tmp_path: Path, picture: Picture, recipe: Callable[..., Any]
) -> None:
    """Black, white and grey all have the code of the bias; only equal pixels make them duplicates."""
    images = [flat(0), flat(255), flat(100), flat(0), flat(7, 1), flat(7, 2), flat(7, 1), picture(32, 32)]
    found = decided(stage(tmp_path, [images]), recipe())
    assert found.kept_by.tolist() == [-1, -1, -1, 0, -1, -1, 4, -1]
    assert found.findings["low_contrast_images"] == 7
    assert len({found.codes[n].tobytes() for n in range(4)}) == 1


def test_without_the_contrast_rule_flat_images_collide(tmp_path: Path, recipe: Callable[..., Any]) -> None:
    found = decided(stage(tmp_path, [[flat(0), flat(255), flat(100)]]), recipe(), min_contrast=0.0)
    assert found.kept_by.tolist() == [-1, 0, 0]
    assert found.pairs["distance"].tolist() == [0, 0]


def test_one_image(tmp_path: Path, picture: Picture, recipe: Callable[..., Any]) -> None:
    found = decided(stage(tmp_path, [[picture(32, 32)]]), recipe())
    assert (found.kept_by.tolist(), found.group.tolist(), found.pairs["a"].tolist()) == ([-1], [-1], [])


def test_sample_is_seeded_in_source_order_and_averaged(tmp_path: Path, picture: Picture) -> None:
    shards = [[picture(32, 32, seed=10 * shard + n) for n in range(6)] for shard in range(3)]
    images = stage(tmp_path, shards)
    everything = np.concatenate([np.stack(shard) for shard in shards]).reshape(18, -1)
    assert np.array_equal(sample_pixels(images, 100, 0), everything)
    assert np.array_equal(sample_pixels(images, 18, 0), everything)
    some = sample_pixels(images, 7, 5)
    places = [int(np.flatnonzero((everything == row).all(axis=1))[0]) for row in some]
    assert places == sorted(set(places))
    assert len(places) == 7
    assert np.array_equal(some, sample_pixels(images, 7, 5))
    assert not np.array_equal(some, sample_pixels(images, 7, 6))


def test_sample_of_larger_images_is_the_area_average(
    tmp_path: Path, make: Any, source: Path, recipe: Any
) -> None:
    make(source, tmp_path / "out", recipe("none", image={"size": 64}))
    shard = np.load(tmp_path / "out" / "images" / "00000.npy")
    images = ImageSet(Staging(tmp_path / "out"), [len(shard)], 64)
    average = shard.reshape(len(shard), 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.array_equal(sample_pixels(images, 100, 0), np.rint(average).reshape(len(shard), -1))


def test_a_fit_is_kept_for_the_same_recipe_and_seed(
    tmp_path: Path, picture: Picture, recipe: Callable[..., Any]
) -> None:
    images = stage(tmp_path, [[picture(32, 32, seed=seed) for seed in range(12)]])
    path = tmp_path / "autoencoder.safetensors"
    first = recipe()
    fit(images, first.autoencoder, 0, "cpu")
    before, inode = path.read_bytes(), path.stat().st_ino
    looks: list[int] = []
    fit(images, first.autoencoder, 0, "cpu", lambda updates, loss: looks.append(updates))
    assert (path.stat().st_ino, looks) == (inode, [])
    fit(images, first.autoencoder, 1, "cpu", lambda updates, loss: looks.append(updates))
    assert looks == [4, 4]
    assert path.read_bytes() != before
    fit(images, recipe(autoencoder={"dropout": 0.25}).autoencoder, 1, "cpu")
    assert read_autoencoder(path)[1]["recipe"]["dropout"] == 0.25
    path.write_bytes(b"damaged")
    fit(images, first.autoencoder, 0, "cpu")
    assert path.read_bytes() == before


def test_notes_say_how_the_fit_went(tmp_path: Path, picture: Picture, recipe: Callable[..., Any]) -> None:
    images = stage(tmp_path, [[picture(32, 32, seed=seed) for seed in range(12)]])
    fit(images, recipe().autoencoder, 3, "cpu")
    _, notes = read_autoencoder(tmp_path / "autoencoder.safetensors")
    assert (notes["seed"], notes["device"], notes["images"], notes["updates"]) == (3, "cpu", 12, 8)
    assert len(notes["holdout_losses"]) == 2


def test_codes_are_those_of_the_encoder_and_not_made_twice(
    tmp_path: Path, picture: Picture, recipe: Callable[..., Any]
) -> None:
    images = stage(tmp_path, [[picture(32, 32, seed=seed) for seed in range(5)], [flat(9)]])
    fit(images, recipe().autoencoder, 0, "cpu")
    assert list(encode_all(images, 4.0, 1)) == [0, 5, 1]
    rows = np.load(images.staging.codes(0))
    expected, _ = encode(np.asarray(images.pixels(0)), read_encoder(tmp_path / "autoencoder.safetensors"))
    assert np.array_equal(rows["code"], expected)
    assert np.array_equal(rows["match"], rows["code"])
    other = np.load(images.staging.codes(1))
    assert (other["match"] != other["code"]).any()
    images.staging.codes(0).unlink()
    assert list(encode_all(images, 4.0, 1)) == [1, 5]
    assert encode_shard(images, 1, 0.0) == 1
    assert np.array_equal(np.load(images.staging.codes(1))["match"], other["code"])


def test_code_health() -> None:
    bits = np.zeros((4, 128), bool)
    bits[:, 0] = True  # always on
    bits[0, 1] = bits[1, 1] = True
    health = code_health(np.packbits(bits, axis=1))
    assert health == {
        "bits_never_on": 126,
        "bits_always_on": 1,
        "idle_bits": 127,
        "mean_activity": round((4 + 2) / (4 * 128), 4),
        "lowest_activity": 0.0,
        "highest_activity": 1.0,
        "distinct_codes": 2,
        "largest_buckets": [2, 2],
    }
