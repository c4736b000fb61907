"""Read a prepared set: its index, its manifest, and the pixels of its kept rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.formats.dataset import MANIFEST, DatasetInfo, check_stamp, read_info, shard_name
from dcgan_data.formats.manifest import (
    DUPLICATE,
    KEPT,
    MANIFEST_SCHEMA,
    RECORD_SCHEMA,
    REJECTED,
    read_table,
)
from dcgan_data.formats.shards import open_shard


class ImageRows:
    """Random access to images by position, through memory maps: shard and row of each, int32 (N,)."""

    def __init__(self, shards: list[np.ndarray], shard: np.ndarray, row: np.ndarray, image_size: int) -> None:
        self.image_size = image_size
        self._shards = shards
        self._shard = shard
        self._row = row

    def __len__(self) -> int:
        return len(self._row)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy the images at int64 (B,) ``indices`` into one uint8 (B, S, S, 3) RGB array."""
        images = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        shards = self._shard[indices]
        rows = self._row[indices]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            # Ascending rows: pages of the map are then read forwards.
            here = here[np.argsort(rows[here], kind="stable")]
            images[here] = self._shards[shard][rows[here]]
        return images


@dataclass(frozen=True)
class PreparedSet:
    """A complete prepared set on disk."""

    path: Path
    """The set's directory."""
    info: DatasetInfo
    """Its index."""

    @classmethod
    def open(cls, path: Path) -> PreparedSet:
        """Open a set; BadInput if ``path`` is not a prepared set, is unfinished or damaged.

        The manifest's bytes are held against the index: rows that were changed would name other pixels.
        """
        info = read_info(path)
        check_stamp(path, MANIFEST, info)
        return cls(path, info)

    def manifest(self, columns: list[str] | None = None) -> pa.Table:
        """The manifest, or some of its columns, in source order."""
        return read_table(self.path / MANIFEST, MANIFEST_SCHEMA, columns)

    def records_by_shard(self) -> list[pa.Table]:
        """The manifest, cut into its shards, with every removal undone: RECORD_SCHEMA."""
        table = self.manifest(RECORD_SCHEMA.names)
        status = pc.if_else(pc.equal(table["status"], REJECTED), REJECTED, KEPT)
        table = table.set_column(
            table.schema.get_field_index("status"), RECORD_SCHEMA.field("status"), status
        )
        table = table.cast(RECORD_SCHEMA)
        starts = np.searchsorted(table["shard"].to_numpy(), range(len(self.info.shard_rows) + 1))
        return [table.slice(start, end - start) for start, end in pairwise(starts.tolist())]

    def shards(self) -> list[np.ndarray]:
        """All shards as read-only memory maps, uint8 (n, S, S, 3)."""
        size = self.info.image_size
        rows = enumerate(self.info.shard_rows)
        return [open_shard(self.path / shard_name(shard), n, size) for shard, n in rows]

    def rows(self, include_duplicates: bool = False) -> ImageRows:
        """The images of kept rows in manifest order; with ``include_duplicates``, of removed ones too."""
        wanted = [KEPT, DUPLICATE] if include_duplicates else [KEPT]
        table = self.manifest(["status", "shard", "row"])
        table = table.filter(pc.is_in(table["status"], pa.array(wanted)))
        shard = table["shard"].to_numpy().astype(np.int32)
        row = table["row"].to_numpy().astype(np.int32)
        return ImageRows(self.shards(), shard, row, self.info.image_size)
