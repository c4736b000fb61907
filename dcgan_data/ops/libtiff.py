"""What libtiff says of a file it reads: on the process's standard error, and nowhere else.

It goes on after damage (a line of a fax that makes no sense, a strip that ends too soon), so that half a
picture would count as a whole one. And a terminal is no place for what a million files make it say.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_MOST_BYTES = 1 << 16
_DAMAGE = re.compile(r"^(\w+(?:Decode|Strip|Tile)[0-9]*: .+|JPEGLib: .+)", re.MULTILINE)
"""Lines about image data; the others are about tags, which are not needed."""


class DamagedTiffError(Exception):
    """The image data are damaged; says how, in libtiff's words."""


@contextmanager
def strict_libtiff() -> Iterator[None]:
    """Read a TIFF within: raises DamagedTiffError at the end if libtiff has complained of its image data.

    The process's standard error goes elsewhere meanwhile: nothing else may write to it.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        kept = os.dup(_STDERR)
        try:
            os.dup2(said.fileno(), _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
        said.seek(0)
        if found := _DAMAGE.search(said.read(_MOST_BYTES).decode("utf-8", "replace")):
            raise DamagedTiffError(found[1])
