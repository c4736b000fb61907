"""Locations: a path stays a path, a URL keeps its slashes, and what may be a secret is never shown."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.sources.location import Url, copy_command, parse_location, parse_url, relative_path


@pytest.mark.parametrize("text", ["a/b", "/a b/c.tar", "s3:/b/k", "C:x", "."])
def test_paths(text: str) -> None:
    assert parse_location(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://b/k//x.tar", "s3://b/k//x.tar"),
        ("S3://b/k", "s3://b/k"),
        ("s3://b/a?.tar", "s3://b/a?.tar"),
        ("gs://b/{00..09}.tar", "gs://b/{00..09}.tar"),
        ("https://h:8/x.tar", "https://h:8/x.tar"),
        ("https://me:pass@h/x.tar", "https://h/x.tar"),
        ("https://h/x.tar?token", "https://h/x.tar?..."),
        ("s3://b/x.tar?X-Amz-Signature=f", "s3://b/x.tar?..."),
        ("s3://key:pass@b/x.tar", "s3://b/x.tar"),
    ],
)
def test_urls(text: str, shown: str) -> None:
    url = parse_location(text)
    assert isinstance(url, Url)
    assert str(url) == shown
    assert "pass" not in repr(url) and "Signature" not in repr(url) and "token" not in repr(url)
    assert url.address.partition("://")[2] == text.partition("://")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ftp://h/x",
            "ftp://h/x: ftp:// is not supported; expected s3://, gs://, https://, http://, or a path",
        ),
        ("s3://", "s3://: names no bucket"),
        ("https:///x", "https:///x: names no host"),
        ("hdfs://me:pass@h/x", "hdfs://h/x: hdfs:// is not supported; expected"),
    ],
)
def test_what_is_no_location(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_location(text)
    assert str(caught.value).startswith(message)


def test_parts() -> None:
    url = parse_url("https://h/a%20b/c%20d.tar?sig=f")
    assert (url.name, str(url.parent), url.path) == (
        "c d.tar",
        "https://h/a%20b",
        PurePosixPath("h/a b/c d.tar"),
    )
    assert relative_path(url, parse_url("https://h")) == PurePosixPath("a b/c d.tar")
    assert str(parse_url("s3://b/a/").parent) == "s3://b"


@pytest.mark.parametrize(
    ("text", "directory", "command"),
    [
        ("s3://b/a b", True, "aws s3 sync 's3://b/a b' 'a b'"),
        ("s3://b/x.zip", False, "aws s3 cp s3://b/x.zip ."),
        ("gs://b/d", True, "gcloud storage rsync -r gs://b/d d"),
        ("https://h/x.zip", False, "curl -O https://h/x.zip"),
    ],
)
def test_how_to_copy(text: str, directory: bool, command: str) -> None:
    assert copy_command(parse_url(text), directory) == command
