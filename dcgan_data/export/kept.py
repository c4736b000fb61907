"""The kept rows of a set with their pixels, whole or in runs that travel to workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.export.labels import are_integers
from dcgan_data.formats.dataset import shard_name
from dcgan_data.formats.manifest import KEPT
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.formats.shards import open_shard

_BATCH = 256
"""Images whose pixels are in memory together."""


class Kept(NamedTuple):
    """One kept image."""

    number: int
    """Its place among all kept images, from 0."""
    pixels: np.ndarray
    """uint8 (S, S, 3) RGB."""
    key: str
    """Of the source's record."""
    part: int
    """The face's number in the record."""
    label: int | str | None
    """What the source says of it; int if all labels of the set are integers."""


def file_name(number: int, extension: str = ".png") -> str:
    """``00000012.png``: the name of a kept image's file."""
    return f"{number:08d}{extension}"


@dataclass(frozen=True)
class KeptRows:
    """Kept rows in manifest order. Picklable; iterating reads the pixels through memory maps."""

    path: Path
    """The set."""
    image_size: int
    """S, side of the images."""
    shard_rows: list[int]
    """Images in each shard of the set."""
    table: pa.Table
    """key, part, label, shard, row."""
    integer_labels: bool
    """Whether every label of the set is an integer."""
    first: int = 0
    """Number of the first row among all kept ones."""

    @classmethod
    def of(cls, prepared: PreparedSet) -> KeptRows:
        """All kept rows of a set."""
        table = prepared.manifest(["status", "key", "part", "label", "shard", "row"])
        table = table.filter(pc.equal(table["status"], KEPT)).drop_columns("status")
        info = prepared.info
        integers = are_integers(table["label"])
        return cls(prepared.path.absolute(), info.image_size, info.shard_rows, table, integers)

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Kept]:
        images = self._images()
        for start in range(0, len(self), _BATCH):
            columns = self.table.slice(start, _BATCH).to_pydict()
            pixels = images.gather(np.arange(start, start + len(columns["key"])))
            labels = [self.label_value(label) for label in columns["label"]]
            numbers = range(self.first + start, self.first + start + len(pixels))
            yield from map(Kept, numbers, pixels, columns["key"], columns["part"], labels)

    def cut(self, size: int) -> list[KeptRows]:
        """Runs of ``size`` consecutive rows; the last may be shorter."""
        return [self._run(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def label_value(self, label: str | None) -> int | str | None:
        """A label as it is written."""
        return label if label is None or not self.integer_labels else int(label)

    def _run(self, start: int, stop: int) -> KeptRows:
        # take, not slice: a slice would travel to a worker with the whole table.
        table = self.table.take(pa.array(np.arange(start, stop)))
        return replace(self, table=table, first=self.first + start)

    def _images(self) -> ImageRows:
        """The pixels of these rows: only the shards that they lie in are opened."""
        numbers, place = np.unique(self.table["shard"].to_numpy(), return_inverse=True)
        size, rows = self.image_size, self.shard_rows
        shards = [open_shard(self.path / shard_name(shard), rows[shard], size) for shard in numbers.tolist()]
        return ImageRows(shards, place.astype(np.int32), self.table["row"].to_numpy(), size)
