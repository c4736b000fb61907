"""Stars: what stays, what goes, and for which kept image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.ops.groups import choose_stars, components, open_questions

Graph = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Pairs a, b with scores of few values (so that there are ties), and ranks of all images."""
    images = draw(st.integers(1, 24))
    every = [(a, b) for a in range(images) for b in range(a)]
    chosen = draw(st.lists(st.sampled_from(every), unique=True, max_size=60)) if every else []
    a, b = np.array(chosen, np.int64).reshape(-1, 2).T
    score = np.array(draw(st.lists(st.sampled_from([0.75, 0.8, 0.9]), min_size=len(a), max_size=len(a))))
    return a, b, score.astype(np.float32), np.array(draw(st.permutations(range(images))), np.int64)


def adjacency(a: np.ndarray, b: np.ndarray, images: int) -> list[set[int]]:
    near: list[set[int]] = [set() for _ in range(images)]
    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        near[i].add(j)
        near[j].add(i)
    return near


def slow_kept(a: np.ndarray, b: np.ndarray, rank: np.ndarray) -> set[int]:
    """One image after the other, best first: it stays if no kept one is a copy of it."""
    near = adjacency(a, b, len(rank))
    kept: set[int] = set()
    for image in np.argsort(rank).tolist():
        if not near[image] & kept:
            kept.add(image)
    return kept


def keepers(graph: Graph) -> list[int]:
    """The kept image that each one was removed for, -1 for kept ones."""
    a, b, score, rank = graph
    rests_on, _ = choose_stars(a, b, score, rank)
    return [
        -1 if pair < 0 else int(a[pair] + b[pair] - image) for image, pair in enumerate(rests_on.tolist())
    ]


@given(graphs())
def test_stars_are_the_greedy_choice(graph: Graph) -> None:
    a, b, score, rank = graph
    kept = slow_kept(a, b, rank)
    rests_on, decisive = choose_stars(a, b, score, rank)
    assert rests_on.dtype == np.int64 and decisive.dtype == np.bool_
    assert set(np.flatnonzero(rests_on < 0).tolist()) == kept
    assert decisive.tolist() == [(i in kept) != (j in kept) for i, j in zip(a, b, strict=True)]
    near = adjacency(a, b, len(rank))
    assert all(not near[image] & kept for image in kept)


@given(graphs())
def test_what_goes_rests_on_its_best_pair_with_a_kept_image(graph: Graph) -> None:
    a, b, score, rank = graph
    rests_on, _ = choose_stars(a, b, score, rank)
    kept = rests_on < 0
    for image in np.flatnonzero(~kept).tolist():
        offers = [
            (-score[pair], rank[other], pair)
            for pair in range(len(a))
            if image in (a[pair], b[pair]) and kept[other := a[pair] + b[pair] - image]
        ]
        assert rests_on[image] == min(offers)[2]


@given(graphs(), st.integers(0, 2**32))
def test_the_order_of_pairs_and_images_does_not_matter(graph: Graph, seed: int) -> None:
    a, b, score, rank = graph
    rng = np.random.default_rng(seed)
    order, swap = rng.permutation(len(a)), rng.integers(0, 2, len(a)).astype(bool)
    left, right = np.where(swap, b, a)[order], np.where(swap, a, b)[order]
    wanted = keepers(graph)
    assert keepers((left, right, score[order], rank)) == wanted
    names = rng.permutation(len(rank))  # the new number of each image
    renamed = np.empty_like(rank)
    renamed[names] = rank
    found = keepers((names[left], names[right], score[order], renamed))
    assert found == [-1 if wanted[old] < 0 else names[wanted[old]] for old in np.argsort(names)]


def chain(*ranks: int) -> list[int]:
    """keepers of the chain A - B - C."""
    return keepers((np.array([0, 1]), np.array([1, 2]), np.array([0.8, 0.9]), np.array(ranks)))


def test_chains() -> None:
    assert chain(1, 0, 2) == [1, -1, 1]  # B is best: A and C go for it
    assert chain(0, 1, 2) == [-1, 2, -1]  # A is best: B goes; C was never compared with A, and stays
    assert chain(2, 1, 0) == [-1, 2, -1]
    assert chain(0, 2, 1) == [-1, 2, -1]  # B rests on the one it resembles more


def test_a_long_chain_takes_many_rounds() -> None:
    links = np.arange(299)
    kept = keepers((links, links + 1, np.full(299, 0.8), np.arange(300)))
    assert [image for image in range(300) if kept[image] < 0] == list(range(0, 300, 2))


def test_of_equal_scores_the_better_keeper_counts() -> None:
    score = np.array([0.8, 0.8])
    assert keepers((np.array([0, 1]), np.array([2, 2]), score, np.array([1, 0, 2]))) == [-1, -1, 1]


def test_no_pairs() -> None:
    none = np.zeros(0, np.int64)
    for images in (0, 3):
        rests_on, decisive = choose_stars(none, none, np.zeros(0), np.arange(images))
        assert rests_on.tolist() == [-1] * images and decisive.tolist() == []
        assert components(none, none, images).tolist() == list(range(images))
        assert open_questions(none, none, rests_on, np.arange(images), set()) == []


@given(graphs())
def test_components_are_what_pairs_connect(graph: Graph) -> None:
    a, b, _, rank = graph
    label = components(a, b, len(rank))
    near = adjacency(a, b, len(rank))
    for start in range(len(rank)):
        reached, ahead = {start}, [start]
        while ahead:
            new = near[ahead.pop()] - reached
            reached |= new
            ahead += new
        assert set(np.flatnonzero(label == label[start]).tolist()) == reached


def rounds(graph: Graph) -> list[list[tuple[int, int]]]:
    """All questions, round by round, if every answer is that two images are no copies."""
    a, b, score, rank = graph
    rests_on, _ = choose_stars(a, b, score, rank)
    asked: set[tuple[int, int]] = set()
    found = []
    while questions := open_questions(a, b, rests_on, rank, asked):
        found.append(questions)
        assert len(found) <= len(rank)
    assert asked == {pair for questions in found for pair in questions}
    return found


@given(graphs())
def test_every_question_is_asked_once(graph: Graph) -> None:
    a, b, _, rank = graph
    kept = slow_kept(a, b, rank)
    label = components(a, b, len(rank))
    found = rounds(graph)
    assert len(found) <= 8
    every = [pair for questions in found for pair in questions]
    assert len(set(every)) == len(every)
    for questions in found:
        worse = [pair[1] for pair in questions]
        assert len(set(worse)) == len(worse)  # one a round
    wanted = set()
    for group in set(label.tolist()):
        members = sorted(kept & set(np.flatnonzero(label == group).tolist()), key=lambda image: rank[image])
        wanted |= {(best, worse) for n, worse in enumerate(members) for best in members[: min(n, 8)]}
    assert set(every) == wanted


def test_the_ends_of_a_chain_are_to_be_compared() -> None:
    graph = np.array([0, 1]), np.array([1, 2]), np.array([0.8, 0.9]), np.array([2, 1, 0])
    assert rounds(graph) == [[(2, 0)]]


def test_a_crowd_is_compared_with_eight_leaders() -> None:
    crowd = np.arange(1, 21)  # all are copies of image 0, which is the worst
    pairs = np.zeros(20, np.int64), crowd, np.full(20, 0.8), np.r_[20, np.arange(20)]
    # All but image 0 stay: each goes only for a better one.
    found = rounds(pairs)
    assert len(found) == 8
    assert found[0] == [(1, image) for image in range(2, 21)]
    assert found[7] == [(8, image) for image in range(9, 21)]


def test_an_answer_makes_a_star() -> None:
    """A question whose answer is yes leaves one image of the three."""
    a, b, score, rank = np.array([0, 1]), np.array([1, 2]), np.array([0.8, 0.9]), np.array([0, 1, 2])
    rests_on, _ = choose_stars(a, b, score, rank)
    asked: set[tuple[int, int]] = set()
    (question,) = open_questions(a, b, rests_on, rank, asked)
    assert question == (0, 2)
    a, b, score = np.r_[a, 0], np.r_[b, 2], np.r_[score, 0.78]
    assert keepers((a, b, score, rank)) == [-1, 0, 0]
    rests_on, _ = choose_stars(a, b, score, rank)
    assert open_questions(a, b, rests_on, rank, asked) == []
