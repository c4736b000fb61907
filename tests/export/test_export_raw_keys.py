"""Keys back to bytes, and into lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.export.raw_keys import line_key, raw_key
from dcgan_data.sources.base import text_key

_keys = st.binary() | st.lists(st.sampled_from([b"\\", b"x41", b"\xff", b"\t", b"\xc3\xa9", b"a"])).map(
    b"".join
)


@given(_keys)
def test_raw_key_undoes_text_key(raw: bytes) -> None:
    assert raw_key(text_key(raw)) == raw


@given(_keys)
def test_a_line_key_is_one_column_of_one_line(raw: bytes) -> None:
    line = line_key(text_key(raw))
    assert "\t" not in line and len(line.splitlines()) <= 1
    assert raw_key(line) == raw


def test_escapes() -> None:
    assert line_key("a\tb\nc\r\u2028") == "a\\x09b\\x0ac\\x0d\\xe2\\x80\\xa8"
    assert raw_key("caf\\xe9\\\\x41") == b"caf\xe9\\x41"
    assert raw_key("plain é") == "plain é".encode()


@pytest.mark.parametrize("text", ["a\\", "a\\b", "a\\xZZ", "\\\\\\"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="a single backslash, which no key has"):
        raw_key(text)
