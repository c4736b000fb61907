"""Scores on cases made by hand: photos A, B and C; copies a1 and a2 of A, b1 of B."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcgan_data.bench.copies import PlantedImage, PlantedSet
from dcgan_data.bench.scoring import CrossRemoval, MethodScore, cross_originals, found_in_stars, score

TRUTH = PlantedSet(
    Path("set"),
    {
        **{name: PlantedImage(name, "", f"{name}.jpg") for name in "ABC"},
        "a1": PlantedImage("A", "blur", "A.jpg"),
        "a2": PlantedImage("A", "mirror", "A.jpg"),
        "b1": PlantedImage("B", "mirror", "B.jpg"),
    },
    0,
)


def judged(kept_by: dict[str, str], unseen: tuple[str, ...] = ()) -> MethodScore:
    return score(TRUTH, kept_by, found_in_stars(TRUTH, kept_by), unseen)


@pytest.mark.parametrize(
    ("kept_by", "found"),
    [
        ({}, set()),
        ({"a1": "A", "b1": "B"}, {"a1", "b1"}),
        ({"A": "a1"}, {"a1"}),  # the original was removed, the copy stays in its place
        ({"A": "a1", "a2": "a1"}, {"a1", "a2"}),  # both name the same kept image
        ({"a2": "a1"}, set()),  # put together with another copy only
        ({"A": "C", "a1": "C"}, {"a1"}),  # the same star, in favour of a real copy
        ({"a1": "C"}, set()),
    ],
)
def test_what_is_found(kept_by: dict[str, str], found: set[str]) -> None:
    assert found_in_stars(TRUTH, kept_by) == found


def test_by_kind() -> None:
    result = judged({"a1": "A", "a2": "A"})
    assert (result.planted["blur"], result.planted["mirror"], result.planted["grey"]) == (1, 2, 0)
    assert result.recall == {"blur": 1.0, "mirror": 0.5}
    assert (result.cross, result.wrong_removals, result.rejected) == ((), 0, {})


def test_another_family_is_wrong() -> None:
    result = judged({"b1": "A", "a1": "A"})
    assert result.cross == (CrossRemoval("b1", "A", False),)
    assert result.wrong_removals == 1
    assert result.recall == {"blur": 1.0, "mirror": 0.0}
    assert cross_originals(TRUTH, result.cross) == 0


def test_photos_that_were_put_together_are_counted_apart() -> None:
    result = judged({"B": "A", "b1": "A", "C": "a1"})
    assert result.cross == (
        CrossRemoval("C", "a1", False),  # A itself is not in that group
        CrossRemoval("B", "A", True),
        CrossRemoval("b1", "A", True),
    )
    assert result.wrong_removals == 1
    assert cross_originals(TRUTH, result.cross) == 1  # B with A, seen twice
    assert result.recall["mirror"] == 0.5  # b1 is in the group of its original


def test_what_was_not_seen_is_not_a_miss() -> None:
    result = judged({"a2": "A"}, unseen=("a1", "B"))
    assert result.recall == {"mirror": 1.0}
    assert result.rejected == {"blur": 1, "mirror": 1}
