"""Tar and parquet files at a URL are what they are on a disk; all else is refused with what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from joblib.externals.loky import get_reusable_executor

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import DatasetInfo, read_info
from dcgan_data.sources import Record, Source, SourceOptions, open_source
from dcgan_data.sources.location import parse_location

SECRET = "0123456789abcdefsecret"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, encoded: Any, picture: Any) -> Path:
    """Three tars of 8 pictures with labels beside them."""
    directory = tmp_path_factory.mktemp("shards")
    for number in range(3):
        with tarfile.open(directory / f"{number:03d}.tar", "w") as archive:
            for n in range(number * 8, number * 8 + 8):
                for name, data in (
                    (f"{n:05d}.jpg", encoded(picture(seed=n))),
                    (f"{n:05d}.cls", b"%d" % (n % 3)),
                ):
                    header = tarfile.TarInfo(name)
                    header.size = len(data)
                    archive.addfile(header, io.BytesIO(data))
    return directory


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, encoded: Any, picture: Any) -> Path:
    """A parquet file of 12 pictures in 3 row groups."""
    path = tmp_path_factory.mktemp("table") / "train.parquet"
    pictures = [{"bytes": encoded(picture(seed=n)), "path": None} for n in range(12)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"image": pa.array(pictures, kind), "label": list(range(12))}), path, row_group_size=4
    )
    return path


@pytest.fixture
def uploaded(store: Any, shards: Path, table: Path) -> Any:
    for path in (*shards.iterdir(), table):
        store.put(f"photos/{'shards' if path.suffix == '.tar' else 'table'}/{path.name}", path.read_bytes())
    return store


def opened(place: str, index: Any = None) -> Source:
    return open_source(parse_location(place), 4, index=index)


def read(source: Source) -> list[Record]:
    return [record for shard in source.shards() for record in shard]


def message(place: str, options: SourceOptions = SourceOptions()) -> str:  # noqa: B008
    with pytest.raises(BadInput) as caught:
        open_source(parse_location(place), 4, options=options)
    return str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["{000..002}.tar", "*.tar", "", "00[0-1].tar", "002.tar", "{001.tar,000.tar}"]
)
def test_tars_are_what_they_are_on_a_disk(uploaded: Any, shards: Path, pattern: str) -> None:
    here, there = opened(f"{shards}/{pattern}"), opened(f"s3://photos/shards/{pattern}")
    assert read(there) == read(here)
    assert (there.kind, there.fingerprint, there.passed_over) == ("tar", here.fingerprint, here.passed_over)
    assert there.path == f"s3://photos/shards/{pattern}"
    assert [len(shard) for shard in there.shards()] == [len(shard) for shard in here.shards()]


@pytest.mark.parametrize("name", ["", "train.parquet", "*.parquet"])
def test_parquet_files_are_what_they_are_on_a_disk(uploaded: Any, table: Path, name: str) -> None:
    here, there = opened(f"{table.parent}/{name}"), opened(f"s3://photos/table/{name}")
    assert read(there) == read(here)
    assert (there.kind, there.fingerprint) == ("parquet", here.fingerprint)


def test_files_over_http(uploaded: Any, shards: Path) -> None:
    there = opened(f"{uploaded.address}/photos/shards/{{000..002}}.tar?X-Amz-Signature={SECRET}")
    assert read(there) == read(opened(f"{shards}/{{000..002}}.tar"))
    assert there.path == f"{uploaded.address}/photos/shards/{{000..002}}.tar?..."


def test_a_limit(uploaded: Any, shards: Path) -> None:
    here, there = (
        open_source(parse_location(f"{root}/{{000..002}}.tar"), 4, 10)
        for root in (shards, "s3://photos/shards")
    )
    assert read(there) == read(here)
    assert there.fingerprint == here.fingerprint


def test_whole_runs_are_byte_identical(
    uploaded: Any, shards: Path, make: Callable[..., DatasetInfo], tmp_path: Path
) -> None:
    here = make(shards, tmp_path / "here")
    get_reusable_executor().shutdown(wait=True)  # an earlier test's workers do not know this server
    there = make(parse_location("s3://photos/shards/{000..002}.tar"), tmp_path / "there", workers=2)
    assert there.content_sha256 == here.content_sha256
    assert (tmp_path / "there/manifest.parquet").read_bytes() == (
        tmp_path / "here/manifest.parquet"
    ).read_bytes()
    assert there.source == {**here.source, "path": "s3://photos/shards/{000..002}.tar"}


def test_no_signature_is_stored(
    uploaded: Any, make: Callable[..., DatasetInfo], reporter: Any, tmp_path: Path
) -> None:
    place = f"{uploaded.address}/photos/shards/001.tar?X-Amz-Signature={SECRET}"
    make(parse_location(place), tmp_path / "out", None, reporter)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.name == ".source_index.npz" for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in "".join(reporter.said)
    assert read_info(tmp_path / "out").source["path"] == f"{uploaded.address}/photos/shards/001.tar?..."


def test_requests(uploaded: Any) -> None:
    source = opened("s3://photos/shards/000.tar")
    before = len(uploaded.log())
    read(source)
    lines = uploaded.log()[before:]
    assert lines == 2 * [
        "HEAD /photos/shards/000.tar",
        "GET /photos/shards/000.tar",
        "HEAD /photos/shards/000.tar",
    ]


def test_an_archive_that_is_known_is_not_walked_again(uploaded: Any) -> None:
    index = opened("s3://photos/shards/{000..002}.tar").index
    before = len(uploaded.log())
    source = opened("s3://photos/shards/{000..002}.tar", index)
    asked = uploaded.log()[before:]
    assert len(source) == 24
    assert asked.count("GET /photos/shards/001.tar") == 0
    assert asked.count("HEAD /photos/shards/001.tar") == 1
    uploaded.put("photos/shards/001.tar", uploaded.get("photos/shards/000.tar"))
    again = opened("s3://photos/shards/{000..002}.tar", index)
    assert [record.key for record in read(again)][8:10] == ["001.tar/00000.jpg", "001.tar/00001.jpg"]


def test_a_shard_travels(uploaded: Any) -> None:
    shard = opened("s3://photos/shards/000.tar").shards()[1]
    travelling = pickle.dumps(shard)
    assert len(travelling) < 3000
    assert list(pickle.loads(travelling)) == list(shard)


@pytest.mark.parametrize("name", ["shards/000.tar", "table/train.parquet"])
def test_an_object_that_changes_while_it_is_read(uploaded: Any, name: str) -> None:
    source = opened(f"s3://photos/{name}")
    records = iter(source.shards()[0])
    next(records)
    uploaded.put(f"photos/{name}", uploaded.get(f"photos/{name}") + bytes(512))
    with pytest.raises(BadInput) as caught:
        list(records)
    assert str(caught.value) == (
        f"s3://photos/{name}: changed since this run began; leave it as it is and run again"
    )
    if name.endswith(".tar"):  # of the other nothing can be read any more
        with pytest.raises(BadInput, match="changed since this run began"):
            list(source.shards()[1])


# What cannot be read


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3://nowhere/x.tar", "s3://nowhere/x.tar: no such object (404); check the address"),
        ("s3://nowhere/", "s3://nowhere/: no such object (404); check the address"),
        ("s3://photos/none.tar", "s3://photos/none.tar: no such object (404); check the address"),
        ("s3://photos/shards/{002..003}.tar", "s3://photos/shards/003.tar: no such object (404)"),
        ("s3://photos/none-*.tar", "s3://photos/none-*.tar: matches no object; expected one or more"),
        ("s3://ph*/x.tar", "s3://ph*/x.tar: a pattern for buckets or hosts; name the one"),
        ("s3://photos/table/train.parquet", ""),
        ("s3://photos", "s3://photos: holds tar archives (000.tar, ...) and parquet files beside them"),
    ],
)
def test_what_is_not_there(uploaded: Any, place: str, expected: str) -> None:
    if expected:
        assert message(place).startswith(expected)
    else:
        assert len(opened(place)) == 12


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("db/data.mdb", "db", "holds an LMDB, which is mapped into memory and so needs a local disk; copy"),
        (
            "db/data.mdb",
            "db/data.mdb",
            "an LMDB, which is mapped into memory and so needs a local disk; copy",
        ),
        ("zips/x.zip", "zips/x.zip", "a zip archive, which is read from a local disk only; copy it there"),
        ("zips/x.zip", "zips/", "holds a zip archive, which is read from a local disk only; copy it there"),
        ("folder/a.jpg", "folder/", "holds single picture files, each of which would be a request"),
        ("set/dataset.json", "set", "a prepared set, which is mapped into memory and so needs a local disk"),
        ("texts/a.txt", "texts", "holds no tar archives or parquet files; copy it there first: aws s3 sync"),
        ("empty/x.tar", "empty/x.tar", "an empty object by its content; expected tar archives or parquet"),
    ],
)
def test_what_is_not_read_from_elsewhere(store: Any, name: str, asked: str, expected: str) -> None:
    store.put(f"others/{name}", b"PK\3\4" if "zip" in name else b"" if "empty" in name else b"x")
    said = message(f"s3://others/{asked}")
    assert said.startswith(f"s3://others/{asked}: {expected}")


def test_formats_that_need_a_disk_are_refused_by_name(store: Any) -> None:
    said = message("s3://photos/bedroom", SourceOptions("lsun"))
    assert said.endswith("copy it there first: aws s3 sync s3://photos/bedroom bedroom")


def test_a_compressed_tar(store: Any, shards: Path) -> None:
    store.put("others/x.tar.gz", gzip.compress((shards / "000.tar").read_bytes()))
    assert message("s3://others/x.tar.gz").startswith("s3://others/x.tar.gz: compressed (gzip)")


def test_a_tar_that_is_cut_short(store: Any, shards: Path) -> None:
    store.put("others/cut.tar", (shards / "000.tar").read_bytes()[:3000])
    assert message("s3://others/cut.tar").startswith("s3://others/cut.tar: cut short after byte")


def test_access_is_denied(uploaded: Any) -> None:
    place = f"{uploaded.address}/photos/shards/000.tar"  # unsigned
    assert message(place) == (
        f"{place}: access denied (403); use an address that may be read, such as a newly signed one"
    )


def test_a_host_that_is_not_there() -> None:
    pytest.importorskip("aiohttp")
    said = message(f"https://user:{SECRET}@127.0.0.1:9/x.tar?sig={SECRET}")
    assert said.startswith("https://127.0.0.1:9/x.tar?...: the host cannot be reached; check the address")
    assert SECRET not in said


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Python's own server, which knows no ranges."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_gives_no_parts(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            header = tarfile.TarInfo(name)
            header.size = 3 << 20
            archive.addfile(header, io.BytesIO(bytes(header.size)))
    with serving(tmp_path) as address:
        said = message(f"{address}/x.tar")
    assert said == f"{address}/x.tar: its server gives no parts of a file; copy it to a local disk first"


@pytest.mark.parametrize("missing", ["s3fs", "fsspec"])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BadRequest) as caught:
        opened("s3://photos/x.tar")
    assert str(caught.value) == (
        "s3://photos/x.tar: s3fs not installed; pip install 'dcgan-data[remote]', or copy it to a local disk"
    )


def dcgan_data(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dcgan_data", *arguments], capture_output=True, text=True, env=environment
    )


def test_no_credentials(uploaded: Any, tmp_path: Path) -> None:
    environment = {k: v for k, v in uploaded.environment.items() if "_KEY" not in k}
    done = dcgan_data(
        "prepare", "s3://photos/shards/", "--out", str(tmp_path / "out"), **environment, HOME=str(tmp_path)
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: s3://photos/shards/: no credentials were found; give them as the AWS tools expect them "
        "(AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); for a public bucket set "
        "FSSPEC_S3_ANON=true\n"
    )


def test_a_recipe_that_names_a_url(uploaded: Any, tmp_path: Path) -> None:
    place = f"{uploaded.address}/photos/shards/000.tar?X-Amz-Signature={SECRET}"
    (tmp_path / "r.toml").write_text(f'[source]\npath = "{place}"\n[image]\nsize = 32\n')
    done = dcgan_data(
        "run", str(tmp_path / "r.toml"), "--dry-run", "--json", **uploaded.environment, HOME=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["recipe"]["source"]["path"] == plan["source"]["path"] == place.partition("?")[0] + "?..."
    assert plan["source"]["records"] == 8
