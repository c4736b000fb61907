"""Digits drawn: the same ones whatever is drawn beside them; and the classifier that learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_data.train.conditional.classify import NearestErrors
from dcgan_data.train.conditional.draw import draw_digits, draw_of, draw_rows, standing_statistics
from dcgan_data.train.conditional.labelled import LabelledImages, split
from dcgan_data.train.conditional.models import ConditionalGenerator, ConditionalShape
from dcgan_data.train.norm import set_standing

CPU = torch.device("cpu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def generator() -> ConditionalGenerator:
    model = ConditionalGenerator(ConditionalShape(z_dim=3, filters=2, units=4), rng())
    for weight in model.parameters():
        weight.data *= 20  # so that the images differ
    set_standing(model, standing_statistics(model, 0, 8))
    return model


def drawn(generator: ConditionalGenerator, count: int) -> LabelledImages:
    chunks = list(draw_digits(generator, rng(1), count))
    assert sum(map(len, chunks)) == count
    return LabelledImages(
        np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks])
    )


def test_a_digit_does_not_depend_on_how_many_are_drawn(generator: ConditionalGenerator) -> None:
    many, few = drawn(generator, 1203), drawn(generator, 7)
    np.testing.assert_array_equal(many.images[:7], few.images)
    np.testing.assert_array_equal(many.labels[:7], few.labels)
    assert len(np.unique(many.images.reshape(1203, -1), axis=0)) > 1000


def test_labels_are_uniform_and_change_the_image(generator: ConditionalGenerator) -> None:
    counts = np.bincount(drawn(generator, 3000).labels, minlength=10)
    assert ((counts - 300) ** 2 / 300).sum() < 27.9  # chi-squared of 9: exceeded once in a thousand
    z = torch.full((10, 3), 0.5)
    images = draw_of(generator, z, torch.arange(10)).images
    assert len(np.unique(images.reshape(10, -1), axis=0)) == 10


def test_rows_are_of_one_class_each(generator: ConditionalGenerator) -> None:
    rows = draw_rows(generator, 4, seed=2)
    assert rows.shape == (40, 28, 28) and rows.dtype == np.uint8
    np.testing.assert_array_equal(rows, draw_rows(generator, 4, seed=2))
    assert not np.array_equal(rows, draw_rows(generator, 4, seed=3))


def test_split_is_disjoint_whole_and_seeded(digits: LabelledImages) -> None:
    training, held_out = split(digits, 4, seed=0)
    assert (len(training), len(held_out)) == (30, 4)
    both = np.concatenate([training.images, held_out.images]).reshape(34, -1)
    assert len(np.unique(both, axis=0)) == 34
    again, other = split(digits, 4, seed=0)[1], split(digits, 4, seed=1)[1]
    assert again.sha256 == held_out.sha256 != other.sha256


def digits_of(values: list[int], labels: list[int]) -> LabelledImages:
    images = np.zeros((len(values), 28, 28), np.uint8)
    images[:, 3, 5] = values
    return LabelledImages(images, np.array(labels, np.uint8))


def test_each_count_sees_its_first_references_only() -> None:
    judge = NearestErrors(digits_of([10, 100, 200], [1, 2, 3]), [1, 2, 5], CPU)
    judge.add(digits_of([200], [3]))
    judge.add(digits_of([12, 101, 99, 100], [1, 7, 2, 2]))
    judge.add(digits_of([10], [9]))  # beyond the largest count
    assert judge.errors == {1: 2, 2: 1, 5: 0}


def test_ties_go_to_the_earlier_reference() -> None:
    judge = NearestErrors(digits_of([100], [2]), [2], CPU)
    judge.add(digits_of([101, 99], [2, 7]))
    assert judge.errors == {2: 0}


def test_the_classifier_is_euclidean(digits: LabelledImages) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (90, 28, 28), dtype=np.uint8)
    references = LabelledImages(images, rng.integers(0, 10, 90).astype(np.uint8))
    apart = digits.images.reshape(34, 1, -1).astype(float) - images.reshape(1, 90, -1)
    said = references.labels[np.sqrt((apart**2).sum(2)).argmin(1)]
    judge = NearestErrors(digits, [90], CPU)
    for start in range(0, 90, 7):
        judge.add(references[start : start + 7])
    assert judge.errors[90] == int((said != digits.labels).sum())


def test_a_classifier_needs_queries_and_references(digits: LabelledImages) -> None:
    with pytest.raises(ValueError, match=r"34 queries, counts \[0\]: need one or more of each"):
        NearestErrors(digits, [0], CPU)
