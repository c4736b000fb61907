"""Codes -> candidates -> checked pairs, shard by shard: every image is looked up among all images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.deduplicate.calibration import null_scores
from dcgan_data.deduplicate.checking import check, load_structure, pixel_structure
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.near_codes import (
    CodeSearch,
    forget_found,
    found_for,
    plan_slices,
    search_slices,
    told_of,
)
from dcgan_data.deduplicate.pairs import CODE, PIXELS, Pairs, make_pairs, merge_pairs
from dcgan_data.deduplicate.queries import choose_all, choose_distinct
from dcgan_data.deduplicate.slices import Room, resident_bytes
from dcgan_data.formats.atomic import save_array, write_json
from dcgan_data.formats.staging import load_array, load_notes
from dcgan_data.hashing import recipe_views
from dcgan_data.ops.bands import Bands
from dcgan_data.ops.search import Limits, candidates, nearest
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import SCORE_FLOOR, DedupRecipe, Recipe

_HISTOGRAM = np.linspace(0, 1, 51)
_MAIN_BYTES = 600_000_000
"""Of the main process when the search begins: mostly torch, and what fitting has left. Rather too much: what
is advised before hours of work must do after them."""


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
    memory: int = 0
    """Bytes that all processes on this machine may use together; 0: no limit."""

    @property
    def folder(self) -> Path:
        """Of the index."""
        return self.images.staging.path / "index"

    def queries(self, shard: int) -> tuple[np.ndarray, int]:
        """Numbers of one shard's images that are looked up, int64, and how many come before them."""
        numbers = load_array(self.folder / "queries.npy", mapped=True)
        first = self.images.first(shard)
        start, end = np.searchsorted(numbers, (first, first + self.images.shard_rows[shard])).tolist()
        return np.array(numbers[start:end]), start

    def view_codes(self, shard: int) -> tuple[np.ndarray, int]:
        """Codes of the views of one shard's images that are looked up, for ``CodeSearch``."""
        queries, before = self.queries(shard)
        codes = load_array(self.images.staging.part("views", shard), mapped=True)
        own = before if self.other is None else -1
        return codes[queries - self.images.first(shard)], own


def check_memory(recipe: Recipe, images: int, workers: int, memory: int) -> None:
    """BadRequest if so little memory would not do for a search among so many images."""
    bands = Bands.for_codes(images, recipe.dedup.bands, recipe.seed)
    views = len(recipe_views(recipe.dedup))
    Room(bands, images, views, recipe.dedup.window, workers, memory, _MAIN_BYTES).check()


def find_pairs(search: Search, workers: int) -> Iterator[int | str | Pairs]:
    """Find and check all pairs of one set; yields numbers of images as they are done, and last the pairs.

    Only one of several images with equal pixels is searched for, and no flat image. A text is for a person.
    """
    chosen = choose_distinct(search.images, search.folder, search.memory // 2)
    yield from _search_all(search, workers)
    same = make_pairs(chosen.same[:, 0], chosen.same[:, 1], PIXELS)
    same["score"] = 1
    findings = {**_findings(search, chosen.flat), "equal_pixels": len(same)}
    yield Pairs(merge_pairs([same, *_found(search.images)]), findings)


def find_copies(
    search: Search, kept: np.ndarray, codes: np.ndarray, workers: int
) -> Iterator[int | str | Pairs]:
    """Find which images are copies of some of another set; yields as ``find_pairs``.

    kept: int64 (M,), numbers of the other set's images that count, ascending; codes: uint8 (M, 16), theirs.
    In the pairs ``a`` is a number of the other set. Flat images are not compared.
    """
    chosen = choose_all(search.images, search.folder)
    save_array(search.folder / "targets.npy", kept)
    save_array(search.folder / "codes.npy", codes)
    yield from _search_all(search, workers)
    pairs = np.concatenate(_found(search.images))
    yield Pairs(pairs[np.lexsort((pairs["b"], pairs["a"]))], _findings(search, chosen.flat))


def _search_all(search: Search, workers: int) -> Iterator[int | str]:
    """Index the codes and look up every shard."""
    images, staging, recipe = search.images, search.images.staging, search.recipe
    codes = len(load_array(search.folder / "codes.npy", mapped=True))
    bands = Bands.for_codes(codes, recipe.bands, search.seed)
    room = Room(bands, codes, len(search.views), recipe.window, workers, search.memory, resident_bytes())
    slices = plan_slices(search.folder, room)
    by_code = CodeSearch(search, search.folder, bands, Limits(recipe.radius, recipe.window), slices)
    if len(slices) > 1:
        yield told_of(slices)
    todo = [s for s in range(len(images.shard_rows)) if not staging.part("pairs", s).exists()]
    yield len(images) - sum(images.shard_rows[shard] for shard in todo)
    # An image is done once it is looked up in every slice: each time a share of it is told of.
    shares = [
        np.diff(np.linspace(0, rows, len(slices) + 1).astype(int)).tolist() for rows in images.shard_rows
    ]
    for number, shard in search_slices(by_code, room, todo, hold=staging.out):
        yield 0 if shard is None else shares[shard][number]
    for shard in run_tasks(search_shard, [(by_code, search, s) for s in todo], workers, hold=staging.out):
        forget_found(by_code, shard)
        yield images.shard_rows[shard] if len(slices) == 1 else 0


def search_shard(by_code: CodeSearch, search: Search, shard: int) -> int:
    """Put together what was found for one shard, check the candidates, write the pairs; returns the shard."""
    staging = search.images.staging
    looked_up = list(_candidates(by_code, search, shard))
    pairs = np.concatenate([pairs for pairs, _, _ in looked_up])
    own = load_structure(search.images)
    pairs = check(pairs, pixel_structure(search.other.gather) if search.other else own, own)
    findings = {
        "candidates": sum(candidates for _, candidates, _ in looked_up),
        "checked": len(pairs),
        "left_out": sum(left_out for _, _, left_out in looked_up),
        "histogram": np.histogram(np.clip(pairs["score"], 0, 1), _HISTOGRAM)[0].tolist(),
    }
    write_json(staging.part("pairs", shard).with_suffix(".json"), findings)
    save_array(staging.part("pairs", shard), pairs[pairs["score"] >= SCORE_FLOOR])
    return shard


def _candidates(by_code: CodeSearch, search: Search, shard: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Candidates of some queries at a time, which bounds what a crowd yields.

    Yields PAIR of those to be checked, the number of all candidates, and of comparisons left out.
    """
    queries, _ = search.queries(shard)
    name = "queries" if search.other is None else "targets"
    targets = load_array(search.folder / f"{name}.npy", mapped=True)
    for found in found_for(by_code, shard):
        near = candidates(found.keys)
        chosen = nearest(near, search.recipe.max_candidates)
        seen = queries[found.first + near.query[chosen]]
        pairs = make_pairs(targets[near.target[chosen]], seen, CODE)
        pairs["view"], pairs["distance"] = search.views[near.view[chosen]], near.distance[chosen]
        yield pairs, len(near.query), found.left_out


def _found(images: ImageSet) -> list[np.ndarray]:
    return [load_array(images.staging.part("pairs", shard)) for shard in range(len(images.shard_rows))]


def _findings(search: Search, flat: int) -> dict[str, Any]:
    searched = load_array(search.folder / "queries.npy", mapped=True)
    null = null_scores(search.images, searched, search.views, search.recipe.radius, search.seed)
    return {**_sum_findings(search.images), "low_contrast_images": flat, "null": null}


def _sum_findings(images: ImageSet) -> dict[str, Any]:
    parts = [
        load_notes(images.staging.part("pairs", shard).with_suffix(".json"))
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
