"""The SVHN source: MATLAB files as scipy writes them, packed or not, read by range; and damaged ones."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.errors import BadInput
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.sources import svhn
from dcgan_data.sources.base import Record
from dcgan_data.sources.mat5 import Cursor, MatError, find_variables, read_numbers
from dcgan_data.sources.svhn import SvhnSource


def digits(count: int, seed: int = 0) -> dict[str, Any]:
    """X (32, 32, 3, count) and y (count, 1) of random pictures; the last label is 10."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    return {"X": pictures, "y": np.arange(11 - count, 11, dtype=np.uint8)[:, None] % 11}


def matlab(variables: dict[str, Any], packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=packed)
    return buffer.getvalue()


def write(path: Path, variables: dict[str, Any], packed: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(matlab(variables, packed))
    return path


def opened(*files: Path, step: int = 4, limit: int = 0) -> SvhnSource:
    return SvhnSource(files, files[0].parent, step, limit)


def read(source: SvhnSource) -> list[Record]:
    found = [record for shard in source.shards() for record in shard]
    assert len(found) == len(source)
    return found


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    svhn._progress.cache_clear()
    yield
    svhn._progress.cache_clear()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_pictures_and_labels(tmp_path: Path, packed: bool, count: int) -> None:
    variables = digits(count)
    source = opened(write(tmp_path / "train_32x32.mat", variables, packed))
    records = read(source)
    assert [(record.key, record.label) for record in records] == [
        (f"{n:06d}", str(label)) for n, label in enumerate(range(11 - count, 11))
    ]
    for number, record in enumerate(records):
        decoded = decode_square(record.data, DecodeSettings(32))
        np.testing.assert_array_equal(decoded.pixels, variables["X"][..., number])
    assert (source.kind, source.path) == ("svhn", str(tmp_path / "train_32x32.mat"))
    assert (source.passed_over, source.index) == ({}, {})


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.float32])
def test_labels_of_any_class_of_numbers(tmp_path: Path, kind: type) -> None:
    variables = digits(5)
    path = write(tmp_path / "a.mat", variables | {"y": variables["y"].astype(kind).T})
    assert [record.label for record in read(opened(path))] == ["6", "7", "8", "9", "10"]


def test_matlab_drops_the_last_size_of_a_single_picture(tmp_path: Path) -> None:
    variables = digits(1)
    path = write(tmp_path / "a.mat", variables | {"X": variables["X"][..., 0]})
    (record,) = read(opened(path))
    np.testing.assert_array_equal(
        decode_square(record.data, DecodeSettings(32)).pixels, variables["X"][..., 0]
    )


def test_other_variables_are_passed_over(tmp_path: Path) -> None:
    variables = {"note": "text", "info": {"a": 1}, "list": np.array([1, "a"], object), **digits(3), "z": 1j}
    assert len(read(opened(write(tmp_path / "a.mat", variables)))) == 3


@pytest.mark.parametrize("packed", [True, False])
def test_shards_are_read_in_any_order_and_at_once(tmp_path: Path, packed: bool) -> None:
    source = opened(write(tmp_path / "a.mat", digits(10), packed), step=3)
    records = read(source)
    shards = pickle.loads(pickle.dumps(source.shards()))
    assert [len(shard) for shard in shards] == [3, 3, 3, 1]
    for number in (2, 1, 3, 3, 0):
        assert list(shards[number]) == records[3 * number :][: len(shards[number])]
    pairs = zip(shards[1], shards[2], strict=True)  # both go on from where the first one ended
    assert list(pairs) == list(zip(records[3:6], records[6:9], strict=True))
    next(iter(shards[0]))  # left off in the middle
    assert list(shards[0]) == records[:3]


def test_a_process_unpacks_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mat", digits(10))
    shards = opened(path, step=2).shards()
    skipped: list[int] = []
    skip_to = Cursor.skip_to

    def counting(cursor: Cursor, file: Any, position: int) -> None:
        skipped.append(position - cursor.position)
        skip_to(cursor, file, position)

    monkeypatch.setattr(Cursor, "skip_to", counting)
    for shard in shards:
        list(shard)
    assert sum(skipped) < 3072  # headers, and never a picture


def test_several_files(tmp_path: Path) -> None:
    files = [write(tmp_path / "extra_32x32.mat", digits(5)), write(tmp_path / "test_32x32.mat", digits(2))]
    source = opened(*files)
    assert [record.key for record in read(source)] == [
        *(f"extra_32x32.mat/{n:06d}" for n in range(5)),
        "test_32x32.mat/000000",
        "test_32x32.mat/000001",
    ]
    assert [len(shard) for shard in source.shards()] == [4, 1, 2]
    assert [record.key for record in read(opened(*files, limit=6))] == [
        record.key for record in read(source)
    ][:6]


def test_fingerprint_changes_with_the_records(tmp_path: Path) -> None:
    first = write(tmp_path / "a.mat", digits(5))
    fingerprint = opened(first).fingerprint
    assert opened(first, step=2).fingerprint == fingerprint
    assert opened(first, limit=4).fingerprint != fingerprint
    assert opened(write(first, digits(5, seed=1))).fingerprint != fingerprint


def test_memory_is_not_that_of_the_file(tmp_path: Path) -> None:
    variables = {"X": np.zeros((32, 32, 3, 3000), np.uint8), "y": np.ones((3000, 1), np.uint8)}
    path = write(tmp_path / "a.mat", variables)
    tracemalloc.start()
    try:
        for record in opened(path, step=1000).shards()[2]:
            assert record.data.startswith(b"P6\n32 32\n255\n")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4_000_000 < variables["X"].nbytes // 2


def test_a_file_that_was_replaced_since(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", digits(5))
    shard = opened(path).shards()[1]
    write(path, digits(6))
    with pytest.raises(
        BadInput, match=r"a\.mat: changed since this run began; leave it as it is and run again$"
    ):
        list(shard)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", digits(5))
    records = iter(opened(path).shards()[0])
    next(records)
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        BadInput, match=r"a\.mat: changed since this run began; leave it as it is and run again$"
    ):
        list(records)


def refusal(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read(opened(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith("; expected an SVHN file: fetch it again")
    return message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": None}, "holds 'y' (3 x 1, uint8), expected X (32 x 32 x 3 x N, uint8) and y (N x 1)"),
        ({"y": None}, "holds 'X' (32 x 32 x 3 x 3, uint8), expected X"),
        ({"X": None, "y": None, "t": "text"}, "holds no numbers, expected X"),
        ({"X": np.zeros((32, 32, 1, 3), np.uint8)}, "holds 'X' (32 x 32 x 1 x 3, uint8), 'y'"),
        ({"X": np.zeros((32, 32, 3, 0), np.uint8)}, "holds 'X' (32 x 32 x 3 x 0, uint8), 'y'"),
        ({"X": np.zeros((32, 32, 3, 3))}, "holds 'X' (32 x 32 x 3 x 3, double), 'y'"),
        ({"X": np.zeros((32, 32, 3, 3), np.int8)}, "holds 'X' (32 x 32 x 3 x 3, int8), 'y'"),
        ({"X": np.zeros((32, 32, 3, 3), complex)}, "holds 'X' (32 x 32 x 3 x 3, complex double), 'y'"),
        ({"y": np.ones((4, 1), np.uint8)}, "holds 3 pictures, but 4 labels"),
        ({"y": np.array([[1.0], [2.5], [3.0]])}, "damaged (a label that is no whole number)"),
        ({"y": np.array([[1.0], [np.inf], [np.nan]])}, "damaged (a label that is no whole number)"),
    ],
)
def test_other_variables_than_svhns(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    variables = {name: value for name, value in (digits(3) | changes).items() if value is not None}
    assert message in refusal(tmp_path, matlab(variables))


def headed(title: str, ending: bytes, elements: bytes = b"") -> bytes:
    return title.encode().ljust(124) + ending + elements


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a MATLAB file of format 5"),
        (b"x" * 1000, "not a MATLAB file of format 5"),
        (
            headed("MATLAB 7.3", b"\0\2IM", b"\x89HDF\r\n"),
            "a MATLAB file 7.3 (HDF5), which is not read: save",
        ),
        (headed("MATLAB 9", b"\0\x09IM"), "a MATLAB file of version 9, which is not read"),
        (headed("MATLAB 5.0", b"\0\1IM"), "holds no numbers"),
        (headed("MATLAB 5.0", b"\0\1IM", b"\1\0\0\0\4\0\0\0abcd"), "damaged (an element of type 1)"),
        (headed("MATLAB 5.0", b"\1\0MI", b"\0\0\0\1\0\0\0\4abcd"), "damaged (an element of type 1)"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(tmp_path, data)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kept", [127, 130, 140, 300, 5000, -1])
@pytest.mark.parametrize("last", ["X", "y"])
def test_a_file_that_was_cut_short(tmp_path: Path, packed: bool, kept: int, last: str) -> None:
    variables = digits(3)
    data = matlab({name: variables[name] for name in sorted(variables, key=last.__eq__)}, packed)
    message = refusal(tmp_path, data[:kept])
    assert ("not a MATLAB file" if kept == 127 else "cut short, ") in message


def test_twice_the_same_variable(tmp_path: Path) -> None:
    data = matlab(digits(3))
    assert "damaged (two variables 'X')" in refusal(tmp_path, data + data[128:])


def test_damage_inside_what_is_packed(tmp_path: Path) -> None:
    data = bytearray(matlab(digits(10)))
    data[len(data) // 2] ^= 1
    assert "damaged (Error -3 while decompressing data: " in refusal(tmp_path, bytes(data))


def packed_element(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed


def test_a_packed_variable_that_ends_too_early_or_goes_on(tmp_path: Path) -> None:
    """Its checksum is right; its length is not."""
    variables = digits(3)
    header, pictures = (
        matlab({"X": variables["X"]}, packed=False)[:128],
        matlab({"X": variables["X"]}, False)[128:],
    )
    labels = matlab({"y": variables["y"]})[128:]
    for content, message in (
        (pictures[:-100], "damaged (its data end too early)"),
        (pictures + bytes(100), "damaged (its data go on where they should end)"),
    ):
        assert message in refusal(tmp_path, header + packed_element(content) + labels)


def test_the_checksum_is_that_of_the_whole_variable(tmp_path: Path) -> None:
    """It lies behind the pictures, so that the last shard finds out."""
    variables = digits(10)
    first = matlab({"X": variables["X"]})
    damaged = bytearray(first)
    damaged[-1] ^= 1
    path = tmp_path / "a.mat"
    path.write_bytes(damaged + matlab({"y": variables["y"]})[128:])
    shards = opened(path).shards()
    assert len(list(shards[0])) == 4
    with pytest.raises(
        BadInput, match=r"damaged \(Error -3 while decompressing data: incorrect data check\)"
    ):
        list(shards[2])


def big_endian(pictures: np.ndarray, labels: np.ndarray) -> bytes:
    """As a machine of the other byte order writes it, labels in the tag if they are few."""

    def part(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    def variable(name: bytes, numbers: np.ndarray, matlab_class: int, kind: int) -> bytes:
        sizes = np.array(numbers.shape, ">i4").tobytes()
        flags = matlab_class.to_bytes(4, "big") + bytes(4)
        data = numbers.tobytes(order="F")
        return part(14, part(6, flags) + part(5, sizes) + part(1, name) + part(kind, data))

    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    return header + variable(b"y", labels.astype(">i2"), 6, 3) + variable(b"X", pictures, 9, 2)


def test_the_other_byte_order_and_labels_in_a_smaller_type(tmp_path: Path) -> None:
    variables = digits(3)
    data = big_endian(variables["X"], variables["y"])
    (tmp_path / "a.mat").write_bytes(data)
    theirs = scipy.io.loadmat(io.BytesIO(data))
    np.testing.assert_array_equal(theirs["X"], variables["X"])
    records = read(opened(tmp_path / "a.mat"))
    assert [record.label for record in records] == ["8", "9", "10"]
    for number, record in enumerate(records):
        pixels = decode_square(record.data, DecodeSettings(32)).pixels
        np.testing.assert_array_equal(pixels, variables["X"][..., number])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", [*"bBhHiIqQfd"])
def test_numbers_are_read_as_scipy_wrote_them(tmp_path: Path, packed: bool, kind: str) -> None:
    numbers = np.arange(7 * 5, dtype=kind).reshape(7, 5)
    path = write(tmp_path / "a.mat", {"a_long_name_of_a_variable": numbers}, packed)
    with path.open("rb") as file:
        ((name, variable),) = find_variables(file).items()
        assert (name, variable.shape) == ("a_long_name_of_a_variable", (7, 5))
        assert variable.kind == {"f": "single", "d": "double"}.get(kind, np.dtype(kind).name)
        np.testing.assert_array_equal(read_numbers(file, variable), numbers.ravel(order="F"))


@given(st.data())
def test_damage_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One damaged byte ends a process that reads the file with scipy."""
    small = {"X": np.arange(24, dtype=np.uint8).reshape(2, 2, 3, 2), "y": np.array([[1.0], [10.0]])}
    written = bytearray(matlab(small, packed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    path.write_bytes(written)
    try:
        with path.open("rb") as file:
            for variable in find_variables(file).values():
                read_numbers(file, variable)
    except MatError as error:
        assert str(error)
