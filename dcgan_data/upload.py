"""A finished set into a bucket: written below a temporary prefix, checked, then moved; the index last.

    PREFIX/.upload/plan.json    what is being uploaded, and which objects of an older set it replaces
    PREFIX/.upload/NAME         an object on its way to PREFIX/NAME
    PREFIX/dataset.json         last, so that its presence means complete

A killed upload goes on: an object that is there with its size and SHA-256 is not sent again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import INDEX, INDEX_COPY, DatasetInfo, check_stamp, read_info
from dcgan_data.formats.shards import FileStamp, stamp_file
from dcgan_data.formats.staging import REPORT, REPORT_FILES
from dcgan_data.reporter import Reporter
from dcgan_data.sources.location import Url
from dcgan_data.sources.remote import explained, file_system

_TEMPORARY = ".upload"
_PLAN = f"{_TEMPORARY}/plan.json"
_BESIDES = (INDEX_COPY, *(f"{REPORT}/{name}" for name in REPORT_FILES))
"""Files of a set that its index does not list."""
_SHA256 = "sha256"
"""The name under which an object's hash is kept beside it, in its metadata."""


def local_copy(url: Url) -> Path:
    """Where a set for this prefix is made before it is uploaded: here, by the last part of the prefix.

    BadRequest if sets cannot be uploaded there.
    """
    if url.protocol != "s3":
        raise BadRequest(
            f"--out {url}: sets are uploaded to s3:// only; make it in a local directory and copy it"
        )
    if "/" not in url.place:
        raise BadRequest(f"--out {url}: a whole bucket; name a prefix in it, such as {url}/set")
    if {".", ".."} & set(url.place.split("/")):  # a set would be made above the current directory
        raise BadRequest(f"--out {url}: '.' and '..' mean nothing in a bucket; name a prefix without them")
    return Path(url.name)


def check_destination(url: Url, out: Path, overwrite: bool) -> None:
    """BadRequest if a set could not be uploaded there: better now than after hours of work."""
    here = read_info(out) if (out / INDEX).exists() else None
    with explained(url):
        _check(url, _look(url), here.content_sha256 if here else None, overwrite)


def upload_set(out: Path, url: Url, overwrite: bool, reporter: Reporter) -> None:
    """Upload a set, or finish uploading it, or find it there. BadRequest if something else is there.

    overwrite: replace another set of this program's. The set in ``out`` stays.
    """
    info = read_info(out)
    files = _files(out, info)
    with explained(url):
        there = _look(url)
        if there.is_complete(info.content_sha256):
            reporter.say(f"{url}: already there; nothing to upload")
            return
        _check(url, there, info.content_sha256, overwrite)
        for name in sorted((files.keys() & there.sizes.keys()) - there.own):
            raise BadRequest(
                f"{url}/{name}: is not of the set that is there; move it away, or choose another --out"
            )
        bucket = _Bucket(url, file_system(url))
        replaced = sorted(there.own & there.sizes.keys())
        plan = {
            "content_sha256": info.content_sha256,
            "files": {name: asdict(stamp) for name, stamp in files.items()},
            "replaces": replaced,
        }
        bucket.write(_PLAN, json.dumps(plan, indent=2, sort_keys=True).encode())
        bucket.remove(INDEX)  # from now on it is not complete
        with reporter.stage("upload", len(files), "files") as stage:
            for name, stamp in files.items():
                if name in info.files:
                    check_stamp(out, name, info)
                bucket.send(out, name, stamp, there.sizes)
                stage.advance(1)
        for name, stamp in files.items():
            bucket.move(name, stamp)
        for name in (*there.left_of_others(files), _PLAN):
            bucket.remove(name)
    size = sum(stamp.bytes for stamp in files.values())
    reporter.say(
        f"{url}: uploaded, {len(files)} objects, {size:,} bytes; the copy in {out} is not needed any more"
    )


def _files(out: Path, info: DatasetInfo) -> dict[str, FileStamp]:
    """All files of a set, the index last."""
    besides = [name for name in _BESIDES if (out / name).exists()]
    stamps = {**info.files, **{name: stamp_file(out / name) for name in besides}}
    return {**dict(sorted(stamps.items())), INDEX: stamp_file(out / INDEX)}


@dataclass(frozen=True)
class _There:
    """What is at the prefix."""

    sizes: Mapping[str, int]
    """Bytes of each object, by its name below the prefix."""
    index: Mapping[str, Any]
    """The index of a set that is there; empty if there is none."""
    plan: Mapping[str, Any]
    """What an upload that was not finished left; empty if there was none."""

    @property
    def own(self) -> set[str]:
        """Names that this program has written, or may have."""
        names = {*self.plan.get("files", ()), *self.plan.get("replaces", ())}
        if self.index:
            names |= {INDEX, *self.index["files"], *_BESIDES}
        return names

    def left_of_others(self, files: Collection[str]) -> list[str]:
        """Objects of this program's sets that these files do not replace, also those on their way."""
        others = self.own - set(files)
        return sorted(others & self.sizes.keys()) + sorted(
            {f"{_TEMPORARY}/{name}" for name in others} & self.sizes.keys()
        )

    def is_complete(self, content_sha256: str) -> bool:
        """Whether it is this set, whole."""
        if self.plan or self.index.get("content_sha256") != content_sha256:
            return False
        return all(self.sizes.get(name) == stamp["bytes"] for name, stamp in self.index["files"].items())


def _look(url: Url) -> _There:
    system = file_system(url)
    prefix = f"{url.place}/"
    listed = system.find(url.place, detail=True)
    sizes = {
        path.removeprefix(prefix): int(details["size"])
        for path, details in listed.items()
        if not path.endswith("/")  # an empty object that a console made to show a folder
    }
    found = []
    for name, needed in ((INDEX, "schema_version"), (_PLAN, "replaces")):
        value: Any = {}
        if name in sizes:
            try:
                value = json.loads(system.cat_file(prefix + name))
            except ValueError:
                value = {}
        own = isinstance(value, dict) and needed in value and isinstance(value.get("files"), dict)
        found.append(value if own else {})
    return _There(sizes, *found)


def _check(url: Url, there: _There, content_sha256: str | None, overwrite: bool) -> None:
    """BadRequest unless a set with this content may be uploaded; None: it is not yet known."""
    objects = sorted(name for name in there.sizes if not name.startswith(f"{_TEMPORARY}/"))
    if objects and not (there.index or there.plan):
        raise BadRequest(
            f"{url}: holds objects that are no prepared set ({', '.join(objects[:3])}"
            f"{', ...' if len(objects) > 3 else ''}); choose another --out"
        )
    if overwrite:
        return
    other = (there.plan or there.index).get("content_sha256", content_sha256) != content_sha256
    if there.plan and content_sha256 and other:
        raise BadRequest(
            f"{url}: holds an unfinished upload of another set; "
            "finish that one, choose another --out, or replace it with --overwrite"
        )
    if there.index and not there.plan and other:
        raise BadRequest(
            f"{url}: holds another complete set; choose another --out, or replace it with --overwrite"
        )


class _Bucket:
    """Objects below the prefix."""

    def __init__(self, url: Url, system: Any) -> None:
        self._url, self._system = url, system

    def write(self, name: str, data: bytes) -> None:
        """A small object as it is."""
        self._system.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        """One of ours, if it is there."""
        if self._facts(name) is not None:
            self._system.rm_file(self._path(name))

    def send(self, out: Path, name: str, stamp: FileStamp, sizes: Mapping[str, int]) -> None:
        """Write an object below the temporary prefix, unless it is there or in its place already."""
        for place in (name, f"{_TEMPORARY}/{name}"):
            if sizes.get(place) == stamp.bytes and self._facts(place) == stamp:
                return
        self._system.put_file(
            str(out / name), self._path(f"{_TEMPORARY}/{name}"), Metadata={_SHA256: stamp.sha256}
        )
        self._expect(f"{_TEMPORARY}/{name}", stamp)

    def move(self, name: str, stamp: FileStamp) -> None:
        """From the temporary prefix to its place: the store copies it, then the first is removed."""
        temporary = f"{_TEMPORARY}/{name}"
        if self._facts(temporary) is not None:
            metadata = {_SHA256: stamp.sha256}  # a copy in parts does not take it along
            self._system.cp_file(self._path(temporary), self._path(name), Metadata=metadata)
            self._expect(name, stamp)
            self._system.rm_file(self._path(temporary))
        else:
            self._expect(name, stamp)

    def _expect(self, name: str, stamp: FileStamp) -> None:
        if self._facts(name) != stamp:
            raise BadInput(
                f"{self._url}/{name}: is not there as it was sent; run the same command again to go on"
            )

    def _facts(self, name: str) -> FileStamp | None:
        """Size and recorded hash of an object; None if it is not there."""
        bucket, _, key = self._path(name).partition("/")
        try:
            head = self._system.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return FileStamp(head["ContentLength"], head.get("Metadata", {}).get(_SHA256, ""))

    def _path(self, name: str) -> str:
        return f"{self._url.place}/{name}"
