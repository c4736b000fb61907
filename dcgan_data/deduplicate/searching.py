"""Codes -> candidates -> checked pairs, shard by shard: every image is looked up among all images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.deduplicate.calibration import null_scores
from dcgan_data.deduplicate.checking import check, load_structure, pixel_structure
from dcgan_data.deduplicate.encoding import read_codes
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.index import build_index, open_index
from dcgan_data.deduplicate.pairs import CODE, PIXELS, Pairs, make_pairs, merge_pairs
from dcgan_data.formats.atomic import save_array, write_json
from dcgan_data.ops.codes import group_codes
from dcgan_data.ops.search import Bands, code_halves, find_candidates, nearest
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import SCORE_FLOOR, DedupRecipe

_QUERIES = 1024
"""Images looked up at a time."""
_HISTOGRAM = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class Search:
    """Who is looked up among whom. Small and picklable: it travels to workers."""

    images: ImageSet
    """The images that are looked up, each through views."""
    views: np.ndarray
    """VIEW (V,): those that ``encode_all`` has staged the codes of."""
    recipe: DedupRecipe
    """Radius, bands, limits."""
    seed: int
    """Of the bands and the sample of unrelated images."""
    other: ImageSet | None = None
    """Another set, that they are looked up in; None: among themselves."""


def find_pairs(search: Search, workers: int) -> Iterator[int | Pairs]:
    """Find and check all pairs of one set; yields numbers of images as they are done, and last the pairs.

    Only one of several images with equal pixels is searched for, and no flat image.
    """
    rows = read_codes(search.images)
    first = group_codes(rows["pixels"])
    searched = np.flatnonzero((first == np.arange(len(rows))) & ~rows["flat"])
    codes = np.ascontiguousarray(rows["code"][searched])
    yield from _search_all(search, (searched, searched, codes), workers)
    equal = np.flatnonzero(first != np.arange(len(rows)))
    same = make_pairs(first[equal], equal, PIXELS)
    same["score"] = 1
    findings = _findings(search, searched, int(rows["flat"].sum()))
    findings["equal_pixels"] = len(equal)
    yield Pairs(merge_pairs([same, *_found(search.images)]), findings)


def find_copies(search: Search, kept: np.ndarray, codes: np.ndarray, workers: int) -> Iterator[int | Pairs]:
    """Find which images are copies of some of another set; yields as ``find_pairs``.

    kept: int64 (M,), numbers of the other set's images that count, ascending; codes: uint8 (M, 16), theirs.
    In the pairs ``a`` is a number of the other set. Flat images are not compared.
    """
    rows = read_codes(search.images)
    queries = np.flatnonzero(~rows["flat"])
    yield from _search_all(search, (queries, kept, codes), workers)
    found = _found(search.images)
    pairs = np.concatenate(found)
    findings = _findings(search, queries, int(rows["flat"].sum()))
    yield Pairs(pairs[np.lexsort((pairs["b"], pairs["a"]))], findings)


def _search_all(
    search: Search, who: tuple[np.ndarray, np.ndarray, np.ndarray], workers: int
) -> Iterator[int]:
    """Index the codes of the targets and look up every shard; who: queries, targets, codes of the targets."""
    images, staging = search.images, search.images.staging
    for name, array in zip(("queries", "targets", "codes"), who, strict=True):
        save_array(_index(images) / f"{name}.npy", array)
    bands = Bands.for_codes(len(who[1]), search.recipe.bands, search.seed)
    build_index(_index(images), bands, workers, hold=staging.out)
    todo = [s for s in range(len(images.shard_rows)) if not staging.part("pairs", s).exists()]
    yield len(images) - sum(images.shard_rows[shard] for shard in todo)
    yield from run_tasks(search_shard, [(search, bands, s) for s in todo], workers, hold=staging.out)


def search_shard(search: Search, bands: Bands, shard: int) -> int:
    """Look up one shard's images, check the candidates, write the pairs; returns its images."""
    images, staging = search.images, search.images.staging
    queries, targets = (np.load(_index(images) / f"{name}.npy") for name in ("queries", "targets"))
    first = images.first(shard)
    bounds = np.searchsorted(queries, (first, first + images.shard_rows[shard]))
    queries = queries[bounds[0] : bounds[1]]
    seen = np.load(staging.part("views", shard), mmap_mode="r")[queries - first]
    looked_up = list(_look_up(search, bands, (queries, targets, seen)))
    pairs = np.concatenate([pairs for pairs, _, _ in looked_up])
    own = load_structure(images)
    pairs = check(pairs, pixel_structure(search.other.gather) if search.other else own, own)
    findings = {
        "candidates": sum(candidates for _, candidates, _ in looked_up),
        "checked": len(pairs),
        "left_out": sum(left_out for _, _, left_out in looked_up),
        "histogram": np.histogram(np.clip(pairs["score"], 0, 1), _HISTOGRAM)[0].tolist(),
    }
    write_json(staging.part("pairs", shard).with_suffix(".json"), findings)
    save_array(staging.part("pairs", shard), pairs[pairs["score"] >= SCORE_FLOOR])
    return images.shard_rows[shard]


def _look_up(
    search: Search, bands: Bands, who: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Candidates of some queries at a time, which bounds what a crowd yields; who: queries, targets, views.

    Yields PAIR of those to be checked, the number of all candidates, and of comparisons left out.
    """
    queries, targets, seen = who
    recipe, folder = search.recipe, _index(search.images)
    known = code_halves(np.load(folder / "codes.npy", mmap_mode="r"))
    indexes = list(open_index(folder, bands))
    for start in range(0, max(len(queries), 1), _QUERIES):
        block = queries[start : start + _QUERIES]
        limits = (recipe.radius, recipe.window)
        found = find_candidates(seen[start : start + _QUERIES], known, bands, indexes, limits)
        if search.other is None:
            found = found.without(targets[found.target] == block[found.query])
        chosen = nearest(found, recipe.max_candidates)
        pairs = make_pairs(targets[found.target[chosen]], block[found.query[chosen]], CODE)
        pairs["view"], pairs["distance"] = search.views[found.view[chosen]], found.distance[chosen]
        yield pairs, len(found.query), found.left_out


def _index(images: ImageSet) -> Path:
    return images.staging.path / "index"


def _found(images: ImageSet) -> list[np.ndarray]:
    return [np.load(images.staging.part("pairs", shard)) for shard in range(len(images.shard_rows))]


def _findings(search: Search, searched: np.ndarray, flat: int) -> dict[str, Any]:
    null = null_scores(search.images, searched, search.views, search.recipe.radius, search.seed)
    return {**_sum_findings(search.images), "low_contrast_images": flat, "null": null}


def _sum_findings(images: ImageSet) -> dict[str, Any]:
    parts = [
        json.loads(images.staging.part("pairs", shard).with_suffix(".json").read_text("utf-8"))
        for shard in range(len(images.shard_rows))
    ]
    counts = np.sum([part["histogram"] for part in parts], axis=0)
    return {
        "candidate_pairs": sum(part["candidates"] for part in parts),
        "checked_pairs": sum(part["checked"] for part in parts),
        "candidates_left_out": sum(part["candidates"] - part["checked"] for part in parts),
        "comparisons_left_out": sum(part["left_out"] for part in parts),
        "score_histogram": {"edges": _HISTOGRAM.round(2).tolist(), "counts": counts.tolist()},
    }
