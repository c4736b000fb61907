"""What opening a source had to work out (where an archive's members lie), kept to open it quickly again.

It lies in the prepared set, never beside the user's data, and can be lost without harm.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.formats.arrays import DAMAGE
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.dataset import SOURCE_INDEX


def read_source_index(out: Path) -> dict[str, np.ndarray] | None:
    """The arrays that were kept; None if there are none, or none that can be read."""
    try:
        # Opened here: numpy leaves a file open that turns out to be damaged.
        with (out / SOURCE_INDEX).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, zlib.error, NotImplementedError, RuntimeError, *DAMAGE):
        return None


def write_source_index(out: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep the arrays, atomically."""
    with atomic_path(out / SOURCE_INDEX) as temporary:
        with temporary.open("wb") as file:  # given a name, numpy would add its own suffix
            named: dict[str, Any] = dict(arrays)
            np.savez(file, **named)
