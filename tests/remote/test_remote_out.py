"""A set that is uploaded: written, checked, moved, the index last; killed anywhere it goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.plan import Job, make_plan
from dcgan_data.reporter import SilentReporter
from dcgan_data.sources.location import parse_url
from dcgan_data.upload import local_copy, upload_set

ROOT = Path(__file__).parents[2]
OPTIONS = ("--image-size", "32", "--workers", "1", "--max-rejected", "1")


@pytest.fixture
def copied(finished_set: Path, tmp_path: Path) -> Path:
    """A finished set in a directory of its own."""
    return Path(shutil.copytree(finished_set, tmp_path / "set"))


@pytest.fixture
def bucket(store: Any, request: pytest.FixtureRequest) -> Any:
    """The server, with a bucket for this test alone: its name is ``name``."""
    name = "out-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[-50:].strip("-")
    store.put(f"{name}/others/notes.txt", b"mine")
    return store, name


def files_of(out: Path) -> dict[str, bytes]:
    """All files that belong to a set, by name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in (".lock", ".source_index.npz")
    }


def objects(store: Any, name: str) -> dict[str, bytes]:
    return {key: store.get(f"{name}/{key}") for key in store.names(name)}


def uploaded(out: Path, prefix: str = "sets/faces") -> dict[str, bytes]:
    return {"others/notes.txt": b"mine", **{f"{prefix}/{key}": data for key, data in files_of(out).items()}}


def command(source: Path, out: str, directory: Path, store: Any) -> subprocess.Popen[str]:
    """The real program, at work in a directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "dcgan_data", "prepare", str(source), "--out", out, *OPTIONS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**store.environment, "HOME": str(directory), "PYTHONPATH": str(ROOT)},
    )


def test_the_command_killed_and_the_command_again(bucket: Any, source: Path, tmp_path: Path) -> None:
    """kill -9 of the real program while it uploads; then the same command, twice."""
    store, name = bucket
    place = f"s3://{name}/sets/faces"
    store.hold(f"PUT /{name}/sets/faces/.upload/manifest.parquet")
    with command(source, place, tmp_path, store) as process:
        store.wait_until_held(process)
        process.kill()
    assert "sets/faces/dataset.json" not in store.names(name)
    store.let_go()
    before = len(store.log())
    with command(source, place, tmp_path, store) as process:
        said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "faces: 20 read" in said
    assert f"{place}: uploaded, " in errors and "the copy in faces is not needed any more" in errors
    assert objects(store, name) == uploaded(tmp_path / "faces")
    written = [line for line in store.log()[before:] if line.startswith("PUT ")]
    assert written[-1] == f"PUT /{name}/sets/faces/dataset.json"
    assert not [line for line in written if ".upload/images/" in line]  # they were sent before
    before = len(store.log())
    with command(source, place, tmp_path, store) as process:
        _, errors = process.communicate()
    assert (process.returncode, f"{place}: already there; nothing to upload" in errors) == (0, True)
    assert [line for line in store.log()[before:] if line[:3] not in ("GET", "HEA")] == []


@pytest.mark.parametrize("held", ["images/00001.npy", "dataset.json"])
def test_a_killed_move_goes_on(bucket: Any, copied: Path, held: str) -> None:
    """kill -9 while an object is moved, and before the index is."""
    store, name = bucket
    script = (
        "import sys; from pathlib import Path; from dcgan_data.upload import upload_set;"
        "from dcgan_data.sources.location import parse_url; from dcgan_data.reporter import SilentReporter;"
        f"upload_set(Path(sys.argv[1]), parse_url('s3://{name}/sets/faces'), False, SilentReporter())"
    )
    store.hold(f"PUT /{name}/sets/faces/{held}")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(copied)], stderr=subprocess.PIPE, text=True
    ) as process:
        store.wait_until_held(process)
        process.kill()
    assert "sets/faces/dataset.json" not in store.names(name)
    store.let_go()
    before = len(store.log())
    upload_set(copied, parse_url(f"s3://{name}/sets/faces"), False, SilentReporter())
    assert objects(store, name) == uploaded(copied)
    sent = {line.partition("/.upload/")[2] for line in store.log()[before:] if line.startswith("PUT ")}
    assert sent <= {"", "plan.json"}  # the others are only moved


def test_what_is_no_set_is_left_alone(bucket: Any, source: Path, recipe: Any, tmp_path: Path) -> None:
    """Before any work is done."""
    store, name = bucket
    job = Job(recipe(), source, tmp_path / "others", upload=parse_url(f"s3://{name}/others"))
    with pytest.raises(BadRequest) as caught:
        make_plan(job)
    assert str(caught.value) == (
        f"s3://{name}/others: holds objects that are no prepared set (notes.txt); choose another --out"
    )
    assert objects(store, name) == {"others/notes.txt": b"mine"}


def test_another_set_is_replaced_only_if_asked(
    bucket: Any, copied: Path, source: Path, make: Callable[..., DatasetInfo], recipe: Any, tmp_path: Path
) -> None:
    store, name = bucket
    url = parse_url(f"s3://{name}/sets/faces")
    upload_set(copied, url, False, SilentReporter())
    store.put(f"{name}/sets/faces/readme.md", b"a word about it")
    make(source, tmp_path / "other", recipe(rule="none", source={"limit": 10}))
    with pytest.raises(BadRequest) as caught:
        upload_set(tmp_path / "other", url, False, SilentReporter())
    assert str(caught.value) == (
        f"{url}: holds another complete set; choose another --out, or replace it with --overwrite"
    )
    assert json.loads(store.get(f"{name}/sets/faces/dataset.json")) == json.loads(
        (copied / "dataset.json").read_text()
    )
    upload_set(tmp_path / "other", url, True, SilentReporter())
    kept = {"sets/faces/readme.md": b"a word about it"}
    assert objects(store, name) == {**uploaded(tmp_path / "other"), **kept}
    assert "images/00002.npy" in files_of(copied)  # which the other has not


def test_an_object_that_is_not_of_the_set_is_never_overwritten(
    bucket: Any, copied: Path, source: Path, make: Callable[..., DatasetInfo], recipe: Any, tmp_path: Path
) -> None:
    store, name = bucket
    url = parse_url(f"s3://{name}/sets/faces")
    make(source, tmp_path / "other", recipe(rule="none", source={"limit": 10}))
    upload_set(tmp_path / "other", url, False, SilentReporter())
    store.put(f"{name}/sets/faces/images/00002.npy", b"of somebody")
    with pytest.raises(BadRequest) as caught:
        upload_set(copied, url, True, SilentReporter())
    assert str(caught.value) == (
        f"{url}/images/00002.npy: is not of the set that is there; move it away, or choose another --out"
    )
    assert objects(store, name) == {
        **uploaded(tmp_path / "other"),
        "sets/faces/images/00002.npy": b"of somebody",
    }


def test_an_unfinished_upload_of_another_set(
    bucket: Any, copied: Path, source: Path, make: Callable[..., DatasetInfo], recipe: Any, tmp_path: Path
) -> None:
    store, name = bucket
    url = parse_url(f"s3://{name}/sets/faces")
    plan = {"content_sha256": "0" * 64, "files": {"images/00009.npy": {}}, "replaces": []}
    store.put(f"{name}/sets/faces/.upload/plan.json", json.dumps(plan).encode())
    store.put(f"{name}/sets/faces/images/00009.npy", b"of the other")
    store.put(f"{name}/sets/faces/.upload/images/00009.npy", b"of the other, on its way")
    with pytest.raises(
        BadRequest, match="holds an unfinished upload of another set; finish that one, choose"
    ):
        upload_set(copied, url, False, SilentReporter())
    upload_set(copied, url, True, SilentReporter())
    assert objects(store, name) == uploaded(copied)


def test_an_empty_folder_that_was_made_in_a_browser(bucket: Any, copied: Path) -> None:
    """Consoles of stores make an object without a name of its own."""
    store, name = bucket
    store.put(f"{name}/sets/faces/", b"")
    upload_set(copied, parse_url(f"s3://{name}/sets/faces"), False, SilentReporter())
    assert objects(store, name) == {**uploaded(copied), "sets/faces/": b""}


def test_a_set_that_was_changed_here_is_not_uploaded(bucket: Any, copied: Path) -> None:
    store, name = bucket
    with (copied / "images/00001.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"\0\1\2\3")
    with pytest.raises(BadInput, match="its bytes were changed"):
        upload_set(copied, parse_url(f"s3://{name}/sets/faces"), False, SilentReporter())
    assert f"sets/faces/{'dataset.json'}" not in store.names(name)


def test_a_bucket_that_is_not_there(store: Any, copied: Path) -> None:
    with pytest.raises(BadInput) as caught:
        upload_set(copied, parse_url("s3://no-such-bucket/set"), False, SilentReporter())
    assert str(caught.value) == "s3://no-such-bucket/set: no such object (404); check the address"


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("gs://b/set", "--out gs://b/set: sets are uploaded to s3:// only; make it in a local directory"),
        ("s3://b", "--out s3://b: a whole bucket; name a prefix in it, such as s3://b/set"),
        ("s3://b/", "--out s3://b/: a whole bucket; name a prefix in it"),
        ("s3://b/sets/..", "--out s3://b/sets/..: '.' and '..' mean nothing in a bucket; name"),
    ],
)
def test_where_sets_cannot_go(out: str, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        local_copy(parse_url(out))
    assert str(caught.value).startswith(expected)


def test_a_set_is_not_decided_anew_on_its_way(copied: Path, recipe: Any) -> None:
    url = parse_url("s3://b/sets/set")
    with pytest.raises(
        BadRequest, match=r"the set would be made in .*set, which is the source; choose a prefix"
    ):
        Job(recipe(), copied, copied, upload=url)


def test_a_dry_run_says_where_to(bucket: Any, source: Path, recipe: Any, tmp_path: Path) -> None:
    store, name = bucket
    job = Job(recipe(), source, tmp_path / "faces", upload=parse_url(f"s3://{name}/sets/faces"))
    assert f"-> {tmp_path}/faces, then uploaded to s3://{name}/sets/faces, 32x32 px" in make_plan(
        job
    ).summary(job)
    assert objects(store, name) == {"others/notes.txt": b"mine"}
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize("name", ["verify", "report"])
def test_a_set_is_not_read_from_there(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dcgan_data", name, "s3://b/sets/faces"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: s3://b/sets/faces: a prepared set is mapped into memory and so needs a local disk; "
        "fetch it first: aws s3 sync s3://b/sets/faces faces\n",
    )
