"""Which copy stays: a rule about the images alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.deduplicate import ImageSet
from dcgan_data.deduplicate.preference import preference
from dcgan_data.errors import BadRequest

Facts = dict[str, Any]


@pytest.fixture
def rank_of(
    tmp_path: Path, texture: Callable[..., np.ndarray], stage: Callable[..., ImageSet]
) -> Callable[..., list[str]]:
    """Keys in order of preference, of images of which each is {facts, "dim": factor on its pixels}."""

    def order(images: list[Facts], keep: str = "best", members: list[int] | None = None) -> list[str]:
        picture = texture(1, 32, 32)
        pixels = [(picture * facts.pop("dim", 1.0)).astype(np.uint8) for facts in images]
        cut = len(pixels) // 2
        out = tmp_path / f"set{len(list(tmp_path.iterdir()))}"
        staged = stage(out, [pixels[:cut], pixels[cut:]], dict(enumerate(images)))
        who = np.arange(len(images)) if members is None else np.array(members)
        rank = preference(staged, who, keep)
        assert sorted(rank.tolist()) == list(range(len(images)))
        return [images[n]["key"] for n in np.argsort(rank)]

    return order


def some() -> list[Facts]:
    """Each is better than the next by one fact, and worse by all facts that count less."""
    return [
        {"key": "f", "width": 50, "height": 41, "dim": 0.5, "bytes": 10},
        {"key": "e", "width": 40, "height": 50, "dim": 1.0, "bytes": 20},
        {"key": "d", "width": 50, "height": 40, "dim": 0.7, "bytes": 900},
        {"key": "c", "width": 50, "height": 40, "dim": 0.7, "bytes": 800},
        {"key": "cc", "width": 50, "height": 40, "dim": 0.7, "bytes": 800},
        {"key": "a", "width": 10, "height": 10, "dim": 1.0, "bytes": 9000},
    ]


def test_largest_then_sharpest_then_least_compressed_then_smallest_key(rank_of: Any) -> None:
    assert rank_of(some()) == ["f", "e", "d", "c", "cc", "a"]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_source_does_not_matter(rank_of: Any, seed: int) -> None:
    shuffled = [some()[n] for n in np.random.default_rng(seed).permutation(6)]
    assert rank_of(shuffled) == ["f", "e", "d", "c", "cc", "a"]


def test_what_compression_adds_is_no_sharpness(rank_of: Any) -> None:
    """A hundredth more of contrast, at a tenth of the bytes."""
    images = [
        {"key": "a", "width": 50, "height": 40, "dim": 1.0, "bytes": 90},
        {"key": "b", "width": 50, "height": 40, "dim": 0.99, "bytes": 900},
    ]
    assert rank_of(images) == ["b", "a"]


def test_compression_is_by_pixel(rank_of: Any) -> None:
    """Of equal areas only: but bytes alone would say the same. So: the same bytes in a wider source."""
    images = [{"key": "a", "width": 40, "height": 50, "bytes": 99}, {"key": "b", "width": 50, "height": 40}]
    images[1]["bytes"] = 100
    assert rank_of(images) == ["b", "a"]


def test_first_is_the_order_of_the_source(rank_of: Any) -> None:
    assert rank_of(some()[::-1], "first") == ["a", "cc", "c", "d", "e", "f"]


def test_only_members_are_ranked_by_facts(rank_of: Any) -> None:
    assert rank_of(some()[::-1], members=[0, 3, 5]) == ["f", "d", "a", "cc", "c", "e"]


def test_nothing_to_rank(rank_of: Any) -> None:
    assert rank_of(some(), members=[]) == ["f", "e", "d", "c", "cc", "a"]


@pytest.fixture(params=["csv", "parquet"])
def write_scores(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    def write(keys: list[str], values: list[Any], column: str = "score") -> Path:
        path = tmp_path / f"scores.{request.param}"
        if request.param == "csv":
            text = ["" if value is None else str(value) for value in values]
            lines = [f"key,{column}", *(f"{key},{value}" for key, value in zip(keys, text, strict=True))]
            path.write_text("\n".join(lines) + "\n")
        else:
            pq.write_table(pa.table({"key": keys, column: values}), path)
        return path

    return write


def test_a_column_of_the_users_comes_first(rank_of: Any, write_scores: Any) -> None:
    """Highest value first, then as ``best``; who is missing, null or NaN comes last. Other keys are none."""
    path = write_scores(["d", "a", "c", "zz", "e", "f"], [2.5, 7.0, 2.5, 9.0, None, float("nan")])
    assert rank_of(some(), f"{path}:score") == ["a", "d", "c", "f", "e", "cc"]
    assert rank_of(some()[::-1], f"{path}:score") == ["a", "d", "c", "f", "e", "cc"]


def test_whole_numbers_and_keys_that_look_like_numbers(rank_of: Any, write_scores: Any) -> None:
    images = [{"key": "007"}, {"key": "7"}, {"key": "07"}]
    path = write_scores(["07", "7", "007"], [1, 2, 3])
    assert rank_of(images, f"{path}:score") == ["007", "7", "07"]


def refusal(rank_of: Any, keep: str) -> str:
    with pytest.raises(BadRequest) as caught:
        rank_of(some(), keep)
    return str(caught.value)


def test_what_a_file_must_have(rank_of: Any, write_scores: Any, tmp_path: Path) -> None:
    path = write_scores(["a", "b"], ["good", "better"])
    assert refusal(rank_of, f"{path}:beauty") == f"--keep: {path} has no column beauty"
    text = refusal(rank_of, f"{path}:score")
    assert text.startswith(f"--keep: {path}: score is not a column of numbers (")
    assert refusal(rank_of, f"{path}:key").startswith(f"--keep: {path}: key is not a column of numbers (")
    lost = tmp_path / "lost.csv"
    assert refusal(rank_of, f"{lost}:score") == (
        f"--keep: {lost}: no such file; expected best, first or FILE:COLUMN"
    )


def test_a_file_without_keys(rank_of: Any, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("name,score\na,1\n")
    assert refusal(rank_of, f"{path}:score") == f"--keep: {path} has no column key"
    assert refusal(rank_of, f"{path}:beauty") == f"--keep: {path} has no column beauty and key"


def test_a_file_that_is_no_table(rank_of: Any, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    path.write_text("key,score\n")
    assert refusal(rank_of, f"{path}:score").startswith(f"--keep: {path}: score is not a column of numbers (")


def test_keys_alone_can_be_the_column_if_they_are_numbers(rank_of: Any, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("key\n1\n3\n2\n")
    assert rank_of([{"key": "1"}, {"key": "2"}, {"key": "3"}], f"{path}:key") == ["3", "2", "1"]
