"""A set that photos are looked up in, and how its records became images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.cutting import Cut, cut_settings, cutter
from dcgan_data.errors import BadRequest
from dcgan_data.formats.manifest import REJECTED
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.lookup import Lookup, open_lookup
from dcgan_data.recipe import recipe_from_dict


@dataclass(frozen=True)
class Searched:
    """An opened set, ready to be asked."""

    cut: Callable[[bytes], Cut]
    """How its records became images."""
    lookup: Lookup
    """All decoded images, kept and removed."""
    manifest_rows: np.ndarray
    """int64 (N,): where they are in ``table``."""
    table: pa.Table
    """Columns of the manifest, rejected rows included."""


def open_searched(out: Path) -> Searched:
    """Read the codes and open the images; BadInput, BadRequest (see ``query``)."""
    prepared = PreparedSet.open(out)
    if not any(prepared.info.shard_rows):
        raise BadRequest(f"{out}: holds no images to look photos up in")
    table = prepared.manifest(["key", "part", "status", "duplicate_of", "duplicate_of_part"])
    rows = np.flatnonzero(pc.not_equal(table["status"], REJECTED).to_numpy())
    lookup = open_lookup(prepared, prepared.rows(include_duplicates=True), rows)
    cut = cutter(cut_settings(recipe_from_dict(prepared.info.recipe)))
    return Searched(cut, lookup, rows, table)
