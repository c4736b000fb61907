"""``bench dedup``, CIFAR-10: which test images have a copy in the training set, held against human judgement.

The judged pairs are ciFAIR's (Barz and Denzler, "Do we train on test data?", J. Imaging 2020): for each test
image, the nearest training images looked at by a person. Judgment 0 is an exact copy, 1 a near-duplicate, 2
very similar but another picture. The list names few partners of each image: a pair that is not on it may well
be a copy, and ``sheets`` draws a sample of those.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dcgan_data.bench.lmdb_writer import new_lmdb
from dcgan_data.bench.ours import BenchSettings, deduplicate_source
from dcgan_data.bench.peers import RADII, hash_source, pairs_within, require_peers
from dcgan_data.bench.sheet import PageLayout, PairPicture, write_pair_pages
from dcgan_data.errors import BadInput
from dcgan_data.formats.dataset import PAIRS
from dcgan_data.formats.manifest import PAIR_SCHEMA, read_table
from dcgan_data.reporter import Reporter

JUDGED = "duplicates_test_train.csv"
_PARTS = ("train", "test")
_BEST = 4
"""Partners of each test image in the shorter list."""
_DRAWN = 200
_PAGE = PageLayout(side=96, columns=5, rows=10)  # three times the images' size

Pair = tuple[int, int]
"""(test image, training image), numbered as in CIFAR-10."""


@dataclass(frozen=True)
class Judged:
    """The human-judged pairs."""

    near: frozenset[Pair]
    """Exact copies and near-duplicates."""
    similar: frozenset[Pair]
    """Very similar, but other pictures."""


@dataclass(frozen=True)
class CifarScore:
    """How one method did."""

    recall: float
    """Share of the near-duplicates that it reports."""
    pairs: int
    """Pairs that it reports, test with training images."""
    near: int
    """Of these, near-duplicates on the list."""
    similar: int
    """Of these, pairs that people judged to be other pictures."""


@dataclass(frozen=True)
class CifarBench:
    """``bench dedup``, CIFAR-10."""

    near: int
    """Near-duplicates on the list."""
    similar: int
    """Pairs on the list that are other pictures."""
    scores: dict[str, CifarScore]
    """By method: ``ours`` (also of each test image its best partners only: one photo occurs dozens of times),
    then the peers with their radii, such as ``phash_8``."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``cifar`` holds the figures by method."""
        return {"cifar": {method: dataclasses.asdict(found) for method, found in self.scores.items()}}


def bench_cifar(directory: Path, settings: BenchSettings, reporter: Reporter) -> CifarBench:
    """Find copies between CIFAR-10's test and training images.

    directory: ``train.parquet`` and ``test.parquet`` (column ``image``, a struct with the encoded ``bytes``,
    in CIFAR-10's order) and ciFAIR's ``duplicates_test_train.csv``. BadInput if one of them is missing or
    something else.
    """
    if settings.peers:
        require_peers()
    judged = read_judged(directory / JUDGED)
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        train, test = (
            _write_lmdb(directory / f"{part}.parquet", Path(work) / "lmdb" / part) for part in _PARTS
        )
        ours = _our_pairs(train, test, Path(work) / "set", settings, reporter)
        found: dict[str, Iterable[Pair]] = {"ours": ours}
        if all(score is not None for score in ours.values()):
            found[f"ours_best_{_BEST}"] = best_of_each(ours)
        if settings.peers:
            found |= _peer_pairs(train, test, settings.workers, reporter)
    if settings.sheets:
        _draw_sample(directory, settings, ours, judged)
    scores = {method: score_pairs(judged, pairs) for method, pairs in found.items()}
    return CifarBench(len(judged.near), len(judged.similar), scores)


def read_judged(path: Path) -> Judged:
    """Read ciFAIR's list; BadInput if it is missing or another file."""
    near, similar = set[Pair](), set[Pair]()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                pair = int(row["TestID"]), int(row["TrainID"])
                (near if int(row["Judgment"]) < 2 else similar).add(pair)
    except FileNotFoundError:
        raise BadInput(f"{path}: missing; it comes with ciFAIR (github.com/cvjena/cifair)") from None
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise BadInput(
            f"{path}: not ciFAIR's list ({type(error).__name__}: {error}); "
            "expected columns TestID, TrainID and Judgment"
        ) from None
    if not near:
        raise BadInput(f"{path}: names no near-duplicates; fetch it again")
    return Judged(frozenset(near), frozenset(similar))


def score_pairs(judged: Judged, pairs: Iterable[Pair]) -> CifarScore:
    """Hold reported pairs against the judged ones."""
    reported = set(pairs)
    near = len(judged.near & reported)
    return CifarScore(near / len(judged.near), len(reported), near, len(judged.similar & reported))


def best_of_each(found: Mapping[Pair, float | None], most: int = _BEST) -> list[Pair]:
    """Of each test image the few training images that are most like it."""
    ordered = sorted(found, key=lambda pair: (pair[0], -(found[pair] or 0.0), pair[1]))
    groups = itertools.groupby(ordered, key=lambda pair: pair[0])
    return [pair for _, pairs in groups for pair in itertools.islice(pairs, most)]


def _our_pairs(
    train: Path, test: Path, out: Path, settings: BenchSettings, reporter: Reporter
) -> dict[Pair, float | None]:
    """Test-training pairs that our rule calls copies, each with its similarity."""
    assert train.parent == test.parent, "one source: two LMDBs in one directory"
    recipe = dataclasses.replace(settings.recipe, image=dataclasses.replace(settings.recipe.image, size=32))
    info = deduplicate_source(train.parent, out, dataclasses.replace(settings, recipe=recipe), reporter)
    table = read_table(out / PAIRS, PAIR_SCHEMA, ["key_a", "key_b", "score"])
    return pairs_between_sets(table, info.deduplication.get("threshold"))


def pairs_between_sets(table: pa.Table, threshold: float | None) -> dict[Pair, float | None]:
    """Of all checked pairs, those between the sets that are at least as similar as the threshold."""
    lowest = None if threshold is None else float(np.float32(threshold))  # as the scores are stored
    found: dict[Pair, float | None] = {}
    columns = (table[name].to_pylist() for name in ("key_a", "key_b", "score"))
    for a, b, score in zip(*columns, strict=True):
        parts = {key.split("/")[0]: int(key.split("/")[1]) for key in (a, b)}
        if len(parts) == 2 and (lowest is None or score is None or score >= lowest):
            found[parts["test"], parts["train"]] = score
    return found


def _peer_pairs(train: Path, test: Path, workers: int, reporter: Reporter) -> dict[str, list[Pair]]:
    """Test-training pairs within each peer's radii."""
    hashed = {path: hash_source(path, workers, reporter) for path in (test, train)}
    found = {}
    number = {path: np.array([int(key) for key in hashes.keys]) for path, hashes in hashed.items()}
    for name, radii in RADII.items():
        pairs = pairs_within(hashed[test].codes[name], hashed[train].codes[name], max(radii))
        for radius in radii:
            near = pairs.within(radius)
            tests, trains = number[test][near.a].tolist(), number[train][near.b].tolist()
            found[f"{name}_{radius}"] = list(zip(tests, trains, strict=True))
    return found


def _encoded_images(path: Path) -> Iterator[bytes]:
    """The encoded images of a parquet file, in order; BadInput if it is no such file."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024, columns=["image"]):
                yield from batch.column("image").field("bytes").to_pylist()
    except FileNotFoundError:
        raise BadInput(f"{path}: missing; expected CIFAR-10 as train.parquet and test.parquet") from None
    except (KeyError, pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a parquet file with a column image.bytes ({error})") from None


def _write_lmdb(parquet: Path, path: Path) -> Path:
    with new_lmdb(path) as put:
        for number, data in enumerate(_encoded_images(parquet)):
            put(f"{number:05d}", data)
    return path


def _draw_sample(
    directory: Path, settings: BenchSettings, found: dict[Pair, float | None], judged: Judged
) -> None:
    """Pages of reported pairs that no person judged, a seeded sample of them."""
    assert settings.sheets is not None
    unlisted = sorted(found.keys() - judged.near - judged.similar)
    rng = np.random.default_rng(settings.recipe.seed)
    chosen = [unlisted[n] for n in rng.choice(len(unlisted), min(_DRAWN, len(unlisted)), replace=False)]
    tests = _pictures(directory / "test.parquet", {test for test, _ in chosen})
    trains = _pictures(directory / "train.parquet", {train for _, train in chosen})
    pictures = []
    for test, train in chosen:
        score = found[test, train]
        caption = f"{'' if score is None else f'{score:.3f}  '}test {test} | train {train}"
        pictures.append(PairPicture(tests[test], trains[train], (caption,)))
    write_pair_pages(pictures, settings.sheets, "cifar", _PAGE)


def _pictures(parquet: Path, wanted: set[int]) -> dict[int, Image.Image]:
    return {
        number: Image.open(io.BytesIO(data)).convert("RGB")
        for number, data in enumerate(_encoded_images(parquet))
        if number in wanted
    }
