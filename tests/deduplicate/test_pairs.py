"""Pairs of images: every two once, and what a search says about itself kept with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.deduplicate.pairs import CODE, GROUP, PIXELS, Pairs, make_pairs, merge_pairs
from dcgan_data.deduplicate.saved import has_pairs, load_pairs, save_pairs
from dcgan_data.formats.staging import Staging


def scored(rows: list[tuple[int, int, float, str]]) -> np.ndarray:
    pairs = make_pairs(*(np.array([row[n] for row in rows], np.int64) for n in (0, 1)), CODE)
    pairs["score"], pairs["found"] = [row[2] for row in rows], [row[3] for row in rows]
    return pairs


def test_of_both_ways_round_the_better_stays() -> None:
    parts = [scored([(0, 1, 0.8, CODE), (5, 2, 0.9, CODE)]), scored([(1, 0, 0.9, CODE), (2, 5, 0.7, CODE)])]
    merged = merge_pairs(parts)
    assert list(zip(merged["a"], merged["b"], merged["score"].round(1), strict=True)) == [
        (1, 0, np.float32(0.9)),
        (5, 2, np.float32(0.9)),
    ]


def test_equal_pixels_win_over_a_score_that_is_equal() -> None:
    merged = merge_pairs([scored([(0, 1, 0.97, CODE)]), scored([(0, 1, 1.0, PIXELS)])])
    assert merged["found"].tolist() == [PIXELS]


def test_what_was_asked_while_choosing_stays_apart() -> None:
    """Another threshold may not ask it: what the search found must be left without it."""
    merged = merge_pairs([scored([(0, 1, 0.6, CODE)]), scored([(1, 0, 0.8, GROUP)])])
    assert merged["found"].tolist() == [CODE, GROUP]


def test_nothing() -> None:
    assert len(merge_pairs([])) == len(merge_pairs([scored([])])) == 0


@given(st.data())
def test_the_order_does_not_matter(data: st.DataObject) -> None:
    score = st.sampled_from([0.5, 0.75, 0.9])
    row = st.tuples(st.integers(0, 4), st.integers(5, 9), score, st.sampled_from([CODE, GROUP]))
    rows = [
        row if turn else (row[1], row[0], *row[2:])
        for row, turn in data.draw(st.lists(st.tuples(row, st.booleans()), max_size=12))
    ]
    order = data.draw(st.permutations(range(len(rows))))
    merged = merge_pairs([scored(rows)])
    assert np.array_equal(merged, merge_pairs([scored([rows[n]]) for n in order]))
    assert len(merged) == len({(frozenset(row[:2]), row[3] == GROUP) for row in rows})


def test_saved_pairs_come_back(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    pairs = Pairs(scored([(0, 1, 0.8, CODE), (3, 2, np.nan, CODE)]), {"checked_pairs": 3, "null": None})
    codes = np.arange(64, dtype=np.uint8).reshape(4, 16)
    assert not has_pairs(staging)
    save_pairs(staging, pairs, codes)
    assert has_pairs(staging)
    found, found_codes = load_pairs(staging)
    assert found.checked.tobytes() == pairs.checked.tobytes()
    assert (found.findings, found_codes.tolist()) == (pairs.findings, codes.tolist())
