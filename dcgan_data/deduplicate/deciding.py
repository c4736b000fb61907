"""Checked pairs -> which images stay, which go, and for which kept image each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dcgan_data.deduplicate.calibration import expected_false_pairs
from dcgan_data.deduplicate.checking import check_directly
from dcgan_data.deduplicate.encoding import read_codes, view_encoder
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.pairs import CODE, GROUP, Pairs, make_pairs, merge_pairs
from dcgan_data.deduplicate.preference import preference
from dcgan_data.formats.assemble import Decisions
from dcgan_data.formats.manifest import KEPT_IS_SEEN
from dcgan_data.hashing import recipe_views
from dcgan_data.ops.codes import CODE_BITS, group_codes
from dcgan_data.ops.groups import choose_stars, open_questions
from dcgan_data.ops.views import view_names
from dcgan_data.recipe import SCORE_FLOOR, DedupRecipe

_MOST_ROUNDS = 32
_CURVE = np.arange(SCORE_FLOOR, 1, 0.02)


@dataclass(frozen=True)
class _Choice:
    """Who stays."""

    pairs: np.ndarray
    """PAIR (P,), those that were asked for while choosing included."""
    rests_on: np.ndarray
    """int64 (N,): number of the pair that a removed image rests on, -1 for kept ones."""
    against: bool = False
    """Whether ``a`` of the pairs is of another set."""


def find_exact(images: ImageSet) -> Pairs:
    """The paper's rule: images whose codes collide, each with the first of its kind; flat ones by pixels."""
    rows = read_codes(images)
    match = np.where(rows["flat"][:, None], rows["pixels"], rows["code"])
    first = group_codes(np.ascontiguousarray(match))
    others = np.flatnonzero(first != np.arange(len(rows)))
    return Pairs(make_pairs(first[others], others, CODE), {"low_contrast_images": int(rows["flat"].sum())})


def decide(images: ImageSet, pairs: Pairs, codes: np.ndarray, recipe: DedupRecipe) -> Decisions:
    """Choose what stays among checked pairs; codes: uint8 (N, 16).

    Independent of the order of pairs and, but for ``keep = "first"``, of the images.
    """
    members = np.unique(np.concatenate([pairs.checked["a"], pairs.checked["b"]]))
    rank = preference(images, members, recipe.keep)
    if recipe.rule == "exact":
        choice = _choose_exact(pairs.checked, codes, rank)
    else:
        choice = _choose_near(images, pairs.checked, rank, recipe)
    findings = {**_settings(recipe), **pairs.findings, "code_health": code_health(codes)}
    if recipe.rule == "near":
        removals = int((choice.rests_on >= 0).sum())
        findings |= _false_pairs(pairs.findings, recipe.threshold, removals)
        findings["removal_curve"] = _removal_curve(pairs.checked, rank)
    return _decisions(codes, choice, recipe, findings)


def decide_against(pairs: Pairs, codes: np.ndarray, recipe: DedupRecipe, names: pa.Table) -> Decisions:
    """Copies of another set's images go, each for the one that it is most like; keys: of that set."""
    found = pairs.checked
    copies = np.flatnonzero(found["score"] >= np.float32(recipe.threshold))
    order = copies[np.lexsort((found["a"][copies], -found["score"][copies], found["b"][copies]))]
    first = np.ones(len(order), bool)
    first[1:] = found["b"][order][1:] != found["b"][order][:-1]
    rests_on = np.full(len(codes), -1)
    rests_on[found["b"][order][first]] = order[first]
    findings = {**_settings(recipe), **pairs.findings, "code_health": code_health(codes)}
    findings |= _false_pairs(pairs.findings, recipe.threshold, int(first.sum()))
    scores = [found["b"][found["score"] >= np.float32(threshold)] for threshold in _CURVE]
    curve = zip(_CURVE, scores, strict=True)
    findings["removal_curve"] = [[round(float(at), 2), len(np.unique(those))] for at, those in curve]
    decisions = _decisions(codes, _Choice(found, rests_on, against=True), recipe, findings)
    return replace(decisions, other_names=names)


def _choose_exact(pairs: np.ndarray, codes: np.ndarray, rank: np.ndarray) -> _Choice:
    """Of equal codes the best stays; each of the others is compared with it directly."""
    order = np.lexsort((rank[pairs["b"]], pairs["a"]))
    renamed = pairs.copy()
    for group in np.split(order, np.flatnonzero(np.diff(pairs["a"][order])) + 1) if len(order) else []:
        first, others = pairs["a"][group[0]], pairs["b"][group]
        best = first if rank[first] < rank[others[0]] else others[0]
        renamed["a"][group] = best
        renamed["b"][group] = np.where(others == best, first, others)
    renamed["distance"] = np.bitwise_count(codes[renamed["a"]] ^ codes[renamed["b"]]).sum(axis=1)
    renamed["score"] = np.nan
    rests_on = np.full(len(rank), -1)
    rests_on[renamed["b"]] = np.arange(len(renamed))
    return _Choice(renamed, rests_on)


def _choose_near(images: ImageSet, pairs: np.ndarray, rank: np.ndarray, recipe: DedupRecipe) -> _Choice:
    """Stars, with the questions answered that they leave open."""
    encoder = None
    asked = set[tuple[int, int]]()
    views = recipe_views(recipe)
    for turn in range(_MOST_ROUNDS + 1):
        copies = np.flatnonzero(pairs["score"] >= np.float32(recipe.threshold))
        a, b = pairs["a"][copies], pairs["b"][copies]
        rests_on, _decisive = choose_stars(a, b, pairs["score"][copies], rank)
        if turn == _MOST_ROUNDS:  # what is still open stays kept
            break
        questions = np.array(open_questions(a, b, rests_on, rank, asked), np.int64).reshape(-1, 2)
        if not len(questions):
            break
        encoder = encoder or view_encoder(images, views)
        answers = make_pairs(questions[:, 0], questions[:, 1], GROUP)
        answers = check_directly(answers, images.gather, encoder, views)
        pairs = merge_pairs([pairs, answers[answers["score"] >= SCORE_FLOOR]])
    found = rests_on >= 0
    rests_on[found] = copies[rests_on[found]]
    return _Choice(pairs, rests_on)


def _decisions(
    codes: np.ndarray, choice: _Choice, recipe: DedupRecipe, findings: dict[str, Any]
) -> Decisions:
    pairs, images = choice.pairs, len(codes)
    removed = np.flatnonzero(choice.rests_on >= 0)
    proof = pairs[choice.rests_on[removed]]
    kept_is_seen = (proof["a"] == removed) & (not choice.against)
    kept_by = np.full(images, -1)
    kept_by[removed] = np.where(kept_is_seen, proof["b"], proof["a"])
    all_names = view_names(pairs["view"])
    names = all_names[choice.rests_on[removed]]
    view = np.full(images, "", dtype=object)
    either_way = np.isin(names, ("identity", "mirror"))
    view[removed] = np.where(kept_is_seen & ~either_way, np.char.add(KEPT_IS_SEEN, names), names)
    distance, score = np.zeros(images, np.int32), np.full(images, np.nan, np.float32)
    distance[removed], score[removed] = proof["distance"], proof["score"]
    weight = None
    if recipe.multiplicity and not choice.against:
        weight = 1 + np.bincount(kept_by[removed], minlength=images).astype(np.int32)
    columns = {name: pairs[name] for name in ("a", "b", "distance", "score", "found")}
    columns["view"] = all_names
    group = np.full(images, -1) if choice.against else _number_stars(kept_by)
    return Decisions(codes, group, kept_by, view, distance, score, weight, columns, findings)


def _number_stars(kept_by: np.ndarray) -> np.ndarray:
    """Number of each kept image and of those removed for it, in source order; -1 for images alone."""
    removed = np.flatnonzero(kept_by >= 0)
    star = np.full(len(kept_by), -1)
    star[removed] = kept_by[removed]
    star[kept_by[removed]] = kept_by[removed]
    members = np.flatnonzero(star >= 0)
    _, first, inverse = np.unique(star[members], return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    star[members] = place[inverse]
    return star


def _settings(recipe: DedupRecipe) -> dict[str, Any]:
    shown = ["rule", "keep", "min_contrast"]
    if recipe.rule == "near":
        shown += ["threshold", "radius", "mirror"]
    return {name: getattr(recipe, name) for name in shown}


def _false_pairs(findings: dict[str, Any], threshold: float, removals: int) -> dict[str, Any]:
    expected = expected_false_pairs(findings["null"], findings["checked_pairs"], threshold)
    if expected is None:
        return {}
    share = expected / removals if removals else 0.0
    return {"expected_false_pairs": float(f"{expected:.3g}"), "expected_false_share": float(f"{share:.3g}")}


def _removal_curve(pairs: np.ndarray, rank: np.ndarray) -> list[list[float]]:
    """How many images would go at other thresholds, by the pairs that are known."""
    curve = []
    for threshold in _CURVE:
        copies = pairs[pairs["score"] >= np.float32(threshold)]
        rests_on, _ = choose_stars(copies["a"], copies["b"], copies["score"], rank)
        curve.append([round(float(threshold), 2), int((rests_on >= 0).sum())])
    return curve


def code_health(codes: np.ndarray) -> dict[str, Any]:
    """How well the codes use their bits: uint8 (N, 16) -> figures for ``dataset.json`` and the report."""
    on = np.zeros(CODE_BITS)
    for start in range(0, len(codes), 65536):
        on += np.unpackbits(codes[start : start + 65536], axis=1).sum(axis=0)
    share = on / max(len(codes), 1)
    _, sizes = np.unique(group_codes(codes), return_counts=True)
    return {
        "bits_never_on": int((on == 0).sum()),
        "bits_always_on": int((on == len(codes)).sum()),
        "idle_bits": int((on == 0).sum() + (on == len(codes)).sum()) if len(codes) > 1 else 0,
        "bit_activity": share.round(4).tolist(),
        "mean_activity": round(float(share.mean()), 4),
        "lowest_activity": round(float(share.min()), 4),
        "highest_activity": round(float(share.max()), 4),
        "distinct_codes": len(sizes),
        "largest_buckets": sorted(sizes.tolist(), reverse=True)[:10],
    }
