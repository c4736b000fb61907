"""What a path is taken for, and what is said when it is nothing."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.sources import Source, SourceOptions, open_source
from dcgan_data.sources.signatures import content_format

SUPPORTED = (
    "an LSUN LMDB (a directory with data.mdb, or with several such), tar archives (WebDataset's and "
    "ImageNet's too), zip archives, parquet files (Hugging Face's), CIFAR's python version, "
    "SVHN's .mat files, or a folder of image files"
)


def message(path: Path, wanted: str = "") -> str:
    with pytest.raises(BadInput) as caught:
        open_source(path, 4, 0, SourceOptions(wanted))
    return str(caught.value)


def tar(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names or ("a.jpg",):
            header = tarfile.TarInfo(name)
            header.size = 3
            archive.addfile(header, io.BytesIO(b"tar"))
    return path


def zipped(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names or ("a.jpg",):
            archive.writestr(name, "zip")
    return path


def parquet(path: Path, column: str = "image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: [b"parquet"], "other": [b"other"]}), path)
    return path


def plain(path: Path, data: bytes = b"1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def keys(source: Source) -> list[str]:
    return [record.key for shard in source.shards() for record in shard]


# Single files


def test_nothing_there(tmp_path: Path) -> None:
    assert message(tmp_path / "lost") == f"{tmp_path}/lost: no such file or directory; expected {SUPPORTED}"


@pytest.mark.parametrize(
    ("data", "what"), [(b"1", "a single file"), (bytes(20480), "a single file"), (b"", "an empty file")]
)
def test_a_file_of_unknown_content(tmp_path: Path, data: bytes, what: str) -> None:
    path = plain(tmp_path / "photo.tar", data)
    assert message(path) == f"{path}: {what}; expected {SUPPORTED}"


def test_names_say_nothing(tmp_path: Path) -> None:
    for kind, path in (
        ("tar", tar(tmp_path / "a.zip")),
        ("zip", zipped(tmp_path / "b.parquet")),
        ("parquet", parquet(tmp_path / "c.tar")),
    ):
        source = open_source(path, 4)
        assert (source.kind, source.path, len(source)) == (kind, str(path), 1)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("x", b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "svhn"),
        ("x", b"MATLAB 7.3 MAT-file", ""),
        ("x", bytes(16) + b"\xde\xc0\xef\xbe", "lsun"),
        ("data_batch_1", pickle.dumps({}, 2), "cifar"),
        ("test", pickle.dumps({}, 4), "cifar"),
        ("test", b"text", ""),
        ("batches.meta", pickle.dumps({}, 2), ""),
        ("x", b"PAR1....", "parquet"),
        ("x", b"PK\5\6" + bytes(18), "zip"),
        ("x", b"PK\7\7", ""),
        ("x", bytes(257) + b"ustar" + bytes(512), "tar"),
        ("x", bytes(257) + b"ustar", ""),
        ("x.tar", bytes(1024), "tar"),
        ("x.TAR", bytes(10240), "tar"),
        ("x.tar", bytes(512), ""),
        ("x.tar", bytes(1025), ""),
        ("x.tar", bytes(10752), ""),
        ("x.tar", bytes(1023) + b"x", ""),
        ("x", bytes(1024), ""),
        ("x", b"", ""),
    ],
)
def test_signatures(name: str, head: bytes, kind: str) -> None:
    assert content_format(name, head) == kind


def test_the_oldest_tar_says_nothing_but_its_checksum(tmp_path: Path) -> None:
    block = bytearray(tar(tmp_path / "x").read_bytes()[:512])
    block[148:] = b" " * 8 + bytes(356)
    block[148:156] = b"%06o\0 " % sum(block)
    assert content_format("x", bytes(block)) == "tar"
    block[0] ^= 1
    assert content_format("x", bytes(block)) == ""


def test_formats_that_are_wanted(tmp_path: Path) -> None:
    junk = plain(tmp_path / "junk", b"something else" * 100)
    assert "a single file" in message(junk)
    assert "no central directory" in message(junk, "zip")
    path = tar(tmp_path / "x.tar")
    assert (
        message(path, "folder") == f"{path}: a single file, not a folder of image files; name its directory"
    )
    assert message(junk, "lsun").startswith(
        f"{junk}: an LMDB by another name; put it into a directory of its own"
    )


def test_formats_that_are_wanted_of_something_else(tmp_path: Path, source: Path) -> None:
    archive, database = tar(tmp_path / "x.zip"), source / "data.mdb"
    batch = plain(tmp_path / "test", pickle.dumps({}, 2))
    program = plain(tmp_path / "x.exe", b"MZ" + zipped(tmp_path / "y.tar").read_bytes())
    for path, wanted, what, other in (
        (tmp_path / "y.tar", "tar", "a zip archive", "a tar archive"),
        (program, "tar", "a zip archive", "a tar archive"),
        (archive, "zip", "a tar archive", "a zip archive"),
        (archive, "lsun", "a tar archive", "an LMDB"),
        (archive, "svhn", "a tar archive", "a MATLAB file"),
        (database, "tar", "an LMDB", "a tar archive"),
        (batch, "parquet", "one of CIFAR's batches", "a parquet file"),
        (parquet(tmp_path / "z"), "cifar", "a parquet file", "one of CIFAR's batches"),
    ):
        assert message(path, wanted) == (
            f"{path}: {what} by its content, not {other}; leave --format out, or give the right one"
        )
        assert message(path.parent / f"{path.name[:-1]}?", wanted) == message(path, wanted)


def test_a_zip_archive_with_a_program_before_it(tmp_path: Path) -> None:
    """Self-extracting ones; the offsets are those of the archive alone."""
    program = plain(tmp_path / "x.exe", b"MZ" + bytes(3000) + zipped(tmp_path / "x", "a.jpg").read_bytes())
    source = open_source(program, 4)
    assert (source.kind, [record.data for record in source.shards()[0]]) == ("zip", [b"zip"])
    (tmp_path / "x").unlink()
    plain(tmp_path / "photo.jpg")
    assert open_source(tmp_path, 4).passed_over == {".exe": 1}  # beside pictures it may be anything
    (tmp_path / "photo.jpg").unlink()
    program.rename(tmp_path / "x.zip")
    assert open_source(tmp_path, 4).kind == "zip"


def test_what_only_ends_like_a_zip_archive(tmp_path: Path) -> None:
    end = b"PK\5\6" + bytes(18)
    for data in (end, end[:12] + b"\x40\0\0\0" + end[16:]):
        assert "a single file" in message(plain(tmp_path / "x", b"something else" * 10 + data))


def test_empty_tar_archives(tmp_path: Path) -> None:
    path = tmp_path / "set" / "0.tar"
    path.parent.mkdir()
    tarfile.open(path, "w").close()
    for place in (path, path.parent):
        assert message(place) == f"{place}: holds no images; expected {SUPPORTED}"
    tar(tmp_path / "set" / "1.tar")
    for place in (path.parent, path.parent / "*.tar"):
        source = open_source(place, 4)
        assert (keys(source), source.passed_over) == (["1.tar/a.jpg"], {})
    path.write_bytes(bytes(1 << 20))  # a download that has not come yet
    assert message(path.parent).startswith(f"{path}: unknown content, unlike 1.tar beside it")


def test_a_format_that_is_none() -> None:
    with pytest.raises(
        BadRequest, match=r"^format 'rar': unknown; expected one of lsun, folder, tar, zip, parq"
    ):
        SourceOptions("rar")


def test_columns_are_for_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x")
    named = open_source(path, 4, 0, SourceOptions(image_column="other"))
    assert [record.data for record in named.shards()[0]] == [b"other"]
    with pytest.raises(BadRequest, match=r"y: has no columns to choose \(zip\); leave their names out"):
        open_source(zipped(tmp_path / "y"), 4, 0, SourceOptions(label_column="label"))


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\x01", "RAR"),
    ],
)
@pytest.mark.parametrize("wanted", ["", "tar"])
def test_compressed_files(tmp_path: Path, head: bytes, method: str, wanted: str) -> None:
    path = plain(tmp_path / "x.tar", head + bytes(600))
    assert message(path, wanted) == (
        f"{path}: compressed ({method}), so that it cannot be read by range; "
        "decompress it first (a tar need not be unpacked)"
    )


# Links, pipes, permissions


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("gone")
    assert (
        message(tmp_path / "a") == f"{tmp_path}/a: links that lead only to one another; name the data itself"
    )
    assert (
        message(tmp_path / "c") == f"{tmp_path}/c: a link to gone, which is not there; name the data itself"
    )


def test_a_linked_archive_keeps_its_name(tmp_path: Path) -> None:
    """Hugging Face's cache has links to files that are named by their hash."""
    tar(tmp_path / "blobs" / "0a1b")
    tar(tmp_path / "blobs" / "2c3d")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one.tar").symlink_to("../blobs/0a1b")
    (tmp_path / "set" / "two.tar").symlink_to("../blobs/2c3d")
    assert keys(open_source(tmp_path / "set", 4)) == ["one.tar/a.jpg", "two.tar/a.jpg"]
    assert open_source(tmp_path / "set" / "one.tar", 4).path == f"{tmp_path}/set/one.tar"


@pytest.mark.parametrize("name", ["pipe", "pipe*"])
def test_pipes(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait forever
    assert message(tmp_path / name) == (
        f"{tmp_path}/pipe: a pipe or a device, which cannot be read by range; name a file or directory"
    )


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "x.tar")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert message(tmp_path) == f"{tmp_path}: permission denied; make it readable"
    assert message(path) == f"{path}: permission denied; make it readable"


def test_a_directory_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", denied)
    assert message(tmp_path / "x") == f"{tmp_path}/x: permission denied; make it readable"


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "x.tar")

    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("dcgan_data.sources.detect.read_head", fail)
    assert message(path) == f"{path}: cannot be read (Input/output error); make it readable"


# Directories


@pytest.mark.parametrize("names", [[], ["labels.txt", ".hidden.jpg"]])
def test_no_images(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        plain(tmp_path / name)
    assert message(tmp_path) == f"{tmp_path}: holds no images; expected {SUPPORTED}"


def test_kinds(tmp_path: Path, source: Path) -> None:
    plain(tmp_path / "photo.jpg")
    assert open_source(tmp_path, 4).kind == "folder"
    assert open_source(source, 4).kind == "lsun"
    assert open_source(source.parent, 4).kind == "lsun"
    assert open_source(source / "data.mdb", 4).kind == "lsun"


@pytest.mark.parametrize("make", [tar, zipped, parquet])
def test_a_directory_of_containers(tmp_path: Path, make: object) -> None:
    assert callable(make)
    for name in ("b.x", "a.x", "sub/c.x"):
        make(tmp_path / "set" / name)
    for name in ("README.md", "dataset_infos.json", "labels.csv", "sub/more.csv", ".cache/d.x", "LICENSE"):
        plain(tmp_path / "set" / name)
    source = open_source(tmp_path / "set", 4)
    assert [key.split(".")[0] for key in keys(source)] == ["a", "b", "sub/c"]
    assert source.path == str(tmp_path / "set")
    assert source.passed_over == {".csv": 2, ".json": 1, ".md": 1, "no extension": 1}


def test_a_directory_of_one_container(tmp_path: Path) -> None:
    tar(tmp_path / "set" / "train" / "a.tar")
    source = open_source(tmp_path / "set", 4)
    assert (keys(source), source.path) == (["a.jpg"], str(tmp_path / "set"))


def test_cifars_directory(tmp_path: Path) -> None:
    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    plain(folder / "data_batch_1", pickle.dumps({"no": "pictures"}, 2))
    plain(folder / "batches.meta", pickle.dumps({}, 2))
    for path in (folder, folder.parent):
        assert "data_batch_1: holds no pictures under the name 'data'" in message(path)


BATCH = pickle.dumps({}, 2)


@pytest.mark.parametrize("wanted", ["", "cifar"])
@pytest.mark.parametrize(
    ("data", "trouble"), [(b"", "empty"), (b"garbage", "unknown content"), (None, "cannot be read (No such")]
)
@pytest.mark.parametrize(
    ("name", "beside"), [("data_batch_2", "data_batch_1"), ("test_batch", "data_batch_1"), ("test", "train")]
)
def test_a_file_named_as_cifars_batches(
    tmp_path: Path, name: str, beside: str, data: bytes | None, trouble: str, wanted: str
) -> None:
    plain(tmp_path / "set" / "meta", BATCH)
    plain(tmp_path / "set" / beside, BATCH)
    plain(tmp_path / "set" / "a file", b"of another name")
    if data is None:
        (tmp_path / "set" / name).symlink_to("gone")
    else:
        plain(tmp_path / "set" / name, data)
    for path in (tmp_path / "set", tmp_path):
        text = message(path, wanted)
        assert text.startswith(f"{tmp_path}/set/{name}: {trouble}")
        assert text.endswith(f", unlike {beside} beside it; fetch or copy it again, or move it away")


def test_other_files_beside_cifars_batches(tmp_path: Path) -> None:
    """Much is named ``test``; CIFAR-100's has its names in ``meta`` beside it."""
    plain(tmp_path / "data_batch_1", BATCH)
    for name in ("test", "readme", "data_batch_x"):
        plain(tmp_path / name)
    assert "data_batch_1: holds no pictures under the name 'data'" in message(tmp_path)


def test_a_directory_of_matlab_files(tmp_path: Path) -> None:
    plain(tmp_path / "train_32x32.mat", b"MATLAB 5.0 MAT-file" + bytes(500))
    assert message(tmp_path).startswith(f"{tmp_path}/train_32x32.mat: ")


def test_matlabs_lists_of_labels(tmp_path: Path) -> None:
    """Many sets of photos have one beside them."""
    plain(tmp_path / "imagelabels.mat", b"MATLAB 5.0 MAT-file" + bytes(500))
    photo = plain(tmp_path / "photo.jpg")
    folder = open_source(tmp_path, 4)
    assert (folder.kind, folder.passed_over) == ("folder", {".mat": 1})
    photo.unlink()
    tar(tmp_path / "photos.tar")
    archive = open_source(tmp_path, 4)
    assert (archive.kind, archive.passed_over) == ("tar", {".mat": 1})


def test_zip_archives_of_something_else(tmp_path: Path) -> None:
    plain(tmp_path / "photo.jpg")
    zipped(tmp_path / "statistics.npz", "mean.npy")
    assert open_source(tmp_path, 4).passed_over == {".npz": 1}


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (
            ("a.tar", "b.zip"),
            r"tar archives \(a\.tar, \.\.\.\) and zip archives beside them \(b\.zip, \.\.\.\)",
        ),
        (("a.tar", "p.jpg"), r"tar archives \(a\.tar, \.\.\.\) and pictures beside them \(p\.jpg, \.\.\.\)"),
        (
            ("s/a.zip", "p.jpg"),
            r"zip archives \(a\.zip, \.\.\.\) and pictures beside them \(p\.jpg, \.\.\.\)",
        ),
        (
            ("a.zip", "s/p.jpg"),
            r"zip archives \(a\.zip, \.\.\.\) and pictures beside them \(p\.jpg, \.\.\.\)",
        ),
        (
            ("a.parquet", "b.tar"),
            r"parquet files \(a\.parquet, \.\.\.\) and tar archives beside them \(b\.tar",
        ),
    ],
)
def test_mixtures(tmp_path: Path, names: tuple[str, ...], what: str) -> None:
    makers = {".tar": tar, ".zip": zipped, ".parquet": parquet, ".jpg": plain}
    for name in names:
        makers[Path(name).suffix](tmp_path / name)
    assert re.match(re.escape(f"{tmp_path}: holds ") + what, text := message(tmp_path))
    assert text.endswith("; name one of them as the source, or choose with --format")


def test_choosing_from_a_mixture(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar")
    zipped(tmp_path / "b.zip")
    plain(tmp_path / "photo.jpg")
    for wanted, passed_over in (
        ("tar", {".zip": 1}),
        ("zip", {".tar": 1}),
        ("folder", {".tar": 1, ".zip": 1}),
    ):
        source = open_source(tmp_path, 4, 0, SourceOptions(wanted))
        assert (source.kind, len(source), source.passed_over) == (wanted, 1, passed_over)
    for wanted, what in (("parquet", "parquet files"), ("lsun", "LMDBs"), ("cifar", "CIFAR's batches")):
        assert message(tmp_path, wanted) == (
            f"{tmp_path}: holds no {what}; leave --format out to have it found out"
        )


def test_databases_and_others_beside_them(tmp_path: Path, source: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "lmdb").symlink_to(source)
    plain(tmp_path / "set" / "notes.txt")
    assert open_source(tmp_path / "set", 4).kind == "lsun"
    plain(tmp_path / "set" / "more" / "p.jpg")
    what = f"{tmp_path}/set: holds LMDBs (lmdb, ...) and pictures beside them (p.jpg, ...); "
    assert message(tmp_path / "set").startswith(what)
    assert open_source(tmp_path / "set", 4, 0, SourceOptions("lsun")).kind == "lsun"
    (tmp_path / "set" / "more" / "p.jpg").unlink()
    tar(tmp_path / "set" / "a.tar")
    what = f"{tmp_path}/set: holds LMDBs (lmdb, ...) and tar archives beside them (a.tar, ...); "
    assert message(tmp_path / "set").startswith(what)


@pytest.mark.parametrize(
    ("data", "trouble"),
    [(b"", "empty"), (b"garbage", "unknown content"), (None, "cannot be read (No such file")],
)
def test_a_file_that_should_be_like_those_beside_it(tmp_path: Path, data: bytes | None, trouble: str) -> None:
    """A download that failed must not be missed in silence."""
    tar(tmp_path / "0.tar")
    if data is None:
        (tmp_path / "1.TAR").symlink_to("gone")
    else:
        plain(tmp_path / "1.TAR", data)
    text = message(tmp_path)
    assert text.startswith(f"{tmp_path}/1.TAR: {trouble}")
    assert text.endswith(", unlike 0.tar beside it; fetch or copy it again, or move it away")


def test_a_directory_of_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").symlink_to("gone")
    ask = "; make it readable, or move it away"
    assert message(tmp_path) == f"{tmp_path}/a.tar: cannot be read (No such file or directory){ask}"
    (tmp_path / "a.tar").unlink()
    tar(tmp_path / "b.tar")

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("dcgan_data.sources.survey.read_head", denied)
    assert message(tmp_path) == f"{tmp_path}/b.tar: cannot be read (Permission denied){ask}"


def test_what_is_in_the_way_of_nothing(tmp_path: Path) -> None:
    """Pictures further below are found all the same."""
    (tmp_path / "notes.doc").symlink_to("gone")
    plain(tmp_path / "code.tar.gz", b"\x1f\x8b" + bytes(600))
    plain(tmp_path / "a" / "b" / "1.jpg")
    source = open_source(tmp_path, 4)
    assert (keys(source), source.passed_over) == (["a/b/1.jpg"], {".doc": 1, ".gz": 1})


def test_compressed_archives_in_a_directory(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.tar.gz", b"\x1f\x8b" + bytes(600))
    assert message(tmp_path).startswith(f"{path}: compressed (gzip), so that it cannot be read by range")
    tar(tmp_path / "y.tar")
    assert message(tmp_path).startswith(f"{path}: compressed (gzip), so that it cannot be read by range")
    assert open_source(tmp_path, 4, 0, SourceOptions("tar")).passed_over == {".gz": 1}
    (tmp_path / "y.tar").rename(tmp_path / "labels.csv")
    path.rename(tmp_path / "labels.gz")
    assert message(tmp_path) == f"{tmp_path}: holds no images; expected {SUPPORTED}"


@pytest.mark.parametrize("wanted", ["", "tar"])
def test_a_compressed_archive_named_as_those_beside_it(tmp_path: Path, wanted: str) -> None:
    path = plain(tmp_path / "x.tar", b"\x1f\x8b" + bytes(600))
    if not wanted:
        assert message(tmp_path) == message(path)
    tar(tmp_path / "a.tar")
    assert message(tmp_path, wanted) == message(path)
    assert message(path).startswith(f"{path}: compressed (gzip), so that it cannot be read by range")


def test_pipes_and_circles_in_a_directory(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "up").symlink_to("..")
    source = open_source(tmp_path, 4)
    assert source.passed_over == {"no extension": 2}


def test_not_every_file_of_a_large_folder_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        plain(tmp_path / f"{number:02d}")
    plain(tmp_path / "caption.txt")
    opened: list[str] = []

    def head(path: Path) -> bytes:
        opened.append(path.name)
        return b""

    monkeypatch.setattr("dcgan_data.sources.survey.read_head", head)
    monkeypatch.setattr("dcgan_data.sources.survey._MOST_UNKNOWN", 10)
    assert len(open_source(tmp_path, 4)) == 30
    assert opened == [f"{number:02d}" for number in range(10)]


def test_a_relative_path_is_stored_as_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(tmp_path / "photos" / "a.jpg")
    tar(tmp_path / "x.tar")
    monkeypatch.chdir(tmp_path)
    found, archive = open_source(Path("photos"), 4), open_source(Path("x.tar"), 4)
    assert (found.path, archive.path) == (f"{tmp_path}/photos", f"{tmp_path}/x.tar")
    monkeypatch.chdir("/")
    assert [record.data for record in found.shards()[0]] == [b"1"]
    assert [record.data for record in archive.shards()[0]] == [b"tar"]


# Patterns


def test_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        tar(tmp_path / "shards" / f"{number:05d}.tar")
    monkeypatch.chdir(tmp_path)
    source = open_source(Path("shards/{00000..00001}.tar"), 4)
    assert keys(source) == ["00000.tar/a.jpg", "00001.tar/a.jpg"]
    assert source.path == f"{tmp_path}/shards/{{00000..00001}}.tar"
    assert len(open_source(tmp_path / "shards" / "*.tar", 4)) == 3
    assert message(Path("shards/{00001..00004}.tar")).startswith(
        "shards/00003.tar: no such file, one of 4 that"
    )
    assert keys(open_source(tmp_path / "sh*" / "*2.tar", 4)) == ["a.jpg"]


def test_a_path_that_exists_is_no_pattern(tmp_path: Path) -> None:
    path = tar(tmp_path / "{0..9}[a].tar")
    source = open_source(path, 4)
    assert (source.path, keys(source)) == (str(path), ["a.jpg"])
    plain(tmp_path / "{a,b}" / "1.jpg")
    assert open_source(tmp_path / "{a,b}", 4).kind == "folder"


def test_patterns_that_name_other_things(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar")
    zipped(tmp_path / "b.zip")
    plain(tmp_path / "c" / "1.jpg")
    (tmp_path / "d.tar").symlink_to("gone")
    assert message(tmp_path / "[ab].*") == (
        f"{tmp_path}/[ab].*: names tar archives (a.tar, ...) and zip archives (b.zip, ...); "
        "name files of one kind"
    )
    assert (
        message(tmp_path / "c*")
        == f"{tmp_path}/c: a directory; patterns name files, such as {tmp_path}/c*/*.tar"
    )
    assert message(tmp_path / "c" / "*.jpg") == f"{tmp_path}/c/1.jpg: a single file; expected {SUPPORTED}"
    assert message(tmp_path / "{a,d}.tar").startswith(f"{tmp_path}/d.tar: a link to gone, which is not there")
    assert (
        message(tmp_path / "a.*", "folder")
        == f"{tmp_path}/a.*: names single files; give the directory of pictures"
    )
