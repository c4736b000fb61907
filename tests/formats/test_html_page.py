"""Pages in one file: nothing that is put into them can become a tag or a script."""

from __future__ import annotations

import base64
import hashlib
import json

from dcgan_data.formats.html_page import data_address, fill_page, script_json, text

HOSTILE = "</script><script>alert('&')</script>"


def test_text_is_escaped() -> None:
    assert text('<b a="1">&') == "&lt;b a=&quot;1&quot;&gt;&amp;"
    assert text(3) == "3"


def test_json_cannot_end_its_element() -> None:
    written = script_json({"key": HOSTILE})
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"key": HOSTILE}


def test_the_policy_allows_the_pages_own_style_and_script() -> None:
    page = fill_page("$policy|$style|$script|$body", "a{}", "f()", {"body": "words"})
    policy, style, script, body = page.split("|")
    assert (style, script, body) == ("a{}", "f()", "words")
    for inline in (style, script):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_file_as_an_address() -> None:
    assert data_address("image/png", b"\x00\x01") == "data:image/png;base64,AAE="
