"""All keys of an LMDB without touching its values, from the pages of keys alone.

The library's cursor looks at every record's value even when only keys are asked for: one disk page a record,
hours on a disk for LSUN. The keys lie in leaf pages of their own (70 to a page), found through branch pages.
The layout is LMDB's data version 1, 64-bit little-endian, unchanged since 2011 (mdb.c: MDB_meta, MDB_page,
MDB_node). Another version is left to the library.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF = 0x01, 0x02
_PAGE_HEADER = struct.Struct("<QHHHH")  # page number, padding, flags, lower, upper
_META = struct.Struct("<II16x")  # magic, version, address, map size
_TREE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, branch, leaf and overflow pages, entries, root
_TRANSACTION = struct.Struct("<8xQ")  # last page, transaction
_NODE = struct.Struct("<HHHH")  # low, high, flags, length of the key
_EMPTY = 2**64 - 1


class OtherLayoutError(Exception):
    """Not data version 1, or a database with options that change its pages: the library must read it."""


class DamagedError(Exception):
    """A page is not what it should be."""


@dataclass(frozen=True)
class _Tree:
    page_size: int
    pages: int
    entries: int
    root: int


def walk_keys(data_file: Path) -> Iterator[bytes]:
    """All keys of the unnamed database in ``data_file``, in order.

    Raises OtherLayoutError before the first key, DamagedError when a page makes no sense.
    """
    descriptor = os.open(data_file, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):  # the values between the pages are not wanted
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        tree = _newest_tree(os.pread(descriptor, 1 << 17, 0))
        found = 0
        for page in _leaves(descriptor, tree):
            keys = [page[start : start + length] for start, length in _nodes(page)]
            found += len(keys)
            yield from keys
        if found != tree.entries:
            raise DamagedError(f"{found} keys, its header says {tree.entries}")
    except struct.error as error:
        raise DamagedError(str(error)) from None
    finally:
        os.close(descriptor)


def _newest_tree(head: bytes) -> _Tree:
    """The main tree of the newer of the two meta pages; which one is newer, transactions decide."""
    page_size = _TREE.unpack_from(head, _PAGE_HEADER.size + _META.size)[0]
    newest, tree = -1, None
    for start in (0, page_size):
        magic, version = _META.unpack_from(head, start + _PAGE_HEADER.size)
        if (magic, version) != (_MAGIC, _VERSION):
            raise OtherLayoutError(f"magic {magic:x}, version {version}")
        main = start + _PAGE_HEADER.size + _META.size + _TREE.size  # the first tree lists free pages
        (transaction,) = _TRANSACTION.unpack_from(head, main + _TREE.size)
        if transaction > newest:
            newest = transaction
            _, flags, _, branches, leaves, _, entries, root = _TREE.unpack_from(head, main)
            if flags:
                raise OtherLayoutError(f"database flags {flags:x}")
            tree = _Tree(page_size, branches + leaves, entries, root)
    assert tree is not None
    return tree


def _leaves(descriptor: int, tree: _Tree) -> Iterator[bytes]:
    """Leaf pages from left to right."""
    pending = [] if tree.root == _EMPTY else [tree.root]
    for _ in range(tree.pages):  # a damaged branch page may point in a circle
        if not pending:
            return
        number = pending.pop()
        page = os.pread(descriptor, tree.page_size, number * tree.page_size)
        found, _, kind, _, _ = _PAGE_HEADER.unpack_from(page)
        if found != number or kind not in (_BRANCH, _LEAF):
            raise DamagedError(f"page {number} is not a page of keys")
        if kind == _LEAF:
            yield page
        else:
            pending.extend(reversed([_child(page, start) for start, _ in _nodes(page)]))
    if pending:
        raise DamagedError("more pages of keys than its header says")


def _nodes(page: bytes) -> list[tuple[int, int]]:
    """Start and length of the key of every node in a page."""
    lower = _PAGE_HEADER.unpack_from(page)[3]
    count = (lower - _PAGE_HEADER.size) // 2
    places = struct.unpack_from(f"<{count}H", page, _PAGE_HEADER.size)
    return [(place + _NODE.size, _NODE.unpack_from(page, place)[3]) for place in places]


def _child(page: bytes, key_start: int) -> int:
    """The page that a branch node points to: 48 bits, where a leaf node has its value's size and flags."""
    low, high, flags, _ = _NODE.unpack_from(page, key_start - _NODE.size)
    return int(low | high << 16 | flags << 32)
