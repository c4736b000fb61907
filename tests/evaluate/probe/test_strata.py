"""Stratified draws: shares of the classes, no repetition, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.probe.strata import draw_of_each, draw_part, fold_numbers

some_labels = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda each: np.array(each, np.int64))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_as_many_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 7, 20])
    chosen = draw_of_each(labels, 7, rng())
    assert np.bincount(labels[chosen]).tolist() == [7, 7, 7]
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, draw_of_each(labels, 7, rng()))
    assert not np.array_equal(chosen, draw_of_each(labels, 7, rng(1)))
    with pytest.raises(BadRequest, match=r"8 images of each class: class number 1 has only 7"):
        draw_of_each(labels, 8, rng())


@given(some_labels, st.data())
def test_a_part_has_every_class_in_its_share(labels: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels)))
    chosen = draw_part(labels, count, rng())
    assert len(chosen) == count and (np.diff(chosen) > 0).all()
    found, all_of_them = (np.bincount(each, minlength=5) for each in (labels[chosen], labels))
    assert (np.abs(found - all_of_them * count / len(labels)) <= 1 + 1e-9).all()


@given(some_labels, st.integers(2, 6))
def test_folds_share_every_class(labels: np.ndarray, folds: int) -> None:
    numbers = fold_numbers(labels, folds, rng())
    sizes = np.bincount(numbers, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        of_class = np.bincount(numbers[labels == label], minlength=folds)
        assert of_class.max() - of_class.min() <= 1
