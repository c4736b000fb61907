"""SVHN's labelled images, and the authors' validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.probe.labelled import Labelled, read_labelled
from dcgan_data.evaluate.probe.strata import draw_of_each
from dcgan_data.reporter import Reporter

SVHN_SIZE = 32
"""Side of the images in pixels."""
PER_DIGIT = 100
"""Labels of each digit that a classifier is trained on: 1,000 in all."""
OFFICIAL_TRAIN, OFFICIAL_TEST = 73_257, 26_032
"""Images in the two files."""
_TRAIN, _TEST = "train_32x32.mat", "test_32x32.mat"
_ORIGIN = "http://ufldl.stanford.edu/housenumbers/"
_DIGITS = ("10", *map(str, range(1, 10)))
"""The files' labels of the digits 0 to 9."""
_AUTHORS_SEED = 42


@dataclass(frozen=True)
class SvhnData:
    """The parts of SVHN that the protocol names; labels are the digits themselves."""

    train: Labelled
    """What labels are drawn from, in the shuffled order of the authors' script."""
    validation: Labelled
    """What C and hyper-parameters are chosen by."""
    test: Labelled
    """The official test images."""


def check_files(directory: Path) -> None:
    """BadInput unless both files are there; quick, unlike reading them."""
    for name in (_TRAIN, _TEST):
        if not (directory / name).is_file():
            raise BadInput(
                f"{directory / name}: no such file; get {_TRAIN} and {_TEST} from {_ORIGIN} "
                "and give their directory as --data"
            )


def read_svhn(directory: Path, validation: int, reporter: Reporter) -> SvhnData:
    """Read both files, and take ``validation`` images of train for validation, as the authors do.

    Their script shuffles train, through scikit-learn, by numpy's RandomState(42), and takes the first 10,000;
    so does this, whatever the seed of the draws. BadInput if a file is missing or damaged, if it lacks a
    digit, or if fewer than 100 images of one are left for training; BadRequest if ``validation`` is too many.
    """
    check_files(directory)
    train = read_labelled([directory / _TRAIN], SVHN_SIZE, reporter, _DIGITS)
    if validation >= len(train):
        raise BadRequest(
            f"--validation {validation}: {directory / _TRAIN} has {len(train):,} images in all; "
            "give fewer, the paper's protocol has 10,000"
        )
    order = np.arange(len(train))
    np.random.RandomState(_AUTHORS_SEED).shuffle(order)
    left = train.some(order[validation:])
    _check_digits(directory / _TRAIN, left.labels, validation)
    test = read_labelled([directory / _TEST], SVHN_SIZE, reporter, _DIGITS)
    return SvhnData(left, train.some(order[:validation]), test)


def draw_labels(train: Labelled, rng: np.random.Generator) -> np.ndarray:
    """Positions of 100 images of each digit, int64 (1000,), without repetition."""
    return draw_of_each(train.labels, PER_DIGIT, rng)


def _check_digits(file: Path, labels: np.ndarray, validation: int) -> None:
    for digit, count in enumerate(np.bincount(labels, minlength=len(_DIGITS)).tolist()):
        if count < PER_DIGIT:
            raise BadInput(
                f"{file}: {count} images of the digit {digit} are left beside the {validation:,} for "
                f"validation, the protocol draws {PER_DIGIT}; use the whole file, or a smaller --validation"
            )
