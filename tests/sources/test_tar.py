"""The tar source: plain archives, WebDataset, tars of class tars, and everything that goes wrong."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources import Record, Source, SourceOptions, open_source

Member = tuple[str, bytes] | tarfile.TarInfo
DUPLICATE = "duplicate_key: a later member has the same name and takes its place"
NO_END = "missing end of archive"
UNSAFE = "unsafe_name: leaves the archive"


def tar_bytes(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            header = tarfile.TarInfo(member[0])
            header.size = len(member[1])
            archive.addfile(header, io.BytesIO(member[1]))
    return buffer.getvalue()


def write_tar(path: Path, *members: Member, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members, form))
    return path


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = kind
    header.linkname = "a.jpg"
    return header


def opened(path: Path, limit: int = 0) -> Source:
    return open_source(path, 4, limit, SourceOptions("tar"))


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


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_records_are_the_members_in_the_archives_order(tmp_path: Path, form: int) -> None:
    long = "d" * 80 + "/" + "n" * 70 + ".jpg"  # beyond the 100 bytes of the first header
    path = write_tar(tmp_path / "x.tar", ("b.jpg", b"1"), (long, b"2" * 600), ("a/c.png", b""), form=form)
    assert read(path) == [
        Record("b.jpg", b"1"),
        Record(long, b"2" * 600, label="d" * 80),
        Record("a/c.png", b"", label="a"),
    ]
    source = opened(path)
    assert (source.kind, source.path, source.passed_over) == ("tar", str(path), {})


def test_a_shard_travels_and_is_read_by_itself(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", *((f"{n:03d}.jpg", b"value %d" % n) for n in range(1000)))
    shards = opened(path).shards()
    assert [len(shard) for shard in shards] == [4] * 250
    travelling = pickle.dumps(shards[1])
    assert len(travelling) < 3000  # its own four members, not all thousand
    assert list(pickle.loads(travelling)) == [Record(f"{n:03d}.jpg", b"value %d" % n) for n in range(4, 8)]


def test_other_members_are_passed_over_and_counted(tmp_path: Path) -> None:
    names = ("a.JPG", "noextension", "0.0001", "d.npy", "x/e.NPY", "f.tar.gz", "labels.csv")
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"V")
    path = write_tar(
        tmp_path / "x.tar",
        *((name, b"1") for name in names),
        *(special(f"{number}.jpg", kind) for number, kind in enumerate(kinds)),
    )
    assert list(errors(path)) == ["a.JPG", "noextension", "0.0001"]
    counts = {".csv": 1, ".gz": 1, ".npy": 2, "device": 2, "link": 2, "unknown type": 1}
    assert opened(path).passed_over == counts


def test_sparse_members_are_passed_over(tmp_path: Path) -> None:
    header = tarfile.TarInfo("hole.jpg")
    header.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
    path = write_tar(tmp_path / "x.tar", ("a.jpg", b"1"), header, ("b.jpg", b"2"))
    assert [record.key for record in read(path)] == ["a.jpg", "b.jpg"]
    assert opened(path).passed_over == {"sparse": 1}


def test_hidden_members_are_left_out(tmp_path: Path) -> None:
    names = (".a.jpg", "._b.jpg", "x/._b.jpg", ".git/c.jpg", "__MACOSX/d.jpg", "./x/.e.jpg", "b.jpg")
    path = write_tar(tmp_path / "x.tar", *((name, b"1") for name in names))
    assert read(path) == [Record("b.jpg", b"1")]
    assert opened(path).passed_over == {}


def test_names_that_begin_with_a_dot_and_a_slash(tmp_path: Path) -> None:
    """As ``tar cf x.tar .`` writes them."""
    path = write_tar(tmp_path / "x.tar", ("./a.jpg", b"1"), ("./x//./b.jpg", b"2"), (".//c.d./e.jpg", b"3"))
    assert labels(path) == {"a.jpg": None, "x/b.jpg": "x", "c.d./e.jpg": "c.d."}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_no_text(tmp_path: Path, form: int) -> None:
    names = ("caf\udce9/x.jpg", "\u00e9.jpg", "back\\slash.jpg", "z.\udcff\udcfe")
    path = write_tar(tmp_path / "x.tar", *((name, b"1") for name in names), form=form)
    assert labels(path) == {"caf\\xe9/x.jpg": "caf\\xe9", "\u00e9.jpg": None, "back\\\\slash.jpg": None}
    assert opened(path).passed_over == {".\\xff\\xfe": 1}


# Bad names


@pytest.mark.parametrize("name", ["../up.jpg", "/etc/passwd.jpg", "a/../../b.jpg", "..", "a/.."])
def test_names_that_leave_the_archive(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / "x.tar", ("a.jpg", b"1"), (name, b"2"), form=tarfile.GNU_FORMAT)
    assert errors(path) == {"a.jpg": "", name: UNSAFE}


def test_names_with_dots_that_do_not_leave_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("a..b.jpg", b"1"), ("x/c...jpg", b"2"))
    assert set(errors(path).values()) == {""}


def test_of_equal_names_the_last_one_counts(tmp_path: Path) -> None:
    names = ("a.jpg", "b.jpg", "./a.jpg", "a.jpg", "b.jpg", "c.jpg")
    path = write_tar(tmp_path / "x.tar", *((name, b"%d" % n) for n, name in enumerate(names)))
    assert read(path) == [
        Record("a.jpg#1", b"", DUPLICATE),
        Record("b.jpg#1", b"", DUPLICATE),
        Record("a.jpg#2", b"", DUPLICATE),
        Record("a.jpg", b"3"),
        Record("b.jpg", b"4"),
        Record("c.jpg", b"5"),
    ]


def test_a_replaced_members_key_is_nobody_elses(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("a", b"0"), ("a#1", b"1"), ("a", b"2"), ("a#3", b"3"), ("a", b"4"))
    assert errors(path) == {"a#2": DUPLICATE, "a#1": "", "a#4": DUPLICATE, "a#3": "", "a": ""}


def test_equal_names_that_leave_the_archive(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("../a.jpg", b"0"), ("../a.jpg", b"1"))
    assert errors(path) == {"../a.jpg#1": UNSAFE, "../a.jpg": UNSAFE}


def test_equal_hashes_are_not_yet_equal_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.sources.members.hash", lambda name: len(name) // 100, raising=False)
    path = write_tar(tmp_path / "x.tar", ("a.jpg", b"0"), ("b.jpg", b"1"), ("a.jpg", b"2"), ("b.cls", b"7"))
    assert errors(path) == {"a.jpg#1": DUPLICATE, "b.jpg": "", "a.jpg": ""}


# Labels


def test_a_samples_side_file_is_its_label(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar",
        ("d/1.jpg", b"1"),
        ("d/1.cls", b" 7\n"),
        ("d/1.txt", b"seven"),
        ("d/2.json", b'{"n": 2}'),
        ("d/2.txt", "zw\u00f6lf".encode()),  # before its picture
        ("d/2.png", b"2"),
        ("d/3.jpg", b"3"),  # its text comes last
        ("e/3.txt", b"of another directory"),
        ("d/4.webp", b"4"),
        ("d/4.JSON", b'{"n": 4}\n'),
        ("d/5.jpg", b"5"),
        ("6.jpg", b"6"),
        ("d/3.txt", b"caf\xe9"),
    )
    assert labels(path) == {
        "d/1.jpg": "7",
        "d/2.png": "zw\u00f6lf",
        "d/3.jpg": "caf\ufffd",
        "d/4.webp": '{"n": 4}',
        "d/5.jpg": "d",
        "6.jpg": None,
    }
    assert opened(path).passed_over == {".txt": 1}  # e/3.txt; 1.txt and 2.json belong to pictures


def test_names_with_several_dots(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar",
        ("1.left.jpg", b"1"),
        ("1.right.jpg", b"2"),
        ("1.cls", b"one"),
        ("photo.v2.jpg", b"3"),
        ("photo.v3.jpg", b"4"),
        ("photo.v2.txt", b"two"),
        ("x.y/8.jpg", b"5"),
        ("x.cls", b"not of the directory x.y"),
    )
    assert labels(path) == {
        "1.left.jpg": "one",
        "1.right.jpg": "one",
        "photo.v2.jpg": "two",
        "photo.v3.jpg": None,
        "x.y/8.jpg": "x.y",
    }
    assert opened(path).passed_over == {".cls": 1}


def test_side_files_that_are_passed_over_have_no_picture(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar",
        *((f"{n}.jpg", b"1") for n in range(3)),
        *((f"{n}.txt", b"a caption") for n in range(4)),
        *((f"{n}.json", b"{}") for n in range(5)),
        ("2.json", b"{}"),
    )
    assert opened(path).passed_over == {".json": 2, ".txt": 1}


def test_of_equal_side_files_the_last_one_counts(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"), ("1.cls", b"4"), ("1.cls", b"5"))
    assert labels(path) == {"1.jpg": "5"}


def test_a_side_files_text_is_cut_at_64_kib(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar", ("1.jpg", b"1"), ("1.txt", b"x" * 70_000), ("2.jpg", b""), ("2.txt", b" ")
    )
    found = labels(path)
    assert found == {"1.jpg": "x" * 65_536, "2.jpg": None}


def test_a_json_with_a_label_says_only_that(tmp_path: Path) -> None:
    """As the export writes it, and others who put a class among more facts."""
    path = write_tar(
        tmp_path / "x.tar",
        *((f"{n}.jpg", b"x") for n in range(5)),
        ("0.json", b'{"key": "a", "label": "cat"}'),
        ("1.json", b'{"key": "a", "label": null}'),
        ("2.json", b'{"label": 7}'),
        ("3.json", b'{"caption": "a cat"}'),
        ("4.json", b'{"label": "cut'),
    )
    assert labels(path) == {
        "0.jpg": "cat",
        "1.jpg": None,
        "2.jpg": "7",
        "3.jpg": '{"caption": "a cat"}',
        "4.jpg": '{"label": "cut',
    }


# A tar of class tars


def class_tars(tmp_path: Path, *more: Member, **classes: bytes) -> Path:
    return write_tar(
        tmp_path / "train.tar", *((f"{name}.tar", data) for name, data in classes.items()), *more
    )


def test_imagenets_tar_of_class_tars(tmp_path: Path) -> None:
    first = tar_bytes([("n01_1.JPEG", b"1" * 700), ("n01_2.JPEG", b"2"), ("note.txt", b"3")])
    second = tar_bytes([("./n02_9.JPEG", b"4"), ("sub/n02_8.JPEG", b"5")])
    path = class_tars(tmp_path, n01=first, n02=second)
    assert read(path) == [
        Record("n01/n01_1.JPEG", b"1" * 700, label="n01"),
        Record("n01/n01_2.JPEG", b"2", label="n01"),
        Record("n02/n02_9.JPEG", b"4", label="n02"),
        Record("n02/sub/n02_8.JPEG", b"5", label="n02"),
    ]
    assert opened(path).passed_over == {".txt": 1}


def test_a_class_without_blocks_of_zeros_ends_where_its_member_does(tmp_path: Path) -> None:
    first = tar_bytes([("1.jpg", b"1")])[:1024]
    path = class_tars(tmp_path, n01=first, n02=tar_bytes([("2.jpg", b"2")]))
    assert list(errors(path)) == ["n01/1.jpg", "n02/2.jpg"]
    assert opened(path).passed_over == {NO_END: 1}


def test_an_inner_tar_that_is_none(tmp_path: Path) -> None:
    good = tar_bytes([("1.jpg", b"1")])
    path = class_tars(tmp_path, ("e.tar", b""), bad=b"no archive" * 100, n01=good, short=b"x")
    assert errors(path) == {
        "bad.tar": "unreadable: not a tar archive",
        "n01/1.jpg": "",
        "short.tar": "unreadable: not a tar archive",
        "e.tar": "unreadable: not a tar archive",
    }


def test_tars_beside_pictures_are_passed_over(tmp_path: Path) -> None:
    inner = tar_bytes([("1.jpg", b"1")])
    path = class_tars(tmp_path, ("a.jpg", b"2"), n01=inner, n02=inner)
    assert read(path) == [Record("a.jpg", b"2")]
    assert opened(path).passed_over == {".tar": 2}


def test_no_tar_is_looked_into_twice(tmp_path: Path) -> None:
    inner = tar_bytes([("1.jpg", b"1"), ("deep.tar", tar_bytes([("2.jpg", b"2")]))])
    path = class_tars(tmp_path, ("notes.txt", b""), n01=inner)
    assert [record.key for record in read(path)] == ["n01/1.jpg"]
    assert opened(path).passed_over == {".tar": 1, ".txt": 1}


def test_bad_names_in_class_tars(tmp_path: Path) -> None:
    inner = tar_bytes(
        [("../a.jpg", b"1"), ("/b.jpg", b"2"), ("c.jpg", b"3"), ("c.jpg", b"4")], tarfile.GNU_FORMAT
    )
    path = write_tar(tmp_path / "x.tar", ("n1.tar", inner), ("../n2.tar", tar_bytes([("d.jpg", b"5")])))
    assert errors(path) == {
        "n1/../a.jpg": UNSAFE,
        "n1//b.jpg": UNSAFE,
        "n1/c.jpg#1": DUPLICATE,
        "n1/c.jpg": "",
        "../n2/d.jpg": UNSAFE,
    }


def test_damage_inside_a_class_tar(tmp_path: Path) -> None:
    inner = tar_bytes([("1.jpg", b"1"), ("2.jpg", b"2" * 2000)])
    path = class_tars(tmp_path, n01=inner[:3000], n02=inner)
    assert message(path) == (
        f"{path}: n01.tar: cut short after byte 1536 (unexpected end of data); fetch or copy it again"
    )


# Damage


def test_cut_short_inside_a_member(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1" * 600), ("2.jpg", b"2" * 600))
    data = path.read_bytes()
    for length in (1536 + 512 + 599, 1536 + 512, 1536 + 100, 500, 512):
        path.write_bytes(data[:length])
        start = 1536 if length > 1536 else 0
        assert message(path).startswith(f"{path}: cut short after byte {start} ("), length


def test_cut_short_after_a_member_is_counted(tmp_path: Path) -> None:
    """It may have been the last one."""
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1" * 600), ("2.jpg", b"2" * 600))
    data = path.read_bytes()
    # Nothing more, no padding, some zeros, one block of them.
    for length, passed_over in ((3072, {NO_END: 1}), (3072 - 424, {NO_END: 1}), (3072 + 17, {}), (3584, {})):
        path.write_bytes(data[:length])
        assert [len(record.data) for record in read(path)] == [600, 600], length
        assert opened(path).passed_over == passed_over, length


def zeroed(path: Path, start: int, stop: int) -> Path:
    data = bytearray(path.read_bytes())
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("start", "stop", "what"),
    [
        (1536, 2048, "damaged at byte 1536 (zeros in place of a header)"),
        (1536, 3072, "damaged at byte 3072 (no header)"),  # its data follow
        (1536, 5632, "damaged at byte 5632 (no header)"),
        (0, 512, "damaged at byte 0 (zeros in place of a header)"),
    ],
)
def test_zeros_in_place_of_a_header(tmp_path: Path, start: int, stop: int, what: str) -> None:
    """What tarfile takes for the archive's end."""
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1" * 1000), ("2.jpg", b"2" * 9000), ("3.jpg", b"3"))
    assert message(zeroed(path, start, stop)) == f"{path}: {what}; fetch or copy it again"


@pytest.mark.parametrize("inner", [b"", tar_bytes([("1.jpg", b"1")])])
def test_a_lone_block_of_zeros_before_a_header(tmp_path: Path, inner: bytes) -> None:
    """An end has two. Of a class tar the headers that follow are those of its members."""
    path = write_tar(tmp_path / "x.tar", ("0.jpg", b""), ("a.tar", inner), ("2.jpg", b"2"))
    what = "damaged at byte 512 (zeros in place of a header)"
    assert message(zeroed(path, 512, 1024)) == f"{path}: {what}; fetch or copy it again"


def test_archives_one_after_another(tmp_path: Path) -> None:
    """As ``cat`` puts them together; the zeros between them may be many."""
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"), ("2.cls", b"second"))
    second = tar_bytes([("2.jpg", b"2"), ("3.jpg", b"3")])
    path.write_bytes(path.read_bytes() + bytes(3 << 20) + second + tar_bytes([("4.jpg", b"4")])[:1024])
    assert labels(path) == {"1.jpg": None, "2.jpg": "second", "3.jpg": None, "4.jpg": None}
    assert [record.data for record in read(path)] == [b"1", b"2", b"3", b"4"]
    assert opened(path).passed_over == {"end of archive before another": 2, NO_END: 1}, (
        "said, in case it is damage"
    )


def test_something_else_after_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"))
    path.write_bytes(path.read_bytes() + b"something else" * 100)
    assert message(path) == f"{path}: damaged at byte 10240 (no header); fetch or copy it again"
    path.write_bytes(path.read_bytes()[:10300])
    text = message(path)
    assert text == f"{path}: cut short after byte 10240 (truncated header); fetch or copy it again"


def test_zeros_in_place_of_a_header_in_a_class_tar(tmp_path: Path) -> None:
    inner = bytearray(tar_bytes([("1.jpg", b"1"), ("2.jpg", b"2"), ("3.jpg", b"3")]))
    inner[1024:1536] = bytes(512)
    path = class_tars(tmp_path, n01=bytes(inner), n02=tar_bytes([("4.jpg", b"4")]))
    what = "damaged at byte 1536 (zeros in place of a header)"
    assert message(path) == f"{path}: n01.tar: {what}; fetch or copy it again"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_damaged_header_in_the_middle(tmp_path: Path, form: int) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"), ("2.jpg", b"2"), ("3.jpg", b"3"), form=form)
    data = bytearray(path.read_bytes())
    data[1024 + 5] ^= 1
    path.write_bytes(data)
    assert message(path) == f"{path}: damaged at byte 1024 (no header); fetch or copy it again"


def test_a_damaged_first_header(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"))
    path.write_bytes(b"X" + path.read_bytes()[1:])
    assert message(path) == f"{path}: damaged at byte 0 (bad checksum); fetch or copy it again"


def checked(header: bytes) -> bytes:
    """A header block with the right checksum."""
    return header[:148] + b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:])) + header[156:]


def test_a_size_that_points_back(tmp_path: Path) -> None:
    """tarfile would read the same headers over and over."""
    block = tar_bytes([("1.jpg", b"1")], tarfile.GNU_FORMAT)[:1024]
    back = checked(block[:124] + b"\xff" * 10 + b"\xfc\x00" + block[136:512])
    path = tmp_path / "x.tar"
    path.write_bytes(block + back + bytes(1024))
    assert message(path).startswith(f"{path}: damaged at byte 1024 (")  # newer versions see it themselves


def test_a_header_that_asks_for_all_memory(tmp_path: Path) -> None:
    block = tar_bytes([("1.jpg", b"1")], tarfile.GNU_FORMAT)[:1024]
    huge = block[:124] + b"77777777777\0" + block[136:156] + b"L" + block[157:512]
    path = tmp_path / "x.tar"
    path.write_bytes(block + checked(huge) + bytes(1024))
    assert message(path).startswith(f"{path}: damaged at byte 1024 (a header of 8,589,934,")


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    header = tarfile.TarInfo("big.jpg")
    header.size = (1 << 30) + 512
    with path.open("wb") as file:
        file.write(header.tobuf())
        file.truncate(512 + header.size)  # a hole: it takes no space
    assert read(path) == [
        Record("big.jpg", b"", "too_large: 1,073,742,336 bytes, at most 1,073,741,824 are read")
    ]


def test_an_archive_that_changed_since(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ("1.jpg", b"1"))
    (shard,) = opened(path).shards()
    write_tar(path, ("0.jpg", b"0"), ("1.jpg", b"1" * 600))
    os.utime(path, ns=(0, 0))
    with pytest.raises(
        BadInput, match=r"x\.tar: changed since this run began; leave it as it is and run again"
    ):
        list(shard)
    path.unlink()
    with pytest.raises(BadInput, match=r"x\.tar: cannot be read \(No such file or directory\); make it"):
        list(shard)


def test_no_tar_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"something else" * 100)
    assert message(path).startswith(f"{path}: damaged at byte 0 (")
    path.write_bytes(bytes(10240))
    assert message(path).startswith(f"{path}: holds no images; expected an LSUN LMDB")
