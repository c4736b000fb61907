"""Keys as bytes and as lines: the inverse of ``text_key``, and the form in which keys stand in text files."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(?:(\\)|x([0-9a-f]{2}))?")
_BREAKS_A_LINE = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


def raw_key(text: str) -> bytes:
    """The bytes that ``text_key`` or ``line_key`` made ``text`` of. ValueError if it is of neither."""
    return _ESCAPE.sub(_unescaped, text.encode())


def line_key(text: str) -> str:
    r"""A key that holds a tab or a line break with these as ``\x09``, ``\x0a``, ...: one line, one column.

    Text keys have every backslash doubled, so that this is unambiguous and ``raw_key`` undoes it.
    """
    return _BREAKS_A_LINE.sub(_escaped, text)


def _unescaped(match: re.Match[bytes]) -> bytes:
    backslash, code = match.groups()
    if backslash is None and code is None:
        raise ValueError(f"{match.string!r}: a single backslash, which no key has")
    return backslash or bytes.fromhex(code.decode())


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode())
