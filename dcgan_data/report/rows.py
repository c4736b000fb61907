"""What the report needs of a manifest of millions of rows: numbers for all rows, words for few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.formats.manifest import DUPLICATE, KEPT, REJECTED
from dcgan_data.formats.prepared import ImageRows, PreparedSet


@dataclass(frozen=True)
class Removals:
    """R removed images whose kept image is in the same set, ordered by group, then by manifest row."""

    row: np.ndarray
    """int64 (R,): manifest row of the removed image."""
    kept_row: np.ndarray
    """int64 (R,): manifest row of the kept image that it was checked against."""
    group: np.ndarray
    """int64 (R,): 0 to G - 1, ascending."""
    score: np.ndarray
    """float32 (R,): NaN where the rule gives none."""
    elsewhere: int = 0
    """Removed images besides these, whose kept image is of another set."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def group_sizes(self) -> np.ndarray:
        """int64 (G,): images in each group, the kept one included."""
        return np.bincount(self.group) + 1


@dataclass(frozen=True)
class SetRows:
    """A set's rows by what became of them; every number is a row of the manifest."""

    kept: np.ndarray
    """int64: all kept rows."""
    rejected: np.ndarray
    """int64: all rejected rows."""
    removals: Removals
    """The removed ones, with their kept ones."""
    images: ImageRows
    """Pixels by manifest row; rejected rows have none."""


def read_rows(prepared: PreparedSet) -> SetRows:
    """Read the few numeric columns that choosing needs: some 30 bytes a row, no Python objects."""
    status = prepared.manifest(["status"])["status"]
    kept, removed, rejected = (
        np.flatnonzero(pc.equal(status, name).to_numpy()) for name in (KEPT, DUPLICATE, REJECTED)
    )
    del status  # of text: larger than all that is read after it
    table = prepared.manifest(["shard", "row", "group", "score"])
    group = pc.fill_null(table["group"], -1).to_numpy()
    score = table["score"].to_numpy()
    images = ImageRows(
        prepared.shards(),
        table["shard"].to_numpy().astype(np.int32, copy=False),
        pc.fill_null(table["row"], -1).to_numpy().astype(np.int32, copy=False),
        prepared.info.image_size,
    )
    return SetRows(kept, rejected, _pair_up(kept, removed, group, score), images)


def _pair_up(kept: np.ndarray, removed: np.ndarray, group: np.ndarray, score: np.ndarray) -> Removals:
    """Find each removed row's kept row: a group is a star, with exactly one kept image."""
    stars = kept[group[kept] >= 0]
    stars = stars[np.argsort(group[stars], kind="stable")]
    star_groups = group[stars]
    place = np.searchsorted(star_groups, group[removed])
    found = np.zeros(len(removed), bool)
    inside = place < len(stars)
    found[inside] = star_groups[place[inside]] == group[removed[inside]]
    row, place = removed[found], place[found]
    order = np.argsort(place, kind="stable")
    row, place = row[order], place[order]
    dense = np.unique(place, return_inverse=True)[1]
    return Removals(row, stars[place], dense, score[row].astype(np.float32), int((~found).sum()))


def read_words(
    prepared: PreparedSet, rows: Iterable[int], columns: tuple[str, ...]
) -> dict[int, dict[str, Any]]:
    """Some columns of some rows, as Python values by row number. One whole column is in memory at a time."""
    wanted = np.unique(np.fromiter(rows, np.int64))
    taken = {name: prepared.manifest([name])[name].take(pa.array(wanted)).to_pylist() for name in columns}
    return {
        int(row): {name: values[place] for name, values in taken.items()} for place, row in enumerate(wanted)
    }
