"""Trouble is told once a stretch, ordinary courses are left alone, and a resumed watchdog goes on as one."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.spatial

from dcgan_data.train.watchdog import Event, Watchdog, mean_pairwise_distance

Line = dict[str, Any]


def losses(first: int, last: int, loss_d: float | None, every: int = 10) -> list[Line]:
    return [{"step": step, "loss_d": loss_d, "loss_g": 1.0} for step in range(first, last + 1, every)]


def spreads(*pairs: tuple[int, float]) -> list[Line]:
    return [{"step": step, "loss_d": 1.0, "spread": spread} for step, spread in pairs]


def told(lines: list[Line], watchdog: Watchdog | None = None) -> list[tuple[int, str]]:
    watchdog = watchdog or Watchdog()
    return [(event.step, event.kind) for line in lines for event in watchdog.see(line)]


def test_a_loss_near_zero_for_long_is_told_once() -> None:
    lines = losses(10, 100, 0.5) + losses(110, 5000, 0.001)
    assert told(lines) == [(610, "saturated")]


def test_what_is_said_of_saturation() -> None:
    watchdog = Watchdog()
    found = [event for line in losses(110, 610, 0.001) for event in watchdog.see(line)]
    assert found == [
        Event(
            610,
            "saturated",
            "D is saturated at step 610: its loss was below 0.02 at every log since step 110, so it is "
            "hardly ever wrong, and G learns little from it; what helps: --spectral-norm, --augment (on a "
            "small set), a smaller --learning-rate, more images",
            since=110,
        )
    ]


def test_a_loss_that_is_low_for_less_long_or_less_low_is_nothing() -> None:
    assert told(losses(10, 500, 0.001)) == []
    assert told(losses(10, 3000, 0.02)) == []
    assert told(losses(10, 500, 0.001) + losses(510, 510, 0.03) + losses(520, 1010, 0.001)) == []


def test_saturation_is_told_again_after_it_was_over() -> None:
    low, over, hardly = losses(0, 1000, 0.01), losses(1010, 1010, 0.1), losses(1010, 1010, 0.09)
    again = losses(1020, 2000, 0.01)
    assert told(low + over + again) == [(500, "saturated"), (1520, "saturated")]
    assert told(low + hardly + again) == [(500, "saturated")]


def test_rare_logs_are_enough() -> None:
    assert told(losses(1000, 5000, 0.001, every=1000)) == [(2000, "saturated")]


@pytest.mark.parametrize("loss_d", [None, math.nan])
def test_a_loss_that_is_not_known_is_none(loss_d: float | None) -> None:
    assert told(losses(0, 2000, loss_d)) == []
    assert told([{"step": 1}, {"step": 2000}]) == []


def test_samples_that_fall_together_are_told_once() -> None:
    course = spreads((100, 0.1), (500, 0.6), (1000, 0.9), (1500, 0.2), (2000, 0.1), (3000, 0.3), (4000, 0.1))
    assert told(course) == [(1500, "collapse")]


def test_what_is_said_of_a_collapse() -> None:
    watchdog = Watchdog(varied=True)
    assert watchdog.see({"step": 1500, "loss_d": 1.0, "spread": 0.07}) == [
        Event(
            1500,
            "collapse",
            "the samples collapsed at step 1500: they differ from one another only 7% as much as real "
            "images do; what helps: an earlier checkpoint (--on-collapse rollback), another --seed, a "
            "smaller --learning-rate, a larger --batch-size, --spectral-norm",
        )
    ]


def test_grey_beginnings_are_no_collapse() -> None:
    assert told(spreads((1, 0.2), (100, 0.11), (200, 0.3), (700, 0.24), (1990, 0.2))) == []


def test_a_generator_that_never_gets_away_from_grey_is_told() -> None:
    assert told(spreads((1000, 0.05), (2000, 0.05), (3000, 0.05))) == [(2000, "collapse")]


def test_pale_samples_and_short_dips_are_no_collapse() -> None:
    """A narrow model's course: never near the data's spread, but all samples differ."""
    course = [0.56, 0.41, 0.44, 0.27, 0.38, 0.45, 0.42, 0.47, 0.5, 0.57]
    assert told(spreads(*enumerate(course, 1))) == []


def test_a_collapse_is_told_again_after_it_was_over() -> None:
    course = spreads((500, 0.6), (1000, 0.1), (1500, 0.39), (2000, 0.1), (2500, 0.4), (3000, 0.1))
    assert told(course) == [(1000, "collapse"), (3000, "collapse")]


def test_a_spread_that_is_not_a_number_is_none() -> None:
    assert told(spreads((500, 0.6), (3000, math.nan), (3500, 0.6))) == []


def test_both_troubles_at_once() -> None:
    watchdog = Watchdog(low_since=100, varied=True)
    found = watchdog.see({"step": 900, "loss_d": 0.0, "spread": 0.0})
    assert [event.kind for event in found] == ["saturated", "collapse"]


def test_a_resumed_watchdog_says_what_the_undisturbed_one_says() -> None:
    course = losses(10, 700, 0.01) + spreads((710, 0.6), (720, 0.1)) + losses(730, 1500, 0.01)
    course += spreads((1510, 0.5), (1520, 0.2))
    whole = told(course)
    assert len(whole) == 4
    for cut in range(len(course)):
        watchdog = Watchdog()
        before = told(course[:cut], watchdog)
        stored = json.dumps(watchdog.as_dict(), allow_nan=False)
        assert before + told(course[cut:], Watchdog.from_dict(json.loads(stored))) == whole


def test_a_memory_with_a_gap_is_none() -> None:
    values = Watchdog().as_dict()
    del values["varied"]
    with pytest.raises(KeyError, match="varied"):
        Watchdog.from_dict(values)


def test_mean_pairwise_distance_is_that_of_all_pairs() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    plain = scipy.spatial.distance.pdist(images.reshape(20, -1) / 127.5 - 1).mean()
    assert mean_pairwise_distance(images) == pytest.approx(plain, rel=1e-12)


def test_mean_pairwise_distance_of_known_images() -> None:
    black, white = np.zeros((2, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 255, np.uint8)
    assert mean_pairwise_distance(black) == 0.0
    assert mean_pairwise_distance(np.concatenate([black[:1], white])) == pytest.approx(2 * math.sqrt(192))
    assert mean_pairwise_distance(np.concatenate([black, white])) == pytest.approx(4 / 3 * math.sqrt(192))


def test_equal_images_have_no_distance_at_all() -> None:
    """Nothing is lost in sums of large products."""
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    images = np.repeat(image, 5, axis=0)
    assert mean_pairwise_distance(images) == 0.0
    images[0, 0, 0, 0] ^= 1
    assert mean_pairwise_distance(images) == pytest.approx(8 / 20 / 127.5)


def test_one_image_has_no_pairs() -> None:
    with pytest.raises(AssertionError):
        mean_pairwise_distance(np.zeros((1, 4, 4, 3), np.uint8))


def test_a_generator_beyond_recovery_is_told_at_once() -> None:
    watchdog = Watchdog()
    assert not watchdog.see({"step": 10, "loss_d": 0.001, "loss_g": 12.0})
    (event,) = watchdog.see({"step": 20, "loss_d": 0.0, "loss_g": 700.0})
    assert (event.step, event.kind, event.since) == (20, "saturated", 10)
    assert not watchdog.see({"step": 30, "loss_d": 0.0, "loss_g": 700.0})  # once
    assert not Watchdog().see({"step": 10, "loss_d": 1.0, "loss_g": 700.0})  # D is still to be won over
