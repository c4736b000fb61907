"""The files that a pattern names: ``shards/{00000..00099}.tar``, ``{a,b}.zip``, ``part-*.parquet``."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from dcgan_data.errors import BadInput

_MOST_NAMES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})(?:\.\.(\d{1,18}))?")
_WILD = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"[*?\[{]")


def is_pattern(text: str) -> bool:
    """Whether it has wildcards or braces."""
    return bool(_SPECIAL.search(text))


def is_wild(text: str) -> bool:
    """Whether it has wildcards."""
    return bool(_WILD.search(text))


def pattern_start(pattern: str) -> str:
    """What comes before the first wildcard or brace."""
    return pattern[: special.start()] if (special := _SPECIAL.search(pattern)) else pattern


def pattern_root(pattern: str) -> Path:
    """The directory that all files of a pattern lie below."""
    return Path(os.path.abspath(os.path.dirname(pattern_start(pattern))))


def expand_pattern(pattern: str) -> list[Path]:
    """The absolute paths of all files that a pattern names, each once, sorted by their bytes.

    Raises BadInput for a file that is named by braces and is not there, and for wildcards that match nothing.
    """
    names = expand_braces(pattern)
    found: set[str] = set()
    for name in names:
        if os.path.lexists(name):
            found.add(name)
        elif not _WILD.search(name):
            raise BadInput(
                f"{name}: no such file, one of {len(names):,} that {pattern} names; "
                "fetch it, or name only those that are there"
            )
        elif matches := glob.glob(name, recursive=True):
            found.update(matches)
        else:
            raise BadInput(f"{name}: matches no file; expected one or more")
    return sorted({Path(os.path.abspath(name)) for name in found}, key=os.fsencode)


def expand_braces(pattern: str) -> list[str]:
    """As a shell does: alternatives with commas, and ranges of numbers, zero-padded if a bound is."""
    done: list[str] = []
    pending = [pattern]
    while pending:
        text = pending.pop()
        for braces in _BRACES.finditer(text):
            if choices := _choices(braces[1], pattern):
                before, after = text[: braces.start()], text[braces.end() :]
                pending.extend(before + choice + after for choice in reversed(choices))
                break
        else:
            done.append(text)
        if len(done) + len(pending) > _MOST_NAMES:
            raise BadInput(f"{pattern}: names more than {_MOST_NAMES:,} files; name fewer")
    return done


def _choices(inside: str, pattern: str) -> list[str]:
    """What braces stand for; nothing if they are plain characters of a name."""
    if "," in inside:
        return inside.split(",")
    bounds = _RANGE.fullmatch(inside)
    if not bounds:
        return []
    first, last, step = int(bounds[1]), int(bounds[2]), int(bounds[3] or 1) or 1
    if abs(last - first) // step >= _MOST_NAMES:
        raise BadInput(f"{pattern}: names more than {_MOST_NAMES:,} files; name fewer")
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    padded = any(len(bound) > 1 and bound[0] == "0" for bound in (bounds[1], bounds[2]))
    width = max(len(bounds[1]), len(bounds[2])) if padded else 0
    return [f"{number:0{width}d}" for number in numbers]
