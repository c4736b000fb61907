"""The parquet source: which columns it takes, how rows become shards, and what it says of damage."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Record
from dcgan_data.sources.parquet import ParquetSource

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pictures(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": b"picture %d" % n, "path": f"{n}.jpg"} for n in range(first, first + count)]


def write(path: Path, columns: dict[str, Any], rows_in_a_group: int = 4, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_in_a_group, **options)
    return path


def labelled(path: Path, count: int, rows_in_a_group: int = 4, **options: Any) -> Path:
    columns = {"image": pa.array(pictures(count), STRUCT), "label": list(range(count))}
    return write(path, columns, rows_in_a_group, **options)


def opened(*files: Path, step: int = 4, limit: int = 0, columns: tuple[str, str] = ("", "")) -> ParquetSource:
    root = files[0].parent if len(files) == 1 else Path(os.path.commonpath(files))
    return ParquetSource(files, root, step, limit, columns)


def read(source: ParquetSource) -> list[Record]:
    found = [record for shard in source.shards() for record in shard]
    assert len(found) == len(source)
    return found


def keys(source: ParquetSource) -> list[str]:
    return [record.key for record in read(source)]


def test_records_are_the_rows(tmp_path: Path) -> None:
    source = opened(labelled(tmp_path / "train.parquet", 6))
    assert read(source) == [Record(f"{n:08d}", b"picture %d" % n, label=str(n)) for n in range(6)]
    assert (source.kind, source.path) == ("parquet", str(tmp_path / "train.parquet"))
    assert (source.passed_over, source.index) == ({}, {})


@pytest.mark.parametrize(
    ("count", "group", "step", "lengths"),
    [
        (10, 5, 5, [5, 5]),
        (10, 3, 7, [6, 4]),
        (10, 3, 3, [3, 3, 3, 1]),
        (10, 10, 4, [4, 4, 2]),
        (10, 6, 4, [4, 2, 4]),
        (11, 5, 4, [4, 1, 4, 2]),
        (10, 5, 100, [10]),
        (1, 5, 1, [1]),
    ],
)
def test_row_groups_stay_whole_unless_one_is_too_large(
    tmp_path: Path, count: int, group: int, step: int, lengths: list[int]
) -> None:
    source = opened(labelled(tmp_path / "a.parquet", count, group), step=step)
    assert [len(shard) for shard in source.shards()] == lengths
    assert [record.data for record in read(source)] == [b"picture %d" % n for n in range(count)]


def test_a_run_inside_a_row_group_longer_than_a_batch(tmp_path: Path) -> None:
    source = opened(labelled(tmp_path / "a.parquet", 200, 200), step=75)
    assert [[record.label for record in shard] for shard in source.shards()] == [
        [str(n) for n in range(start, min(start + 75, 200))] for start in (0, 75, 150)
    ]


def test_a_shard_travels_and_is_read_by_itself(tmp_path: Path) -> None:
    shard = pickle.loads(pickle.dumps(opened(labelled(tmp_path / "a.parquet", 10)).shards()[1]))
    assert [record.key for record in shard] == [f"{n:08d}" for n in range(4, 8)]
    assert list(shard) == list(shard)


def test_several_files_have_prefixes_and_share_no_shard(tmp_path: Path) -> None:
    first, second = labelled(tmp_path / "a.parquet", 3), labelled(tmp_path / "sub" / "b.parquet", 2)
    source = opened(first, second)
    assert keys(source) == [f"a.parquet/{n:08d}" for n in range(3)] + [
        f"sub/b.parquet/{n:08d}" for n in range(2)
    ]
    assert [len(shard) for shard in source.shards()] == [3, 2]
    assert source.path == str(tmp_path)


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 9, 10, 50])
def test_limit_takes_the_first(tmp_path: Path, limit: int) -> None:
    files = [labelled(tmp_path / "a.parquet", 6, 6), labelled(tmp_path / "b.parquet", 5)]
    everything = keys(opened(*files))
    assert keys(opened(*files, limit=limit)) == everything[:limit]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
def test_plain_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    path = write(tmp_path / "a.parquet", {"img": pa.array([b"1", b"2"], kind)})
    assert read(opened(path)) == [Record("00000000", b"1"), Record("00000001", b"2")]


def test_labels_from_a_dictionary(tmp_path: Path) -> None:
    labels = pa.array(["x", None, "x"]).dictionary_encode()
    path = write(tmp_path / "a.parquet", {"image": pa.array(pictures(3), STRUCT), "label": labels})
    assert [record.label for record in read(opened(path))] == ["x", None, "x"]


def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    rows = [
        {"bytes": b"1", "path": None},
        {"bytes": None, "path": "photo.jpg"},
        None,
        {"bytes": None, "path": None},
    ]
    columns = {"image": pa.array(rows, STRUCT), "label": ["a", "b", "c", "d"]}
    assert read(opened(write(tmp_path / "a.parquet", columns))) == [
        Record("00000000", b"1", "", "a"),
        Record("00000001", b"", "unreadable: no bytes, only a path", "b"),
        Record("00000002", b"", "unreadable: no image", "c"),
        Record("00000003", b"", "unreadable: no image", "d"),
    ]


def test_plain_bytes_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"jpg": pa.array([b"1", None], pa.binary())})
    assert [record.error for record in read(opened(path))] == ["", "unreadable: no image"]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["png", "image"], "image"),
        (["thumbnail", "img"], "img"),
        (["photograph"], "photograph"),
    ],
)
def test_the_image_column_is_found_by_name_and_type(tmp_path: Path, names: list[str], chosen: str) -> None:
    columns = {name: pa.array([name.encode()], pa.binary()) for name in names}
    path = write(tmp_path / "a.parquet", {"picture": ["a path, no picture"], **columns})
    assert [record.data for record in read(opened(path))] == [chosen.encode()]


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"text": ["a caption"], "label": [3]}, "3"),
        ({"caption": ["a caption"]}, "a caption"),
        ({"label": [True], "text": ["a caption"]}, "a caption"),
        ({"label": [0.5], "text": ["a caption"]}, "0.5"),
        (
            {"label": pa.array([1.0], pa.float64())},
            "1.0",
        ),  # as pandas has whole numbers where some are missing
        ({"label": pa.array([0.1], pa.float32())}, "0.1"),
        ({"label": pa.array([0.25], pa.float16())}, "0.25"),
        ({"label": pa.array([None], pa.float64())}, None),
        ({"label": pa.array([float("nan")], pa.float64())}, None),
        ({"label": pa.array([2.0]).dictionary_encode()}, "2.0"),
        ({"label": pa.array([None], pa.int64())}, None),
        ({"labels": pa.array([200], pa.uint8())}, "200"),
        ({"class": pa.array(["r\u00e9sum\u00e9\\n"], pa.large_string())}, "r\u00e9sum\u00e9\\n"),
        ({"label": [True], "id": [7]}, None),
    ],
)
def test_the_label_column_is_found_by_name_and_type(
    tmp_path: Path, columns: dict[str, Any], label: str | None
) -> None:
    path = write(tmp_path / "a.parquet", {"image": pa.array(pictures(1), STRUCT), **columns})
    assert [record.label for record in read(opened(path))] == [label]


def test_a_column_of_floats_that_is_asked_for(tmp_path: Path) -> None:
    columns = {"image": pa.array(pictures(2), STRUCT), "score": [0.5, None]}
    source = opened(write(tmp_path / "a.parquet", columns), columns=("", "score"))
    assert [record.label for record in read(source)] == ["0.5", None]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int64()), pa.large_list(pa.string()), pa.list_(pa.float32(), 2)], ids=str
)
def test_a_label_column_of_lists_is_counted(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {
        "image": pa.array(pictures(1), STRUCT),
        "labels": pa.array([None], kind),
        "text": ["a caption"],
    }
    path = write(tmp_path / "a.parquet", columns)
    source = opened(path)
    assert source.passed_over == {"label column of lists": 1}
    assert [record.label for record in read(source)] == ["a caption"]
    assert opened(path, columns=("", "text")).passed_over == {}
    columns["label"] = [7]  # comes first, whatever the others are
    assert opened(write(path, columns)).passed_over == {}


def test_text_that_is_no_text(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 4], np.int32)), pa.py_buffer(b"caf\xe9")]
    )
    path = write(tmp_path / "a.parquet", {"image": pa.array(pictures(1), STRUCT), "label": text})
    assert [record.label for record in read(opened(path))] == ["caf\\xe9"]


def test_columns_that_are_asked_for(tmp_path: Path) -> None:
    columns = {
        "image": pa.array([b"small"], pa.binary()),
        "label": [1],
        "original.full": pa.array([{"bytes": b"large", "path": None}], STRUCT),
        "person": ["somebody"],
    }
    path = write(tmp_path / "a.parquet", columns)
    assert read(opened(path)) == [Record("00000000", b"small", label="1")]
    asked = opened(path, columns=("original.full", "person"))
    assert read(asked) == [Record("00000000", b"large", label="somebody")]
    assert asked.fingerprint != opened(path).fingerprint


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        (
            {"x": [1], "label": ["a"]},
            ("", ""),
            r"a\.parquet: no column can hold the images; it has x \(int64\), label \(string\); "
            r"name one with image_column in the recipe's \[source\]$",
        ),
        (
            {"left": pa.array([b""], pa.binary()), "right": pa.array([b""], pa.binary())},
            ("", ""),
            r"several columns may hold the images; it has left \(binary\), right \(binary\); name one",
        ),
        (
            {"image": pa.array([b""], pa.binary())},
            ("img", ""),
            r"a\.parquet: no single column 'img' that may hold images; it has image \(binary\); "
            r"name one of them with image_column in the recipe's \[source\]$",
        ),
        (
            {"image": ["a path"]},
            ("image", ""),
            r"no single column 'image' that may hold images; it has image",
        ),
        (
            {"image": pa.array([b""], pa.binary()), "score": [True]},
            ("", "score"),
            r"no single column 'score' that may hold labels; .* name one of them with label_column",
        ),
        (
            {"image": pa.array([b""], pa.binary()), "label": [[1, 2]]},
            ("", "label"),
            r"no single column 'label' that may hold labels; .* label \(list<",
        ),
    ],
)
def test_columns_that_will_not_do(
    tmp_path: Path, columns: dict[str, Any], asked: tuple[str, str], message: str
) -> None:
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(BadInput, match=message):
        opened(path, columns=asked)


def test_of_many_columns_some_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {f"c{n}": [n] for n in range(25)})
    with pytest.raises(BadInput, match=r"it has c0 \(int64\), .*, c19 \(int64\) and 5 more; name one"):
        opened(path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    binary = pa.array([b"1"], pa.binary())
    pq.write_table(pa.table([binary, binary], names=["image", "image"]), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"no single column 'image' that may hold images"):
        opened(tmp_path / "a.parquet", columns=("image", ""))


def test_fingerprint_changes_with_the_records(tmp_path: Path) -> None:
    first = opened(labelled(tmp_path / "one" / "a.parquet", 10)).fingerprint
    assert opened(labelled(tmp_path / "two" / "a.parquet", 10)).fingerprint == first
    assert opened(tmp_path / "one" / "a.parquet", step=3).fingerprint == first
    assert opened(tmp_path / "one" / "a.parquet", limit=9).fingerprint != first
    assert opened(labelled(tmp_path / "two" / "b.parquet", 10)).fingerprint != first
    replaced = [{"bytes": b"PICTURE %d" % n, "path": f"{n}.jpg"} for n in range(10)]
    columns = {"image": pa.array(replaced, STRUCT), "label": list(range(10))}
    assert opened(write(tmp_path / "three" / "a.parquet", columns)).fingerprint != first


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.parquet"))
    files = [labelled(tmp_path / "a.parquet", 1), labelled(tmp_path / "b.parquet", 1).rename(strange)]
    assert keys(opened(*files)) == ["a.parquet/00000000", "caf\\xe9.parquet/00000000"]


def test_no_rows(tmp_path: Path) -> None:
    empty = labelled(tmp_path / "a.parquet", 0)
    with pytest.raises(BadInput, match=r"a\.parquet: holds no rows; name parquet files that do$"):
        opened(empty)
    assert len(opened(empty, labelled(tmp_path / "b.parquet", 3))) == 3


@pytest.mark.parametrize("data", [b"", b"PA", b"x" * 100], ids=["empty", "short", "garbage"])
def test_no_parquet_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(BadInput, match=r"a\.parquet: not a parquet file; expected one"):
        opened(tmp_path / "a.parquet")


@pytest.mark.parametrize("kept", [4, 12, 500, -1])
def test_a_file_that_was_cut_short(tmp_path: Path, kept: int) -> None:
    path = labelled(tmp_path / "a.parquet", 10)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadInput, match=r"cut short \(no footer at its end\); fetch or copy it again$"):
        opened(path)


def test_a_damaged_footer(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", 10)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[-8:-4], "little")
    data[-8 - length : -8] = b"\xff" * length
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"a\.parquet: damaged \(.*\); fetch or copy it again$"):
        opened(path)


def test_a_damaged_row_group_is_found_while_reading(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", 12, compression="none", write_page_checksum=True)
    source = opened(path)
    path.write_bytes(path.read_bytes().replace(b"picture 6", b"PICTURE 6"))
    first, second, third = source.shards()
    assert len(list(first)) == len(list(third)) == 4
    with pytest.raises(BadInput, match=r"a\.parquet: damaged \(row group 1: .*\); fetch or copy it again$"):
        list(second)


def test_rows_that_the_footer_promises_and_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(labelled(tmp_path / "a.parquet", 10))
    inner = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *given, **more: (b[:-1] for b in inner(*given, **more))
    )
    with pytest.raises(BadInput, match=r"a\.parquet: damaged \(row group 0: 1 rows are missing\); fetch"):
        read(source)


def test_a_file_that_was_replaced_since(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", 10)
    shard = opened(path).shards()[1]
    os.utime(path, ns=(1, 1))
    assert len(list(shard)) == 4  # the same file, only touched
    write(path, {"image": pa.array(pictures(10, first=10), STRUCT), "label": list(range(10))})
    with pytest.raises(
        BadInput, match=r"a\.parquet: changed since this run began; leave it as it is and run"
    ):
        list(shard)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", 10)
    records = iter(opened(path).shards()[0])
    next(records)
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        BadInput, match=r"a\.parquet: changed since this run began; leave it as it is and run"
    ):
        list(records)


def test_a_file_that_vanished_since(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", 10)
    shard = opened(path).shards()[0]
    path.unlink()
    with pytest.raises(BadInput, match=r"a\.parquet: cannot be read \(.*No such file.*\); make it readable$"):
        list(shard)


def test_memory_is_bounded_by_pages_and_not_by_row_groups(tmp_path: Path) -> None:
    rows = [{"bytes": os.urandom(20_000), "path": None} for _ in range(600)]
    path = write(
        tmp_path / "a.parquet",
        {"image": pa.array(rows, STRUCT)},
        rows_in_a_group=600,
        compression="none",
        use_dictionary=False,
        write_batch_size=8,
        data_page_size=200_000,
    )
    del rows
    (shard,) = opened(path, step=1000).shards()
    before = pa.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    try:
        for record in shard:
            assert len(record.data) == 20_000
            most = max(most, pa.total_allocated_bytes() - before)
        most += tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 6_000_000 < path.stat().st_size // 2


def test_only_the_two_columns_are_read(tmp_path: Path) -> None:
    """Damage elsewhere goes unnoticed."""
    columns = {
        "image": pa.array(pictures(4), STRUCT),
        "mask": pa.array([b"mask %d" % n for n in range(4)], pa.binary()),
    }
    path = write(tmp_path / "a.parquet", columns, compression="none", write_page_checksum=True)
    source = opened(path)
    path.write_bytes(path.read_bytes().replace(b"mask 2", b"MASK 2"))
    assert len(read(source)) == 4
