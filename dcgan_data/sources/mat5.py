"""MATLAB's file format 5, as far as arrays of numbers go: what is in a file, and its data by range.

scipy reads such files too, but takes a whole variable into memory (1.6 GB of SVHN's extra pictures, for every
worker), and a single damaged byte can end the process, where this says what is wrong.

The layout is MathWorks' "MAT-File Level 5": a header of 128 bytes, then elements, each a tag (its type and
its number of bytes) and that many bytes. A variable is an element made of elements: flags, sizes, name, data.
It may be packed by zlib as a whole, and then can only be read from its start.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from typing import Literal

import numpy as np

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = {6: "double", 7: "single"}
_CLASSES |= {8 + n: f"{'u' * (n % 2)}int{8 << n // 2}" for n in range(8)}
"""MATLAB's classes of numbers; others (text, structures) are passed over."""
_SAMPLES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of elements as numpy types. Whole numbers of any class may be stored in a smaller type."""
_COMPLEX = 0x08
_LONGEST_NAME = 256
_MOST_SIZES = 32
_PADDING = 8
_PACKED_AT_A_TIME = 1 << 14

ByteOrder = Literal["little", "big"]


class MatError(Exception):
    """Not such a file, or a damaged one. The message says which."""


@dataclass(frozen=True)
class Variable:
    """One array of numbers, and where its data are."""

    kind: str
    """MATLAB's class."""
    shape: tuple[int, ...]
    """MATLAB's sizes: the first index runs fastest."""
    sample: str
    """How numbers are stored, as a numpy type."""
    place: tuple[int, int]
    """Where its element begins in the file, after the tag, and its number of bytes."""
    packed: bool
    """Whether these are packed."""
    start: int
    """Where the data begin in the unpacked element."""


class Cursor:
    """A place in the unpacked bytes of an element, from which they are read onwards."""

    def __init__(self, place: tuple[int, int], packed: bool) -> None:
        self.position = 0
        self._next, length = place
        self._end = self._next + length
        self._unpacker = zlib.decompressobj() if packed else None
        self._left = b""

    def copy(self) -> Cursor:
        """Another one, here."""
        twin = copy(self)
        twin._unpacker = self._unpacker.copy() if self._unpacker else None
        return twin

    def read(self, file: BufferedReader, count: int) -> bytes:
        """The next ``count`` bytes; MatError if there are not so many."""
        parts = []
        while count:
            parts.append(self._some(file, count))
            if not parts[-1]:
                raise MatError("damaged (its data end too early)")
            count -= len(parts[-1])
        return b"".join(parts)

    def skip_to(self, file: BufferedReader, position: int) -> None:
        """Go on to a later position."""
        if self._unpacker is None:
            self._next += position - self.position
            self.position = position
        while self.position < position:
            self.read(file, min(position - self.position, 1 << 20))

    def finish(self, file: BufferedReader) -> None:
        """At the end of the data, check what was packed against its checksum, which comes after it."""
        past = self.position
        while self._unpacker is not None and not self._unpacker.eof:
            if not self._some(file, _PADDING) and not self._unpacker.eof:
                raise MatError("damaged (its data end too early)")
            if self.position - past > _PADDING:
                raise MatError("damaged (its data go on where they should end)")

    def _some(self, file: BufferedReader, most: int) -> bytes:
        """Some of the next bytes; none at the end."""
        if self._unpacker is None:
            some = self._stored(file, most)
        else:
            some = self._unpack(self._unpacker, file, most)
        self.position += len(some)
        return some

    def _unpack(self, unpacker: zlib._Decompress, file: BufferedReader, most: int) -> bytes:
        packed = self._left
        try:
            while not (some := unpacker.decompress(packed, most)) and not unpacker.eof:
                packed = unpacker.unconsumed_tail or self._stored(file, _PACKED_AT_A_TIME)
                if not packed:
                    break
        except zlib.error as error:
            raise MatError(f"damaged ({error})") from None
        self._left = unpacker.unconsumed_tail
        return some

    def _stored(self, file: BufferedReader, most: int) -> bytes:
        file.seek(self._next)
        stored = file.read(min(most, self._end - self._next))
        self._next += len(stored)
        return stored


def find_variables(file: BufferedReader) -> dict[str, Variable]:
    """The arrays of numbers in a file, by name; MatError unless it is of format 5, and whole."""
    order = _byte_order(file.read(_HEADER_BYTES))
    found: dict[str, Variable] = {}
    for kind, place in _elements(file, order):
        if kind not in (_MATRIX, _COMPRESSED):
            raise MatError(f"damaged (an element of type {kind})")
        if named := _describe(file, place, kind == _COMPRESSED, order):
            name, variable = named
            if name in found:
                raise MatError(f"damaged (two variables {name!r})")
            found[name] = variable
    return found


def read_numbers(file: BufferedReader, variable: Variable) -> np.ndarray:
    """All numbers of a variable, in MATLAB's order: (N,), as they are stored."""
    cursor = Cursor(variable.place, variable.packed)
    cursor.skip_to(file, variable.start)
    sample = np.dtype(variable.sample)
    numbers = np.frombuffer(cursor.read(file, prod(variable.shape) * sample.itemsize), sample)
    cursor.finish(file)
    return numbers


def _byte_order(header: bytes) -> ByteOrder:
    order: ByteOrder = "big" if header[126:] == b"MI" else "little"
    if header[126:] not in (b"MI", b"IM"):
        raise MatError("not a MATLAB file of format 5")
    version = int.from_bytes(header[124:126], order) >> 8
    if version != 1:
        other = "7.3 (HDF5)" if version == 2 else f"of version {version}"
        raise MatError(f"a MATLAB file {other}, which is not read: save it with -v7")
    return order


def _elements(file: BufferedReader, order: ByteOrder) -> Iterator[tuple[int, tuple[int, int]]]:
    """Type and place of every element; MatError if the last one ends elsewhere than the file."""
    size = file.seek(0, 2)
    end = _HEADER_BYTES
    while end < size:
        file.seek(end)
        tag = file.read(8)
        kind, length = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
        start, end = end + 8, end + 8 + length
        if end > size:
            raise MatError(f"cut short, {size:,} of {end:,} bytes or more")
        yield kind, (start, length)


def _describe(
    file: BufferedReader, place: tuple[int, int], packed: bool, order: ByteOrder
) -> tuple[str, Variable] | None:
    """Name and description of a variable; None if it is no array of numbers."""
    cursor = Cursor(place, packed)
    if packed:
        cursor.read(file, 8)  # its own tag
    flags = int.from_bytes(_read_part(file, cursor, order, 8)[:4], order)
    kind = _CLASSES.get(flags & 0xFF)
    if kind is None:
        return None
    sizes = _read_part(file, cursor, order, 4 * _MOST_SIZES)
    shape = tuple(int.from_bytes(sizes[at : at + 4], order, signed=True) for at in range(0, len(sizes), 4))
    name = _read_part(file, cursor, order, _LONGEST_NAME).decode("latin-1")
    stored, length, small = _read_tag(file, cursor, order)
    sample = np.dtype(_SAMPLES.get(stored, "V1")).newbyteorder(order)
    if sample.kind == "V" or min(shape, default=-1) < 0 or prod(shape) * sample.itemsize != length:
        raise MatError(f"damaged (variable {name!r}: {length:,} bytes of type {stored} for {shape})")
    kind = f"complex {kind}" if flags >> 8 & _COMPLEX else kind
    return name, Variable(kind, shape, sample.str, place, packed, cursor.position - len(small))


def _read_tag(file: BufferedReader, cursor: Cursor, order: ByteOrder) -> tuple[int, int, bytes]:
    """Type and length of the next part. Up to four bytes of data may lie in the tag: they come third."""
    tag = cursor.read(file, 8)
    word = int.from_bytes(tag[:4], order)
    if word >> 16:
        return word & 0xFFFF, word >> 16, tag[4:]
    return word, int.from_bytes(tag[4:], order), b""


def _read_part(file: BufferedReader, cursor: Cursor, order: ByteOrder, longest: int) -> bytes:
    """The data of the next part."""
    _, length, small = _read_tag(file, cursor, order)
    if length > (len(small) or longest):
        raise MatError(f"damaged (a part of {length:,} bytes)")
    if small:
        return small[:length]
    data = cursor.read(file, length)
    cursor.read(file, -length % _PADDING)
    return data
