"""Views: what they show, how they fold into weights, and their names."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dcgan_data.ops.views import (
    FARTHEST_SHIFT,
    HIGHEST_ZOOM,
    IDENTITY,
    LOWEST_ZOOM,
    SIDE,
    VIEW,
    WEIGHT_STEPS,
    fold,
    inverse,
    make_view,
    parse_views,
    standard_views,
    tap_matrices,
    taps,
    view_names,
)

zooms = st.integers(LOWEST_ZOOM, HIGHEST_ZOOM)
shifts = st.integers(-FARTHEST_SHIFT, FARTHEST_SHIFT)
views = st.builds(make_view, zooms, zooms, shifts, shifts, st.booleans())


def slow_taps(zoom: int, shift: int) -> list[tuple[int, int]]:
    """By the definition, in fractions: for each pixel the first of two neighbours, 64ths of the second."""
    found = []
    for pixel in range(SIDE):
        from_centre = pixel - Fraction(SIDE - 1, 2)
        place = Fraction(zoom, 100) * from_centre + Fraction(shift, 10) + Fraction(SIDE - 1, 2)
        place = min(max(place, Fraction(0)), Fraction(SIDE - 1))
        first = min(floor(place), SIDE - 2)
        found.append((first, floor((place - first) * WEIGHT_STEPS + Fraction(1, 2))))
    return found


def slow_warp(picture: np.ndarray, view: np.void) -> np.ndarray:
    """What a view shows of an int64 (32, 32, C) picture, times 64^2, pixel by pixel."""
    shown = np.zeros_like(picture)
    for i, (y, down) in enumerate(slow_taps(int(view["zoom_y"]), int(view["shift_y"]))):
        for j, (x, right) in enumerate(slow_taps(int(view["zoom_x"]), int(view["shift_x"]))):
            above = (64 - right) * picture[y, x] + right * picture[y, x + 1]
            below = (64 - right) * picture[y + 1, x] + right * picture[y + 1, x + 1]
            shown[i, j] = (64 - down) * above + down * below
    return shown[:, ::-1] if view["mirror"] else shown


def on_grid(rng: np.random.Generator, channels: int) -> np.ndarray:
    """float64 (1024 * channels, 3) weights, multiples of 2^-16."""
    return rng.integers(-(2**16), 2**16, (SIDE * SIDE * channels, 3)) / 2**16


@settings(max_examples=25)
@given(views, st.integers(0, 2**32), st.sampled_from([1, 3]))
@example(make_view(70, 140, 80, -80, True), 0, 3)
def test_folding_is_warping_then_encoding(view: np.void, seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (SIDE, SIDE, channels))
    weight = on_grid(rng, channels)
    warped = slow_warp(picture, view).reshape(-1).astype(np.float64)
    folded = picture.reshape(-1).astype(np.float64) @ fold(weight, view)
    assert np.array_equal(folded * WEIGHT_STEPS**2, warped @ weight)


def test_the_identity_folds_into_the_same_weights() -> None:
    weight = on_grid(np.random.default_rng(0), 3)
    assert np.array_equal(fold(weight, IDENTITY), weight)


def test_mirror_swaps_left_and_right_of_what_is_shown() -> None:
    rng = np.random.default_rng(0)
    picture, weight = rng.integers(0, 256, (SIDE, SIDE)).astype(np.float64), on_grid(rng, 1)
    mirrored = picture.ravel() @ fold(weight, make_view(mirror=True))
    assert np.array_equal(mirrored, picture[:, ::-1].ravel() @ weight)
    # The shift is of the picture, before the mirror: what is shown lies to the right of the centre.
    moved = slow_warp(picture.astype(np.int64)[..., None], make_view(shift_x=30))[:, ::-1].ravel() / 64**2
    assert np.array_equal(picture.ravel() @ fold(weight, make_view(shift_x=30, mirror=True)), moved @ weight)


def test_which_way_shifts_and_zooms_go() -> None:
    weight = np.zeros((SIDE * SIDE, 1))
    weight[10 * SIDE + 20] = 1.0  # sees row 10, column 20
    assert np.flatnonzero(fold(weight, make_view(shift_x=30))) == 10 * SIDE + 23
    assert np.flatnonzero(fold(weight, make_view(shift_y=-20))) == 8 * SIDE + 20
    assert np.flatnonzero(fold(weight, make_view(mirror=True))) == 10 * SIDE + 11
    corner = np.zeros((SIDE * SIDE, 1))
    corner[0] = 1.0
    seen = np.flatnonzero(fold(corner, make_view(zoom_x=80, zoom_y=80)))
    assert seen.tolist() == [
        3 * SIDE + 3,
        3 * SIDE + 4,
        4 * SIDE + 3,
        4 * SIDE + 4,
    ]  # 15.5 * 0.2 = 3.1 inwards


@settings(max_examples=40)
@given(st.lists(st.tuples(zooms, shifts), min_size=1, max_size=6))
@example([(LOWEST_ZOOM, -FARTHEST_SHIFT), (HIGHEST_ZOOM, FARTHEST_SHIFT), (100, 0)])
def test_taps_are_the_definition(axes: list[tuple[int, int]]) -> None:
    zoom, shift = np.array(axes, np.int16).T
    first, weight, inside = taps(zoom, shift)
    assert first.shape == weight.shape == inside.shape == (len(axes), SIDE)
    for row, (z, s) in enumerate(axes):
        assert list(zip(first[row].tolist(), weight[row].tolist(), strict=True)) == slow_taps(z, s)
        place = [
            Fraction(z, 100) * (p - Fraction(31, 2)) + Fraction(s, 10) + Fraction(31, 2) for p in range(SIDE)
        ]
        assert inside[row].tolist() == [0 <= at <= SIDE - 1 for at in place]
    matrices, same = tap_matrices(zoom, shift)
    assert matrices.dtype == np.float32 and np.array_equal(same, inside)
    assert (matrices.sum(axis=2) == WEIGHT_STEPS).all() and (matrices >= 0).all()
    assert (matrices @ np.arange(SIDE) == WEIGHT_STEPS * first + weight).all()


def test_taps_of_the_identity_are_exact() -> None:
    matrices, inside = tap_matrices(np.array([100]), np.array([0]))
    assert np.array_equal(matrices[0], WEIGHT_STEPS * np.eye(SIDE))
    assert inside.all()


def test_taps_beyond_the_border_repeat_it() -> None:
    first, weight, inside = taps(np.array([100, 100]), np.array([-25, 25]))
    assert inside[0].tolist() == [False] * 3 + [True] * 29
    assert inside[1].tolist() == [True] * 29 + [False] * 3
    assert (first[0, :3] == 0).all() and (weight[0, :3] == 0).all()
    assert (first[1, -3:] == SIDE - 2).all() and (weight[1, -3:] == WEIGHT_STEPS).all()
    assert (weight[0, 3:] == WEIGHT_STEPS // 2).all()


@given(st.lists(views, max_size=12))
def test_names_round_trip(some: list[np.void]) -> None:
    given_views = np.array(some, VIEW)
    names = view_names(given_views)
    assert names.shape == given_views.shape
    assert np.array_equal(parse_views(names), given_views)
    assert len(set(names.tolist())) == len({view.tobytes() for view in some})
    assert np.array_equal(parse_views(names.astype(object)), given_views)


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (IDENTITY, "identity"),
        (make_view(mirror=True), "mirror"),
        (make_view(94, 95), "zoom 0.94x0.95"),
        (make_view(100, 140), "zoom 1.00x1.40"),
        (make_view(shift_x=12, shift_y=-4), "shift +1.2-0.4"),
        (make_view(shift_y=-80), "shift +0.0-8.0"),
        (make_view(94, 95, 12, -4, True), "mirror zoom 0.94x0.95 shift +1.2-0.4"),
        (make_view(shift_x=-1, mirror=True), "mirror shift -0.1+0.0"),
    ],
)
def test_names(view: np.void, name: str) -> None:
    assert view_names(np.array([view])).tolist() == [name]
    assert parse_views(np.array([name]))[0] == view


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Identity",
        "identity ",
        "mirror identity",
        "mirrorzoom 0.90x0.90",
        " zoom 0.90x0.90",
        "zoom 0.90",
        "zoom 0.9x0.9",
        "zoom 0.69x1.00",
        "zoom 1.00x1.41",
        "zoom 1.00x1.00",
        "zoom \u0661.\u0660\u0660x0.90",
        "shift +8.1+0.0",
        "shift +0.0-8.1",
        "shift +0.0+0.0",
        "shift -0.0+1.0",
        "shift 1.0+1.0",
        "shift +1.0+1.0 mirror",
        "zoom 0.90x0.90shift +1.0+1.0",
        "kept: mirror",
        "identity\n",
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_views(np.array(["identity", name, "mirror"]))
    assert str(raised.value) == f"no view: {name!r}"


def test_standard_views_of_the_default_recipe() -> None:
    names = view_names(standard_views((0.94, 0.88, 0.8), 1.5, 1.05, mirror=False)).tolist()
    moves = ["shift -1.5+0.0", "shift +1.5+0.0", "shift +0.0-1.5", "shift +0.0+1.5"]
    assert names == [
        "identity",
        *(f"zoom {zoom}x{zoom}" for zoom in ("0.94", "0.88", "0.80")),
        *moves,
        *(f"zoom 0.90x0.90 {move}" for move in moves),
        "zoom 0.90x1.00",
        "zoom 1.00x0.90",
    ]


@pytest.mark.parametrize(
    ("settings_", "plain", "outward"),
    [
        (((0.94, 0.88, 0.8), 1.5, 1.05), 14, 21),
        (((), 0.0, 1.0), 1, 1),
        (((0.7,), 4.0, 1.3), 12, 17),
        (((0.94, 0.94, 0.996), 0.0, 1.0), 2, 3),  # 0.996 rounds to the identity
        (((0.95,), 0.0, 1.004), 2, 3),  # so little stretch is none
        (((0.9,), 0.04, 1.0), 2, 3),  # nor is so little shift
    ],
)
def test_how_many_standard_views(
    settings_: tuple[tuple[float, ...], float, float], plain: int, outward: int
) -> None:
    for outwards, count in ((False, plain), (True, outward)):
        assert len(standard_views(*settings_, mirror=False, outward=outwards)) == count
        assert len(standard_views(*settings_, mirror=True, outward=outwards)) == 2 * count


@given(
    st.lists(st.floats(0.7, 1, exclude_max=True), max_size=5),
    st.floats(0, 4),
    st.floats(1, 1.3),
    st.booleans(),
    st.booleans(),
)
@example([0.7], 4, 1.3, True, True)
@example([0.999, 0.7, 0.71], 0.01, 1.0001, True, True)
def test_standard_views_are_allowed_and_different(
    parts: list[float], shift: float, aspect: float, mirror: bool, outward: bool
) -> None:
    found = standard_views(tuple(parts), shift, aspect, mirror, outward)
    assert found[0] == IDENTITY
    assert len(np.unique(found)) == len(found)
    assert np.array_equal(parse_views(view_names(found)), found)  # which checks the range
    assert found["mirror"].sum() == (len(found) // 2 if mirror else 0)
    if mirror:
        plain, mirrored = np.split(found, 2)
        assert mirrored["mirror"].all() and mirrored[0] == make_view(mirror=True)
        assert np.array_equal(plain[["zoom_x", "zoom_y"]], mirrored[["zoom_x", "zoom_y"]])
    if not outward:  # beyond the border only by a shift or, one way, by a stretch
        assert np.minimum(found["zoom_x"], found["zoom_y"]).max() <= 100


def test_outward_views_look_beyond_the_border() -> None:
    inward = standard_views((0.94, 0.7), 1.5, 1.0, mirror=False)
    both = standard_views((0.94, 0.7), 1.5, 1.0, mirror=False, outward=True)
    assert np.isin(inward, both).all()
    added = view_names(both[~np.isin(both, inward)]).tolist()
    assert "zoom 1.06x1.06" in added
    assert "zoom 1.20x1.20" in added  # 1 / 0.7 would share too little with the picture
    assert "zoom 1.10x1.10 shift -1.5+0.0" in added
    assert len(added) == 6


@given(st.integers(80, 125), st.integers(80, 125), st.integers(-40, 40), st.integers(-40, 40), st.booleans())
def test_the_other_way_round_and_back(
    zoom_x: int, zoom_y: int, shift_x: int, shift_y: int, mirror: bool
) -> None:
    view = np.array([make_view(zoom_x, zoom_y, shift_x, shift_y, mirror)])
    back = inverse(inverse(view))
    assert bool(back["mirror"][0]) == mirror
    for name, most in (("zoom_x", 1), ("zoom_y", 1), ("shift_x", 2), ("shift_y", 2)):
        assert abs(int(back[name][0]) - int(view[name][0])) <= most


def test_the_other_way_round_undoes_a_place() -> None:
    """Where a view looks, its inverse looks back from; a mirrored one swaps the side that is moved to."""
    there = np.array([make_view(80, 125, 16, -10), make_view(100, 100, 30, 0, mirror=True)])
    back = inverse(there)
    assert [tuple(view) for view in back] == [(125, 80, -20, 8, False), (100, 100, 30, 0, True)]
