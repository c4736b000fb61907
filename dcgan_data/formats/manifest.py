"""The manifest's schema: one row for every source record (and every face in it), in source order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path

KEPT, DUPLICATE, REJECTED = "kept", "duplicate", "rejected"
KEPT_IS_SEEN = "kept: "
"""Before a view in the manifest: it is the kept image that is seen through it, not the removed one."""

RECORD_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("box_x", pa.int32()),
        pa.field("box_y", pa.int32()),
        pa.field("box_w", pa.int32()),
        pa.field("box_h", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("label", pa.string()),
        pa.field("face_x", pa.int32()),
        pa.field("face_y", pa.int32()),
        pa.field("face_w", pa.int32()),
        pa.field("face_h", pa.int32()),
        pa.field("landmarks", pa.list_(pa.field("element", pa.float32()), 10)),
        pa.field("confidence", pa.float32()),
        pa.field("padding", pa.float32()),
    ]
)
"""What is known of a record once it is decoded (``prepare``). ``shard`` is the shard that the record
belongs to; ``row`` is null for a rejected one. ``bytes`` and ``sha256`` are of the encoded
image, null for a file that could not be read. ``label`` is what the source says of it.

The rest is of faces, null for whole pictures: the detected box and the x, y of right eye, left eye, nose,
right and left corner of the mouth (the person's right), in pixels of the upright source as ``box``; the
detector's confidence; the share of the crop that lies outside the picture."""

DECISION_SCHEMA = pa.schema(
    [
        pa.field("code", pa.binary(16)),
        pa.field("group", pa.int64()),
        pa.field("duplicate_of", pa.string()),
        pa.field("duplicate_of_part", pa.int32()),
        pa.field("view", pa.string()),
        pa.field("distance", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("weight", pa.int32()),
    ]
)
"""What the whole set decides about a record (``deduplicate``). ``duplicate_of`` and its part name the kept
image; they and all up to ``score`` are of the pair that a removal rests on, null for kept rows. ``weight`` is
null unless the recipe asks for multiplicity: then a kept row says how many images it stands for, itself
included."""

MANIFEST_SCHEMA = pa.schema([*RECORD_SCHEMA, *DECISION_SCHEMA])

PAIR_SCHEMA = pa.schema(
    [
        pa.field("key_a", pa.string(), nullable=False),
        pa.field("part_a", pa.int32(), nullable=False),
        pa.field("key_b", pa.string(), nullable=False),
        pa.field("part_b", pa.int32(), nullable=False),
        pa.field("view", pa.string(), nullable=False),
        pa.field("distance", pa.int32(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("found", pa.string(), nullable=False),
    ]
)
"""``duplicates.parquet``: every checked pair that scores at least the floor. ``key_b``, seen through
``view``, is laid over ``key_a``. ``found`` says how the two met: ``pixels`` (equal), ``code`` (near or equal
codes) or ``group`` (connected by a third image)."""


@dataclass(frozen=True)
class Counts:
    """How the records of a set divide; every record read is in exactly one class."""

    read: int
    """Rows of the manifest."""
    kept: int
    """Rows whose pixels are for training."""
    duplicate: int
    """Rows removed because a kept row shows the same picture."""
    rejected: int
    """Rows without pixels, each with a reason."""

    def __post_init__(self) -> None:
        assert self.read == self.kept + self.duplicate + self.rejected, self


def image_names(keys: pa.ChunkedArray, parts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Key and part of each image as one text, so that tables can be joined on it; the key itself for part 0.

    Two images never get the same name: a backslash within a key is always followed by another or by an x.
    """
    if not pc.any(pc.not_equal(parts, 0)).as_py():  # the common case: nothing is copied
        return keys
    numbered = pc.binary_join_element_wise(keys, parts.cast(pa.string()), "\\p")
    return pc.if_else(pc.equal(parts, 0), keys, numbered)


def shown_name(key: str, part: int | None) -> str:
    """An image's name for a person."""
    return f"{key} (face {part})" if part else key


def empty_decisions(rows: int) -> dict[str, pa.Array]:
    """The decision columns of a set that was not de-duplicated: all null."""
    return {field.name: pa.nulls(rows, field.type) for field in DECISION_SCHEMA}


def binary_codes(column: pa.ChunkedArray) -> np.ndarray:
    """A column of 16-byte codes without nulls as uint8 (N, 16)."""
    array = column.combine_chunks()
    codes = np.frombuffer(array.buffers()[1], np.uint8, 16 * len(array), 16 * array.offset)
    return codes.reshape(-1, 16)


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a parquet file row group by row group; it appears under its name only when complete."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            yield writer


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open by Python: the path may be no text, which pyarrow cannot open by itself.

    Without Arrow's own threads, which abort the program if it ends while they are still being started.
    """
    with path.open("rb") as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        yield file


def read_table(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file and hold its columns against ``schema``; BadInput if it is not that."""
    try:
        with open_parquet(path) as file:
            found = file.schema_arrow
            if not found.equals(schema):
                names = sorted(set(schema.names) ^ set(found.names)) or "types"
                raise BadInput(f"{path}: not the expected columns (differing: {names})")
            return file.read(columns=columns, use_threads=False)
    except FileNotFoundError:
        raise BadInput(f"{path}: missing") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: not a readable parquet file ({error})") from None
