"""SVHN's cropped digits, ``train_32x32.mat`` and its like: 32x32 pictures in MATLAB's format (Netzer, 2011).

A file holds ``X``, uint8 (32, 32, 3, N), and ``y``, (N, 1). The labels stay as they are: 1 to 9, and 10 for
the digit 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.sources.array_file import ArrayFileSource, ArrayFormat, FileIdentity, OpenFile, Picture
from dcgan_data.sources.mat5 import Cursor, MatError, Variable, find_variables, read_numbers

_PICTURE = (32, 32, 3)
_PICTURE_BYTES = prod(_PICTURE)


def _count(opened: OpenFile) -> int:
    """The number of pictures: their header and the labels are read, not the pictures."""
    with _as_bad_input(opened):
        _, answers = _find(opened)
        return len(_whole_numbers(read_numbers(opened.file, answers)))


def _read(opened: OpenFile, start: int, count: int) -> Iterator[Picture]:
    with _as_bad_input(opened):
        pictures, answers = _find(opened)
        labels = _whole_numbers(read_numbers(opened.file, answers)[start : start + count])
        progress = _progress(opened.identity)
        cursor = progress.cursor_before(start * _PICTURE_BYTES, pictures)
        cursor.skip_to(opened.file, pictures.start + start * _PICTURE_BYTES)
        for label in labels:
            picture = np.frombuffer(cursor.read(opened.file, _PICTURE_BYTES), np.uint8)
            yield picture.reshape(_PICTURE, order="F"), label
        if start + count == _number(pictures):
            cursor.finish(opened.file)
        progress.cursor = cursor


class _Progress:
    """Where the last shard of a file ended in this process: what is packed is read on from there, not from
    the start, so that a worker unpacks a file once."""

    cursor: Cursor | None = None

    def cursor_before(self, offset: int, variable: Variable) -> Cursor:
        """A cursor of the caller's own, not past so many bytes of the variable's data."""
        if self.cursor is not None and self.cursor.position <= variable.start + offset:
            return self.cursor.copy()
        return Cursor(variable.place, variable.packed)


@lru_cache(maxsize=1)
def _progress(file: FileIdentity) -> _Progress:
    return _Progress()


def _find(opened: OpenFile) -> tuple[Variable, Variable]:
    """X and y; MatError if they are not SVHN's."""
    opened.file.seek(0)
    found = find_variables(opened.file)
    pictures, answers = found.get("X"), found.get("y")
    listed = ", ".join(
        f"{name!r:.30} ({' x '.join(map(str, variable.shape))}, {variable.kind})"
        for name, variable in list(found.items())[:8]
    )
    if pictures is None or answers is None or not _holds_pictures(pictures):
        raise MatError(f"holds {listed or 'no numbers'}, expected X (32 x 32 x 3 x N, uint8) and y (N x 1)")
    if prod(answers.shape) != _number(pictures):
        raise MatError(f"holds {_number(pictures):,} pictures, but {prod(answers.shape):,} labels")
    return pictures, answers


def _holds_pictures(variable: Variable) -> bool:
    described = (variable.kind, variable.sample, variable.shape[:3])
    return described == ("uint8", "|u1", _PICTURE) and _number(variable) > 0


def _number(pictures: Variable) -> int:
    return prod(pictures.shape[3:])  # of a single picture, MATLAB drops the last size


def _whole_numbers(labels: np.ndarray) -> list[int]:
    with np.errstate(invalid="ignore"):  # what is no number becomes another one, and is found by that
        numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise MatError("damaged (a label that is no whole number)")
    return [int(number) for number in numbers]


@contextmanager
def _as_bad_input(opened: OpenFile) -> Iterator[None]:
    try:
        yield
    except MatError as error:
        raise BadInput(f"{opened.identity.path}: {error}; expected an SVHN file: fetch it again") from None


class SvhnSource(ArrayFileSource):
    """The pictures of SVHN's files, in the order of the files' names."""

    kind = "svhn"
    format = ArrayFormat(6, _count, _read)
