"""What a page of bounded size shows of a set of any size: bands, groups, sample, pictures, charts."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.formats.prepared import ImageRows
from dcgan_data.report import charts, contact_sheet
from dcgan_data.report.bands import UNSCORED, score_bands
from dcgan_data.report.groups import BIGGEST, MOST_REMOVED, SPREAD, choose_groups
from dcgan_data.report.pictures import spread_evenly, thumbnails
from dcgan_data.report.rows import Removals
from dcgan_data.report.sample import Strata, allocate, draw_sample, stratify


def removals_of(*scores: list[float]) -> Removals:
    """One group for each list."""
    group = np.repeat(np.arange(len(scores)), [len(part) for part in scores])
    score = np.array([value for part in scores for value in part], np.float32)
    return Removals(1000 + np.arange(len(score)), group, group, score)


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0.5, ["0.50-0.60", "0.60-0.70", "0.70-0.80", "0.80-0.90", "0.90-1.00"]),
        (0.72, ["0.72-0.75", "0.75-0.80", "0.80-0.85", "0.85-0.90", "0.90-0.95", "0.95-1.00"]),
        (0.7, ["0.70-0.75", "0.75-0.80", "0.80-0.85", "0.85-0.90", "0.90-0.95", "0.95-1.00"]),
        (0.715, ["0.715-0.75", "0.75-0.80", "0.80-0.85", "0.85-0.90", "0.90-0.95", "0.95-1.00"]),
        (0.93, ["0.93-0.94", "0.94-0.96", "0.96-0.98", "0.98-1.00"]),
        (0.99, ["0.99-1.00"]),
    ],
)
def test_bands_are_round_and_begin_at_the_threshold(threshold: float, labels: list[str]) -> None:
    bands = score_bands(np.array([threshold, 1], np.float32), threshold)
    assert list(bands.labels) == labels
    assert bands.of(np.array([threshold, 1.0], np.float32)).tolist() == [0, len(labels) - 1]


def test_images_without_a_score_are_a_band() -> None:
    score = np.array([np.nan, 0.8, 0.95, np.nan], np.float32)
    bands = score_bands(score, 0.8)
    assert bands.labels[-1] == UNSCORED
    assert bands.of(score).tolist() == [len(bands) - 1, 0, len(bands) - 2, len(bands) - 1]
    assert score_bands(score[:1], None).labels == (UNSCORED,)
    assert score_bands(score[:0], 0.7).labels == ()


def test_a_removal_below_the_threshold_has_a_band_that_says_so() -> None:
    assert score_bands(np.array([0.634, 0.9], np.float32), 0.7).labels[0] == "0.63-0.70"


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40), st.integers(1, 400))
def test_largest_remainders(counts: list[int], size: int) -> None:
    numbers = np.array(counts)
    share = allocate(numbers, size)
    assert share.sum() == min(size, numbers.sum())
    assert (share <= numbers).all()
    if numbers.sum() > size:
        assert (np.abs(share - numbers * size / numbers.sum()) < 1).all()


def strata_of(counts: list[int]) -> Strata:
    numbers = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    return Strata(numbers, score_bands(np.array([0.5], np.float32), 0.5))


def test_the_sample_is_stratified_in_every_beginning_of_it() -> None:
    strata = strata_of([6000, 3000, 1000])
    sample = draw_sample(strata, 100)
    assert len(np.unique(sample)) == 100
    for part in (10, 50, 100):
        counts = np.bincount(strata.stratum[sample[:part]], minlength=3)
        assert (np.abs(counts - part * np.array([0.6, 0.3, 0.1])) <= 1.5).all()


def test_the_sample_is_random_and_always_the_same() -> None:
    strata = strata_of([3000, 600])
    sample = draw_sample(strata)
    assert np.array_equal(sample, draw_sample(strata))
    assert not np.array_equal(sample, draw_sample(strata, seed=1))
    assert abs(sample.mean() - 1800) < 250 and sample.max() > 3400 and sample.min() < 200


def test_a_small_set_is_judged_whole() -> None:
    assert sorted(draw_sample(strata_of([3, 1, 5]))) == list(range(9))
    assert len(draw_sample(strata_of([]))) == 0


def test_strata_are_bands_times_sizes() -> None:
    removals = removals_of([0.71], [0.71, 0.99], [0.99] * 4, [0.99] * 5)
    strata = stratify(removals, score_bands(removals.score, 0.7))
    labels = [strata.label(int(number)) for number in strata.stratum]
    assert labels[:3] == [
        "score 0.70-0.75, group of 2",
        "score 0.70-0.75, group of 3-5",
        "score 0.95-1.00, group of 3-5",
    ]
    assert labels[6] == "score 0.95-1.00, group of 3-5"
    assert labels[7] == "score 0.95-1.00, group of 6+"


def test_the_biggest_groups_and_a_spread_over_the_bands_are_shown() -> None:
    parts = [[0.95] * (3 + number % 5) for number in range(600)] + [[0.72]] * 400 + [[0.81]] * 7
    removals = removals_of(*parts)
    shown = choose_groups(removals, score_bands(removals.score, 0.7))
    assert len(shown) == BIGGEST + SPREAD
    assert len({group.kept_row for group in shown}) == len(shown)
    assert sum(group.size == 8 for group in shown) >= 120  # all of the biggest
    scores = [float(removals.score[group.removed[0]]) for group in shown]
    low, middle = sum(score < 0.75 for score in scores), sum(0.8 < score < 0.85 for score in scores)
    assert low >= 25 and middle == 7
    # Cutting the list leaves groups of both kinds.
    assert {group.size for group in shown[:20]} >= {8, 2}


def test_a_big_group_shows_every_band_of_its_images() -> None:
    removals = removals_of([0.99] * 300 + [0.71] + [0.83] * 2)
    (group,) = choose_groups(removals, score_bands(removals.score, 0.7))
    assert len(group.removed) == MOST_REMOVED
    scores = removals.score[list(group.removed)].round(2).tolist()
    assert scores == sorted(scores)
    assert scores[:2] == pytest.approx([0.71, 0.83]) and scores[-1] == pytest.approx(0.99)


def rows_of(images: np.ndarray) -> ImageRows:
    return ImageRows([images], np.zeros(len(images), np.int32), np.arange(len(images), dtype=np.int32), 64)


def test_thumbnails_are_as_large_as_the_budget_allows() -> None:
    images = rows_of(np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8))
    large = thumbnails(images, [3, 1, 3], (64, 16), 10**9)
    small = thumbnails(images, [3, 1, 3], (64, 16), 4000)
    assert list(large) == list(small) == [3, 1]
    assert sum(map(len, small.values())) <= 4000 < sum(map(len, large.values()))
    assert list(thumbnails(images, [3, 1], (64, 16), 1500)) == [3]


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (1, 1), (4, 1), (5, 2), (9, 3)])
def test_contact_sheet_dimensions(count: int, rows: int) -> None:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 3), np.uint8)
    sheet = contact_sheet(images, columns=4, gap=3)
    assert sheet.shape == (rows * 9 + 3, 4 * 9 + 3, 3)
    for index in range(count):
        y, x = 3 + 9 * (index // 4), 3 + 9 * (index % 4)
        assert (sheet[y : y + 6, x : x + 6] == index).all()
    assert (sheet == 255).sum() == sheet.size - count * 6 * 6 * 3


def test_spread_evenly() -> None:
    assert spread_evenly(np.arange(5, 105), 4).tolist() == [5, 38, 71, 104]
    assert spread_evenly(np.arange(2), 4).tolist() == [0, 1]
    assert spread_evenly(np.arange(0), 4).tolist() == []


def heights(svg: str) -> list[float]:
    return [float(value) for value in re.findall(r'class="bar \w+"[^>]* height="([\d.]+)"', svg)]


def test_a_histogram_marks_what_the_threshold_takes() -> None:
    svg = charts.histogram([0.5, 0.6, 0.7, 0.8], [4, 0, 2], 0.7, "score <&>")
    assert heights(svg)[0] == pytest.approx(2 * heights(svg)[1], abs=0.1)
    assert svg.count('class="bar off"') == svg.count('class="bar on"') == 1
    assert "threshold 0.7" in svg and "score &lt;&amp;&gt;" in svg and "<&>" not in svg


def test_counts_that_differ_much_are_drawn_on_a_logarithmic_axis() -> None:
    svg = charts.histogram([0.5, 0.6, 0.7, 0.8], [100_000, 100, 1], 0.7, "score")
    first, second, third = heights(svg)
    assert third > 1 and first / second < 3
    assert ">1,000<" in svg


def test_there_is_no_half_an_image() -> None:
    assert ">0.5<" not in charts.bars([2, 1, 1], "bucket") and ">2<" in charts.bars([2, 1, 1], "bucket")
    assert ">0.4<" in charts.bars([0.5, 0.4], "bit")


def test_a_curve_goes_down() -> None:
    svg = charts.curve([[0.9, 10], [0.5, 900], [0.7, 60]], 0.7, "threshold")
    path = re.search(r'points="(.*?)"', svg)
    assert path
    points = [tuple(map(float, point.split(","))) for point in path[1].split()]
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points))
    assert "<title>0.7: 60</title>" in svg


@pytest.mark.parametrize("values", [[0, 0], [5], [1e-9, 1e9]])
def test_odd_values_can_be_drawn(values: list[float]) -> None:
    assert "nan" not in charts.bars(values, "bits")
    assert "nan" not in charts.histogram(range(len(values) + 1), values, None, "score")
    assert "nan" not in charts.curve([(0.5, value) for value in values], 0.5, "threshold")
