"""Prepare image sets for generative models, remove near-duplicates, train and examine a DCGAN.

Implements the system of Radford, Metz and Chintala (2016), arXiv 1511.06434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from dcgan_data.reading import KeptImages

__version__ = "0.1.0"
__all__ = ["__version__", "open_prepared"]


def open_prepared(path: str | os.PathLike[str]) -> KeptImages:
    """The kept images of the prepared set at ``path``, as arrays or as a torch Dataset (see ``KeptImages``).

    BadInput if it is no prepared set, or an unfinished or damaged one.
    """
    from pathlib import Path  # nothing is loaded for those who only want a command's help

    from dcgan_data.reading import KeptImages

    return KeptImages(Path(path))
