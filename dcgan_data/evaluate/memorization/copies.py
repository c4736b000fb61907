"""Are samples copies of training images by the very check that removed the set's duplicates?

It sees a picture through mirrored, shifted, zoomed and stretched views, and compares details, not brightness
or contrast (README, Duplicates). Held-out images are no fair control for that: they are among the kept ones,
so the check has already removed all of them that resemble another. A perfect generator would repeat what is
in the world as often as the world does: the yardstick is the share of the set's images that were removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dcgan_data.evaluate.examined import Examined
from dcgan_data.evaluate.sheet import Cell
from dcgan_data.formats.manifest import shown_name
from dcgan_data.lookup import HIT, Lookup, look_up, open_lookup
from dcgan_data.reporter import Reporter

_PAIRS_A_ROW = 4


@dataclass(frozen=True)
class Checked:
    """How some images did."""

    images: int
    """How many were looked up."""
    flat: int
    """Of these, with too little contrast to be compared."""
    copies: int
    """Of these, copies of a training image."""
    best_score: float
    """The highest of all; 0 if no training image came near."""


@dataclass(frozen=True)
class Copies:
    """Samples held against real images."""

    threshold: float
    """From this score on an image is a copy: the set's own."""
    samples: Checked
    """Generated images."""
    held_out: Checked | None
    """Kept images that training never saw; None if there are none."""
    removed_share: float
    """Share of all images of the set that the check removed as copies of kept ones."""


@dataclass(frozen=True)
class Looked:
    """What was found for some images."""

    images: np.ndarray
    """uint8 (N, S, S, 3): what was looked up."""
    best: np.ndarray
    """HIT (N,): of each, its best match; row -1 and score 0 if there is none."""
    flat: np.ndarray
    """bool (N,): too little contrast for a code."""

    def checked(self, threshold: float) -> Checked:
        """In numbers."""
        scores = self.best["score"]
        return Checked(
            images=len(scores),
            flat=int(self.flat.sum()),
            copies=int((scores >= np.float32(threshold)).sum()),
            best_score=float(scores.max(initial=0)),
        )


def open_training_images(run: Examined) -> Lookup:
    """The training images, ready to be searched; BadRequest if their set was only prepared."""
    return open_lookup(run.prepared, run.split.train, run.split.train_rows)


def look_all_up(lookup: Lookup, images: np.ndarray, reporter: Reporter) -> Looked:
    """Find the best match of each of uint8 (N, S, S, 3) images."""
    best, flat = np.zeros(len(images), HIT), np.zeros(len(images), bool)
    best["row"] = -1
    with reporter.stage("copies", len(images), "images") as stage:
        for number, pixels in enumerate(images):
            hits, flat[number] = look_up(lookup, pixels)
            if len(hits):
                best[number] = hits[0]
            stage.advance(1)
    return Looked(images, best, flat)


def copies_rows(run: Examined, looked: Looked, rows: int) -> list[list[Cell]]:
    """For a sheet: the best-scoring samples, each beside its training image, four pairs a row."""
    order = np.argsort(-looked.best["score"], kind="stable")[: rows * _PAIRS_A_ROW]
    order = order[looked.best["row"][order] >= 0]
    names = run.prepared.manifest(["key", "part"])
    cells = list[Cell]()
    for sample, hit in zip(order, looked.best[order], strict=True):
        row = names.take(pa.array([int(run.split.train_rows[hit["row"]])])).to_pylist()[0]
        (shown,) = run.split.train.gather(np.array([hit["row"]]))
        cells.append(
            Cell(looked.images[sample], f"sample {sample}", "mirrored" if hit["view"]["mirror"] else "")
        )
        cells.append(Cell(shown, f"score {hit['score']:.2f}", shown_name(row["key"], row["part"])))
    width = 2 * _PAIRS_A_ROW
    return [cells[start : start + width] for start in range(0, len(cells), width)]
