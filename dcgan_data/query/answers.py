"""What is asked, and what is answered: plain values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.errors import BadRequest
from dcgan_data.lookup import MOST_CHECKED

COPY, NO_COPY, UNREADABLE = "copy", "no copy", "unreadable"


@dataclass(frozen=True)
class QuerySettings:
    """How to ask."""

    top: int = 5
    """Matches listed for a photo, at most."""
    sheet: Path | None = None
    """PNG file for a contact sheet, a line a photo; None: no sheet."""

    def __post_init__(self) -> None:
        if not 1 <= self.top <= MOST_CHECKED:
            raise BadRequest(f"--top {self.top}: expected 1 to {MOST_CHECKED}")
        if self.sheet and self.sheet.suffix.lower() != ".png":
            raise BadRequest(f"--sheet {self.sheet}: written as PNG; give a name that ends in .png")
        if self.sheet and not os.access(self.sheet.parent, os.W_OK):  # before the work, not after
            raise BadRequest(f"--sheet {self.sheet}: its directory is missing or cannot be written to")


@dataclass(frozen=True)
class Match:
    """An image of the set beside a photo."""

    key: str
    """Of its source record."""
    part: int
    """Number of the face; 0 for a whole picture."""
    status: str
    """``kept`` or ``duplicate``."""
    duplicate_of: str | None
    """Key of the image that a removed one is a copy of ..."""
    duplicate_of_part: int | None
    """... and its part."""
    score: float
    """How well the two show the same details, 0 to 1; 1 is also the score of equal pixels."""
    view: str
    """How the photo is seen when it is laid over the image, such as "mirror zoom 0.94x0.95"."""
    distance: int
    """Bits that the codes differ in, of 128."""


@dataclass(frozen=True)
class Answer:
    """What was found for one photo, or for one face in it."""

    photo: str
    """Its path."""
    part: int
    """Number of the face in it; 0 for a whole picture."""
    verdict: str
    """``copy`` if the best match scores at least the threshold, ``no copy``, or ``unreadable``."""
    reason: str
    """Why it cannot be decoded as the set's records were; else empty."""
    flat: bool
    """It has too little contrast for a code: only images with equal pixels count."""
    matches: tuple[Match, ...]
    """Best first; none if no code is within the recipe's radius. Those below the threshold are no copies."""


@dataclass(frozen=True)
class QueryResult:
    """The answers, and what was asked."""

    out: str
    """The set's directory."""
    images: int
    """Images that were searched: all decoded ones, kept and removed."""
    threshold: float
    """Lowest score of copies, from the set's recipe."""
    answers: tuple[Answer, ...]
    """One a photo, or one a face, in the order asked."""

    @property
    def all_unreadable(self) -> bool:
        """Whether not one photo could be looked up."""
        return all(answer.verdict == UNREADABLE for answer in self.answers)
