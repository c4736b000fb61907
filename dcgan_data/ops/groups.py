"""Which images stay: stars of one kept image and those removed for it, never chains."""

from __future__ import annotations

import numpy as np

_MOST_LEADERS = 8
"""Kept images of a component that the others are compared with: bounds the work for odd components."""


def choose_stars(
    a: np.ndarray, b: np.ndarray, score: np.ndarray, rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decide, best rank first: an image stays unless a kept one is a copy of it.

    a, b: int64 (P,), pairs of images that are copies of each other; score: float (P,); rank: int64 (N,),
    the place of every image in the order of preference, all different.
    Returns int64 (N,), the number of the pair that each removed image rests on (the highest score, then the
    best rank), -1 for kept ones; and bool (P,), whether exactly one of a pair's images is kept.
    Does not depend on the order of pairs or images, only on ranks and scores.
    """
    kept = _independent(a, b, rank)
    decisive = kept[a] != kept[b]
    removed = np.where(kept[a], b, a)[decisive]
    keeper = np.where(kept[a], a, b)[decisive]
    order = np.lexsort((rank[keeper], -score[decisive], removed))
    first = np.ones(len(order), bool)
    first[1:] = removed[order][1:] != removed[order][:-1]
    rests_on = np.full(len(rank), -1)
    rests_on[removed[order][first]] = np.flatnonzero(decisive)[order][first]
    return rests_on, decisive


def _independent(a: np.ndarray, b: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """bool (N,): the greedy independent set in order of rank: who is kept sends its worse neighbours away.

    One pass over the pairs, by the rank of their better image: whether that stays is settled by then.
    """
    better = np.where(rank[a] < rank[b], a, b)
    worse = np.where(rank[a] < rank[b], b, a)
    order = np.argsort(rank[better], kind="stable")
    kept = bytearray(b"\1") * len(rank)
    for first, second in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if kept[first]:
            kept[second] = 0
    return np.frombuffer(bytes(kept), np.bool_)


def components(a: np.ndarray, b: np.ndarray, images: int) -> np.ndarray:
    """Connected components: int64 (N,), the same number for images that pairs connect."""
    # scipy: not for those who only read the decisions
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(images, images))
    labels: np.ndarray = connected_components(links, directed=False)[1].astype(np.int64)
    return labels


def open_questions(
    a: np.ndarray, b: np.ndarray, rests_on: np.ndarray, rank: np.ndarray, asked: set[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Pairs of kept images that removed images connect, and that nobody has compared: (better, worse).

    The search compares an image of a crowd with some of the crowd only. Each kept image is therefore to be
    compared with the best kept ones of its component, one a round; ``asked`` remembers, and is added to.
    """
    label = components(a, b, len(rank))
    involved = np.unique(np.concatenate([a, b]))
    kept = involved[rests_on[involved] < 0]
    order = kept[np.lexsort((rank[kept], label[kept]))]
    questions = []
    for members in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        leaders = members[:_MOST_LEADERS].tolist()
        for place, image in enumerate(members.tolist()):
            pair = next(((best, image) for best in leaders[:place] if (best, image) not in asked), None)
            if pair:
                questions.append(pair)
    asked.update(questions)
    return questions
