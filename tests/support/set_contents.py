"""What a prepared set is, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def contents(out: Path) -> dict[str, Any]:
    """Every file of a set by name, but for the lock; of the index everything but the timings."""
    found: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if not path.is_dir() and path.name != ".lock"
    }
    index = json.loads(found["dataset.json"])
    del index["timings"]
    return {**found, "dataset.json": index}
