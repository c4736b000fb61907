"""Where something is: a path on this machine's disks, or a URL. ``Path`` would make ``s3:/b`` of ``s3://b``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote

from dcgan_data.errors import BadRequest

PROTOCOLS = ("s3", "gs", "https", "http")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKETS = ("s3", "gs")


@dataclass(frozen=True)
class Url:
    """An address elsewhere. As text it is what was typed without what may be a secret; two that differ in
    that only are equal."""

    shown: str
    """Without a password, and without what follows a question mark (a signature, perhaps)."""
    address: str = field(repr=False, compare=False)
    """As typed, for the library that opens it."""

    def __str__(self) -> str:
        return self.shown

    @property
    def protocol(self) -> str:
        """One of PROTOCOLS."""
        return self.shown.partition("://")[0]

    @property
    def has_buckets(self) -> bool:
        """Whether it is of a store that can list what it holds."""
        return self.protocol in _BUCKETS

    @property
    def place(self) -> str:
        """Host or bucket, and what follows, as it stands in the address."""
        return self.shown.partition("://")[2].removesuffix("?...").rstrip("/")

    @property
    def path(self) -> PurePosixPath:
        """The same, as it would be called on a disk."""
        return PurePosixPath(self.place if self.has_buckets else unquote(self.place))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    @property
    def parent(self) -> Url:
        """What it lies in."""
        above, slash, last = self.place.rpartition("/")
        return parse_url(f"{self.protocol}://{above if slash else last}")

    def with_path(self, path: str) -> Url:
        """Another object of the same store; path: bucket and key."""
        return parse_url(f"{self.protocol}://{path}")


Location: TypeAlias = Path | Url
"""Where a source is, or one of its files."""


def parse_location(text: str) -> Location:
    """What a person typed. BadRequest for a protocol that is not known."""
    return parse_url(text) if _URL.match(text) else Path(text)


def parse_url(text: str) -> Url:
    """A URL. BadRequest for a protocol that is not known, or if there is nothing behind it."""
    found = _URL.match(text)
    assert found, text
    protocol, rest = found[1].lower(), found[2]
    place, question, query = rest.partition("?")
    if protocol in _BUCKETS and "=" not in query:  # a wildcard, or a part of a name
        place, question = rest, ""
    host, slash, path = place.partition("/")
    shown = f"{protocol}://{host.rpartition('@')[2]}{slash}{path}{question and '?...'}"
    if protocol not in PROTOCOLS:
        raise BadRequest(
            f"{shown}: {protocol}:// is not supported; expected {', '.join(f'{p}://' for p in PROTOCOLS)}, "
            "or a path on a local disk"
        )
    if not host.rpartition("@")[2]:
        raise BadRequest(f"{shown}: names no {'bucket' if protocol in _BUCKETS else 'host'}")
    return Url(shown, f"{protocol}://{rest}")


def relative_path(file: Location, root: Location) -> PurePath:
    """The path of a file below where it was found, both here or both elsewhere."""
    inner, outer = (place.path if isinstance(place, Url) else place for place in (file, root))
    return inner.relative_to(outer)


def copy_command(url: Url, directory: bool) -> str:
    """What copies an object, or all that is in a directory, to this machine."""
    place = shlex.quote(str(url))
    if not url.has_buckets:
        return f"curl -O {place}"
    target = shlex.quote(url.name) if directory else "."
    if url.protocol == "s3":
        return f"aws s3 {'sync' if directory else 'cp'} {place} {target}"
    return f"gcloud storage {'rsync -r' if directory else 'cp'} {place} {target}"
