"""Reads pickles that hold byte arrays, lists, numbers and text, without unpickling them.

A pickle is a program: unpickling one from the web may run anything. Here its opcodes are only parsed
(``pickletools``), and a small machine runs those few of them that the CIFAR files are made of (protocol 2, as
Python 2 and 3 write it). The functions that such a file names are known by name, never imported and never
called; anything else is refused.

Python 2's byte strings and Python 3's text both become str, one character a byte: files come from either.
"""

from __future__ import annotations

import pickletools
import warnings
from math import prod
from typing import Any

import numpy as np

_PROTOCOL = 2
_MOST_OPCODES = 5_000_000
"""CIFAR-100 has 500,000 as Python 3 writes it. So a small file can take neither much time nor memory."""

_MOST_DIMENSIONS = 4

_CONSTANTS = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"}
_STRINGS = {"SHORT_BINSTRING", "BINSTRING", "BINUNICODE"}
_FLAGS = {"NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_FUNCTIONS = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "class of arrays",
    "numpy dtype": "type",
    "_codecs encode": "bytes",
}
"""What such a file may name, and what comes of calling it here."""


class RefusedError(Exception):
    """Not such a pickle: damaged, or it holds more than arrays. The message says which."""


class _Function:
    """Stands for a function that the file names; the machine knows what comes of it."""

    def __init__(self, name: str) -> None:
        if name not in _FUNCTIONS:
            raise RefusedError(f"holds more than arrays, refused: it names {name.replace(' ', '.')!r:.100}")
        self.makes = _FUNCTIONS[name]


class _SampleType:
    """Stands for a numpy dtype."""

    def __init__(self, code: Any) -> None:
        self.code = code


class StoredArray:
    """A numpy array as the file describes it; ``bytes_array`` checks the description."""

    state: Any = None


def read_pickle(data: bytes) -> Any:
    """What ``data`` describes: dict, list, tuple, str, int, bool, None, and ``StoredArray``.

    Raises RefusedError if it is damaged or describes anything else.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in text that is refused just after
            for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
                if count >= _MOST_OPCODES:
                    raise RefusedError("holds more than arrays, refused: it has too many parts")
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.step(opcode.name, argument)
    except (ValueError, IndexError, TypeError) as error:
        raise RefusedError(f"damaged ({' '.join(str(error).split())[:120]})") from None
    raise RefusedError("damaged (no end)")


def bytes_array(stored: Any) -> np.ndarray:
    """The uint8 array that ``stored`` describes.

    Raises RefusedError unless it is a ``StoredArray`` of uint8 whose data fit its shape.
    """
    if not isinstance(stored, StoredArray):
        raise RefusedError(f"holds a {type(stored).__name__} in place of an array")
    match stored.state:
        case (int(), tuple(shape), _SampleType(code="u1"), bool(by_columns), str(text)):
            pass
        case (_, _, _SampleType(code=code), _, _):
            raise RefusedError(f"holds an array of type {code!r:.20}, expected 'u1' (bytes)")
        case _:
            raise RefusedError("damaged (an array that is not filled)")
    # Checked before it is put into a message: a tuple made by the file can be too deep to print.
    if not 1 <= len(shape) <= _MOST_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise RefusedError("damaged (an array without a usable shape)")
    if prod(shape) != len(text):
        raise RefusedError(f"damaged ({len(text):,} bytes for an array of shape {shape!r:.60})")
    try:
        data = np.frombuffer(text.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        raise RefusedError("damaged (an array whose data are no bytes)") from None
    return data.reshape(shape, order="F" if by_columns else "C")


class _Machine:
    """The stack and the memo of a pickle. Every step costs a bounded time and a bounded memory."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Run one opcode."""
        if name in _CONSTANTS or name in _STRINGS:
            self.stack.append(_FLAGS.get(name, argument))
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise IndexError("it refers to a part that is not there")
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(_Function(argument))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "PROTO":
            if argument != _PROTOCOL:
                raise RefusedError(f"refused: pickle protocol {argument}, expected {_PROTOCOL}")
        else:
            self._build(name)

    def _build(self, name: str) -> None:
        """The opcodes that make something of what is on the stack."""
        if name == "TUPLE":
            self.stack.append(tuple(self._pop_to_mark()))
        elif name == "APPEND":
            self._extend_list(self._pop(1))
        elif name == "APPENDS":
            self._extend_list(self._pop_to_mark())
        elif name == "SETITEM":
            self._fill_dict(self._pop(2))
        elif name == "SETITEMS":
            self._fill_dict(self._pop_to_mark())
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            self.stack.append(_call(function, arguments))
        elif name == "BUILD":
            target, state = self._pop(2)
            if isinstance(target, StoredArray):
                target.state = state
            elif not isinstance(target, _SampleType):  # of bytes: their order and the like say nothing
                raise TypeError("a state for what is neither an array nor a type")
            self.stack.append(target)
        else:
            raise RefusedError(f"holds more than arrays, refused: it uses the opcode {name}")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise IndexError("its stack runs out")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _extend_list(self, items: list[Any]) -> None:
        if not isinstance(target := self.stack[-1], list):
            raise TypeError("items for what is no list")
        target.extend(items)

    def _fill_dict(self, items: list[Any]) -> None:
        if not isinstance(target := self.stack[-1], dict):
            raise TypeError("entries for what is no dict")
        if not all(type(key) is str for key in items[::2]):  # the hash of a nested tuple can take for ever
            raise TypeError("a key that is no text")
        target.update(zip(items[::2], items[1::2], strict=True))


def _call(function: Any, arguments: Any) -> Any:
    """What comes of a call; the file's own description of the result follows in a state."""
    if not isinstance(function, _Function):
        raise TypeError("a call of what is no function")
    match function.makes, arguments:
        case "array", (_Function(makes="class of arrays"), _, _):
            return StoredArray()
        case "type", (str(code), *_):
            return _SampleType(code)
        case "bytes", (str(text), "latin1"):
            return text
    raise TypeError("a call with other arguments than an array's")
