"""``bench dedup`` on CIFAR-10: figures on a small set of the same layout."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dcgan_data.bench.cifar import (
    JUDGED,
    CifarBench,
    CifarScore,
    Judged,
    bench_cifar,
    pairs_between_sets,
    read_judged,
    score_pairs,
)
from dcgan_data.bench.ours import BenchSettings
from dcgan_data.bench.tables import cifar_table
from dcgan_data.errors import BadInput
from dcgan_data.recipe import Recipe

NO_PEERS = any(importlib.util.find_spec(name) is None for name in ("imagehash", "pdqhash"))
LIST = "TestID,TrainID,Distance,Judgment\n1,6,0.07,1\n2,3,0.2,0\n4,5,0.1,2\n"


@pytest.fixture
def directory(tmp_path: Path, picture: Callable[..., np.ndarray], encoded: Callable[..., bytes]) -> Path:
    """12 training and 8 test images; test 1 is training 6, test 2 is training 3, test 7 is training 0."""
    path = tmp_path / "cifar"
    path.mkdir()
    train = [encoded(picture(32, 32, seed=n)) for n in range(12)]
    test = [encoded(picture(32, 32, seed=20 + n)) for n in range(8)]
    test[1], test[2], test[7] = train[6], train[3], train[0]
    for name, images in (("train", train), ("test", test)):
        rows = [{"bytes": data, "path": f"{name}/{n}.png"} for n, data in enumerate(images)]
        pq.write_table(pa.table({"image": rows, "label": [0] * len(rows)}), path / f"{name}.parquet")
    (path / JUDGED).write_text(LIST)
    return path


def settings(recipe: Callable[..., Recipe], **changes: Any) -> BenchSettings:
    return BenchSettings(**{"recipe": recipe(image={"size": 64}), "device": "cpu", "peers": False, **changes})


def test_copies_are_found_by_their_numbers(
    directory: Path,
    tmp_path: Path,
    recipe: Callable[..., Recipe],
    reporter: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))
    result = bench_cifar(directory, settings(recipe, sheets=tmp_path / "sheets"), reporter)
    assert (result.near, result.similar) == (2, 1)
    assert list(result.scores) == ["ours"]
    ours = result.scores["ours"]
    assert (ours.recall, ours.near) == (1.0, 2)
    assert ours.pairs >= 3
    assert list((tmp_path / "work").glob("dcgan-data-*")) == []
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["cifar-00.png"]
    with Image.open(tmp_path / "sheets" / "cifar-00.png") as page:
        assert page.width == 5 * (2 * 96 + 16)
        left, right = (np.asarray(page.convert("RGB"))[:96, start : start + 96] for start in (0, 98))
    assert ours.pairs > 3 or np.array_equal(left, right)  # the one pair that is not listed: 7 and 0


@pytest.mark.skipif(
    NO_PEERS, reason="imagehash and pdqhash are not installed: pip install 'dcgan-data[bench]'"
)
def test_with_the_peers(directory: Path, recipe: Callable[..., Recipe], reporter: Any) -> None:
    result = bench_cifar(directory, settings(recipe, peers=True), reporter)
    names = ["ours", "phash_6", "phash_8", "phash_10", "dhash_6", "pdq_31", "pdq_60"]
    assert list(result.scores) == names
    assert all(result.scores[name].recall == 1.0 for name in names)
    assert result.scores["phash_6"].pairs <= result.scores["phash_10"].pairs
    values = json.loads(json.dumps(result.as_dict()))
    assert values["cifar"]["phash_8"].keys() == {"recall", "pairs", "near", "similar"}


def test_scores() -> None:
    judged = Judged(frozenset({(1, 6), (2, 3), (9, 9)}), frozenset({(4, 5)}))
    assert score_pairs(judged, [(1, 6), (1, 7), (4, 5), (1, 6)]) == CifarScore(1 / 3, 3, 1, 1)
    assert score_pairs(judged, []) == CifarScore(0.0, 0, 0, 0)


def test_checked_pairs_below_the_threshold_or_within_one_set_do_not_count() -> None:
    table = pa.table(
        {
            "key_a": ["train/00003", "test/00001", "test/00002", "train/00001", "test/00004"],
            "key_b": ["test/00012", "train/00005", "test/00003", "train/00002", "train/00001"],
            "score": pa.array([0.9, 0.5, 0.9, 0.9, 0.7], pa.float32()),
        }
    )
    assert pairs_between_sets(table, 0.7).keys() == {(12, 3), (4, 1)}  # 0.7 as float32 is less than 0.7
    assert pairs_between_sets(table, 0.8) == {(12, 3): pytest.approx(0.9)}
    without = table.set_column(2, "score", pa.nulls(5, pa.float32()))
    assert pairs_between_sets(without, None).keys() == {(12, 3), (1, 5), (4, 1)}


def test_the_list(directory: Path) -> None:
    assert read_judged(directory / JUDGED) == Judged(frozenset({(1, 6), (2, 3)}), frozenset({(4, 5)}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing; it comes with ciFAIR"),
        ("a,b\n1,2\n", "not ciFAIR's list .KeyError"),
        (LIST.replace("0.07,1", "0.07,x"), "not ciFAIR's list .ValueError"),
        ("TestID,TrainID,Distance,Judgment\n", "names no near-duplicates"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / JUDGED).write_text(text)
    with pytest.raises(BadInput, match=f"{JUDGED}: {message}"):
        read_judged(tmp_path / JUDGED)


def test_images_that_are_none(directory: Path, recipe: Callable[..., Recipe], reporter: Any) -> None:
    pq.write_table(pa.table({"picture": [b"x"]}), directory / "test.parquet")
    with pytest.raises(BadInput, match=r"test.parquet: not a parquet file with a column image.bytes"):
        bench_cifar(directory, settings(recipe), reporter)
    (directory / "train.parquet").unlink()
    with pytest.raises(BadInput, match=r"train.parquet: missing; expected CIFAR-10"):
        bench_cifar(directory, settings(recipe), reporter)


def test_as_a_table() -> None:
    scores = {"ours": CifarScore(0.8, 1234, 199, 2), "phash_6": CifarScore(0.369, 242, 92, 4)}
    lines = cifar_table(CifarBench(249, 37, scores)).splitlines()
    assert lines[1].split("  ")[0] == "method"
    assert lines[2].split() == ["ours", "199", "0.800", "1,234", "2"]
    assert len({len(line) for line in lines[1:]}) == 1
