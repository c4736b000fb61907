"""LSUN's layout: an LMDB whose values are encoded images, keys in byte order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.base import Record, file_prefixes, text_key
from dcgan_data.sources.lmdb_keys import DamagedError, OtherLayoutError, walk_keys


class LsunSource:
    """One LMDB, or several under one directory (their records follow one another in path order).

    One pass over the keys at opening, values untouched (``lmdb_keys``): LSUN's 3,033,042 take seconds, not
    hours. Only every ``records_per_shard``-th key is kept.
    """

    kind = "lsun"

    def __init__(self, root: Path, records_per_shard: int, limit: int = 0) -> None:
        root = root.resolve()  # shards travel to workers, whose current directory may be another
        self.path = str(root)
        self.passed_over: dict[str, int] = {}
        self.index: dict[str, np.ndarray] = {}
        databases = find_databases(root)
        digest = hashlib.sha256()
        self._shards: list[LsunShard] = []
        left = limit or None
        for database, prefix in zip(databases, file_prefixes(databases, root), strict=True):
            digest.update(b"%d\0" % (database / "data.mdb").stat().st_size)
            for first_key, count in _key_blocks(database, records_per_shard, left, digest):
                self._shards.append(LsunShard(str(database), prefix, first_key, count))
                left = None if left is None else left - count
        self.fingerprint = digest.hexdigest()
        self._count = sum(len(shard) for shard in self._shards)

    def __len__(self) -> int:
        return self._count

    def shards(self) -> Sequence[LsunShard]:
        """Shards never span two databases, so that each is one sequential walk."""
        return self._shards


@dataclass(frozen=True)
class LsunShard:
    """A key range of one LMDB. The environment is opened where the shard is read, never across a fork."""

    database: str
    """Directory that holds ``data.mdb``."""
    prefix: str
    """Put before every key when a source has several databases."""
    first_key: bytes
    """Where the walk begins."""
    count: int
    """Number of records."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Record]:
        with _open_environment(Path(self.database)) as environment, environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(self.first_key)
            for key, value in islice(cursor.iternext(), self.count):
                yield Record(self.prefix + text_key(key), value)


def find_databases(root: Path) -> list[Path]:
    """``root`` if it holds ``data.mdb``, else its sub-directories that do, sorted by path bytes."""
    if (root / "data.mdb").is_file():
        return [root]
    found = (path.parent for path in root.glob("*/data.mdb") if path.is_file())
    return sorted(found, key=lambda path: str(path).encode("utf-8", "surrogateescape"))


@contextmanager
def _open_environment(database: Path) -> Iterator[lmdb.Environment]:
    """Open read-only and without a lock file: nothing is ever written beside the user's data."""
    try:
        environment = lmdb.open(str(database), readonly=True, lock=False, max_readers=1)
    except lmdb.Error as error:
        raise BadInput(
            f"{database}/data.mdb: not a readable LMDB ({error}); fetch or copy it again"
        ) from None
    try:
        _check_length(database, environment)
        yield environment
    except lmdb.Error as error:
        raise BadInput(f"{database}/data.mdb: damaged ({error}); fetch or copy it again") from None
    finally:
        environment.close()


def _check_length(database: Path, environment: lmdb.Environment) -> None:
    """A file that was cut short must not be walked: touching a page that is not there kills the process."""
    present = (database / "data.mdb").stat().st_size
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if present < needed:
        raise BadInput(
            f"{database}/data.mdb: cut short, {present:,} of {needed:,} bytes; fetch or copy it again"
        )


def _key_blocks(
    database: Path, block: int, limit: int | None, digest: hashlib._Hash
) -> Iterator[tuple[bytes, int]]:
    """First key and length of every run of ``block`` keys; all keys go into ``digest``."""
    keys = islice(_keys(database), limit)
    while block_keys := list(islice(keys, block)):
        digest.update(b"\0".join(block_keys) + b"\0")
        yield block_keys[0], len(block_keys)


def _keys(database: Path) -> Iterator[bytes]:
    """All keys, in order, values untouched if the file's layout is the known one."""
    with _open_environment(database):
        pass  # the library's own checks, and the file's length
    try:
        yield from walk_keys(database / "data.mdb")
    except DamagedError as error:
        raise BadInput(f"{database}/data.mdb: damaged ({error}); fetch or copy it again") from None
    except OtherLayoutError:
        with _open_environment(database) as environment, environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=True, values=False)
