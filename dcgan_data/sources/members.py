"""The members of an archive as a few arrays: no Python object is kept for a member.

ImageNet has 1.3 million members. As objects they would take hundreds of megabytes, and be pickled one by one.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from dcgan_data.sources.folder import is_hidden

PLACE = (("offset", np.int64), ("stored_bytes", np.int64), ("problem", np.int64))
"""The columns that every archive's rows begin with: where in the file a member lies, how long it is there,
and its Problem."""


class Problem(IntEnum):
    """Why a member's data must not be read, as found when the archive was opened."""

    NONE = 0
    UNSAFE_NAME = 1
    DUPLICATE_KEY = 2
    NOT_A_TAR = 3
    ENCRYPTED = 4


REASONS = {
    Problem.UNSAFE_NAME: "unsafe_name: leaves the archive",
    Problem.DUPLICATE_KEY: "duplicate_key: a later member has the same name and takes its place",
    Problem.NOT_A_TAR: "unreadable: not a tar archive",
    Problem.ENCRYPTED: "unreadable: encrypted",
}


@dataclass(frozen=True, eq=False)
class Texts:
    """Many byte strings as one array. Cutting a run out of it copies nothing but the bounds."""

    blob: np.ndarray
    """uint8 (B,), one after another."""
    bounds: np.ndarray
    """int64 (N + 1,), where each begins, and where the last one ends."""

    @classmethod
    def of(cls, strings: Iterable[bytes]) -> Texts:
        """Take up byte strings."""
        builder = TextsBuilder()
        for string in strings:
            builder.add(string)
        return builder.build()

    @classmethod
    def join(cls, parts: Sequence[Texts]) -> Texts:
        """Put several after one another."""
        blobs = [part.blob for part in parts]
        shifts = np.cumsum([0, *map(len, blobs)])
        bounds = [part.bounds[1:] + shift for part, shift in zip(parts, shifts, strict=False)]
        return cls(
            np.concatenate([np.empty(0, np.uint8), *blobs]), np.concatenate([np.zeros(1, np.int64), *bounds])
        )

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[bytes]:
        view = self.blob.data
        for start, stop in pairwise(self.bounds):
            yield bytes(view[start:stop])

    def get(self, number: int) -> bytes:
        """One of them."""
        return self.blob[self.bounds[number] : self.bounds[number + 1]].tobytes()

    def cut(self, start: int, stop: int) -> Texts:
        """The strings from number ``start`` up to ``stop``."""
        bounds = self.bounds[start : stop + 1]
        return Texts(self.blob[bounds[0] : bounds[-1]], bounds - bounds[0])

    def take(self, order: np.ndarray) -> Texts:
        """The strings of these numbers."""
        strings = list(self)
        return Texts.of(strings[number] for number in order)


@dataclass(frozen=True, eq=False)
class Members:
    """The members of an archive that are records, in order."""

    names: Texts
    """Their names, the raw bytes; unique."""
    labels: Texts
    """What names and lists say that they are, as UTF-8; empty for those of which nothing is said."""
    rows: np.ndarray
    """(N,), structured: PLACE, and what else it takes to read one."""

    def __len__(self) -> int:
        return len(self.rows)

    def cut(self, start: int, stop: int) -> Members:
        """Those from number ``start`` up to ``stop``; cut short where there are no more."""
        stop = min(stop, len(self))
        return Members(self.names.cut(start, stop), self.labels.cut(start, stop), self.rows[start:stop])

    @classmethod
    def join(cls, parts: Sequence[Members], columns: np.dtype) -> Members:
        """Put several after one another; ``columns`` is what their rows are made of."""
        return cls(
            Texts.join([part.names for part in parts]),
            Texts.join([part.labels for part in parts]),
            np.concatenate([np.empty(0, columns), *(part.rows for part in parts)]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, of which ``from_arrays`` makes the same again."""
        return {
            "names": self.names.blob,
            "name_bounds": self.names.bounds,
            "labels": self.labels.blob,
            "label_bounds": self.labels.bounds,
            "rows": self.rows,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Members:
        """The reverse."""
        names = Texts(arrays["names"], arrays["name_bounds"])
        labels = Texts(arrays["labels"], arrays["label_bounds"])
        return cls(names, labels, arrays["rows"])


class TextsBuilder:
    """Takes byte strings up one by one."""

    def __init__(self) -> None:
        self._blob, self._bounds = bytearray(), array("q", [0])

    def add(self, string: bytes) -> None:
        """One more."""
        self._blob += string
        self._bounds.append(len(self._blob))

    def build(self) -> Texts:
        """All that were added. Nothing can be added afterwards: it is not copied."""
        return Texts(np.frombuffer(self._blob, np.uint8), np.frombuffer(self._bounds, np.int64))


class MembersBuilder:
    """Takes members up one by one, as an archive's directory is walked."""

    def __init__(self, columns: np.dtype) -> None:
        self._columns = columns
        self._names, self._labels, self._numbers = TextsBuilder(), TextsBuilder(), array("q")

    def add(self, name: bytes, label: str | None, row: Sequence[int]) -> None:
        """One more; ``row`` are the numbers of its columns."""
        self._names.add(name)
        self._labels.add((label or "").encode("utf-8", "backslashreplace"))
        self._numbers.extend(row)

    def build(self) -> Members:
        """All that were added, in this order."""
        rows = np.frombuffer(self._numbers, self._columns)
        return Members(self._names.build(), self._labels.build(), rows)


def settle(members: Members) -> Members:
    """The same with unique names, in the order in which they lie in the file.

    Of those with the same name the last one keeps it, as when the archive is extracted. The others become
    records with a problem, whose names end in ``#1``, ``#2`` and so on.
    """
    names, renamed = unique_names(members.names)
    rows = members.rows
    replaced = renamed[rows["problem"][renamed] == Problem.NONE]
    rows["problem"][replaced] = Problem.DUPLICATE_KEY
    if np.all(np.diff(rows["offset"]) >= 0):
        return Members(names, members.labels, rows)
    order = np.argsort(rows["offset"], kind="stable")
    return Members(names.take(order), members.labels.take(order), rows[order])


def unique_names(names: Texts) -> tuple[Texts, np.ndarray]:
    """Rename all but the last of equal names; int64 (R,) are the numbers of the renamed ones, ascending."""
    suspects = {number: names.get(number) for number in _equal_hashes(name_hashes(names)).tolist()}
    last = {name: number for number, name in suspects.items()}
    if len(last) == len(suspects):
        return names, np.empty(0, np.int64)
    taken = {name for name in names if b"#" in name}
    counts: Counter[bytes] = Counter()
    renamed: dict[int, bytes] = {}
    for number, name in suspects.items():
        if number == last[name]:
            continue
        new = name
        while new == name or new in taken:
            counts[name] += 1
            new = b"%s#%d" % (name, counts[name])
        taken.add(new)
        renamed[number] = new
    texts = Texts.of(renamed.get(number, name) for number, name in enumerate(names))
    return texts, np.array(list(renamed), np.int64)


def name_hashes(names: Iterable[bytes]) -> np.ndarray:
    """int64 (N,): equal for equal names, within this process. Names of equal hash are to be compared."""
    return np.fromiter(map(hash, names), np.int64)


def _equal_hashes(hashes: np.ndarray) -> np.ndarray:
    """int64, ascending: the numbers of those whose hash is not the only one of its kind."""
    order = np.argsort(hashes, kind="stable")
    same = np.diff(hashes[order]) == 0
    either = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    return np.sort(order[either]) if len(hashes) else np.empty(0, np.int64)


def clean_name(name: bytes) -> bytes:
    """A member's name without the ``./`` that some tools begin it with; an absolute one stays as it is."""
    if name.startswith(b"/") or (b"./" not in name and b"//" not in name):
        return name
    return b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))


def name_problem(name: bytes) -> Problem:
    """Whether a name leads out of the directory that its archive would be extracted to."""
    if name.startswith(b"/") or (b".." in name and b".." in name.split(b"/")):
        return Problem.UNSAFE_NAME
    return Problem.NONE


def is_left_out(name: bytes) -> bool:
    """Whether a member is hidden, or in a hidden directory, as in a folder of files; unsafe names are not."""
    if name[:1] != b"." and b"/." not in name and b"__MACOSX" not in name:
        return False
    return any(part != b".." and is_hidden(part) for part in name.split(b"/"))
