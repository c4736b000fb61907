"""Read an object by range in few requests: large blocks, the next one fetched while one is worked on.

A request takes some 50 ms, in which a connection carries some megabytes. So what lies near is read along.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, cast

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.location import Url
from dcgan_data.sources.remote import explained

BLOCK_BYTES = 8 << 20
"""Of a request, at most."""
_NEAR_BYTES = 1 << 20
"""A gap that is read along: to leave it out costs a request more."""
_PEEK_BYTES = 1 << 16
"""Where nothing near was wanted before: a header, the end of a file."""
_BLOCKS_HELD = 4
"""In memory. Labels and pictures may be read from two places in turn, each with its next block."""

Block = tuple[int, int]
"""Where it begins, and where the next one would."""


class RemoteReader:
    """An open object. Not for several threads at once."""

    def __init__(self, url: Url, file: Any, size: int) -> None:
        """file: fsspec's, without a cache of its own."""
        self.size = size
        self.stream: BinaryIO = cast(BinaryIO, RemoteStream(self))
        self._url, self._file = url, file
        self._fetcher = ThreadPoolExecutor(1)  # one: the file has one position
        self._held: OrderedDict[Block, Future[bytes]] = OrderedDict()
        self._planned: list[Block] = []
        self._end_of_last, self._run = -_NEAR_BYTES, 0

    def expect(self, extents: np.ndarray) -> None:
        """Say what will be read: int64 (N, 2), offset and length. What is near comes in one block."""
        self._planned = plan_blocks(extents, self.size)

    def read_at(self, offset: int, count: int) -> bytes:
        """So many bytes, fewer at the end of the object. BadInput if they cannot be had."""
        end = min(offset + count, self.size)
        parts = []
        while offset < end:
            block = self._block_at(offset, end - offset)
            part = self._bytes_of(block)[offset - block[0] : end - block[0]]
            if not part:
                raise BadInput(f"{self._url}: cut short at byte {offset:,}; run the same command again")
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of it; what is on its way is waited for."""
        self._fetcher.shutdown(cancel_futures=True)
        self._held.clear()
        with explained(self._url):
            self._file.close()

    def _block_at(self, offset: int, count: int) -> Block:
        """The block that a byte is in: one that is there, one that was planned, or a new one."""
        for block in reversed(self._held):
            if block[0] <= offset < block[1]:
                return block
        number = bisect_right(self._planned, (offset, self.size + 1)) - 1
        if number >= 0 and offset < self._planned[number][1]:
            return self._planned[number]
        return self._new_block(offset, count)

    def _new_block(self, offset: int, count: int) -> Block:
        """A large one if it follows what was read last, else no more than what is asked for."""
        near = 0 <= offset - self._end_of_last < _NEAR_BYTES
        self._run = self._run + 1 if near else 0
        start = offset
        if self.size - offset <= _PEEK_BYTES:  # the end of a file is read backwards
            start = max(0, self.size - _PEEK_BYTES)
        end = min(self.size, offset + (BLOCK_BYTES if near else max(_PEEK_BYTES, min(count, BLOCK_BYTES))))
        self._end_of_last = end
        return start, end

    def _bytes_of(self, block: Block) -> bytes:
        data = self._ask_for(block)
        if following := self._next(block):
            self._ask_for(following)
        return data.result()

    def _next(self, block: Block) -> Block | None:
        """The block to fetch ahead: the next one of the plan, or of a run that is read from end to end."""
        number = bisect_right(self._planned, block)
        if number and self._planned[number - 1] == block:
            return self._planned[number] if number < len(self._planned) else None
        if self._run > 1 and block[1] == self._end_of_last < self.size:
            self._end_of_last = min(self.size, block[1] + BLOCK_BYTES)
            return block[1], self._end_of_last
        return None

    def _ask_for(self, block: Block) -> Future[bytes]:
        """What is there or on its way; what was not asked for the longest makes room."""
        data = self._held.pop(block, None) or self._fetcher.submit(self._fetch, block)
        self._held[block] = data
        while len(self._held) > _BLOCKS_HELD:
            self._held.popitem(last=False)[1].cancel()
        return data

    def _fetch(self, block: Block) -> bytes:
        with explained(self._url):
            self._file.seek(block[0])
            data: bytes = self._file.read(block[1] - block[0])
        return data


def plan_blocks(extents: np.ndarray, size: int) -> list[Block]:
    """What is read for int64 (N, 2), offset and length, of an object of this size: ascending, none twice."""
    runs: list[list[int]] = []
    for offset, count in extents[np.argsort(extents[:, 0], kind="stable")].tolist():
        if count <= 0 or offset >= size:
            continue
        end = min(offset + count, size)
        if runs and offset - runs[-1][1] < _NEAR_BYTES:
            runs[-1][1] = max(runs[-1][1], end)
        else:
            runs.append([offset, end])
    return [(at, min(at + BLOCK_BYTES, end)) for start, end in runs for at in range(start, end, BLOCK_BYTES)]


class RemoteStream(io.BufferedIOBase):
    """A reader with a position, for libraries that read from files."""

    def __init__(self, reader: RemoteReader) -> None:
        self._reader, self._position = reader, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to another; nothing is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._reader.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes from the position on; all if it is negative."""
        wanted = self._reader.size if size is None or size < 0 else size
        data = self._reader.read_at(self._position, wanted)
        self._position += len(data)
        return data
