"""Is a sample a copy? Each one's nearest training images, in pixels and in code space.

A distance says little by itself. Beside those of the samples stand the distances of training images to one
another (the yardstick) and of real images that training never saw (the control). A share of near samples
that is no larger than the control's speaks against copying. A larger one in pixels alone does not speak for
it: an image without contrast or detail is near to every other one, so that a generator that has learnt
nothing but the mean colour would pass for a copyist. Codes see images brought to the same contrast, and
blurred ones fall below the median there, but hardly below the lower quantiles; whether one training image is
far nearer than all others depends on neither. Last of all, the sheet is there to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.closeness import Space
from dcgan_data.evaluate.examined import Examined, open_examined
from dcgan_data.evaluate.finding import Found, choose_queries, find_in_codes, find_in_pixels
from dcgan_data.evaluate.sheet import Cell, write_sheet
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.lock import locked
from dcgan_data.formats.manifest import shown_name
from dcgan_data.reporter import Reporter

_MOST_ROWS = 200
"""Of a sheet: what viewers still open."""
_ORDINALS = ("nearest", "2nd", "3rd", "4th", "5th")


@dataclass(frozen=True)
class NeighboursSettings:
    """How to look."""

    samples: int = 1000
    """Images to draw."""
    rows: int = 16
    """Samples on the sheet: the closest in pixels, the closest in codes, and some as they were drawn."""
    nearest: int = 3
    """Training images shown beside each, in pixels and in codes."""
    controls: int = 2000
    """Training images, and held-out images, whose nearest training images are looked for; at most."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the samples and of the choice of controls."""
    device: str = "auto"
    """Where to draw and to search: auto, cpu or cuda."""
    prepared: Path | None = None
    """Where the run's set is now; None: where it was."""
    out: Path | None = None
    """Directory to write into; None: RUN/neighbours."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise BadRequest(f"-n {self.samples}: expected 1 or more samples")
        if not 1 <= self.rows <= _MOST_ROWS:
            raise BadRequest(f"--rows {self.rows}: expected 1 to {_MOST_ROWS}")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")
        if not 1 <= self.nearest <= len(_ORDINALS):
            raise BadRequest(f"nearest={self.nearest}: expected 1 to {len(_ORDINALS)}")
        if self.controls < 1:
            raise BadRequest(f"controls={self.controls}: expected 1 or more")


@dataclass(frozen=True)
class NeighboursResult:
    """What was found."""

    run: str
    """The run's directory."""
    step: int
    """Minibatches that the checkpoint was trained for."""
    prepared: str
    """The set's directory."""
    training_images: int
    """Images that were searched: all that the run was trained on."""
    with_duplicates: bool
    """Whether removed duplicates are among them. The yardstick then leaves out training images that have
    copies: their nearest others are those."""
    pixels: Space
    """Euclidean distances of pixels in [-1, 1]."""
    codes: Space | None
    """Differing bits of the set's own codes; None for a set that was only prepared."""
    picture: str
    """The sheet."""
    file: str
    """JSON of all this, and of each sample's nearest training images by key."""


def neighbours(run_dir: Path, settings: NeighboursSettings, reporter: Reporter) -> NeighboursResult:
    """Find the training images nearest to samples of a run, and write a sheet and a JSON of them.

    They go to ``run_dir/neighbours/step-NNNNNN.png`` and ``.json``; those of an earlier look at the same
    checkpoint are replaced. Raises BadInput and BadRequest as ``open_examined`` does, and BadRequest if the
    set is too small. Memory: the samples and controls twice, and some 300 MB.
    """
    run = open_examined(run_dir, settings.checkpoint, settings.device, settings.prepared)
    k = max(settings.nearest, 2)
    if len(run.split.train) <= k:
        raise BadRequest(
            f"{run.prepared.path}: {len(run.split.train)} training images are too few to compare"
        )
    queries = choose_queries(run, settings.samples, settings.controls, settings.seed, reporter)
    pixels, codes = find_in_pixels(run, queries, k, reporter), find_in_codes(run, queries, k)
    stem = (settings.out or run_dir / "neighbours") / f"step-{run.step:06d}"
    result = NeighboursResult(
        run=str(run_dir),
        step=run.step,
        prepared=str(run.prepared.path),
        training_images=len(run.split.train),
        with_duplicates=run.with_duplicates,
        pixels=pixels.space,
        codes=codes.space if codes else None,
        picture=f"{stem}.png",
        file=f"{stem}.json",
    )
    found = {"pixels": pixels, "codes": codes} if codes else {"pixels": pixels}
    listed = _listed(run, found, settings.nearest)
    with locked(stem.parent, "--out" if settings.out else "RUN"):
        _write_sheet(run, result, queries.samples, found, listed, settings.rows)
        write_json(Path(result.file), {**asdict(result), "neighbours": listed})
    return result


def _listed(run: Examined, found: Mapping[str, Found], k: int) -> list[dict[str, Any]]:
    """For each sample, by space, its k nearest training images: key, part and distance."""
    names = run.prepared.manifest(["key", "part"]).take(pa.array(run.split.train_rows))
    listed: list[dict[str, Any]] = [{"sample": n} for n in range(len(found["pixels"].positions))]
    for space, look in found.items():
        for sample, positions, distances in zip(listed, look.positions, look.distances, strict=True):
            images = names.take(pa.array(positions[:k])).to_pylist()
            pairs = zip(images, distances[:k].tolist(), strict=True)
            sample[space] = [{**image, "distance": distance} for image, distance in pairs]
    return listed


def _write_sheet(
    run: Examined,
    result: NeighboursResult,
    samples: np.ndarray,
    found: Mapping[str, Found],
    listed: list[dict[str, Any]],
    rows: int,
) -> None:
    cells = []
    for sample, why in _picked(found, rows).items():
        line = [Cell(samples[sample], why, f"sample {sample}")]
        for space, look in found.items():
            entries = listed[sample][space]
            images = run.split.train.gather(look.positions[sample, : len(entries)])
            line += [_neighbour(image, entry) for image, entry in zip(images, entries, strict=True)]
        cells.append(line)
    columns = [f"{space}: {_ORDINALS[n]}" for space in found for n in range(len(listed[0][space]))]
    title = (
        f"{result.run}, step {result.step:,}",
        f"{len(samples):,} samples beside the nearest of {result.training_images:,} training images",
    )
    write_sheet(Path(result.picture), title, ["sample", *columns], cells)


def _picked(found: Mapping[str, Found], rows: int) -> dict[int, str]:
    """Samples for the sheet, and why: as many as are closest in each space as come in the order drawn.

    The closest in pixels are often just the plainest.
    """
    picked = dict[int, str]()
    for space, look in found.items():
        closest_first = np.argsort(look.distances[:, 0], kind="stable").tolist()
        others = [sample for sample in closest_first if sample not in picked]
        picked |= dict.fromkeys(others[: rows // (1 + len(found))], f"closest in {space}")
    others = [sample for sample in range(len(closest_first)) if sample not in picked]
    return picked | dict.fromkeys(others[: rows - len(picked)], "as drawn")


def _neighbour(image: np.ndarray, entry: dict[str, Any]) -> Cell:
    distance = entry["distance"]
    said = f"{distance} bits" if isinstance(distance, int) else f"{distance:.2f}"
    return Cell(image, said, shown_name(entry["key"], entry["part"]))
