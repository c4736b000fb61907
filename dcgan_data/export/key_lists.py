"""``keys``: which records to keep and which not, as text, to filter the original by.

``kept.txt`` has one key a line; ``removed.txt`` has a header line and columns between tabs, named as in the
manifest. A key's own tabs and line breaks are written as ``\\x09``, ``\\x0a``, and so on; its backslashes are
doubled, as everywhere in a prepared set.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.export.raw_keys import line_key
from dcgan_data.export.settings import ExportJob, Written
from dcgan_data.formats.manifest import KEPT

_REMOVED = ("key", "part", "status", "reason", "duplicate_of", "duplicate_of_part", "score")


def write_key_lists(job: ExportJob) -> Written:
    """Write the keys of records with at least one kept image, and every row that is not kept."""
    job.target.mkdir()
    table = job.prepared.manifest(list(_REMOVED))
    is_kept = pc.equal(table["status"], KEPT)
    keys = 0
    with (
        (job.target / "kept.txt").open("w", encoding="utf-8", newline="\n") as kept,
        (job.target / "removed.txt").open("w", encoding="utf-8", newline="\n") as removed,
    ):
        # The faces of a photo are neighbours.
        for key, _ in groupby(row["key"] for row in _rows(table.filter(is_kept).select(["key"]))):
            kept.write(f"{line_key(key)}\n")
            keys += 1
        removed.write("\t".join(_REMOVED) + "\n")
        removed.writelines(_line(row) for row in _rows(table.filter(pc.invert(is_kept))))
    return Written(keys)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _line(row: dict[str, Any]) -> str:
    row["score"] = None if row["score"] is None else f"{row['score']:.6g}"
    return "\t".join("" if row[name] is None else line_key(str(row[name])) for name in _REMOVED) + "\n"
