"""Views: how one 32x32 picture is laid over another - cut, moved, stretched, mirrored.

A view is linear in the pixels, and all its numbers are integers (zoom in hundredths, shifts in tenths of a
pixel, bilinear weights in 64ths). It can therefore be folded into an encoder's weights once, so that the
codes of a view cost one matrix product and no warping; and what is computed with it is the same on every
machine.
"""

from __future__ import annotations

import re

import numpy as np

SIDE = 32
"""Pixels of the pictures that views are of."""
WEIGHT_STEPS = 64
"""Bilinear weights are multiples of 1/64."""
LOWEST_ZOOM, HIGHEST_ZOOM, FARTHEST_SHIFT = 70, 140, 80
_WIDEST_VIEW = 120
"""A view that shows more beyond the border than this shares too little with the picture to be scored."""
VIEW = np.dtype(
    [(name, np.int16) for name in ("zoom_x", "zoom_y", "shift_x", "shift_y")] + [("mirror", np.bool_)]
)
"""A view. Its pixel at (x, y) from the centre shows the picture at (zoom_x / 100 * x + shift_x / 10, ...);
below 100 it shows a part, enlarged. ``mirror`` then swaps left and right of the view."""

_NAME = re.compile(
    r"(?P<mirror>mirror)?"
    r"( ?zoom (?P<zx>\d\.\d\d)x(?P<zy>\d\.\d\d))?"
    r"( ?shift (?P<dx>[+-]\d\.\d)(?P<dy>[+-]\d\.\d))?"
)


def make_view(
    zoom_x: int = 100, zoom_y: int = 100, shift_x: int = 0, shift_y: int = 0, mirror: bool = False
) -> np.void:
    """One view: zooms in hundredths, shifts in tenths of a pixel."""
    view: np.void = np.array([(zoom_x, zoom_y, shift_x, shift_y, mirror)], VIEW)[0]
    return view


IDENTITY = make_view()


def standard_views(
    zooms: tuple[float, ...], shift: float, aspect: float, mirror: bool, outward: bool = False
) -> np.ndarray:
    """The views under which an image is looked up: VIEW (V,), the identity first, none of them twice.

    zooms: parts of the picture's side; shift: in pixels of 32, tried in four directions, alone and at a zoom
    of 0.9; aspect: stretch tried both ways at a zoom of 0.95 (1: none); mirror: all of them mirrored too.
    outward: views beyond the border as well, for when only one of two images can be seen through views.
    """
    levels = [round(100 * zoom) for zoom in zooms]
    step = round(10 * shift)
    moves = [(-step, 0), (step, 0), (0, -step), (0, step)] if step else []
    views = [(100, 100, 0, 0), *((zoom, zoom, 0, 0) for zoom in levels)]
    for zoom in (100, 90, 110) if outward else (100, 90):
        views += [(zoom, zoom, x, y) for x, y in moves]
    if aspect != 1:
        narrow, wide = round(95 / aspect), round(95 * aspect)
        views += [(narrow, wide, 0, 0), (wide, narrow, 0, 0)]
    if outward:
        outer = [min(round(10000 / level), _WIDEST_VIEW) for level in levels]
        views += [(zoom, zoom, 0, 0) for zoom in outer]
    # Once each: different numbers of a recipe may round to the same view.
    plain = np.array([(*view, False) for view in dict.fromkeys(views)], VIEW)
    if not mirror:
        return plain
    mirrored = plain.copy()
    mirrored["mirror"] = True
    return np.concatenate([plain, mirrored])


def taps(zoom: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the 32 rows (or columns) of views come from; zoom, shift: integers (P,).

    Returns int64 (P, 32) the first of two neighbouring rows, int64 (P, 32) the weight in 64ths of the second,
    and bool (P, 32), whether the place lies inside the picture. Outside the border's row is repeated.
    """
    centred = 2 * np.arange(SIDE) - (SIDE - 1)
    place = zoom.astype(np.int64)[:, None] * centred + 20 * shift.astype(np.int64)[:, None]
    place += 100 * (SIDE - 1)  # in 200ths of a pixel
    last = 200 * (SIDE - 1)
    inside = (place >= 0) & (place <= last)
    clamped = np.clip(place, 0, last)
    first = np.minimum(clamped // 200, SIDE - 2)
    weight = ((clamped - 200 * first) * WEIGHT_STEPS + 100) // 200
    return first, weight, inside


def tap_matrices(zoom: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same as matrices: float32 (P, 32, 32) of integers, rows summing to 64, and bool (P, 32) inside."""
    first, weight, inside = taps(zoom, shift)
    matrices = np.zeros((len(first), SIDE, SIDE), np.float32)
    np.put_along_axis(matrices, first[..., None], (WEIGHT_STEPS - weight)[..., None], axis=2)
    np.put_along_axis(matrices, first[..., None] + 1, weight[..., None], axis=2)
    return matrices, inside


def fold(weight: np.ndarray, view: np.void) -> np.ndarray:
    """Encoder weights that see a whole picture as ``weight`` would see its view.

    weight: float64 (1024 * C, K) for pictures (32, 32, C). With weights on a grid all sums are exact.
    """
    rows, _ = tap_matrices(view["zoom_y"][None], view["shift_y"][None])
    columns, _ = tap_matrices(view["zoom_x"][None], view["shift_x"][None])
    y, x = rows[0].astype(np.float64), columns[0].astype(np.float64)
    if view["mirror"]:
        x = x[::-1]
    seen = weight.reshape(SIDE, SIDE, -1)
    # out[i, j] = sum over o, p of y[o, i] * x[p, j] * seen[o, p]
    half = np.tensordot(y.T, seen, 1)
    folded = np.tensordot(x.T, half.transpose(1, 0, 2), 1).transpose(1, 0, 2)
    return np.ascontiguousarray(folded).reshape(weight.shape) / WEIGHT_STEPS**2


def inverse(views: np.ndarray) -> np.ndarray:
    """The other way round, VIEW (P,): what is laid over what is exchanged. Rounded to whole steps."""
    result = views.copy()
    for axis in "xy":
        zoom, shift = views[f"zoom_{axis}"].astype(np.float64), views[f"shift_{axis}"]
        sign = np.where(views["mirror"], 1, -1) if axis == "x" else -1
        result[f"zoom_{axis}"] = np.clip(np.rint(10000 / zoom), LOWEST_ZOOM, HIGHEST_ZOOM)
        farther = np.rint(100 * sign * shift / zoom)
        result[f"shift_{axis}"] = np.clip(farther, -FARTHEST_SHIFT, FARTHEST_SHIFT)
    return result


def view_names(views: np.ndarray) -> np.ndarray:
    """Names of VIEW (P,), for people and files: str (P,), such as "mirror zoom 0.94x0.95 shift +1.2-0.4"."""
    distinct, index = np.unique(views, return_inverse=True)
    names = np.array([_name(view) for view in distinct], dtype=np.str_)
    return names[index]


def parse_views(names: np.ndarray) -> np.ndarray:
    """VIEW (P,) from names as ``view_names`` writes them; ValueError names one that is none."""
    distinct, index = np.unique(names, return_inverse=True)
    views = np.array([_parse(str(name)) for name in distinct], VIEW)
    return views[index]


def _name(view: np.void) -> str:
    parts = ["mirror"] if view["mirror"] else []
    if (view["zoom_x"], view["zoom_y"]) != (100, 100):
        parts.append(f"zoom {view['zoom_x'] / 100:.2f}x{view['zoom_y'] / 100:.2f}")
    if view["shift_x"] or view["shift_y"]:
        parts.append(f"shift {view['shift_x'] / 10:+.1f}{view['shift_y'] / 10:+.1f}")
    return " ".join(parts) or "identity"


def _parse(name: str) -> np.void:
    match = _NAME.fullmatch("" if name == "identity" else name)
    if not match:
        raise ValueError(f"no view: {name!r}")
    zoom = [round(100 * float(match[part] or 1)) for part in ("zx", "zy")]
    shift = [round(10 * float(match[part] or 0)) for part in ("dx", "dy")]
    view = make_view(zoom[0], zoom[1], shift[0], shift[1], bool(match["mirror"]))
    in_range = all(LOWEST_ZOOM <= z <= HIGHEST_ZOOM for z in zoom) and max(map(abs, shift)) <= FARTHEST_SHIFT
    if not in_range or _name(view) != name:  # a view has one name: "shift +0.0+0.0" is none
        raise ValueError(f"no view: {name!r}")
    return view
