"""Files beside pictures in a tar that say what these are: WebDataset's ``.cls``, ``.txt`` and ``.json``."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from dcgan_data.sources.members import Texts, TextsBuilder, name_hashes

_EXTENSIONS = (b".cls", b".txt", b".json")
"""If a picture has several, the first of these is its label."""


class SideFiles:
    """The side files of one archive, and which picture each belongs to, wherever in the archive it lies."""

    def __init__(self) -> None:
        self._stems, self._rows = TextsBuilder(), array("q")

    def add(self, name: bytes, offset: int, size: int) -> bool:
        """Take a member up if it is one by its extension; else False."""
        stem, extension = os.path.splitext(name)
        if extension.lower() not in _EXTENSIONS:
            return False
        self._stems.add(stem)
        self._rows.extend((_EXTENSIONS.index(extension.lower()), offset, size))
        return True

    def match(self, pictures: Texts) -> tuple[np.ndarray, Counter[str]]:
        """int64 (N, 2): offset and length of each picture's side file, length -1 if it has none; and the
        side files without a picture, counted by extension.

        ``a.b.jpg`` takes ``a.b.txt`` before ``a.txt``: WebDataset cuts at the first dot, which would mix up
        pictures whose names have dots of their own.
        """
        stems, rows = self._stems.build(), np.frombuffer(self._rows, np.int64).reshape(-1, 3)
        places = np.full((len(pictures), 2), (0, -1), np.int64)
        alone = np.zeros(len(rows), bool)
        if len(rows):
            hashes = name_hashes(stems)
            wanted = [name_hashes(map(stem_of, pictures)) for stem_of in (_to_last_dot, _to_first_dot)]
            chosen = _choose(pictures, stems, hashes, wanted, rows[:, 0])
            found = np.flatnonzero(chosen >= 0)
            places[found] = rows[chosen[found], 1:]
            alone = ~np.isin(hashes, np.concatenate(wanted))  # only counted: equal hashes are near enough
        counts = np.bincount(rows[alone, 0], minlength=len(_EXTENSIONS)).tolist()
        without = {name.decode(): count for name, count in zip(_EXTENSIONS, counts, strict=True) if count}
        return places, Counter(without)


def _choose(
    pictures: Texts, stems: Texts, hashes: np.ndarray, wanted: Sequence[np.ndarray], ranks: np.ndarray
) -> np.ndarray:
    """int64 (N,): the number of each picture's side file, or -1. Of equal names the last counts, as when the
    archive is extracted.

    hashes: of the stems; wanted: of those that the pictures' may be, the first of them first.
    """
    order = np.lexsort((-np.arange(len(ranks)), ranks, hashes))
    hashes = hashes[order]
    chosen = np.full(len(pictures), -1, np.int64)
    for wanted_hashes in wanted:
        place = np.minimum(np.searchsorted(hashes, wanted_hashes), len(hashes) - 1)
        fits = (hashes[place] == wanted_hashes) & (chosen < 0)
        chosen[fits] = order[place[fits]]
    for number, name in enumerate(pictures):  # equal hashes are not yet equal names
        if chosen[number] >= 0:
            stem = stems.get(int(chosen[number]))
            if stem not in (_to_last_dot(name), _to_first_dot(name)):
                chosen[number] = -1
    return chosen


def _to_last_dot(name: bytes) -> bytes:
    return os.path.splitext(name)[0]


def _to_first_dot(name: bytes) -> bytes:
    directory, slash, base = name.rpartition(b"/")
    return directory + slash + base.partition(b".")[0]
