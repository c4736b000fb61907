"""Writes encoded images into an LMDB in LSUN's layout, as a source for what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

_MAP_BYTES = 1 << 40
"""Address space only, as LSUN's own scripts reserve it: the file is as large as its records."""
_RECORDS_IN_A_TRANSACTION = 1024


@contextmanager
def new_lmdb(directory: Path, in_order: bool = False) -> Iterator[Callable[[str, bytes], None]]:
    """Make an LMDB in a new directory; yields ``put(key, encoded image)``.

    Keys come in any order; with ``in_order`` ascending: pages are filled and written one after another.
    """
    directory.mkdir(parents=True)
    with lmdb.open(str(directory), map_size=_MAP_BYTES, lock=False, sync=False) as environment:
        waiting: list[tuple[bytes, bytes]] = []

        def flush() -> None:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(waiting, append=in_order)
            waiting.clear()

        def put(key: str, data: bytes) -> None:
            waiting.append((key.encode(), data))
            if len(waiting) >= _RECORDS_IN_A_TRANSACTION:
                flush()

        yield put
        flush()
