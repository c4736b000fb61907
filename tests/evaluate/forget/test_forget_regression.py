"""The regression: places chosen fairly, weights that mean something, accuracy that is not flattered."""

from __future__ import annotations

import numpy as np
import pytest

from dcgan_data.evaluate.forget.boxes import Box
from dcgan_data.evaluate.forget.change import Change, change_between, mean_change, pixels_inside
from dcgan_data.evaluate.forget.regression import Places, choose_places, fit


def planted(images: int = 12, maps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Noise in all maps, but map 2 is on inside boxes, and map 4 outside."""
    rng = np.random.default_rng(0)
    inside = np.zeros((images, 8, 8), bool)
    for image in range(images):
        y, x = rng.integers(0, 5, 2)
        inside[image, y : y + 3, x : x + 2] = True
    values = rng.random((images, maps, 8, 8)).astype(np.float32)
    values[:, 2] += 2 * inside
    values[:, 4] += 2 * ~inside
    return values, inside


def test_the_maps_that_draw_the_object_get_positive_weights() -> None:
    maps, inside = planted()
    found = fit(choose_places(maps, inside, np.random.default_rng(0)), 1.0)
    assert np.argmax(found.weights) == 2 and np.argmin(found.weights) == 4
    assert found.weights[2] > 0 > found.weights[4] and len(found.weights) == 6
    assert found.accuracy is not None and found.accuracy > 0.97
    assert (found.inside, found.outside, found.chance) == (72, 72, 0.5)


def test_a_stronger_penalty_makes_smaller_weights() -> None:
    maps, inside = planted()
    places = choose_places(maps, inside, np.random.default_rng(0))
    weak, strong = fit(places, 0.1), fit(places, 100.0)
    assert np.linalg.norm(strong.weights) < np.linalg.norm(weak.weights) / 3


def test_as_many_places_outside_as_inside_of_the_same_images() -> None:
    maps, inside = planted(images=3)
    inside[1] = True
    inside[1, 0, :2] = False  # only two places are left outside
    places = choose_places(maps, inside, np.random.default_rng(0))
    counts = [(int(places.inside[of].sum()), int((~places.inside[of]).sum())) for of in _images(places)]
    assert counts == [(6, 6), (62, 2), (6, 6)]
    for image, of in enumerate(_images(places)):
        features = {tuple(row) for row in places.features[of & places.inside].tolist()}
        assert features == {tuple(row) for row in maps[image][:, inside[image]].T.tolist()}
        outside = {tuple(row) for row in maps[image][:, ~inside[image]].T.tolist()}
        assert {tuple(row) for row in places.features[of & ~places.inside].tolist()} <= outside


def _images(places: Places) -> list[np.ndarray]:
    return [places.sample == image for image in np.unique(places.sample)]


def test_the_choice_of_places_is_the_seeds() -> None:
    maps, inside = planted()
    first, again, other = (choose_places(maps, inside, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)


def test_accuracy_is_of_images_that_the_regression_did_not_see() -> None:
    """Each image has a map of its own that tells inside from outside: no help with other images."""
    inside = np.zeros((10, 4, 4), bool)
    inside[:, :2] = True
    maps = np.zeros((10, 10, 4, 4), np.float32)
    for image in range(10):
        maps[image, image] = inside[image]
    found = fit(choose_places(maps, inside, np.random.default_rng(0)), 0.01)
    assert min(found.weights) > 0, "it tells its own images rightly"
    assert found.accuracy == 0.5 == found.chance


@pytest.mark.parametrize("images", [1, 2])
def test_too_few_images_have_no_accuracy(images: int) -> None:
    maps, inside = planted(images=images)
    if images == 2:
        inside[0] = True  # without the other image, no place outside would be left
    found = fit(choose_places(maps, inside, np.random.default_rng(0)), 1.0)
    assert found.accuracy is None and len(found.weights) == 6


def test_the_change_of_pixels_inside_boxes_and_outside() -> None:
    boxes = [Box(7, 1, 0, 2, 2), Box(7, 2, 1, 2, 2), Box(3, 0, 0, 1, 4)]
    inside = pixels_inside(boxes, [3, 7], 4)
    assert inside.sum() == 4 + 7 and inside[0, :, 0].all() and inside[1, 0, 1] and not inside[1, 3, 3]
    before = np.full((2, 4, 4, 3), 250, np.uint8)
    after = before.copy()
    after[inside] = (0, 250, 100)
    after[0, 0, 3] = 247
    change = change_between(before, after, inside)
    assert (change.inside, change.outside) == pytest.approx(((250 + 150) / 3, 3 / 21))
    assert mean_change([Change(1, 2), Change(3, 5)]) == Change(2, 3.5)
