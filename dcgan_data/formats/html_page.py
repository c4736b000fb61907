"""Pages in one file: styles, scripts and pictures are in them, and they open from disk.

A page's own policy forbids the browser to load anything else or to run any script but its own, whatever
keys, paths and messages may contain.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any


def text(value: object) -> str:
    """Escaped for HTML: names, paths and messages come from files."""
    return html.escape(str(value), quote=True)


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element: no character of it can end the element or start a tag."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_address(kind: str, content: bytes) -> str:
    """A file as an address, to stand in a page; kind: ``image/png``, ``video/mp4``, ..."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def asset(package: str, name: str) -> str:
    """A text file that lies in a package."""
    return resources.files(package).joinpath(name).read_text("utf-8")


def fill_page(template: str, style: str, script: str, parts: Mapping[str, str]) -> str:
    """Put $style, $script, the $policy that allows these two alone, and ``parts`` into a template."""
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src {_hash_of(style)}; "
        f"script-src {_hash_of(script)}; base-uri 'none'; form-action 'none'"
    )
    return Template(template).substitute(parts, policy=policy, style=style, script=script)


def _hash_of(inline: str) -> str:
    """As a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
