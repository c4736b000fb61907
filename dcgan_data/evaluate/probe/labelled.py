"""Labelled images in memory, read through the package's own sources and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.stored import BadImage
from dcgan_data.reporter import Reporter
from dcgan_data.sources import Record, open_source

_AT_ONCE = 1000
_MOST_LISTED = 10
_CIFAR_BATCHES = 5
LAYOUTS = (
    "expected train*.parquet and test*.parquet, CIFAR-10's python version (data_batch_1 to 5, test_batch), "
    "or sub-directories train and test with a folder for each class"
)


@dataclass(frozen=True)
class Labelled:
    """Images, and what they are."""

    images: np.ndarray
    """uint8 (N, S, S, 3), RGB, in the order of their files."""
    labels: np.ndarray
    """int64 (N,): numbers of the classes."""
    classes: tuple[str, ...]
    """What the source calls each: sorted as numbers if all of them are, else as text."""

    def __len__(self) -> int:
        return len(self.images)

    def some(self, chosen: np.ndarray) -> Labelled:
        """The images at int64 (n,) ``chosen``, in that order."""
        return Labelled(self.images[chosen], self.labels[chosen], self.classes)


@dataclass(frozen=True)
class Splits:
    """Where the two parts of a set are."""

    train: tuple[Path, ...]
    """Files or directories of the training images."""
    test: tuple[Path, ...]
    """Of the test images."""


def find_splits(directory: Path) -> Splits:
    """The training and the test part of CIFAR-10, or of a set laid out like it.

    Looked for in this order: ``train*.parquet`` and ``test*.parquet`` (Hugging Face) in the directory or in
    one below it, CIFAR-10's batches there too, and what is called ``train`` and ``test`` in the directory.
    BadInput says which part is missing, or that there is none.
    """
    if not directory.is_dir():
        raise BadInput(f"{directory}: no such directory; {LAYOUTS}")
    try:
        places = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
    except OSError as error:
        raise BadInput(f"{directory}: cannot be read ({error.strerror}); make it readable") from None
    for place in places:
        if (splits := _splits_in(place, "train*.parquet", "test*.parquet")) is not None:
            return splits
    for place in places:
        if (splits := _splits_in(place, "data_batch_[1-5]", "test_batch")) is not None:
            if len(splits.train) < _CIFAR_BATCHES:
                names = ", ".join(path.name for path in splits.train)
                raise BadInput(f"{place}: has only {names} of {_CIFAR_BATCHES} batches; fetch it again")
            return splits
    if (splits := _splits_in(directory, "train", "test")) is not None:
        return splits
    raise BadInput(f"{directory}: holds no labelled images in a layout that is known; {LAYOUTS}")


def _splits_in(place: Path, train: str, test: str) -> Splits | None:
    """What two patterns find; None if neither finds anything, BadInput if only one does."""
    splits = Splits(tuple(sorted(place.glob(train))), tuple(sorted(place.glob(test))))
    if splits.train and not splits.test:
        raise BadInput(f"{place}: has {train}, but no {test}: the test images; put them there too")
    if splits.test and not splits.train:
        raise BadInput(f"{place}: has {test}, but no {train}: the training images; put them there too")
    return splits if splits.train else None


def read_labelled(
    paths: Sequence[Path], image_size: int, reporter: Reporter, classes: Sequence[str] = ()
) -> Labelled:
    """Read labelled images of ``image_size`` pixels, one or more files or directories after another.

    classes: labels in the order of their numbers; each must occur, and no other may. Without: all that occur.
    BadInput for whatever ``open_source`` does not read, an image that is damaged or of another size, one
    without a label, and a class that is missing or not expected. 60,000 small JPEG files take some 5 s.
    """
    sources = [open_source(path, _AT_ONCE) for path in paths]
    count = sum(map(len, sources))
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    labels: list[str] = []
    with reporter.stage("read", count, "images") as stage:
        for path, source in zip(paths, sources, strict=True):
            for shard in source.shards():
                for record in shard:
                    images[len(labels)] = _pixels(path, record, image_size)
                    labels.append(_label(path, record))
                stage.advance(len(shard))
    ordered = tuple(classes) or _sorted(set(labels))
    _check_classes(paths, set(labels), set(ordered))
    numbers = {label: number for number, label in enumerate(ordered)}
    return Labelled(images, np.array([numbers[label] for label in labels], np.int64), ordered)


def _pixels(path: Path, record: Record, size: int) -> np.ndarray:
    """The picture as it is: one of another size would have to be resized, which changes what is measured."""
    try:
        if record.error:
            raise BadImage(record.error)
        image = decode_square(record.data, DecodeSettings(size))
        pixels, found = image.pixels, (image.width, image.height)
    except BadImage as error:
        if error.width is None or error.height is None or min(error.width, error.height) >= size:
            raise BadInput(
                f"{path}: image {record.key} cannot be read ({error.reason}); fetch the data again"
            ) from None
        found = (error.width, error.height)
    if found != (size, size):
        raise BadInput(
            f"{path}: image {record.key} has {found[0]} x {found[1]} pixels, those of the model have "
            f"{size} x {size}; probe a model of the data's size, or give data of the model's"
        )
    return pixels


def _label(path: Path, record: Record) -> str:
    if record.label is None:
        raise BadInput(f"{path}: image {record.key} has no label; {LAYOUTS}")
    return record.label


def _sorted(labels: set[str]) -> tuple[str, ...]:
    numbers = all(label.isdecimal() for label in labels)
    return tuple(sorted(labels, key=int) if numbers else sorted(labels))


def _check_classes(paths: Sequence[Path], found: set[str], expected: set[str]) -> None:
    place = paths[0] if len(paths) == 1 else paths[0].parent
    if missing := _sorted(expected - found):
        raise BadInput(f"{place}: has no image of class {_listed(missing)}; put some there")
    if strange := _sorted(found - expected):
        raise BadInput(
            f"{place}: has images of class {_listed(strange)}, expected only {_listed(_sorted(expected))}; "
            "take them away, or add the class to the other images"
        )
    if len(expected) < 2:
        raise BadInput(f"{place}: all images are of one class, {_listed(_sorted(expected))}; two are needed")


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MOST_LISTED} more" if len(labels) > _MOST_LISTED else ""
    return ", ".join(labels[:_MOST_LISTED]) + more
