"""Groups of duplicates for the page: which are shown, and which of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcgan_data.report.bands import Bands
from dcgan_data.report.rows import Removals

BIGGEST, SPREAD = 150, 150
"""Groups shown: the biggest ones, and a random choice spread over the score bands."""
MOST_REMOVED = 12
"""Removed images shown of one group."""
MOST_KEY_CHARACTERS = 500
_SEED = 0


@dataclass(frozen=True)
class ShownGroup:
    """One group of the page."""

    size: int
    """Images in it, the kept one included."""
    kept_row: int
    """Manifest row of the kept image."""
    removed: tuple[int, ...]
    """Places in ``Removals`` of the shown removed images, the lowest score first."""


def choose_groups(removals: Removals, bands: Bands) -> list[ShownGroup]:
    """The biggest groups and a spread over the bands, alternately: cutting the list keeps the mixture."""
    if not len(removals):
        return []
    sizes = removals.group_sizes
    band = bands.of(removals.score)
    order = np.lexsort((np.arange(len(sizes)), -sizes))
    biggest = order[:BIGGEST]
    spread = _spread(removals.group, band, np.setdiff1d(order, biggest), len(bands))
    starts = np.searchsorted(removals.group, np.arange(len(sizes) + 1))
    shown = []
    for number in _alternate(biggest.tolist(), spread):
        members = np.arange(starts[number], starts[number + 1])
        places = _choose_members(removals.score[members], band[members])
        first = int(members[0])
        shown.append(
            ShownGroup(int(sizes[number]), int(removals.kept_row[first]), tuple(members[places].tolist()))
        )
    return shown


def _spread(group: np.ndarray, band: np.ndarray, candidates: np.ndarray, bands: int) -> list[int]:
    """Random groups of every band in equal numbers, as far as there are any; the lowest band first."""
    rng = np.random.default_rng(_SEED)
    free = np.zeros(int(group[-1]) + 1, bool)
    free[candidates] = True
    chosen: list[int] = []
    for number in range(bands):
        pool = np.unique(group[(band == number) & free[group]])
        take = min((SPREAD - len(chosen)) // (bands - number), len(pool))
        picked = rng.choice(pool, take, replace=False)
        free[picked] = False
        chosen += picked.tolist()
    return chosen


def _alternate(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """a0, b0, a1, b1, ..., and then the rest of the longer one."""
    turns = [(place, 0, number) for place, number in enumerate(first)]
    turns += [(place, 1, number) for place, number in enumerate(second)]
    return [number for _, _, number in sorted(turns)]


def _choose_members(score: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Places of the removed images to show, lowest score first: one of each band, the rest evenly."""
    order = np.argsort(score, kind="stable")  # NaN last
    if len(order) <= MOST_REMOVED:
        return order
    firsts = np.unique(band[order], return_index=True)[1]
    even = np.linspace(0, len(order) - 1, MOST_REMOVED).round().astype(np.int64)
    others = np.setdiff1d(even, firsts)
    room = max(MOST_REMOVED - len(firsts), 0)
    places = np.concatenate([firsts, others[np.linspace(0, len(others) - 1, room).round().astype(np.int64)]])
    chosen: np.ndarray = order[np.unique(places)]
    return chosen


def group_rows(removals: Removals, shown: Sequence[ShownGroup]) -> list[int]:
    """Manifest rows whose pictures the groups need, in the groups' order."""
    return [row for group in shown for row in (group.kept_row, *removals.row[list(group.removed)].tolist())]


def groups_data(
    removals: Removals,
    bands: Bands,
    shown: Sequence[ShownGroup],
    words: Mapping[int, Mapping[str, Any]],
    pictures: Mapping[int, str],
) -> dict[str, Any]:
    """What the page's script needs, as plain values; groups without all their pictures are left out.

    words: key, view, distance, width and height by manifest row; pictures: base64 JPEG by manifest row.
    """
    band = bands.of(removals.score)
    whole = [group for group in shown if all(row in pictures for row in group_rows(removals, [group]))]
    whole.sort(key=lambda group: (-group.size, group.kept_row))
    entries = []
    for group in whole:
        removed = [
            {
                **_image(int(removals.row[place]), words, pictures),
                **pair_words(words[int(removals.row[place])], float(removals.score[place])),
                "band": int(band[place]),
            }
            for place in group.removed
        ]
        kept = _image(group.kept_row, words, pictures)
        entries.append({"size": group.size, "kept": kept, "removed": removed})
    in_band = np.unique(removals.group * max(len(bands), 1) + band) % max(len(bands), 1)
    return {
        "bands": list(bands.labels),
        "groups_in_band": np.bincount(in_band, minlength=len(bands)).tolist(),
        "groups": entries,
        "total": len(removals.group_sizes) if len(removals) else 0,
        "biggest": BIGGEST,
    }


def pair_words(words: Mapping[str, Any], score: float) -> dict[str, Any]:
    """Score, view and distance of a removal as plain values."""
    return {
        "score": None if np.isnan(score) else round(score, 4),
        "view": words["view"],
        "distance": words["distance"],
    }


def _image(row: int, words: Mapping[int, Mapping[str, Any]], pictures: Mapping[int, str]) -> dict[str, Any]:
    word = words[row]
    return {
        "jpeg": pictures[row],
        "key": word["key"][:MOST_KEY_CHARACTERS],
        "source": [word["width"], word["height"]],
    }
