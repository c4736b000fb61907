"""Which images are trained on and which are held out: each image here shows its own manifest row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.formats.dataset import MANIFEST, DatasetInfo, shard_name, write_info
from dcgan_data.formats.manifest import DUPLICATE, KEPT, MANIFEST_SCHEMA, REJECTED, Counts, table_writer
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.formats.shards import ShardWriter, stamp_file
from dcgan_data.train.split import Split, split_set

SIZE = 32
ROWS_PER_SHARD = 7
Row = dict[str, Any]
WriteSet = Callable[[list[Row]], PreparedSet]


def kept(key: str, part: int = 0) -> Row:
    return {"key": key, "part": part, "status": KEPT}


def copy_of(original: str, key: str, part: int = 0, original_part: int = 0) -> Row:
    return {
        "key": key,
        "part": part,
        "status": DUPLICATE,
        "duplicate_of": original,
        "duplicate_of_part": original_part,
    }


def rejected(key: str) -> Row:
    return {"key": key, "part": 0, "status": REJECTED, "reason": "not an image"}


def images_of_row(row: int) -> np.ndarray:
    """A colour of its own for each row."""
    return np.full((SIZE, SIZE, 3), (row % 256, row // 256, 7), np.uint8)


def rows_of(images: ImageRows) -> list[int]:
    """The manifest rows of images, read from their pixels."""
    pixels = images.gather(np.arange(len(images)))
    assert pixels.shape == (len(images), SIZE, SIZE, 3)
    corner = pixels[:, 0, 0].astype(int)
    assert (corner[:, 2] == 7).all()
    return (corner[:, 0] + 256 * corner[:, 1]).tolist()


@pytest.fixture
def write_set(tmp_path: Path) -> WriteSet:
    """Write records as a prepared set of several shards."""

    def write(records: list[Row]) -> PreparedSet:
        out = tmp_path / f"set{len(list(tmp_path.iterdir()))}"
        shard_rows = []
        for shard, start in enumerate(range(0, len(records), ROWS_PER_SHARD)):
            path = out / shard_name(shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                writer = ShardWriter(file, SIZE)
                for number in range(start, min(len(records), start + ROWS_PER_SHARD)):
                    records[number]["shard"] = shard
                    if records[number]["status"] != REJECTED:
                        records[number]["row"] = writer.append(images_of_row(number))
                writer.close()
            shard_rows.append(writer.rows)
        with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as table:
            table.write_table(pa.Table.from_pylist(records, schema=MANIFEST_SCHEMA))
        write_info(out, info_of(out, records, shard_rows))
        return PreparedSet.open(out)

    return write


def info_of(out: Path, records: list[Row], shard_rows: list[int]) -> DatasetInfo:
    of = [record["status"] for record in records]
    return DatasetInfo(
        recipe={},
        source={"kind": "lsun", "path": "/", "records": 1, "fingerprint": "", "passed_over": {}},
        image_size=SIZE,
        shard_rows=shard_rows,
        counts=Counts(len(records), of.count(KEPT), of.count(DUPLICATE), of.count(REJECTED)),
        rejected={},
        deduplication={},
        libraries={},
        files={name: stamp_file(out / name) for name in (MANIFEST, *map(shard_name, range(len(shard_rows))))},
        timings={},
    )


def plain(count: int) -> list[Row]:
    return [kept(f"{number:05d}") for number in range(count)]


def mixed(count: int) -> list[Row]:
    """Out of four rows one is rejected, and one is a copy of another row, sometimes of a later one."""
    records = plain(count)
    for number in range(2, count, 4):
        records[number] = rejected(f"{number:05d}")
    for number in range(3, count, 4):
        original = number - 2 if number % 8 == 3 or number + 1 >= count else number + 1
        records[number] = copy_of(f"{original:05d}", f"{number:05d}")
    return records


def assert_adds_up(split: Split, expected: Iterable[int]) -> None:
    """Train and held out are ``expected`` together, apart from one another, each in manifest order."""
    train, held_out = rows_of(split.train), rows_of(split.held_out)
    assert split.train_rows.dtype == np.int64
    assert split.train_rows.tolist() == train
    assert train == sorted(train)
    assert held_out == sorted(held_out)
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) == set(expected)


@pytest.mark.parametrize(("count", "expected"), [(19, 0), (20, 1), (50, 2), (399, 19)])
def test_a_twentieth_is_held_out(write_set: WriteSet, count: int, expected: int) -> None:
    split = split_set(write_set(plain(count)), False, None, seed=0)
    assert len(split.held_out) == expected
    assert_adds_up(split, range(count))


def test_never_more_than_ten_thousand(monkeypatch: pytest.MonkeyPatch, write_set: WriteSet) -> None:
    """A set of a million images would take long to write: the manifest alone is made large."""
    prepared = write_set(plain(1))
    count = 300_000
    columns = {
        "key": pa.array([f"{number}" for number in range(count)]),
        "part": pa.array(np.zeros(count, np.int32)),
        "status": pa.array([KEPT] * count),
        "shard": pa.array(np.zeros(count, np.int32)),
        "row": pa.array(np.zeros(count, np.int32)),
        "duplicate_of": pa.nulls(count, pa.string()),
        "duplicate_of_part": pa.nulls(count, pa.int32()),
    }
    monkeypatch.setattr(PreparedSet, "manifest", lambda _self, names: pa.table(columns).select(names))
    split = split_set(prepared, False, None, seed=0)
    assert (len(split.held_out), len(split.train)) == (10_000, 290_000)


def test_the_choice_is_a_function_of_the_seed_and_spread_over_the_set(write_set: WriteSet) -> None:
    prepared = write_set(plain(200))
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    one, same, other = (rows_of(split_set(prepared, False, 40, seed).held_out) for seed in (1, 1, 2))
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]
    assert one == same != other
    assert min(one) < 40 and max(one) >= 160


def test_only_kept_images_are_used_unless_duplicates_are_asked_for(write_set: WriteSet) -> None:
    records = mixed(60)
    prepared = write_set(records)
    status = [record["status"] for record in records]
    without = split_set(prepared, False, None, seed=0)
    assert len(without.held_out) == int(0.05 * status.count(KEPT)) == 1
    assert_adds_up(without, (row for row, of in enumerate(status) if of == KEPT))
    everything = split_set(prepared, True, 0, seed=0)
    assert_adds_up(everything, (row for row, of in enumerate(status) if of != REJECTED))


@pytest.mark.parametrize("held_out", [1, 5, 20, 29])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_duplicates_the_same_images_are_held_out_and_none_of_their_copies_is_seen(
    write_set: WriteSet, held_out: int, seed: int
) -> None:
    records = mixed(60)
    prepared = write_set(records)
    without = split_set(prepared, False, held_out, seed)
    including = split_set(prepared, True, held_out, seed)
    away = rows_of(including.held_out)
    assert away == rows_of(without.held_out)
    assert len(away) == held_out
    names_away = {records[row]["key"] for row in away}
    allowed = [
        row
        for row, record in enumerate(records)
        if record["status"] == KEPT
        or (record["status"] == DUPLICATE and record["duplicate_of"] not in names_away)
    ]
    assert_adds_up(including, allowed)
    assert set(rows_of(without.train)) <= set(rows_of(including.train))


def test_copies_of_a_part_follow_that_part(write_set: WriteSet) -> None:
    """Faces: several images of one record, told apart by their part."""
    records = []
    for number in range(12):
        records += [kept(f"{number}"), kept(f"{number}", 1), kept(f"{number}", 11)]
        records += [
            copy_of(f"{number}", f"{number}", part=2, original_part=1),
            copy_of(f"{number}", f"copy {number}", original_part=11),
            copy_of(f"{number}", f"copy {number}", part=1),
        ]
    prepared = write_set(records)
    split = split_set(prepared, True, 12, seed=0)
    away = {(records[row]["key"], records[row]["part"]) for row in rows_of(split.held_out)}
    parts = {part for _, part in away}
    assert parts == {0, 1, 11}, "the seed must hold out parts of all kinds"
    allowed = [
        row
        for row, record in enumerate(records)
        if (record.get("duplicate_of"), record.get("duplicate_of_part")) not in away
    ]
    assert_adds_up(split, allowed)
    dropped = set(range(len(records))) - set(rows_of(split.train)) - set(rows_of(split.held_out))
    assert len(dropped) == len(away), "each image here has one copy"


def test_keys_that_look_like_parts(write_set: WriteSet) -> None:
    r"""A name may be anything: ``a\p1`` is not part 1 of ``a``."""
    records = [kept("a"), kept("a", 1), kept("a\\\\p1"), copy_of("a\\\\p1", "b"), copy_of("a", "c", 0, 1)]
    prepared = write_set(records)
    for seed in range(6):
        split = split_set(prepared, True, 1, seed)
        (away,) = rows_of(split.held_out)
        copies = {0: set[int](), 1: {4}, 2: {3}}[away]
        assert set(rows_of(split.train)) == set(range(5)) - {away} - copies


def test_nothing_is_held_out_on_request(write_set: WriteSet) -> None:
    for records in (plain(40), mixed(40)):
        split = split_set(write_set(records), False, 0, seed=0)
        assert len(split.held_out) == 0
        assert split.held_out.gather(np.arange(0)).shape == (0, SIZE, SIZE, 3)
        assert_adds_up(split, (row for row, record in enumerate(records) if record["status"] == KEPT))


def test_a_set_without_duplicates_may_be_asked_for_them(write_set: WriteSet) -> None:
    assert_adds_up(split_set(write_set(plain(40)), True, None, seed=0), range(40))


def test_a_set_of_copies_without_names_of_their_originals(write_set: WriteSet) -> None:
    """An unknown original is not a held-out one."""
    records = [*plain(10), {"key": "copy", "part": 0, "status": DUPLICATE}]
    split = split_set(write_set(records), True, 9, seed=0)
    assert 10 in rows_of(split.train)


@pytest.mark.parametrize("held_out", [30, 31, 10_000])
def test_too_many(write_set: WriteSet, held_out: int) -> None:
    prepared = write_set(mixed(60))
    assert prepared.info.counts.kept == 30
    with pytest.raises(BadRequest) as caught:
        split_set(prepared, True, held_out, seed=0)
    assert str(caught.value) == (
        f"--held-out {held_out}: {prepared.path} has 30 kept images; hold out fewer, or 0 for none"
    )


def test_an_empty_set_is_left_to_whoever_counts_the_images(write_set: WriteSet) -> None:
    split = split_set(write_set([rejected("a"), rejected("b")]), True, None, seed=0)
    assert (len(split.train), len(split.held_out)) == (0, 0)
