"""``bench dedup --codes``: how the search for near codes grows with their number, and what memory it takes.

Codes of real images (or, without a source, correlated random ones) under all views are multiplied: each
synthetic image takes one image's codes with a fifth of the bits flipped, in all views alike. A tenth are
planted copies of others with up to 8 bits flipped, and a hundredth is one crowd of equal codes, as flat
images make it. What is timed is the product's own index and search, in its worker processes. The views'
codes would take 448 bytes an image on disk; they are drawn again from the seed whenever they are looked up.
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
from dcgan_data.bench.resident import ResidentWatch
from dcgan_data.deduplicate.near_codes import CodeSearch, found_for, plan_slices, search_slices, told_of
from dcgan_data.deduplicate.slices import Room, resident_bytes
from dcgan_data.formats.atomic import atomic_path, save_array
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.hashing import read_encoder, recipe_views
from dcgan_data.ops.bands import Bands
from dcgan_data.ops.codes import CODE_BITS, encode_views
from dcgan_data.ops.search import Limits, candidates, nearest
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import DedupRecipe
from dcgan_data.reporter import Reporter

_CHUNK = 8192
_MOST_BASES = 4000
_UNRELATED, _COPY_BITS = 51, 8  # of 256: a fifth
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
    slices: int
    """In which the bands were searched, one after another, for the memory's sake."""
    index_seconds: float
    """To sort the codes by every band."""
    search_seconds: float
    """To look up all views of all images."""
    merge_seconds: float
    """To put together what was found in several slices."""
    together_mb: float
    """Most resident memory of all processes together, pages that they share once; 0 where it is not told."""
    mapped_mb: float
    """Of that, pages of files."""
    parent_peak_mb: float
    """Largest resident memory of the main process, mapped files included."""
    worker_peak_mb: float
    """The same of the largest worker."""
    index_bytes: int
    """Of the largest slice's index, on disk and mapped."""
    spilled_bytes: int
    """Of what was found in slices, on disk."""
    candidate_pairs: int
    """Pairs within the radius, to be checked."""
    planted_recall: float
    """Share of the planted copies among them."""
    left_out: int
    """Comparisons that the windows on crowded buckets left out."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.index_seconds + self.search_seconds + self.merge_seconds


@dataclass(frozen=True)
class ScaleBench:
    """``bench dedup --codes``."""

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


@dataclass(frozen=True)
class SyntheticQueries:
    """Codes of many images' views, multiplied from those of a few: ``Queries`` of a ``CodeSearch``."""

    folder: Path
    """Holds ``bases.npy``: uint8 (B, V, 16)."""
    size: int
    """Images."""
    seed: int
    """Of all draws."""

    @property
    def chunks(self) -> int:
        """Images come in so many chunks; copies are of the same chunk."""
        return -(-self.size // _CHUNK)

    def view_codes(self, shard: int) -> tuple[np.ndarray, int]:
        """One chunk's, uint8 (n, V, 16); all are among the codes that are indexed."""
        source, flips, _ = self.draw(shard)
        return self._bases()[source] ^ flips[:, None], shard * _CHUNK

    def first_codes(self, shard: int) -> np.ndarray:
        """One chunk's, without views: uint8 (n, 16)."""
        source, flips, _ = self.draw(shard)
        codes: np.ndarray = self._bases()[source, 0] ^ flips
        return codes

    def draw(self, chunk: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A base for each image of a chunk, the bits to flip, and rows of planted (copy, original)."""
        rng = np.random.default_rng((self.seed, chunk))
        count = min(_CHUNK, self.size - chunk * _CHUNK)
        source = rng.integers(0, len(self._bases()), count)
        flips = np.packbits(rng.integers(0, 256, (count, CODE_BITS), np.uint8) < _UNRELATED, axis=1)
        crowd = rng.random(count) < _CROWD
        source[crowd], flips[crowd] = 0, 0
        copies = np.flatnonzero((rng.random(count) < _COPIES) & ~crowd)
        originals = rng.integers(0, count, len(copies))
        usable = ~np.isin(originals, copies) & ~crowd[originals]
        copies, originals = copies[usable], originals[usable]
        source[copies] = source[originals]
        number = rng.integers(0, _COPY_BITS + 1, (len(copies), 1))
        few = np.zeros((len(copies), CODE_BITS), bool)
        for place, bits in enumerate(rng.integers(0, CODE_BITS, (_COPY_BITS, len(copies)))):
            few[np.arange(len(copies)), bits] |= place < number[:, 0]
        flips[copies] = flips[originals] ^ np.packbits(few, axis=1)
        return source, flips, np.stack([copies, originals], axis=1)

    def _bases(self) -> np.ndarray:
        bases: np.ndarray = np.load(self.folder / "bases.npy", mmap_mode="r", allow_pickle=False)
        return bases


def bench_code_search(
    sizes: Sequence[int], source: Path | None, settings: BenchSettings, memory: int, reporter: Reporter
) -> ScaleBench:
    """Search synthetic sets of some sizes; source: photos whose codes are multiplied; memory: 0: no limit."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        bases = _real_codes(source, Path(work), settings, reporter) if source else _random_codes(settings)
        for size in sorted(sizes):
            with tempfile.TemporaryDirectory(dir=work) as folder:
                queries = SyntheticQueries(Path(folder), size, settings.recipe.seed)
                save_array(queries.folder / "bases.npy", bases)
                write_codes(queries)
                reporter.say(f"search among {size:,} codes")
                lines.append(_measure(queries, settings, memory, reporter))
    return ScaleBench(lines, source is not None)


def write_codes(queries: SyntheticQueries) -> None:
    """Write ``codes.npy``, a chunk at a time."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (queries.size, CODE_BITS // 8)}
    with atomic_path(queries.folder / "codes.npy") as path, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in range(queries.chunks):
            file.write(queries.first_codes(chunk).tobytes())


def _measure(
    queries: SyntheticQueries, settings: BenchSettings, memory: int, reporter: Reporter
) -> ScaleLine:
    recipe, folder = settings.recipe.dedup, queries.folder
    bands = Bands.for_codes(queries.size, recipe.bands, settings.recipe.seed)
    views = queries.view_codes(0)[0].shape[1]
    room = Room(bands, queries.size, views, recipe.window, settings.workers, memory, resident_bytes())
    slices = plan_slices(folder, room)
    reporter.say(told_of(slices))
    search = CodeSearch(queries, folder, bands, Limits(recipe.radius, recipe.window), slices)
    rounds = len(slices) + 1 if len(slices) > 1 else 1
    clock, done = _Clock(), []
    with ResidentWatch() as watch, reporter.stage("search", rounds * queries.chunks, "chunks") as stage:
        for _, chunk in search_slices(search, room, range(queries.chunks)):
            clock.lap("index" if chunk is None else "search")
            stage.advance(chunk is not None)
        spilled = sum(path.stat().st_size for path in folder.glob("found-*/*.npy"))
        tasks = [(search, chunk, recipe) for chunk in range(queries.chunks)]
        for result in run_tasks(search_chunk, tasks, settings.workers):
            done.append(result)
            stage.advance(1)
        clock.lap("merge" if spilled else "search")
    found, hits, planted, left_out = np.sum([counts for counts, _ in done], axis=0).tolist()
    return ScaleLine(
        codes=queries.size,
        views=views,
        slices=len(slices),
        **{f"{name}_seconds": round(spent, 2) for name, spent in clock.spent.items()},
        together_mb=round(watch.anonymous_mb + watch.mapped_mb),
        mapped_mb=round(watch.mapped_mb),
        parent_peak_mb=round(peak_mb()),
        worker_peak_mb=round(max(peak for _, peak in done)),
        index_bytes=max(sum(part.index_bytes for part in parts) for parts in slices),
        spilled_bytes=spilled,
        candidate_pairs=found,
        planted_recall=round(hits / max(planted, 1), 4),
        left_out=left_out,
    )


class _Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent = {"index": 0.0, "search": 0.0, "merge": 0.0}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """What happened since the last lap is one of these."""
        now = time.perf_counter()
        self.spent[name] += now - self._since
        self._since = now


def search_chunk(
    search: CodeSearch, chunk: int, recipe: DedupRecipe
) -> tuple[tuple[int, int, int, int], float]:
    """Put one chunk's finds together, or look it up.

    Returns candidate pairs, planted copies among them, planted copies, left out; and the peak in MB.
    """
    queries = search.queries
    assert isinstance(queries, SyntheticQueries)
    _, _, planted = queries.draw(chunk)
    wanted = planted[:, 0] * queries.size + planted[:, 1] + chunk * _CHUNK
    pairs, hits, left_out = 0, 0, 0
    for found in found_for(search, chunk):
        near = candidates(found.keys)
        chosen = nearest(near, recipe.max_candidates)
        seen = (near.query[chosen] + found.first) * queries.size + near.target[chosen]
        pairs, left_out = pairs + len(chosen), left_out + found.left_out
        hits += int(np.isin(wanted, seen).sum())
    return (pairs, hits, len(wanted), left_out), peak_mb()


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
