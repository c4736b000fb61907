"""The zip source: StyleGAN's labels, data that is checked, and a central directory that may be anything."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import Record, Source, SourceOptions, open_source

DUPLICATE = "duplicate_key: a later member has the same name and takes its place"
UNSAFE = "unsafe_name: leaves the archive"
EXPECTED = 'expected {"labels": [[name, label], ...]}, or null for none'


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def opened(path: Path, limit: int = 0) -> Source:
    return open_source(path, 4, limit, SourceOptions("zip"))


def read(path: Path, limit: int = 0) -> list[Record]:
    source = opened(path, limit)
    found = [record for shard in source.shards() for record in shard]
    assert len(found) == len(source) == len({record.key for record in found})
    return found


def labels(path: Path) -> dict[str, str | None]:
    return {record.key: record.label for record in read(path)}


def errors(path: Path) -> dict[str, str]:
    return {record.key: record.error for record in read(path)}


def message(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        opened(path)
    return str(caught.value)


def patched(path: Path, place: int, data: bytes) -> Path:
    """Overwrite some bytes; a negative place is counted from the end."""
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


def entry(path: Path, number: int = 0) -> int:
    """Where an entry of the central directory begins."""
    content, place = path.read_bytes(), 0
    for _ in range(number + 1):
        place = content.index(b"PK\1\2", place + 1)
    return place


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_records_are_the_members(tmp_path: Path, method: int) -> None:
    members = (("b.jpg", b"1"), ("a/\u00e9.png", b"2" * 5000), ("c", b""))
    path = write_zip(tmp_path / "x.zip", *members, method=method)
    assert read(path) == [
        Record("b.jpg", b"1"),
        Record("a/\u00e9.png", b"2" * 5000, label="a"),
        Record("c", b""),
    ]
    source = opened(path)
    assert (source.kind, source.path, source.passed_over) == ("zip", str(path), {})


def test_a_shard_travels_and_is_read_by_itself(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", *((f"{n:03d}.jpg", b"value %d" % n) for n in range(1000)))
    shards = opened(path).shards()
    assert [len(shard) for shard in shards] == [4] * 250
    travelling = pickle.dumps(shards[1])
    assert len(travelling) < 3000
    assert list(pickle.loads(travelling)) == [Record(f"{n:03d}.jpg", b"value %d" % n) for n in range(4, 8)]


def test_members_written_to_a_stream(tmp_path: Path) -> None:
    """Their sizes are in the central directory only."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"1" * 500)
    (tmp_path / "x.zip").write_bytes(stream.getvalue())
    assert read(tmp_path / "x.zip") == [Record("a.jpg", b"1" * 500)]


def test_records_come_as_they_lie_in_the_file(tmp_path: Path) -> None:
    """Whatever the order of the central directory."""
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"), ("2.jpg", b"2"))
    content = path.read_bytes()
    first, second, end = entry(path), entry(path, 1), content.index(b"PK\5\6")
    path.write_bytes(content[:first] + content[second:end] + content[first:second] + content[end:])
    assert read(path) == [Record("1.jpg", b"1"), Record("2.jpg", b"2")]


def test_other_members_are_passed_over_and_counted(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    pipe = zipfile.ZipInfo("pipe.jpg")
    pipe.create_system, pipe.external_attr = 3, 0o010644 << 16
    names = ("a.JPG", "d/", "x.npy", "y/x.NPY", ".hidden.jpg", "__MACOSX/._a.jpg", "d/._b.jpg")
    path = write_zip(tmp_path / "x.zip", *((name, b"1") for name in names), (link, b"a.JPG"), (pipe, b""))
    assert list(errors(path)) == ["a.JPG"]
    assert opened(path).passed_over == {".npy": 2, "device": 1, "link": 1}


# Names


@pytest.mark.parametrize("name", ["../up.jpg", "/etc/passwd.jpg", "a/../../b.jpg"])
def test_names_that_leave_the_archive(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "x.zip", ("a.jpg", b"1"), (name, b"2"))
    assert errors(path) == {"a.jpg": "", name: UNSAFE}


def test_of_equal_names_the_last_one_counts(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "x.zip", ("a/1.jpg", b"1"), ("b.jpg", b"2"), ("a/1.jpg", b"3"))
    assert read(path) == [
        Record("a/1.jpg#1", b"", DUPLICATE, "a"),
        Record("b.jpg", b"2"),
        Record("a/1.jpg", b"3", label="a"),
    ]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """One that is said to be UTF-8 and is not, and one of an old machine."""
    path = write_zip(tmp_path / "x.zip", ("caf\u00e9.jpg", b"1"), ("12345.jpg", b"2"))
    path.write_bytes(path.read_bytes().replace(b"caf\xc3\xa9", b"caf\xe9\xff").replace(b"12345", b"12\x8245"))
    assert errors(path) == {"caf\\xe9\\xff.jpg": "", "12\\x8245.jpg": ""}


# StyleGAN's labels


def stylegan(path: Path, content: Any) -> Path:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    names = ("00000/img0.png", "00000/img1.png", "00001/img2.png")
    return write_zip(path, *((name, name.encode()) for name in names), ("dataset.json", data))


def test_stylegans_labels(tmp_path: Path) -> None:
    listed = [["00000/img0.png", 6], ["00001/img2.png", [0.5, 1]], ["00009/gone.png", 1]]
    path = stylegan(tmp_path / "x.zip", {"labels": listed})
    assert labels(path) == {"00000/img0.png": "6", "00000/img1.png": None, "00001/img2.png": "[0.5, 1]"}
    assert opened(path).passed_over == {"label of no picture": 1}


def test_numbers_with_names(tmp_path: Path) -> None:
    listed = [["00000/img0.png", 1], ["00000/img1.png", 0], ["00001/img2.png", 2]]
    path = stylegan(tmp_path / "x.zip", {"labels": listed, "label_names": ["cat", "dog"]})
    assert list(labels(path).values()) == ["dog", "cat", "2"]


FOLDER = (
    ("ds/00000/img0.png", b"1"),
    ("ds/img1.png", b"2"),
    ("other/img2.png", b"3"),
    ("img1.png", b"4"),
)


def listing(*names: str) -> bytes:
    return json.dumps({"labels": [[name, 6] for name in names]}).encode()


def test_stylegans_labels_in_a_zip_of_the_folder(tmp_path: Path) -> None:
    listed = listing("00000/img0.png", "img1.png", "img2.png")
    hidden = ("__MACOSX/dataset.json", b"x")
    path = write_zip(tmp_path / "x.zip", *FOLDER, ("ds/dataset.json", listed), hidden)
    assert labels(path) == {
        "ds/00000/img0.png": "6",
        "ds/img1.png": "6",
        "other/img2.png": None,
        "img1.png": None,
    }
    assert opened(path).passed_over == {"label of no picture": 1}


@pytest.mark.parametrize(
    ("others", "passed_over"),
    [
        (("ds/dataset.json", "other/dataset.json"), {".json": 2}),  # which one is it?
        (("ds/deep/dataset.json",), {".json": 1}),
        (("annotations/dataset.json",), {".json": 1}),  # of no picture beside or below it
        (("ds/my-dataset.json",), {".json": 1}),
        (("/dataset.json", "../dataset.json"), {".json": 2}),
    ],
)
def test_lists_that_are_not_taken_for_stylegans(
    tmp_path: Path, others: tuple[str, ...], passed_over: dict[str, int]
) -> None:
    path = write_zip(tmp_path / "x.zip", *FOLDER, *((name, listing("img1.png")) for name in others))
    assert list(labels(path).values()) == ["ds/00000", "ds", "other", None]
    assert opened(path).passed_over == passed_over


def test_of_several_lists_the_one_at_the_top_counts(tmp_path: Path) -> None:
    top, inner = ("dataset.json", listing("ds/img1.png")), ("ds/dataset.json", listing("00000/img0.png"))
    path = write_zip(tmp_path / "x.zip", *FOLDER, inner, top)
    assert list(labels(path).values()) == [None, "6", None, None]
    assert opened(path).passed_over == {".json": 1}


def test_a_damaged_list_one_directory_down(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", *FOLDER, ("ds/dataset.json", b"[1]"))
    assert message(path) == f"{path}: ds/dataset.json: damaged (no object); {EXPECTED}"


@pytest.mark.parametrize("content", [{"labels": None}, {"labels": []}])
def test_stylegans_sets_without_labels(tmp_path: Path, content: Any) -> None:
    """Their directories are no classes."""
    path = stylegan(tmp_path / "x.zip", content)
    assert set(labels(path).values()) == {None}
    assert opened(path).passed_over == {}


def test_another_dataset_json_says_nothing(tmp_path: Path) -> None:
    path = stylegan(tmp_path / "x.zip", {"name": "something else"})
    assert set(labels(path).values()) == {"00000", "00001"}
    assert opened(path).passed_over == {".json": 1}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff\xff\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ([1], "no object"),
        ({"labels": {"a": 1}}, "other labels"),
        ({"labels": ["ab"]}, "other labels"),
        ({"labels": [["a", None]]}, "other labels"),
        ({"labels": [[1, 2]]}, "other labels"),
        ({"labels": [["a", 0]], "label_names": {"0": "a"}}, "label_names is no list"),
    ],
)
def test_a_damaged_dataset_json(tmp_path: Path, content: Any, why: str) -> None:
    path = stylegan(tmp_path / "x.zip", content)
    assert message(path) == f"{path}: dataset.json: damaged ({why}); {EXPECTED}"


def test_a_dataset_json_with_another_checksum(tmp_path: Path) -> None:
    path = stylegan(tmp_path / "x.zip", {"labels": None})
    place = path.read_bytes().index(b'{"labels"')
    why = "corrupt: its data has another checksum than the central directory says"
    assert message(patched(path, place + 2, b"L")) == f"{path}: dataset.json: damaged ({why}); {EXPECTED}"


# Members that cannot be read


def test_data_with_another_checksum(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"first"), ("2.jpg", b"second"))
    patched(path, path.read_bytes().index(b"first"), b"F")
    assert errors(path) == {
        "1.jpg": "corrupt: its data has another checksum than the central directory says",
        "2.jpg": "",
    }


def test_damaged_deflated_data(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"first" * 99), method=zipfile.ZIP_DEFLATED)
    assert errors(patched(path, 35, b"\xff" * 5)) == {
        "1.jpg": "corrupt: Error -3 while decompressing data: invalid block type"
    }


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", bytes(10_000_000)), method=zipfile.ZIP_DEFLATED)
    patched(path, entry(path) + 24, struct.pack("<I", 1000))
    assert errors(path) == {"1.jpg": "corrupt: more than the 1,000 bytes that the central directory says"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_less_data_than_there_should_be(tmp_path: Path, method: int) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1" * 500), method=method)
    patched(path, entry(path) + 24, struct.pack("<I", 501))
    assert errors(path) == {"1.jpg": "corrupt: 500 bytes, the central directory says 501"}


@pytest.mark.parametrize("field", [20, 24])
def test_a_member_that_is_too_large_is_not_read(tmp_path: Path, field: int) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1" * 500))
    patched(path, entry(path) + field, struct.pack("<I", (1 << 30) + 1))
    assert errors(path) == {"1.jpg": "too_large: 1,073,741,825 bytes, at most 1,073,741,824 are read"}


def test_a_member_that_is_not_where_it_should_be(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1" * 500), ("2.jpg", b"2"))
    patched(path, entry(path) + 42, struct.pack("<I", 3))
    patched(path, entry(path, 1) + 42, struct.pack("<I", 99_999))
    assert errors(path) == {
        "1.jpg": "corrupt: there is no member where the central directory says",
        "2.jpg": "truncated: 0 of 30 bytes are there",
    }


def test_encrypted_members(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"), ("2.jpg", b"2"))
    assert errors(patched(path, entry(path, 1) + 8, b"\1")) == {"1.jpg": "", "2.jpg": "unreadable: encrypted"}


def test_other_compression(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"), method=zipfile.ZIP_LZMA)
    assert errors(path) == {"1.jpg": "unreadable: compression method 14; only deflate is supported"}


# The central directory


def test_a_large_archive_in_zip64(tmp_path: Path) -> None:
    """All three numbers of an entry in its ZIP64 field, and the end in a ZIP64 record."""
    name, data = b"1.jpg", b"12345"
    numbers = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0, zlib.crc32(data), 5, 5, 5, 0)
    extra = struct.pack("<HH4sHHQQQ", 0x99, 4, b"else", 1, 24, 5, 5, 0)
    directory = struct.pack(
        "<4s6H3I5H2I",
        *(b"PK\1\2", 45, 45, 0, 0, 0, 0, zlib.crc32(data)),
        *(0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra), 2, 0, 0, 0, 0xFFFFFFFF),
    )
    directory += name + extra + b"no"
    start = len(numbers + name + data)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), start)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = tmp_path / "x.zip"
    path.write_bytes(numbers + name + data + directory + end)
    assert zipfile.ZipFile(path).read("1.jpg") == data  # the library sees it alike
    assert read(path) == [Record("1.jpg", data)]


@pytest.mark.parametrize("field", [struct.pack("<HHI", 1, 4, 7), struct.pack("<HHQ", 1, 8, 1 << 63)])
def test_a_damaged_zip64_field(tmp_path: Path, field: bytes) -> None:
    member = zipfile.ZipInfo("1.jpg")
    member.extra = field
    path = write_zip(tmp_path / "x.zip", (member, b"1"))
    patched(path, entry(path) + 20, b"\xff\xff\xff\xff")
    why = "an entry's ZIP64 field makes no sense"
    assert message(path) == f"{path}: cut short or damaged ({why}); fetch or copy it again"


@pytest.mark.parametrize(
    "tail", [b"", b"PK\5\6" + bytes(18)], ids=["alone", "with what looks like another end in it"]
)
def test_a_comment_at_the_end(tmp_path: Path, tail: bytes) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"))
    comment = b"made by hand" + tail + b"!" * 9
    path.write_bytes(path.read_bytes()[:-2] + struct.pack("<H", len(comment)) + comment)
    assert errors(path) == {"1.jpg": ""}


def test_something_put_before_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"), ("2.jpg", b"2"))
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert read(path) == [Record("1.jpg", b"1"), Record("2.jpg", b"2")]


def test_cut_short(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1" * 300), ("2.jpg", b"2" * 300))
    content = path.read_bytes()
    for length in (0, 10, 200, len(content) - 100, len(content) - 22, len(content) - 1):
        path.write_bytes(content[:length])
        assert message(path) == (
            f"{path}: cut short or damaged (no central directory at its end); fetch or copy it again"
        )


@pytest.mark.parametrize(
    ("place", "data", "why"),
    [
        (-22 + 10, b"\3\0", "2 entries, its end says 3"),
        (-22 + 12, b"\x50\0\0\0", "an entry does not begin as one"),
        (-22 + 12, b"\xff\xff\xff\0", "its central directory does not fit in the file"),
        (-22 + 16, b"\xff\xff\xff\0", "its central directory does not fit in the file"),
        (-22 + 4, b"\1", "a part of an archive in several files, which is not supported"),
        (-22 - 51 + 28, b"\xff\xff", "its central directory is cut short"),
    ],
)
def test_a_damaged_central_directory(tmp_path: Path, place: int, data: bytes, why: str) -> None:
    path = write_zip(tmp_path / "x.zip", ("1.jpg", b"1"), ("2.jpg", b"2"))
    assert (
        message(patched(path, place, data)) == f"{path}: cut short or damaged ({why}); fetch or copy it again"
    )


def test_an_empty_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip")
    assert message(path).startswith(f"{path}: holds no images; expected an LSUN LMDB")
