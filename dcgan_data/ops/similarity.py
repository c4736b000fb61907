"""The check that decides: how well does one image, laid over another, show the same details?

An image is reduced to 32x32 luminance, of which the fine structure is kept: what differs from the mean of
its 7x7 surroundings, divided by the contrast there. Brightness, contrast, gamma, colours and slow gradients
(two skies) drop out, and a strong edge (a frame, a horizon) counts no more than any other detail. The score
is the correlation of that structure where two images overlap, at the best of many alignments, found by
Gauss-Newton steps from the view under which their codes were near.

All sums are of integers small enough to be exact, and the rest is elementwise IEEE arithmetic: a score is the
same on every machine, so that a removal can be proved again anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dcgan_data.ops.views import (
    FARTHEST_SHIFT,
    HIGHEST_ZOOM,
    LOWEST_ZOOM,
    SIDE,
    WEIGHT_STEPS,
    tap_matrices,
)

_WINDOW = 7
_CONTRAST_FLOOR = 6
"""Grey levels: details fainter than this are not amplified to full strength."""
_PLAIN = 12
"""Grey levels: a line of pixels that spans no more belongs to a plain border."""
_WIDEST_BORDER = 10
"""Pixels of 32 that are taken for a border at most."""
_STEPS = 32
"""Structure is stored in 32nds of a standard deviation, as int8."""
_NOISE = 30
"""Added to the energy of each pixel, in _STEPS^2: where there is next to no structure the score stays low."""
_FEWEST_SHARED = 0.6
"""Share of the view that must lie inside the other image."""
_WARP_SCALE = 16
"""A warped structure keeps 4 binary places: its squares are exact in float32, and all sums of products in
float64."""
_ITERATIONS = 6
"""More gave nothing (CIFAR-10, 71,803 candidate pairs)."""
_HOPELESS = (0.15, 0.2, 0.25)
"""A pair that scores less before the first, second, third step is given up, as most unrelated ones do. Of 249
judged near-duplicates of CIFAR-10 226 score 0.74 with these, 224 with bounds higher by 0.05."""
_DAMPING = 0.02
_IMAGES, _BLOCK = 64, 256
"""Images and pairs at a time: their arrays stay in the processor's cache."""

Edges = list[tuple[np.ndarray, np.ndarray]]
"""Of rows, then of columns: int64 (N,) the first and the last that are inside."""


def structure(luma: np.ndarray) -> np.ndarray:
    """Local structure of uint8 (N, 32, 32) luminance: int8 (N, 32, 32), some 50 microseconds an image.

    A plain border (a frame, the background of a product shot) has none: the picture inside it is treated as
    if it ended there, so that neither does one frame make two pictures alike, nor hide that they are.
    """
    result = np.empty(luma.shape, np.int8)
    for start in range(0, len(luma), _IMAGES):
        block = luma[start : start + _IMAGES].astype(np.int32)
        edges = _picture_edges(block)
        bordered = np.any([(first != 1) | (last != SIDE - 2) for first, last in edges], axis=0)
        for some in (~bordered, bordered):  # most have no border, which is quicker
            result[start : start + _IMAGES][some] = _structure(
                block[some], [(first[some], last[some]) for first, last in edges]
            )
    return result


def _structure(luma: np.ndarray, edges: Edges) -> np.ndarray:
    """Structure of int32 (N, 32, 32) luminance within the edges: int8 (N, 32, 32)."""
    # Continued by its slope, not mirrored as it is: a slow gradient would else have an edge all around.
    detail = _WINDOW**2 * luma - _box_sum(luma, edges, odd=True)  # 49 times the detail
    energy = _box_sum(detail.astype(np.float64) ** 2, edges, odd=False)  # integers under 2^53
    floor = (_WINDOW**2 * _CONTRAST_FLOOR) ** 2
    relative = detail / np.sqrt(energy / _WINDOW**2 + floor)
    relative *= _inside(edges[0])[:, :, None] & _inside(edges[1])[:, None, :]
    rounded: np.ndarray = np.clip(np.rint(_STEPS * relative), -127, 127)
    return rounded.astype(np.int8)


def _picture_edges(luma: np.ndarray) -> Edges:
    """First and last row, and first and last column, inside a plain border: int64 (N,) each."""
    edges = []
    for across in (2, 1):
        plain = luma.max(axis=across) - luma.min(axis=across) <= _PLAIN
        depths = [np.argmin(side, axis=1) for side in (plain, plain[:, ::-1])]
        # One line more: it is part border, part picture.
        first, last = (np.minimum(depth, _WIDEST_BORDER) + 1 for depth in depths)
        edges.append((first, SIDE - 1 - last))
    return edges


def _inside(edges: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    line = np.arange(SIDE)
    inside: np.ndarray = (line >= edges[0][:, None]) & (line <= edges[1][:, None])
    return inside


def _box_sum(images: np.ndarray, edges: Edges, odd: bool) -> np.ndarray:
    """Sums over 7x7 windows of (N, 32, 32), mirrored at the edges (odd: through the value there)."""
    if all((first == 1).all() and (last == SIDE - 2).all() for first, last in edges):
        reach = 1 + _WINDOW // 2  # the outermost line is outside the edge too
        kind: Any = {"mode": "reflect", "reflect_type": "odd" if odd else "even"}
        padded = np.pad(images[:, 1:-1, 1:-1], ((0, 0), (reach, reach), (reach, reach)), **kind)
    else:
        down = _continued(images, edges[0], odd)
        padded = _continued(down.transpose(0, 2, 1), edges[1], odd).transpose(0, 2, 1)
    two = padded[:, :-1] + padded[:, 1:]  # seven are four and two and one
    four = two[:, :-2] + two[:, 2:]
    rows = four[:, :SIDE] + two[:, 4:-1] + padded[:, 6:]
    two = rows[:, :, :-1] + rows[:, :, 1:]
    four = two[:, :, :-2] + two[:, :, 2:]
    total: np.ndarray = four[:, :, :SIDE] + two[:, :, 4:-1] + rows[:, :, 6:]
    return total


def _continued(images: np.ndarray, edges: tuple[np.ndarray, np.ndarray], odd: bool) -> np.ndarray:
    """(N, 32, M) with 3 rows more on either side, all rows outside the edges mirrored: (N, 38, M)."""
    first, last = (edge[:, None] for edge in edges)
    line = np.arange(-(_WINDOW // 2), SIDE + _WINDOW // 2)[None]
    edge = np.clip(line, first, last)
    mirrored = np.clip(2 * edge - line, first, last)
    result = np.take_along_axis(images, mirrored[..., None], axis=1)
    if odd:
        outside = (edge != line)[..., None]
        at_edge = np.take_along_axis(images, edge[..., None], axis=1)
        result = np.where(outside, 2 * at_edge - result, result)
    return result


def align(seen: np.ndarray, target: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best alignment of each pair, starting from a view.

    seen, target: int8 (P, 32, 32) structures; ``seen`` is looked at through VIEW (P,) ``views``.
    Returns the best views, VIEW (P,), and their scores, float64 (P,): about 0 for unrelated images, at most
    1, and -1 where too little is shared.
    """
    best_views = views.copy()
    best = np.empty(len(views))
    for start in range(0, len(views), _BLOCK):
        block = slice(start, start + _BLOCK)
        best_views[block], best[block] = _align_block(seen[block], target[block], views[block])
    return best_views, best


def score(seen: np.ndarray, target: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Scores of pairs at given views, without looking for better ones: float64 (P,). See ``align``."""
    result = np.empty(len(views))
    for start in range(0, len(views), _BLOCK):
        block = slice(start, start + _BLOCK)
        source, facing = seen[block].astype(np.float32), _facing(target[block], views[block])
        result[block] = _scores(*_overlap(source, facing, views[block]))
    return result


def _align_block(seen: np.ndarray, target: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source, facing = seen.astype(np.float32), _facing(target, views)
    best_views, best = views.copy(), np.full(len(views), -1.0)
    active, current = np.arange(len(views)), views.copy()
    for step in range(_ITERATIONS + 1):
        warped, shown, inside = _overlap(source[active], facing[active], current)
        scores = _scores(warped, shown, inside)
        better = scores > best[active]
        best[active[better]] = scores[better]
        best_views[active[better]] = current[better]
        if step == _ITERATIONS:
            break
        going = scores >= (_HOPELESS[step] if step < len(_HOPELESS) else _HOPELESS[-1])
        active, current = active[going], current[going]
        if not len(active):
            break
        moved = _newton_step(warped[going], shown[going], inside[going], current)
        changed = moved != current
        active, current = active[changed], moved[changed]
        if not len(active):
            break
    return best_views, best


def _facing(target: np.ndarray, views: np.ndarray) -> np.ndarray:
    """The targets as float32, mirrored where the view is: the same as mirroring the view."""
    facing = target.astype(np.float32)
    mirrored = views["mirror"]
    facing[mirrored] = facing[mirrored, :, ::-1]
    return facing


def _overlap(
    source: np.ndarray, facing: np.ndarray, views: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The source warped (times _WARP_SCALE), and both structures where they overlap, 0 elsewhere.

    Returns float32 (P, 32, 32) of integers, the warped source (its border repeated) and the target, and bool
    (P, 32, 32), the overlap.
    """
    rows, inside_y = tap_matrices(views["zoom_y"], views["shift_y"])
    columns, inside_x = tap_matrices(views["zoom_x"], views["shift_x"])
    # Integers under 2^19 at every step: exact in float32, in any order.
    warped = rows @ source @ columns.transpose(0, 2, 1)
    warped = np.rint(warped * np.float32(_WARP_SCALE / WEIGHT_STEPS**2))
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    return warped, facing * inside, inside


def _scores(warped: np.ndarray, shown: np.ndarray, inside: np.ndarray) -> np.ndarray:
    masked = warped * inside
    # Products are integers under 2^24, exact in float32; their sums need float64.
    product = (masked * shown).sum(axis=(1, 2), dtype=np.float64)
    warped_energy = (masked * masked).sum(axis=(1, 2), dtype=np.float64)
    shown_energy = (shown * shown).sum(axis=(1, 2), dtype=np.float64)
    return _ratio(product, warped_energy, shown_energy, inside.sum(axis=(1, 2)))


def _ratio(
    product: np.ndarray, warped_energy: np.ndarray, shown_energy: np.ndarray, shared: np.ndarray
) -> np.ndarray:
    noise = float(_NOISE) * shared
    scale = np.sqrt(warped_energy / _WARP_SCALE**2 + noise) * np.sqrt(shown_energy + noise)
    enough = shared >= _FEWEST_SHARED * SIDE * SIDE
    ratio: np.ndarray = np.where(enough, product / _WARP_SCALE / np.maximum(scale, 1.0), -1.0)
    return ratio


def _newton_step(warped: np.ndarray, shown: np.ndarray, inside: np.ndarray, views: np.ndarray) -> np.ndarray:
    """One damped Gauss-Newton step of shift and zoom, along x and y, towards a smaller difference.

    All sums are in one Gram matrix of the derivatives and the two structures.
    """
    gram = _gram(warped, shown, inside)
    energies = gram[:, 4, 4], gram[:, 5, 5]
    gain = np.sqrt(energies[0] / np.maximum(energies[1], 1.0))
    right = gain[:, None] * gram[:, :4, 5] - gram[:, :4, 4]
    normal = gram[:, :4, :4]
    for diagonal in range(4):
        normal[:, diagonal, diagonal] *= 1 + _DAMPING
        normal[:, diagonal, diagonal] += 1.0
    # Twice: the derivatives are differences over two pixels. (And stretches count in half pixels.)
    step = np.clip(2 * _solve(normal, right), (-1.5, -0.05, -1.5, -0.05), (1.5, 0.05, 1.5, 0.05))
    moved = views.copy()
    for axis, place in (("x", 0), ("y", 2)):
        zoom, shift = views[f"zoom_{axis}"], views[f"shift_{axis}"]
        wider = np.rint(zoom * (1 + 2 * step[:, place + 1]))
        moved[f"zoom_{axis}"] = np.clip(wider, LOWEST_ZOOM, HIGHEST_ZOOM)
        farther = np.rint(shift + zoom / 10.0 * step[:, place])
        moved[f"shift_{axis}"] = np.clip(farther, -FARTHEST_SHIFT, FARTHEST_SHIFT)
    return moved


def _gram(warped: np.ndarray, shown: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """float64 (P, 6, 6): products of d/dx, x d/dx, d/dy, y d/dy, the warped structure and the target."""
    centred = (2 * np.arange(SIDE) - (SIDE - 1)).astype(np.float32)
    parts = np.zeros((len(warped), 6, SIDE, SIDE), np.float32)
    parts[:, 0, :, 1:-1] = warped[:, :, 2:] - warped[:, :, :-2]
    parts[:, 2, 1:-1] = warped[:, 2:] - warped[:, :-2]
    parts[:, 4], parts[:, 5] = warped, shown
    parts[:, (0, 2, 4)] *= inside[:, None]
    parts[:, 1] = parts[:, 0] * centred
    parts[:, 3] = parts[:, 2] * centred[:, None]
    rows = parts.reshape(len(warped), 6, SIDE * SIDE).astype(np.float64)
    gram: np.ndarray = rows @ rows.transpose(0, 2, 1)
    return gram


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve positive definite float64 (P, 4, 4) systems elementwise: LAPACK's last bits differ by machine."""
    matrix, right = matrix.copy(), right.copy()
    size = right.shape[1]
    for pivot in range(size):
        for row in range(pivot + 1, size):
            factor = matrix[:, row, pivot] / matrix[:, pivot, pivot]
            matrix[:, row] -= factor[:, None] * matrix[:, pivot]
            right[:, row] -= factor * right[:, pivot]
    for pivot in reversed(range(size)):
        for column in range(pivot + 1, size):
            right[:, pivot] -= matrix[:, pivot, column] * right[:, column]
        right[:, pivot] /= matrix[:, pivot, pivot]
    return right
