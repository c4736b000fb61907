"""``bench dedup``, planted copies: real photos, changed copies of some, and what is found of them.

Real photos hold real copies, so a removal across families need not be wrong. Those between two photos that
were put together themselves are counted apart; ``sheets`` draws all of them, for a person to look at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcgan_data.bench.changes import KINDS, read_photo
from dcgan_data.bench.copies import PlantedSet, PlantSettings, plant
from dcgan_data.bench.ours import BenchSettings, deduplicate_source
from dcgan_data.bench.peers import hash_source, require_peers, score_peers
from dcgan_data.bench.scoring import MethodScore, cross_originals, found_in_stars, score
from dcgan_data.bench.sheet import PageLayout, PairPicture, write_pair_pages
from dcgan_data.formats.manifest import DUPLICATE, REJECTED
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.reporter import Reporter
from dcgan_data.sources import open_source

_MOST_DRAWN = 480
"""Pairs on pages: nobody looks at more."""


@dataclass(frozen=True)
class CrossPair:
    """One of our removals across families, for a person."""

    removed: str
    """Key in the source, and the kind of change if it is a copy."""
    kept: str
    """The same of the image in whose favour it was removed."""
    score: float | None
    """Similarity of the two; None where the rule has none."""
    originals_match: bool
    """Whether the two photos were put together as well."""


@dataclass(frozen=True)
class PlantedBench:
    """``bench dedup``, planted copies."""

    images: int
    """Photos and copies together."""
    photos: int
    """Photos of the source that were taken."""
    left_out: int
    """Records of the source that were not: not to be read, or too small."""
    image_size: int
    """Side at which our side compares, in pixels."""
    seed: int
    """Chose photos and strengths."""
    deduplication: dict[str, Any]
    """Our rule and its thresholds."""
    scores: dict[str, MethodScore]
    """By method: ``ours``, then the peers with their radii, such as ``phash_8``."""
    cross_originals: dict[str, int]
    """Distinct pairs of photos that each method put together: real copies, or mistakes."""
    cross: tuple[CrossPair, ...]
    """Our removals across families: first those whose photos were not put together."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``planted`` holds recall by method and kind, the rest is beside it."""
        return {
            "planted": {method: found.recall for method, found in self.scores.items()},
            "planted_wrong": {
                method: {
                    "wrong_removals": found.wrong_removals,
                    "cross_originals": self.cross_originals[method],
                    "wrong_pairs": found.wrong_pairs,
                }
                for method, found in self.scores.items()
            },
            "planted_set": {
                "images": self.images,
                "photos": self.photos,
                "left_out": self.left_out,
                "copies": self.scores["ours"].planted,
                "rejected": self.scores["ours"].rejected,
                "kinds": {kind.name: kind.says for kind in KINDS},
                "image_size": self.image_size,
                "seed": self.seed,
                "rule": self.deduplication.get("rule"),
                "threshold": self.deduplication.get("threshold"),
            },
            "planted_cross": [asdict(pair) for pair in self.cross],
        }


def bench_planted(what: PlantSettings, settings: BenchSettings, reporter: Reporter) -> PlantedBench:
    """Plant copies, run our whole job on photos and copies together, and the peers on the same bytes.

    Raises BadRequest if the peers are asked for and not installed, or if there are too few photos; BadInput
    if there is no such source.
    """
    if settings.peers:
        require_peers()
    image_size = settings.recipe.image.size
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        with reporter.stage("plant", what.per_kind * len(KINDS), "copies") as stage:
            truth = plant(what, image_size, Path(work) / "lmdb", settings.workers, stage.advance)
        info = deduplicate_source(truth.path, Path(work) / "set", settings, reporter)
        scores, cross = _score_ours(truth, Path(work) / "set")
        if settings.peers:
            scores |= score_peers(truth, hash_source(truth.path, settings.workers, reporter))
        if settings.sheets:
            _draw_cross(truth, scores["ours"], cross, settings.sheets)
    return PlantedBench(
        images=len(truth.images),
        photos=len(truth.images) - len(truth.copies),
        left_out=truth.left_out,
        image_size=image_size,
        seed=what.seed,
        deduplication=info.deduplication,
        scores=scores,
        cross_originals={method: cross_originals(truth, found.cross) for method, found in scores.items()},
        cross=cross,
    )


def _score_ours(truth: PlantedSet, out: Path) -> tuple[dict[str, MethodScore], tuple[CrossPair, ...]]:
    """Our score from the manifest alone, and the removals across families with their similarity."""
    table = PreparedSet.open(out).manifest(["key", "status", "duplicate_of", "score"])
    rows = table.to_pylist()
    kept_by = {row["key"]: row["duplicate_of"] for row in rows if row["status"] == DUPLICATE}
    rejected = {row["key"] for row in rows if row["status"] == REJECTED}
    similarity = {row["key"]: row["score"] for row in rows}
    ours = score(truth, kept_by, found_in_stars(truth, kept_by), rejected)
    cross = tuple(
        CrossPair(
            truth.label(pair.removed), truth.label(pair.kept), similarity[pair.removed], pair.originals_match
        )
        for pair in ours.cross
    )
    return {"ours": ours}, cross


def _draw_cross(truth: PlantedSet, ours: MethodScore, cross: Iterable[CrossPair], directory: Path) -> None:
    """Removed and kept image side by side, numbered as in ``planted_cross``."""
    both = list(zip(ours.cross, cross, strict=True))[:_MOST_DRAWN]
    wanted = {key for removal, _ in both for key in (removal.removed, removal.kept)}
    photos = {
        record.key: read_photo(record.data)
        for shard in open_source(truth.path, 1024).shards()
        for record in shard
        if record.key in wanted
    }
    pictures = []
    for removal, pair in both:
        close = "" if pair.score is None else f"{pair.score:.3f}  "
        verdict = "photos put together" if pair.originals_match else "wrong, unless a real copy"
        caption = (close + verdict, f"removed {pair.removed}", f"kept {pair.kept}")
        pictures.append(PairPicture(photos[removal.removed], photos[removal.kept], caption))
    write_pair_pages(pictures, directory, "planted", PageLayout())
