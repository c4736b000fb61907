"""The manifest's schema is a promise: names, types, and which columns may be null."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.manifest import (
    MANIFEST_SCHEMA,
    PAIR_SCHEMA,
    RECORD_SCHEMA,
    empty_decisions,
    image_names,
    read_table,
    shown_name,
    table_writer,
)

GOLDEN_MANIFEST = """\
key: string not null
part: int32 not null
status: string not null
reason: string
shard: int32 not null
row: int32
width: int32
height: int32
box_x: int32
box_y: int32
box_w: int32
box_h: int32
bytes: int64
sha256: string
label: string
face_x: int32
face_y: int32
face_w: int32
face_h: int32
landmarks: fixed_size_list<element: float>[10]
confidence: float
padding: float
code: fixed_size_binary[16]
group: int64
duplicate_of: string
duplicate_of_part: int32
view: string
distance: int32
score: float
weight: int32"""

GOLDEN_PAIRS = """\
key_a: string not null
part_a: int32 not null
key_b: string not null
part_b: int32 not null
view: string not null
distance: int32 not null
score: float
found: string not null"""


def as_text(schema: pa.Schema) -> str:
    return "\n".join(f"{f.name}: {f.type}{'' if f.nullable else ' not null'}" for f in schema)


def test_schemas_are_as_promised() -> None:
    assert as_text(MANIFEST_SCHEMA) == GOLDEN_MANIFEST
    assert as_text(PAIR_SCHEMA) == GOLDEN_PAIRS


def test_a_written_set_has_them(finished_set: Path) -> None:
    assert as_text(pq.read_schema(finished_set / "manifest.parquet")) == GOLDEN_MANIFEST
    assert as_text(pq.read_schema(finished_set / "duplicates.parquet")) == GOLDEN_PAIRS


def pair(number: int) -> pa.Table:
    row = {"key_a": f"{number}", "part_a": 0, "key_b": "b", "part_b": 0}
    row |= {"view": "identity", "distance": number, "found": "code"}
    return pa.Table.from_pylist([row], schema=PAIR_SCHEMA)


def test_tables_are_written_part_by_part(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    with table_writer(path, PAIR_SCHEMA) as writer:
        for number in range(3):
            writer.write_table(pair(number))
            assert not path.exists()
    assert read_table(path, PAIR_SCHEMA)["distance"].to_pylist() == [0, 1, 2]
    assert read_table(path, PAIR_SCHEMA, ["key_a"]).to_pydict() == {"key_a": ["0", "1", "2"]}


def test_a_table_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        with table_writer(tmp_path / "pairs.parquet", PAIR_SCHEMA) as writer:
            writer.write_table(pair(0))
            raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_empty_decisions_are_null() -> None:
    columns = empty_decisions(3)
    assert list(columns) == [name for name in MANIFEST_SCHEMA.names if name not in RECORD_SCHEMA.names]
    assert all(column.null_count == 3 for column in columns.values())


def message(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_table(path, PAIR_SCHEMA)
    return str(caught.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    assert message(path) == f"{path}: missing"
    path.write_bytes(b"PAR1 no")
    assert message(path).startswith(f"{path}: not a readable parquet file (")
    pq.write_table(pair(0).drop_columns(["score"]), path)
    assert message(path) == f"{path}: not the expected columns (differing: ['score'])"
    pq.write_table(pair(0).set_column(6, "score", pa.array([1.0])), path)
    assert message(path) == f"{path}: not the expected columns (differing: types)"


def test_images_have_names_of_their_own() -> None:
    keys, parts = ["a", "a", "a\\\\", "a\\\\", "a p1", "b"], [0, 1, 0, 1, 0, 12]
    table = pa.table({"key": keys, "part": pa.array(parts, pa.int32())})
    names = image_names(table["key"], table["part"]).to_pylist()
    assert len(set(names)) == 6
    assert names[0] == "a" and names[4] == "a p1", "a whole picture's name is its key"


def test_only_faces_are_numbered_for_people() -> None:
    assert shown_name("a.jpg", 0) == shown_name("a.jpg", None) == "a.jpg"
    assert shown_name("a.jpg", 2) == "a.jpg (face 2)"
