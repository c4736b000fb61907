"""The stages of a de-duplication in their order; each finished one is found again after a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc

from dcgan_data.deduplicate.deciding import decide, decide_against, find_exact
from dcgan_data.deduplicate.encoding import encode_all, read_codes
from dcgan_data.deduplicate.fitting import adopt_autoencoder, fit
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.pairs import Pairs
from dcgan_data.deduplicate.saved import has_pairs, load_pairs, save_pairs
from dcgan_data.deduplicate.searching import Search, find_copies, find_pairs
from dcgan_data.formats.assemble import Decisions
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.formats.manifest import KEPT, binary_codes
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import Staging
from dcgan_data.hashing import recipe_views
from dcgan_data.recipe import Recipe
from dcgan_data.reporter import Reporter

_MOST_IDLE_BITS = 32
"""More idle bits than this, and the codes are too poor to remove anything by ..."""
_FEWEST_TO_JUDGE = 100
"""... unless there are so few images that bits agree by chance."""
_MOST_FALSE = 0.01
"""Share of the removals that may be expected to be wrong without a warning ..."""
_FEWEST_FALSE = 0.5
"""... unless it is probably not one."""


@dataclass
class Run:
    """A de-duplication in progress."""

    images: ImageSet
    """What is de-duplicated."""
    recipe: Recipe
    """How."""
    workers: int
    """Processes."""
    device: str
    """Where the autoencoder is fitted and the codes are made: auto, cpu or cuda."""
    reporter: Reporter
    """Who is told."""
    timings: dict[str, float]
    """Seconds by stage; filled in."""
    against: PreparedSet | None = None
    """Another set, whose copies are looked for instead of copies within this one."""
    memory: int = 0
    """Bytes that all processes on this machine may use together in the search; 0: no limit."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start


def deduplicate(run: Run) -> Decisions:
    """Fit, encode, search, decide."""
    staging = run.images.staging
    if not has_pairs(staging):
        if run.against:
            adopt_autoencoder(run.against.path / AUTOENCODER, staging.out / AUTOENCODER)
        else:
            _fit(run)
        _encode(run)
        save_pairs(staging, _search(run), read_codes(run.images)["code"])
    pairs, codes = load_pairs(staging, sum(run.against.info.shard_rows) if run.against else 0)
    with run.timed("decide"), run.reporter.stage("decide", len(codes), "images") as stage:
        if run.against:
            decisions = _decide_against(run, run.against, pairs, codes)
        else:
            decisions = decide(run.images, pairs, codes, run.recipe.dedup)
        stage.advance(len(codes))
    _warn(decisions, run.reporter)
    return decisions


def _fit(run: Run) -> None:
    autoencoder = run.recipe.autoencoder
    with run.timed("fit"), run.reporter.stage("fit", autoencoder.max_updates, "updates") as stage:
        fit(
            run.images,
            autoencoder,
            run.recipe.seed,
            run.device,
            lambda updates, loss: stage.advance(updates, f"held-out loss {loss:.4f}"),
        )


def _encode(run: Run) -> None:
    from dcgan_data.device import resolve_device  # torch: only where codes are made

    views = recipe_views(run.recipe.dedup, outward=run.against is not None)
    device = resolve_device(run.device).type
    with run.timed("encode"), run.reporter.stage("encode", len(run.images), "images") as stage:
        for done in encode_all(run.images, run.recipe.dedup, run.workers, views, device):
            stage.advance(done)


def _search(run: Run) -> Pairs:
    recipe = run.recipe.dedup
    with run.timed("search"):
        if recipe.rule == "exact":
            return find_exact(run.images)
        views = recipe_views(recipe, outward=run.against is not None)
        with run.reporter.stage("search", len(run.images), "images") as stage:
            for done in _find(run, views):
                if isinstance(done, Pairs):
                    return done
                if isinstance(done, str):
                    run.reporter.say(done)
                else:
                    stage.advance(done)
    raise AssertionError("the search ends with its pairs")


def _find(run: Run, views: np.ndarray) -> Iterator[int | str | Pairs]:
    search = Search(run.images, views, run.recipe.dedup, run.recipe.seed, memory=run.memory)
    if not run.against:
        return find_pairs(search, run.workers)
    table = run.against.manifest(["status", "row", "code"])
    table = table.filter(table["row"].is_valid())
    kept = np.flatnonzero(pc.equal(table["status"], KEPT).to_numpy())
    codes = binary_codes(table["code"])[kept]
    return find_copies(replace(search, other=_as_images(run.against)), kept, codes, run.workers)


def _as_images(prepared: PreparedSet) -> ImageSet:
    return ImageSet(Staging(prepared.path), prepared.info.shard_rows, prepared.info.image_size)


def _decide_against(run: Run, against: PreparedSet, pairs: Pairs, codes: np.ndarray) -> Decisions:
    table = against.manifest(["key", "part", "row"])
    names = table.filter(table["row"].is_valid()).select(["key", "part"])
    decisions = decide_against(pairs, codes, run.recipe.dedup, names)
    decisions.findings["against"] = {
        "path": str(against.path.resolve()),
        "content_sha256": against.info.content_sha256,
        "kept": against.info.counts.kept,
    }
    return decisions


def _warn(decisions: Decisions, reporter: Reporter) -> None:
    findings = decisions.findings
    idle = findings["code_health"]["idle_bits"]
    if idle > _MOST_IDLE_BITS and len(decisions.codes) >= _FEWEST_TO_JUDGE:
        reporter.say(
            f"warning: {idle} of 128 code bits are the same for every image, so that unlike images collide; "
            "look at the groups in the report, and try other [autoencoder] settings or more images"
        )
    share = findings.get("expected_false_share", 0.0)
    if share > _MOST_FALSE and findings["expected_false_pairs"] >= _FEWEST_FALSE:
        reporter.say(
            f"warning: {share:.1%} of the removals may be wrong (estimated from the set's unrelated images); "
            "look at the lowest scores in the report, and try a higher --threshold"
        )
