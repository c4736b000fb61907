"""The CIFAR source: pictures and labels of its pickles, and that no pickle ever runs."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.errors import BadInput
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.sources import cifar
from dcgan_data.sources.array_pickle import RefusedError, StoredArray, bytes_array, read_pickle
from dcgan_data.sources.base import Record
from dcgan_data.sources.cifar import CifarSource


def planes_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def as_python_3(batch: dict[str, Any]) -> bytes:
    return pickle.dumps(batch, protocol=2)


def as_python_2(batch: dict[str, Any]) -> bytes:
    """As CIFAR's own files were written: text in byte strings, numpy by its old names."""

    def text(value: bytes) -> bytes:
        short = len(value) < 256
        return b"U" + bytes([len(value)]) + value if short else b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(value: np.ndarray) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        kind = (
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        shape = b"(" + b"".join(map(number, value.shape)) + b"t"
        return made + b"(K\x01" + shape + kind + b"\x89" + text(value.tobytes()) + b"tb"

    def item(value: Any) -> bytes:
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(item, value)) + b"e"
        return number(value) if isinstance(value, int) else text(value.encode("latin-1"))

    entries = b"".join(text(key.encode()) + b"q\x01" + item(value) for key, value in batch.items())
    return b"\x80\x02}q\x00(" + entries + b"u."


def batch_of(planes: np.ndarray, **others: Any) -> dict[str, Any]:
    names = [f"caf\u00e9_{number}.png" for number in range(len(planes))]
    return {
        "batch_label": "batch",
        "labels": list(range(len(planes))),
        "data": planes,
        "filenames": names,
    } | others


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def opened(*files: Path, step: int = 4, limit: int = 0) -> CifarSource:
    return CifarSource(files, files[0].parent, step, limit)


def read(source: CifarSource) -> list[Record]:
    found = [record for shard in source.shards() for record in shard]
    assert len(found) == len(source)
    return found


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    cifar._kept_batch.cache_clear()
    yield
    cifar._kept_batch.cache_clear()


@pytest.mark.parametrize("encode", [as_python_2, as_python_3])
@pytest.mark.parametrize("labels", ["labels", "fine_labels"])
def test_pictures_and_labels(tmp_path: Path, encode: Any, labels: str) -> None:
    planes = planes_of(6)
    batch = batch_of(planes)
    batch[labels] = batch.pop("labels")[::-1]
    source = opened(write(tmp_path / "test_batch", encode(batch)))
    records = read(source)
    assert [(record.key, record.label) for record in records] == [(f"{n:05d}", str(5 - n)) for n in range(6)]
    for record, rows in zip(records, planes, strict=True):
        decoded = decode_square(record.data, DecodeSettings(32))
        np.testing.assert_array_equal(decoded.pixels, rows.reshape(3, 32, 32).transpose(1, 2, 0))
    assert (source.kind, source.path) == ("cifar", str(tmp_path / "test_batch"))
    assert (source.passed_over, source.index) == ({}, {})


def test_the_two_ways_of_writing_say_the_same() -> None:
    """Else one of the two encoders above would test nothing."""
    batch = batch_of(planes_of(2), label_names=["a" * 300])
    old, new = pickle.loads(as_python_2(batch), encoding="bytes"), pickle.loads(as_python_3(batch))
    np.testing.assert_array_equal(old[b"data"], new["data"])
    for key in ("labels", "batch_label", "label_names", "filenames"):
        given, expected = old[key.encode()], new[key]
        if isinstance(given, list):
            given = [part.decode("latin-1") if isinstance(part, bytes) else part for part in given]
        assert (given.decode() if isinstance(given, bytes) else given) == expected


def test_files_follow_one_another_and_share_no_shard(tmp_path: Path) -> None:
    files = [
        write(tmp_path / name, as_python_2(batch_of(planes_of(count))))
        for name, count in (("data_batch_1", 5), ("data_batch_2", 2), ("test_batch", 1))
    ]
    source = opened(*files)
    assert [record.key for record in read(source)] == [
        *(f"data_batch_1/{n:05d}" for n in range(5)),
        "data_batch_2/00000",
        "data_batch_2/00001",
        "test_batch/00000",
    ]
    assert [len(shard) for shard in source.shards()] == [4, 1, 2, 1]
    assert source.path == str(tmp_path)


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 7, 50])
def test_limit_takes_the_first(tmp_path: Path, limit: int) -> None:
    files = [
        write(tmp_path / name, as_python_2(batch_of(planes_of(count))))
        for name, count in (("a", 5), ("b", 2))
    ]
    everything = [record.key for record in read(opened(*files))]
    assert [record.key for record in read(opened(*files, limit=limit))] == everything[:limit]


def test_a_shard_travels_and_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(write(tmp_path / "a", as_python_2(batch_of(planes_of(10)))))
    reads = []
    inner = cifar.read_batch
    monkeypatch.setattr(cifar, "read_batch", lambda *given: reads.append(1) or inner(*given))
    shards = pickle.loads(pickle.dumps(source.shards()))
    assert [record.key for record in shards[1]] == [f"{n:05d}" for n in range(4, 8)]
    assert [len(list(shard)) for shard in shards] == [4, 4, 2]
    assert reads == [1]


def test_fingerprint_changes_with_the_records(tmp_path: Path) -> None:
    first = write(tmp_path / "one" / "a", as_python_2(batch_of(planes_of(5))))
    same = write(tmp_path / "two" / "a", first.read_bytes())
    fingerprint = opened(first).fingerprint
    assert opened(same, step=2).fingerprint == fingerprint
    assert opened(same, limit=4).fingerprint != fingerprint
    assert opened(same.rename(tmp_path / "two" / "b")).fingerprint != fingerprint
    write(first, as_python_2(batch_of(planes_of(5, seed=1))))
    assert opened(first).fingerprint != fingerprint


def test_a_file_that_was_replaced_or_vanished_since(tmp_path: Path) -> None:
    path = write(tmp_path / "a", as_python_2(batch_of(planes_of(5))))
    first, second = opened(path).shards()
    list(first)
    write(path, as_python_2(batch_of(planes_of(6))))
    with pytest.raises(BadInput, match=r"a: changed since this run began; leave it as it is and run again$"):
        list(second)
    path.unlink()
    with pytest.raises(BadInput, match=r"a: cannot be read \(No such file or directory\); make it readable$"):
        list(second)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a", as_python_2(batch_of(planes_of(5))))
    records = iter(opened(path).shards()[0])
    next(records)
    os.utime(path, ns=(1, 1))
    with pytest.raises(BadInput, match=r"a: changed since this run began; leave it as it is and run again$"):
        list(records)


def test_a_file_that_is_replaced_before_it_is_kept(tmp_path: Path) -> None:
    """Its pictures must not be kept as those of the one before."""
    path = write(tmp_path / "a", as_python_2(batch_of(planes_of(5))))
    (shard, _) = opened(path).shards()
    write(path, as_python_2(batch_of(planes_of(5, seed=1))))
    os.utime(path, ns=(1, 1))
    with pytest.raises(BadInput, match=r"a: changed since this run began; leave it as it is and run again$"):
        cifar._kept_batch(shard.file)


def refusal(tmp_path: Path, data: bytes) -> str:
    path = write(tmp_path / "data_batch_1", data)
    with pytest.raises(BadInput) as caught:
        opened(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("; expected a file of CIFAR's python version: fetch it again")
    return message


class Hostile:
    """What a pickle would call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    attack = as_python_3({"labels": [], "data": Hostile(os.system, f"touch {marker}")})
    assert f"holds more than arrays, refused: it names '{os.system.__module__}.system'" in refusal(
        tmp_path, attack
    )
    assert not marker.exists()
    pickle.loads(attack)  # so it would have
    assert marker.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "refused: it names 'os.system'"),
        (b"\x80\x02cbuiltins\neval\nU\x011\x85R.", "refused: it names 'builtins.eval'"),
        (b"\x80\x02cnumpy\x1b[31m\nndarray\n.", r"refused: it names 'numpy\x1b[31m.ndarray'"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n.", "refused: it names 'numpy.core.multiarray.scalar'"),
        (b"\x80\x02(ios\nsystem\n.", "refused: it uses the opcode INST"),
        (b"\x80\x02)\x82\x01.", "refused: it uses the opcode EXT1"),
        (b"\x80\x02Pid\n.", "refused: it uses the opcode PERSID"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "refused: it uses the opcode NEWOBJ"),
        (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "refused: pickle protocol 4, expected 2"),
        (b"\x80\x02cnumpy\ndtype\nU\x02u1\x85RU\x011\x85R.", "damaged (a call of what is no function)"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "damaged (a call with other arguments than an array's)"),
        (b"\x80\x02}}b.", "damaged (a state for what is neither an array nor a type)"),
        (b"\x80\x02}U\x01aa.", "damaged (items for what is no list)"),
        (b"\x80\x02]U\x01aNs.", "damaged (entries for what is no dict)"),
        (b"\x80\x02})Ns.", "damaged (a key that is no text)"),
        (b"\x80\x02}(U\x01au.", "damaged (zip() argument 2 is shorter"),
        (b"\x80\x02h\x07.", "damaged (it refers to a part that is not there)"),
        (b"\x80\x02(\x86.", "damaged (its stack runs out)"),
        (b"\x80\x02T\xff\xff\xff\x7fabc", "damaged (expected 2147483647 bytes"),
        (b"\x80\x02B\xff\xff\xff\xffabc", "damaged (expected 4294967295 bytes"),
        (b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc", "damaged (expected 9223372036854775807 bytes"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged ("),
        (b"\x80\x02\xff", "damaged (at position 2, opcode b'\\xff' unknown)"),
        (b"", "damaged ("),
        (b"no pickle", "damaged ("),
        (b"\x80\x02", "damaged ("),
        (b"\x80\x02].", "holds no pictures under the name 'data'"),
    ],
)
def test_what_is_no_pickle_of_arrays(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(tmp_path, data)


def test_a_memo_with_a_huge_number_takes_no_memory() -> None:
    """Python's own reader makes room for all numbers below it."""
    assert read_pickle(b"\x80\x02Nr\xff\xff\xff\xff.") is None


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.sources.array_pickle._MOST_OPCODES", 100)
    assert read_pickle(b"\x80\x02](" + b"K\x01" * 90 + b"e.") == [1] * 90
    with pytest.raises(RefusedError, match="refused: it has too many parts"):
        read_pickle(b"\x80\x02](" + b"K\x01" * 100 + b"e.")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_MOST_BYTES", 1000)
    assert "larger than 1,000 bytes" in refusal(tmp_path, b"\x80\x02" + b"N" * 999)


def test_a_shape_that_is_too_deep_to_print() -> None:
    deep = b")" + b"\x85" * 100_000
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nU\x02u1\x85R"
    stored = read_pickle(b"\x80\x02" + array + b"(K\x01" + deep + kind + b"\x89U\x01xtb.")
    assert isinstance(stored, StoredArray)
    with pytest.raises(RefusedError, match="an array without a usable shape"):
        bytes_array(stored)


def test_an_array_by_columns() -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    np.testing.assert_array_equal(bytes_array(read_pickle(pickle.dumps(array, 2))), array)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # Python's, of a name in the pickle
@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_pickle(b"\x80\x02" + data)
    except RefusedError as error:
        assert str(error)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@given(st.data())
def test_damage_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    written = bytearray(as_python_2({"labels": [1, 2], "data": np.arange(12, dtype=np.uint8).reshape(2, 6)}))
    for _ in range(data.draw(st.integers(1, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_pickle(bytes(written))
        if isinstance(found, dict):
            bytes_array(found.get("data"))
    except RefusedError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": planes_of(3)[:, :3000]}, "holds an array of shape (3, 3000), expected (pictures, 3072)"),
        ({"data": planes_of(3).ravel()}, "holds an array of shape (9216,), expected (pictures, 3072)"),
        ({"data": planes_of(3)[:0].tolist()}, "holds a list in place of an array"),
        ({"data": planes_of(3).astype(np.float32)}, "holds an array of type 'f4', expected 'u1' (bytes)"),
        ({"data": planes_of(3).astype(np.int8)}, "holds an array of type 'i1', expected 'u1' (bytes)"),
        ({"labels": [1, 2]}, "holds 3 pictures, but 2 labels"),
        ({"labels": ["a", "b", "c"]}, "holds other 'labels' than a list of numbers"),
        ({"labels": (1, 2, 3)}, "holds other 'labels' than a list of numbers"),
        ({"labels": [1, True, 3]}, "holds other 'labels' than a list of numbers"),
    ],
)
def test_arrays_and_labels_of_another_kind(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(tmp_path, as_python_3(batch_of(planes_of(3)) | changes))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("data", "holds no pictures under the name 'data'"),
        ("labels", "holds no labels under the name 'labels' or 'fine_labels'"),
    ],
)
def test_a_part_that_is_missing(tmp_path: Path, missing: str, message: str) -> None:
    batch = batch_of(planes_of(3))
    del batch[missing]
    assert message in refusal(tmp_path, as_python_2(batch))


def test_an_array_whose_data_do_not_fit(tmp_path: Path) -> None:
    written = as_python_2(batch_of(planes_of(3)))
    longer = written.replace(struct.pack("<i", 3072), struct.pack("<i", 3073), 1)
    assert "damaged (9,216 bytes for an array of shape (3, 3073))" in refusal(tmp_path, longer)


@pytest.mark.parametrize("kept", [1, 2, 30, 200, 5000, -1])
def test_a_file_that_was_cut_short(tmp_path: Path, kept: int) -> None:
    assert "damaged (" in refusal(tmp_path, as_python_2(batch_of(planes_of(3)))[:kept])
