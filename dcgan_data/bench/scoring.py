"""Holds what a method removed against the truth about a planted set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dcgan_data.bench.changes import KINDS
from dcgan_data.bench.copies import PlantedSet


@dataclass(frozen=True)
class CrossRemoval:
    """An image that was removed in favour of a member of another family."""

    removed: str
    """Its key."""
    kept: str
    """Key of the image that it was held to be a copy of."""
    originals_match: bool
    """Whether the two families' own photos were put together as well. Real photo sets hold real copies: such
    a pair is one, or a mistake that no planted copy has to do with. Only a look can tell."""


@dataclass(frozen=True)
class MethodScore:
    """How one method did on a planted set."""

    planted: dict[str, int]
    """Copies that it could find, by kind, in the order of KINDS."""
    found: dict[str, int]
    """Copies that it found, by kind."""
    rejected: dict[str, int]
    """Copies that it never saw: they or their original could not be decoded. Only kinds that occur."""
    cross: tuple[CrossRemoval, ...]
    """Removals across families: first those whose photos were not put together, then by key."""
    wrong_pairs: int | None = None
    """Pairs across families within the radius, for methods that only name pairs."""

    @property
    def recall(self) -> dict[str, float]:
        """Share of the copies that were found, by kind; without kinds that could not be found."""
        return {kind: self.found[kind] / n for kind, n in self.planted.items() if n}

    @property
    def wrong_removals(self) -> int:
        """Removals in favour of another family, though the two families' photos were not put together."""
        return sum(not pair.originals_match for pair in self.cross)


def found_in_stars(truth: PlantedSet, kept_by: Mapping[str, str]) -> set[str]:
    """Copies that are in the same group as their original: one names the other, or both the same third.

    kept_by: key of every removed image -> key of the kept image that it names.
    """
    return {
        key
        for key, copy in truth.copies.items()
        if kept_by.get(key, key) == kept_by.get(copy.original, copy.original)
    }


def score(
    truth: PlantedSet,
    kept_by: Mapping[str, str],
    found: Collection[str],
    unseen: Collection[str] = (),
    wrong_pairs: int | None = None,
) -> MethodScore:
    """Count per kind.

    kept_by: key of every removed image -> key of the kept image that it names; found: keys of the copies that
    were found; unseen: keys of the images that the method could not read.
    """
    missing = set(unseen)
    seen = {
        key: copy for key, copy in truth.copies.items() if key not in missing and copy.original not in missing
    }
    planted = Counter(copy.kind for copy in seen.values())
    counted = Counter(seen[key].kind for key in found if key in seen)
    rejected = Counter(copy.kind for key, copy in truth.copies.items() if key not in seen)
    return MethodScore(
        planted={kind.name: planted[kind.name] for kind in KINDS},
        found={kind.name: counted[kind.name] for kind in KINDS},
        rejected={kind.name: rejected[kind.name] for kind in KINDS if rejected[kind.name]},
        cross=_cross(truth, kept_by),
        wrong_pairs=wrong_pairs,
    )


def _cross(truth: PlantedSet, kept_by: Mapping[str, str]) -> tuple[CrossRemoval, ...]:
    pairs = []
    for removed, kept in kept_by.items():
        here, there = truth.family(removed), truth.family(kept)
        if here != there:
            pairs.append(CrossRemoval(removed, kept, kept_by.get(here, here) == kept_by.get(there, there)))
    return tuple(sorted(pairs, key=lambda pair: (pair.originals_match, pair.removed)))


def cross_originals(truth: PlantedSet, cross: Collection[CrossRemoval]) -> int:
    """Distinct pairs of photos that were put together, themselves or through their copies' removals."""
    pairs = {
        frozenset((truth.family(pair.removed), truth.family(pair.kept)))
        for pair in cross
        if pair.originals_match
    }
    return len(pairs)
