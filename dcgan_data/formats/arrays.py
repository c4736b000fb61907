"""Numpy's files, whoever wrote them: never a pickle, and no memory before the file is as long as it says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from tokenize import TokenError

import numpy as np

DAMAGE = (ValueError, EOFError, OverflowError, SyntaxError, TokenError, zipfile.BadZipFile)
"""What numpy raises for files that are damaged: it reads the header as Python."""


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array in a ``.npy`` file, in memory or as a read-only map.

    ValueError if it is damaged, OSError if it cannot be read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if not isinstance(array, np.ndarray):
        raise ValueError("several arrays, not one")
    return array if mapped else np.array(array)
