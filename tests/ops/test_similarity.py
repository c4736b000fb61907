"""The score that decides: against slow references, on copies and strangers, the same however computed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_data.demo import draw_bedroom
from dcgan_data.ops import similarity
from dcgan_data.ops.codes import to_luma
from dcgan_data.ops.similarity import align, score, structure
from dcgan_data.ops.views import IDENTITY, VIEW, make_view, standard_views

THRESHOLD = 0.73
"""The default recipe's."""
VIEWS = standard_views((0.94, 0.88, 0.8), 1.5, 1.05, mirror=True)


def draw_field(seed: int, size: int = 256) -> np.ndarray:
    """uint8 (size, size, 3): smooth noise, coarse and fine."""
    rng = np.random.default_rng(seed)
    field = np.zeros((size, size))
    for strength, blur in ((1.0, size / 20), (1.0, size / 40), (0.7, size / 80)):
        field += strength * blur * cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), blur)
    field = 128 + 45 * (field - field.mean()) / field.std()
    return np.repeat(np.clip(np.rint(field), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_sky(seed: int, slope: float) -> np.ndarray:
    """uint8 (64, 64, 3): darker by about ``slope`` grey levels downwards, a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64] / 64 - 0.5
    level = 128 - slope * (y + rng.uniform(-0.4, 0.4) * x + rng.uniform(-0.3, 0.3) * x * y)
    sky = level[..., None] * [0.9, 1.0, 1.1] + rng.normal(0, 1, (64, 64, 3))
    return np.clip(np.rint(sky), 0, 255).astype(np.uint8)


def seen_through(view: np.void, large: np.ndarray) -> np.ndarray:
    """What a view shows of a large picture (S, S, 3): uint8 (256, 256, 3), bilinear, border mirrored."""
    places = (np.arange(256) + 0.5) / 8 - 16
    x, y = (
        (int(view[f"zoom_{axis}"]) / 100 * places + int(view[f"shift_{axis}"]) / 10 + 16) * len(large) / 32
        - 0.5
        for axis in "xy"
    )
    column, row = np.meshgrid(x[::-1] if view["mirror"] else x, y)
    shown = cv2.remap(
        large,
        column.astype(np.float32),
        row.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(shown, np.uint8)


def structures(images: np.ndarray) -> np.ndarray:
    return structure(to_luma(images))


def unmoved(count: int) -> np.ndarray:
    return np.repeat(np.array([IDENTITY]), count)


@pytest.fixture(scope="module")
def rooms() -> np.ndarray:
    """uint8 (24, 256, 256, 3): the demo's bedrooms."""
    return np.stack([draw_bedroom(np.random.default_rng(seed), 256, 256) for seed in range(24)])


@pytest.fixture(scope="module")
def fields() -> np.ndarray:
    """uint8 (24, 256, 256, 3)."""
    return np.stack([draw_field(seed) for seed in range(24)])


def slow_edges(lines: list[list[int]]) -> tuple[int, int]:
    """First and last line inside a plain border, one line more left out on either side."""
    plain = [max(line) - min(line) <= 12 for line in lines]
    if all(plain):
        return 1, 30
    return min(plain.index(False), 10) + 1, 30 - min(plain[::-1].index(False), 10)


def slow_structure(luma: np.ndarray) -> list[list[int]]:
    """Pixel by pixel, in Python's integers and floats."""
    grey = luma.tolist()
    top, bottom = slow_edges(grey)
    left, right = slow_edges([list(column) for column in zip(*grey, strict=True)])

    def mirrored(place: int, first: int, last: int) -> int:
        edge = min(max(place, first), last)
        return min(max(2 * edge - place, first), last)

    def down(y: int, x: int) -> int:
        """Beyond an edge, what mirroring through the edge's value gives; rows first."""
        value = grey[mirrored(y, top, bottom)][x]
        if top <= y <= bottom:
            return int(value)
        return int(2 * grey[min(max(y, top), bottom)][x] - value)

    def continued(y: int, x: int) -> int:
        value = down(y, mirrored(x, left, right))
        if left <= x <= right:
            return value
        return 2 * down(y, min(max(x, left), right)) - value

    window = list(product(range(-3, 4), repeat=2))
    pixels = list(product(range(top, bottom + 1), range(left, right + 1)))
    detail = {(y, x): 49 * grey[y][x] - sum(continued(y + j, x + i) for j, i in window) for y, x in pixels}
    result = [[0] * 32 for _ in range(32)]
    for y, x in pixels:
        places = ((mirrored(y + j, top, bottom), mirrored(x + i, left, right)) for j, i in window)
        energy = sum(detail[place] ** 2 for place in places)
        deviation = math.sqrt(energy / 49 + (49 * 6) ** 2)
        result[y][x] = max(-127, min(127, round(32 * (detail[y, x] / deviation))))
    return result


def test_structure_against_a_slow_one(rooms: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    room = to_luma(rooms[:1])[0]
    framed = np.full((32, 32), 250, np.uint8)
    framed[3:30, 5:31] = room[3:30, 5:31]
    spike = room // 8
    spike[16, 9] = 255  # the strongest detail there is
    narrow = np.full((32, 32), 7, np.uint8)
    narrow[14:18, 15:17] = room[14:18, 15:17]  # wider borders than any that is left out
    noise = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    for luma in (room, noise, spike, framed, narrow):
        found = structure(luma[None])
        assert found.dtype == np.int8
        assert found[0].tolist() == slow_structure(luma)


def slow_score(seen: np.ndarray, target: np.ndarray, view: np.void) -> float:
    """The definition, pixel by pixel: correlation with noise energy where both are, -1 if that is little."""

    def tap(zoom: int, shift: int, pixel: int) -> tuple[int, float, bool]:
        place = zoom / 100 * (pixel - 15.5) + shift / 10 + 15.5
        within = -1e-9 <= place <= 31 + 1e-9
        place = min(max(place, 0.0), 31.0)
        first = min(int(place + 1e-9), 30)
        return first, math.floor((place - first) * 64 + 0.5 + 1e-9) / 64, within

    together = own = others = 0.0
    shared = 0
    for i, j in product(range(32), repeat=2):
        y, down, y_within = tap(int(view["zoom_y"]), int(view["shift_y"]), i)
        x, right, x_within = tap(int(view["zoom_x"]), int(view["shift_x"]), j)
        if not (y_within and x_within):
            continue
        corners = seen[y : y + 2, x : x + 2].astype(float)
        value = np.array([1 - down, down]) @ corners @ np.array([1 - right, right])
        value = round(16 * float(value)) / 16
        other = float(target[i, 31 - j if view["mirror"] else j])
        together, own, others, shared = (
            together + value * other,
            own + value**2,
            others + other**2,
            shared + 1,
        )
    if shared < 0.6 * 1024:
        return -1.0
    return together / math.sqrt((own + 30 * shared) * (others + 30 * shared))


zooms, shifts = st.integers(70, 140), st.integers(-80, 80)


@settings(max_examples=25)
@given(st.integers(0, 2**32), zooms, zooms, shifts, shifts, st.booleans())
def test_score_against_a_slow_one(seed: int, zx: int, zy: int, dx: int, dy: int, mirror: bool) -> None:
    rng = np.random.default_rng(seed)
    view = make_view(zx, zy, dx, dy, mirror)
    seen = rng.integers(-127, 128, (2, 32, 32)).astype(np.int8)
    # Something like what the view shows, so that scores are not all near 0.
    columns = np.clip(np.rint((np.arange(32) - 15.5) * zx / 100 + dx / 10 + 15.5), 0, 31).astype(int)
    rows = np.clip(np.rint((np.arange(32) - 15.5) * zy / 100 + dy / 10 + 15.5), 0, 31).astype(int)
    target = seen[:, rows][:, :, columns[::-1] if mirror else columns]
    found = score(seen, target, np.array([view, view]))
    for number in range(2):
        assert found[number] == pytest.approx(slow_score(seen[number], target[number], view), abs=1e-12)
    assert (found <= 1).all()


def test_align_gives_the_best_view_that_it_met() -> None:
    seen, target, starts = pairs_of(600)
    views, best = align(seen, target, starts)
    assert np.array_equal(best, score(seen, target, views))
    before = score(seen, target, starts)
    assert (best >= before).all()
    # From where it ended it goes no further down, though some steps lead there.
    again, better = align(seen, target, views)
    assert (better >= best).all()
    assert (better[again == views] == best[again == views]).all()


def test_one_step_is_a_whole_one(fields: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where structure is nearly linear a single Gauss-Newton step finds the shift, to a tenth of a pixel."""
    monkeypatch.setattr(similarity, "_ITERATIONS", 1)
    truth = make_view(shift_x=5, shift_y=-4)
    moved = structures(np.stack([seen_through(truth, image) for image in fields]))
    views, _ = align(structures(fields), moved, unmoved(24))
    assert (np.abs(views["shift_x"] - 5) <= 1).all() and (np.abs(views["shift_y"] + 4) <= 1).all()


def random_views(rng: np.random.Generator, count: int) -> np.ndarray:
    """VIEW (count,): parts of 85 to 100 %, moved by up to 1.2 pixels, half of them mirrored."""
    views = np.zeros(count, VIEW)
    for axis in "xy":
        views[f"zoom_{axis}"] = rng.integers(85, 101, count)
        views[f"shift_{axis}"] = rng.integers(-12, 13, count)
    views["mirror"] = rng.integers(0, 2, count)
    return views


def nearest_standard(view: np.void) -> np.void:
    """The view of the default recipe from which a search would set out."""
    cost = 1e6 * (VIEWS["mirror"] != view["mirror"])
    for axis in "xy":
        cost += abs(VIEWS[f"shift_{axis}"] - float(view[f"shift_{axis}"]))
        cost += 1.6 * abs(VIEWS[f"zoom_{axis}"] - float(view[f"zoom_{axis}"])) / 2
    return np.array(VIEWS[np.argmin(cost)])[()]


@pytest.mark.parametrize(("drawn", "zoom_error"), [("fields", 1), ("rooms", 3)])
def test_align_finds_how_a_copy_was_cut(request: pytest.FixtureRequest, drawn: str, zoom_error: int) -> None:
    """Within 0.2 pixels and a hundredth; three for bedrooms, some of which are all walls."""
    large = request.getfixturevalue(drawn)
    truth = random_views(np.random.default_rng(0), len(large))
    whole = structures(np.stack([seen_through(IDENTITY, image) for image in large]))
    cut = structures(np.stack([seen_through(v, image) for v, image in zip(truth, large, strict=True)]))
    starts = np.array([nearest_standard(view) for view in truth], VIEW)
    views, best = align(whole, cut, starts)
    before = score(whole, cut, starts)
    assert (best > before).all() and np.median(before) < THRESHOLD
    assert (best >= THRESHOLD).all() and np.median(best) > 0.85
    assert np.array_equal(views["mirror"], truth["mirror"])
    for axis in "xy":
        off = np.abs(views[f"zoom_{axis}"].astype(int) - truth[f"zoom_{axis}"])
        assert off.max() <= zoom_error and np.median(off) == 0
        assert np.abs(views[f"shift_{axis}"].astype(int) - truth[f"shift_{axis}"]).max() <= 2


@pytest.mark.parametrize("drawn", ["fields", "rooms"])
def test_strangers_score_low_under_every_view(request: pytest.FixtureRequest, drawn: str) -> None:
    known = structures(request.getfixturevalue(drawn))[:16]
    seen, target, view = np.array(
        [(a, b, v) for a in range(16) for b in range(16) if a != b for v in range(len(VIEWS))][::5]
    ).T
    _, best = align(known[seen], known[target], VIEWS[view])
    assert best.max() < 0.5


@pytest.mark.parametrize("slope", [30, 60, 120, 180])
def test_two_skies_are_strangers(slope: float) -> None:
    """A slow gradient is no structure, not at the border either."""
    skies = structures(np.stack([draw_sky(seed, slope) for seed in range(12)]))
    _, best = align(skies[:-1], skies[1:], unmoved(11))
    assert np.abs(best).max() < 0.1


def test_a_linear_gradient_has_no_structure_at_all() -> None:
    y, x = np.mgrid[0:32, 0:32]
    assert not structure((40 + 3 * y + 2 * x)[None].astype(np.uint8)).any()


@pytest.mark.parametrize("width", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("drawn", ["fields", "rooms"])
def test_a_common_frame_makes_no_copies(request: pytest.FixtureRequest, drawn: str, width: int) -> None:
    framed = request.getfixturevalue(drawn).copy()
    framed[:, :width] = framed[:, -width:] = framed[:, :, :width] = framed[:, :, -width:] = 255
    known = structures(framed)
    seen, target = np.array([(a, b) for a in range(24) for b in range(24) if a != b]).T
    _, best = align(known[seen], known[target], unmoved(len(seen)))
    assert best.max() < 0.6


def noise(images: np.ndarray) -> np.ndarray:
    return images + np.random.default_rng(0).normal(0, 12, images.shape)


def text(images: np.ndarray) -> np.ndarray:
    written = images.copy()
    for image in written:
        cv2.putText(image, "SALE 50 %", (24, 224), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    return written


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brighter": lambda images: images * 1.2,
    "darker": lambda images: images * 0.7 - 10,
    "paler": lambda images: (images - 128.0) * 0.6 + 128,
    "gamma 0.6": lambda images: 255 * (images / 255) ** 0.6,
    "gamma 1.7": lambda images: 255 * (images / 255) ** 1.7,
    "tinted": lambda images: images * [1.2, 1.0, 0.8],
    "blurred": lambda images: np.stack([cv2.GaussianBlur(image, (0, 0), 3.0) for image in images]),
    "noise": noise,
    "text": text,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("drawn", ["fields", "rooms"])
def test_changed_copies_score_high(request: pytest.FixtureRequest, drawn: str, change: str) -> None:
    images = request.getfixturevalue(drawn)
    changed = np.clip(np.rint(CHANGES[change](images)), 0, 255).astype(np.uint8)
    assert not np.array_equal(changed, images)
    _, best = align(structures(changed), structures(images), unmoved(len(images)))
    assert best.min() >= THRESHOLD


def test_flat_images_resemble_nothing(rooms: np.ndarray) -> None:
    flat = structures(np.full((24, 64, 64, 3), 90, np.uint8))
    assert not flat.any()
    assert score(flat, flat, unmoved(24)).tolist() == [0.0] * 24
    assert score(structures(rooms), flat, unmoved(24)).tolist() == [0.0] * 24
    assert align(flat, structures(rooms), unmoved(24))[1].tolist() == [0.0] * 24
    # A copy with next to no contrast is not much of a proof either.
    faint = np.random.default_rng(0).integers(90, 93, (24, 32, 32)).astype(np.uint8)
    assert score(structure(faint), structure(faint), unmoved(24)).max() < 0.6


def test_too_little_overlap_is_no_score(rooms: np.ndarray) -> None:
    known = structures(rooms[:1])
    cases = [
        (make_view(), True),
        (make_view(shift_x=80), True),  # 24 of 32 columns
        (make_view(shift_x=80, shift_y=60), True),  # 24 x 26 of 1024 are 0.61
        (make_view(shift_x=80, shift_y=70), False),  # 24 x 25 are 0.59
        (make_view(124, 124), True),  # 26 x 26
        (make_view(125, 125), False),  # 24 x 24
        (make_view(140, 140, mirror=True), False),
    ]
    for view, enough in cases:
        found = score(known, known, np.array([view]))[0]
        assert (found > -1) if enough else (found == -1), view
        if not enough:
            views, best = align(known, known, np.array([view]))
            assert best[0] == -1 and views[0] == view


def pairs_of(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of fields, half of them copies, from all kinds of views."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(40, 40, 40))
    smooth = np.stack([cv2.GaussianBlur(field, (0, 0), 1.5) for field in base]) * 120 + 128
    known = structure(np.clip(np.rint(smooth), 0, 255).astype(np.uint8)[:, 4:36, 4:36].copy())
    moved = structure(np.clip(np.rint(smooth), 0, 255).astype(np.uint8)[:, 4:36, 5:37].copy())
    seen, target = rng.integers(0, 40, (2, count))
    target[::2] = seen[::2]
    return known[seen], moved[target], VIEWS[rng.integers(0, len(VIEWS), count)]


def test_scores_do_not_depend_on_order_or_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, target, starts = pairs_of(600)
    views, best = align(seen, target, starts)
    assert (best > 0.8).sum() > 50 and (best < 0.2).sum() > 50
    order = np.random.default_rng(0).permutation(600)
    again_views, again = align(seen[order], target[order], starts[order])
    assert again.tobytes() == best[order].tobytes()
    assert again_views.tobytes() == views[order].tobytes()
    flat_score, flat_structure = score(seen, target, starts), structure(seen.view(np.uint8))
    for block in (1, 7, 1000):
        monkeypatch.setattr(similarity, "_BLOCK", block)
        part = slice(None) if block > 1 else slice(100)
        again_views, again = align(seen[part], target[part], starts[part])
        assert again.tobytes() == best[part].tobytes()
        assert again_views.tobytes() == views[part].tobytes()
        assert score(seen[part], target[part], starts[part]).tobytes() == flat_score[part].tobytes()
        assert np.array_equal(structure(seen[part].view(np.uint8)), flat_structure[part])


@pytest.mark.parametrize("threads", ["1", "2"])
def test_scores_do_not_depend_on_numpys_threads(tmp_path: Path, threads: str) -> None:
    seen, target, starts = pairs_of(64)
    np.savez(tmp_path / "given.npz", seen=seen, target=target, starts=starts)
    script = (
        "import sys, numpy as np; from dcgan_data.ops.similarity import align;"
        "given = np.load(sys.argv[1]);"
        "views, best = align(given['seen'], given['target'], given['starts']);"
        "print(views.tobytes().hex(), best.tobytes().hex())"
    )
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "given.npz")],
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=True,
    )
    views, best = align(seen, target, starts)
    assert done.stdout.split() == [views.tobytes().hex(), best.tobytes().hex()]


def test_no_pairs() -> None:
    none = np.zeros((0, 32, 32), np.int8)
    views, best = align(none, none, unmoved(0))
    assert views.shape == best.shape == score(none, none, unmoved(0)).shape == (0,)
    assert structure(none.view(np.uint8)).shape == (0, 32, 32)


def test_inputs_are_left_alone() -> None:
    seen, target, starts = pairs_of(64)
    before = seen.copy(), target.copy(), starts.copy()
    views, _ = align(seen, target, starts)
    score(seen, target, starts)
    assert not np.array_equal(views, starts)
    for now, then in zip((seen, target, starts), before, strict=True):
        assert np.array_equal(now, then)
