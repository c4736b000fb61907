"""Labels as other programs want them: integers, class numbers, names of directories."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
"""One text for each number, so that no two labels become one: not ``007``. Less than 2**63."""

_LONGEST_DIRECTORY_NAME = 100
"""Bytes; file systems allow 255."""
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(
    r"$|\.|__|(?:con|prn|aux|nul|(?:com|lpt)[0-9])(?:\.|$)|metadata\.jsonl$|[0-9]{8,}\.png$", re.IGNORECASE
)
"""Names that begin like this mean something else, here or on Windows, or are passed over (``__MACOSX``)."""
_SPLIT = re.compile(
    r"(?:^|[-._ 0-9])(?:train|training|val|valid|validation|dev|test|testing|eval|evaluation)(?:$|[-._ 0-9])"
)
"""Directories that Hugging Face's ``datasets`` takes for parts of a set: it then passes over all others."""


def distinct_labels(labels: pa.ChunkedArray) -> list[str]:
    """The different labels, sorted; rows without any do not count."""
    return sorted(pc.unique(labels).drop_null().to_pylist())


def are_integers(labels: pa.ChunkedArray) -> bool:
    """Whether there are labels, and all of them are integers."""
    found = distinct_labels(labels)
    return bool(found) and all(_INTEGER.fullmatch(label) for label in found)


def class_numbers(labels: Iterable[str]) -> dict[str, int]:
    """A number from 0 for each label: itself if all are integers from 0, else its place in sorted order."""
    found = sorted(set(labels))
    if all(_INTEGER.fullmatch(label) and not label.startswith("-") for label in found):
        return {label: int(label) for label in found}
    return {label: number for number, label in enumerate(found)}


def directory_names(labels: Iterable[str]) -> dict[str, str]:
    """A directory's name for each label: the label itself where it can be.

    Names hold no separators, are not reserved, not empty and not long, and no two are the same, also where
    upper and lower case, or composed and decomposed letters, are.
    """
    found = sorted(set(labels))
    # Those that stay as they are come first: what must change makes way for them.
    found.sort(key=lambda label: _safe_name(label) != label)
    names: dict[str, str] = {}
    taken = set[str]()
    for label in found:
        name = safe = _safe_name(label)
        while _folded(name) in taken:
            name = f"{safe}-{hashlib.sha256(f'{label}/{name}'.encode()).hexdigest()[:12]}"
        taken.add(_folded(name))
        names[label] = name
    return names


def split_names(names: Iterable[str]) -> list[str]:
    """Those names of directories that ``datasets`` would take for splits."""
    return sorted(name for name in names if _SPLIT.search(name))


def _safe_name(label: str) -> str:
    name = "".join(c if c.isprintable() else "_" for c in _NOT_IN_NAMES.sub("_", label))
    if _RESERVED.match(name):
        name = f"label_{name}"
    short = name.encode()[:_LONGEST_DIRECTORY_NAME].decode("utf-8", "ignore")
    return re.sub(r"[. ]+$", lambda end: "_" * len(end[0]), short)  # Windows drops them


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
