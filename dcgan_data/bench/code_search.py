"""``bench dedup``, scale: how the search for near codes grows with their number.

Codes of real images (or, without a source, correlated random ones) under all views are multiplied: each
synthetic image takes one image's codes with a fifth of the bits flipped, in all views alike. A tenth are
planted copies of others with up to 8 bits flipped, and a hundredth is one crowd of equal codes, as flat
images make it. What is timed is the product's own index and search, in its worker processes.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.bench.memory import peak_mb
from dcgan_data.bench.ours import BenchSettings, deduplicate_source
from dcgan_data.deduplicate.index import build_index, open_index
from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.hashing import read_encoder, recipe_views
from dcgan_data.ops.codes import CODE_BITS, encode_views
from dcgan_data.ops.search import Bands, code_halves, find_candidates, nearest
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import DedupRecipe
from dcgan_data.reporter import Reporter

_CHUNK = 8192
_MOST_BASES = 4000
_UNRELATED, _COPY_BITS = 0.2, 8
_COPIES, _CROWD = 0.1, 0.01
_FACTORS = 24
"""Independent causes of the random codes' bits: about as correlated as those of fitted codes."""


@dataclass(frozen=True)
class ScaleLine:
    """One number of codes."""

    codes: int
    """Images; each is looked up under all views."""
    views: int
    """Views of each."""
    index_seconds: float
    """To sort the codes by every band."""
    search_seconds: float
    """To look up all views of all images."""
    parent_peak_mb: float
    """Largest resident memory of the main process, mapped files included."""
    worker_peak_mb: float
    """The same of the largest worker."""
    candidate_pairs: int
    """Pairs within the radius, to be checked."""
    planted_recall: float
    """Share of the planted copies among them."""
    left_out: int
    """Comparisons that the windows on crowded buckets left out."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.index_seconds + self.search_seconds


@dataclass(frozen=True)
class ScaleBench:
    """``bench dedup``, scale."""

    lines: list[ScaleLine]
    """By number of codes."""
    real: bool
    """Whether the codes are multiplied from real images."""

    @property
    def exponent(self) -> float | None:
        """The power of N that the time grows with, fitted through all lines; None for one size."""
        if len({line.codes for line in self.lines}) < 2:
            return None
        sizes = [math.log(line.codes) for line in self.lines]
        return float(np.polyfit(sizes, [math.log(line.seconds) for line in self.lines], 1)[0])


def bench_scale(
    sizes: Sequence[int], source: Path | None, settings: BenchSettings, reporter: Reporter
) -> ScaleBench:
    """Search synthetic sets of some sizes; source: photos whose codes are multiplied."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        bases = _real_codes(source, Path(work), settings, reporter) if source else _random_codes(settings)
        for size in sorted(sizes):
            folder = Path(work) / f"codes-{size}"
            _multiply(bases, size, folder, settings.recipe.seed)
            reporter.say(f"search among {size:,} codes")
            lines.append(_measure(folder, size, settings))
    return ScaleBench(lines, source is not None)


def _measure(folder: Path, size: int, settings: BenchSettings) -> ScaleLine:
    recipe = settings.recipe.dedup
    bands = Bands.for_codes(size, recipe.bands, settings.recipe.seed)
    start = time.perf_counter()
    build_index(folder, bands, settings.workers)
    indexed = time.perf_counter()
    tasks = [(folder, chunk, bands, recipe) for chunk in range(-(-size // _CHUNK))]
    done = list(run_tasks(search_chunk, tasks, settings.workers))
    searched = time.perf_counter()
    candidates, found, left_out = np.sum([counts for counts, _ in done], axis=0).tolist()
    planted = sum(len(np.load(path)) for path in folder.glob("planted-*.npy"))
    return ScaleLine(
        codes=size,
        views=np.load(folder / "views-00000.npy", mmap_mode="r").shape[1],
        index_seconds=round(indexed - start, 2),
        search_seconds=round(searched - indexed, 2),
        parent_peak_mb=round(peak_mb()),
        worker_peak_mb=round(max(peak for _, peak in done)),
        candidate_pairs=candidates,
        planted_recall=round(found / max(planted, 1), 4),
        left_out=left_out,
    )


def search_chunk(
    folder: Path, chunk: int, bands: Bands, recipe: DedupRecipe
) -> tuple[tuple[int, int, int], float]:
    """Look up one chunk; returns candidate pairs, planted copies among them, left out, and the peak in MB."""
    views = np.load(folder / f"views-{chunk:05d}.npy", mmap_mode="r")
    codes = np.load(folder / "codes.npy", mmap_mode="r")
    limits = (recipe.radius, recipe.window)
    found = find_candidates(views, code_halves(codes), bands, open_index(folder, bands), limits)
    found = found.without(found.target == found.query + chunk * _CHUNK)
    chosen = nearest(found, recipe.max_candidates)
    pairs = found.query[chosen] * len(codes) + found.target[chosen]
    planted = np.load(folder / f"planted-{chunk:05d}.npy")
    hits = np.isin(planted[:, 0] * len(codes) + planted[:, 1] + chunk * _CHUNK, pairs).sum()
    return (len(chosen), int(hits), found.left_out), peak_mb()


def _multiply(bases: np.ndarray, size: int, folder: Path, seed: int) -> None:
    """Write ``codes.npy``, and for every chunk its views' codes and its planted (copy, original) rows."""
    codes = np.empty((size, 16), np.uint8)
    for chunk in range(-(-size // _CHUNK)):
        rng = np.random.default_rng((seed, chunk))
        count = min(_CHUNK, size - chunk * _CHUNK)
        source = rng.integers(0, len(bases), count)
        flips = np.packbits(rng.random((count, CODE_BITS)) < _UNRELATED, axis=1)
        crowd = rng.random(count) < _CROWD
        source[crowd], flips[crowd] = 0, 0
        copies = np.flatnonzero((rng.random(count) < _COPIES) & ~crowd)
        originals = rng.integers(0, count, len(copies))
        usable = ~np.isin(originals, copies) & ~crowd[originals]
        copies, originals = copies[usable], originals[usable]
        source[copies] = source[originals]
        number = rng.integers(0, _COPY_BITS + 1, (len(copies), 1))
        few = rng.random((len(copies), CODE_BITS)).argsort(axis=1) < number
        flips[copies] = flips[originals] ^ np.packbits(few, axis=1)
        views = bases[source] ^ flips[:, None]
        save_array(folder / f"views-{chunk:05d}.npy", views)
        save_array(folder / f"planted-{chunk:05d}.npy", np.stack([copies, originals], axis=1))
        codes[chunk * _CHUNK :][:count] = views[:, 0]
    save_array(folder / "codes.npy", codes)


def _real_codes(source: Path, work: Path, settings: BenchSettings, reporter: Reporter) -> np.ndarray:
    """uint8 (B, V, 16): codes of a source's photos, by an autoencoder fitted on them."""
    deduplicate_source(source, work / "set", settings, reporter, limit=_MOST_BASES)
    images = PreparedSet.open(work / "set").rows(include_duplicates=True)
    encoder = read_encoder(work / "set" / AUTOENCODER).through(recipe_views(settings.recipe.dedup))
    return encode_views(images.gather(np.arange(len(images))), encoder)[0]


def _random_codes(settings: BenchSettings) -> np.ndarray:
    """uint8 (B, V, 16): bits with common causes, and views that differ a little."""
    rng = np.random.default_rng(settings.recipe.seed)
    views = len(recipe_views(settings.recipe.dedup))
    causes = rng.normal(size=(_MOST_BASES, _FACTORS)) @ rng.normal(size=(_FACTORS, CODE_BITS))
    noise = rng.normal(size=(_MOST_BASES, views, CODE_BITS))
    return np.packbits(causes[:, None] + noise > 0, axis=2)
