"""Stars without chains: every removal rests on a checked pair with a kept image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_data.deduplicate import ImageSet
from dcgan_data.deduplicate.deciding import code_health, decide
from dcgan_data.deduplicate.encoding import encode_all, read_codes
from dcgan_data.deduplicate.fitting import fit
from dcgan_data.deduplicate.pairs import CODE, Pairs, make_pairs
from dcgan_data.formats.assemble import Decisions
from dcgan_data.hashing import recipe_views
from dcgan_data.recipe import DedupRecipe

COUNT = 10
Scores = dict[tuple[int, int], float]


@pytest.fixture(scope="module")
def images(
    tmp_path_factory: pytest.TempPathFactory,
    texture: Callable[..., np.ndarray],
    stage: Callable[..., ImageSet],
    recipe: Any,
) -> ImageSet:
    """Ten textures that have nothing to do with one another: scores are what a test says."""
    textures = [texture(seed, 32, 32) for seed in range(COUNT)]
    staged = stage(tmp_path_factory.mktemp("ten"), [textures[:4], textures[4:]])
    fit(staged, recipe().autoencoder, 0, "cpu")
    list(encode_all(staged, DedupRecipe(), 1, recipe_views(DedupRecipe())))
    return staged


def decided(images: ImageSet, scores: Scores, **changes: Any) -> Decisions:
    pairs = make_pairs(*(np.array([pair[n] for pair in scores], np.int64) for n in (0, 1)), CODE)
    pairs["score"], pairs["distance"] = list(scores.values()), 3
    findings = {"checked_pairs": len(pairs), "null": None}
    one_view = {"zooms": (), "shift": 0.0, "aspect": 1.0, "mirror": False}  # enough to ask what is open
    recipe = DedupRecipe(**{"keep": "first", "threshold": 0.74, **one_view, **changes})
    return decide(images, Pairs(pairs, findings), read_codes(images)["code"], recipe)


def kept_by(images: ImageSet, scores: Scores, **changes: Any) -> dict[int, int]:
    found = decided(images, scores, **changes).kept_by
    return {image: int(kept) for image, kept in enumerate(found) if kept >= 0}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({(0, 1): 0.9, (1, 2): 0.9}, {1: 0}),  # the chain 0 1 2: the best is at its end, 2 is no copy of 0
        ({(1, 0): 0.9, (0, 2): 0.9}, {1: 0, 2: 0}),  # the best is in its middle
        ({(0, 2): 0.9, (2, 1): 0.9}, {2: 0}),  # both ends are better than the middle; 2 could go for either
        ({(0, 2): 0.8, (1, 2): 0.9}, {2: 1}),  # then for the one that it is most like
        ({(0, 1): 0.9, (1, 2): 0.9, (2, 3): 0.9, (3, 4): 0.9}, {1: 0, 3: 2}),
        ({(0, 1): 0.9, (1, 2): 0.95, (0, 2): 0.8}, {1: 0, 2: 0}),
        ({(0, 1): 0.74, (2, 3): 0.7399}, {1: 0}),  # the threshold itself is enough
        ({}, {}),
    ],
)
def test_stars_not_chains(images: ImageSet, scores: Scores, expected: dict[int, int]) -> None:
    assert kept_by(images, scores) == expected
    assert kept_by(images, dict(reversed(scores.items()))) == expected
    assert kept_by(images, {(b, a): score for (a, b), score in scores.items()}) == expected


def test_what_is_said_of_a_removal(images: ImageSet) -> None:
    found = decided(images, {(0, 1): 0.9, (3, 2): 0.8, (4, 5): 0.6})
    assert found.kept_by.tolist() == [-1, 0, -1, 2, *[-1] * 6]
    assert found.group.tolist() == [0, 0, 1, 1, *[-1] * 6]
    assert found.score[[1, 3]].tolist() == [np.float32(0.9), np.float32(0.8)]
    assert found.distance[[1, 3]].tolist() == [3, 3]
    assert found.weight is None
    assert found.pairs["score"].tolist() == [np.float32(s) for s in (0.9, 0.8, 0.6)]
    assert (found.findings["rule"], found.findings["threshold"]) == ("near", 0.74)
    assert found.findings["removal_curve"][0] == [0.5, 3]
    assert found.findings["removal_curve"][-1] == [0.98, 0]
    assert [count for _, count in found.findings["removal_curve"]] == sorted(
        (count for _, count in found.findings["removal_curve"]), reverse=True
    )


def test_the_way_round_is_said(images: ImageSet) -> None:
    pairs = make_pairs(np.array([0, 3]), np.array([1, 2]), CODE)
    pairs["score"], pairs["view"]["zoom_x"] = 0.9, 95
    found = decide(
        images,
        Pairs(pairs, {"checked_pairs": 2, "null": None}),
        read_codes(images)["code"],
        DedupRecipe(keep="first", threshold=0.74),
    )
    assert found.view[[1, 3]].tolist() == ["zoom 0.95x1.00", "kept: zoom 0.95x1.00"]


def test_weights_say_how_many_images_each_stands_for(images: ImageSet) -> None:
    found = decided(images, {(0, 1): 0.9, (0, 2): 0.9, (3, 4): 0.9}, multiplicity=True)
    assert found.weight is not None
    kept = found.kept_by < 0
    assert found.weight[kept].tolist() == [3, 2, 1, 1, 1, 1, 1]
    assert found.weight[kept].sum() == COUNT


@given(st.data())
@settings(max_examples=25)
def test_any_pairs_give_stars(images: ImageSet, data: st.DataObject) -> None:
    """By definition: who is no copy of a better kept one stays, all others name the kept one they are most
    like; and neither the order of the pairs nor their way round matters."""
    number = st.integers(0, COUNT - 1)
    keys = data.draw(st.sets(st.tuples(number, number).filter(lambda pair: pair[0] < pair[1]), max_size=14))
    scores = {pair: data.draw(st.sampled_from([0.6, 0.74, 0.8, 0.9])) for pair in sorted(keys)}
    copies = {pair: score for pair, score in scores.items() if score >= 0.74}
    kept: list[int] = []
    for image in range(COUNT):
        if not any((better, image) in copies for better in kept):
            kept.append(image)
    expected = {
        image: min(
            (other for other in kept if tuple(sorted((other, image))) in copies),
            key=lambda other: (-copies[min(other, image), max(other, image)], other),
        )
        for image in range(COUNT)
        if image not in kept
    }
    order = data.draw(st.permutations(list(scores)))
    turned = {pair[::-1] if data.draw(st.booleans()) else pair: scores[pair] for pair in order}
    assert kept_by(images, turned) == expected


def panorama(texture: Callable[..., np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Three windows on one wide picture: neighbours share 84 % of their sides, the ends 69 % - too little."""
    wide = texture(seed, 96, 64)
    return {
        f"{seed}{name}": wide[:, start : start + 64] for name, start in zip("ABC", (0, 10, 20), strict=True)
    }


@pytest.mark.parametrize(
    ("order", "removed"),
    [
        ("ABC", {"B": "AC"}),  # C was a copy of B only, which is not kept
        ("BAC", {"A": "B", "C": "B"}),
        ("CAB", {"B": "AC"}),
    ],
)
def test_a_chain_of_real_pictures(
    tmp_path: Path,
    texture: Callable[..., np.ndarray],
    write_set: Any,
    near: Any,
    removals_of: Any,
    pairs_of: Any,
    order: str,
    removed: dict[str, str],
) -> None:
    shown = {key: window for seed in range(3) for key, window in panorama(texture, seed).items()}
    wishes = tmp_path / "wishes.csv"
    wishes.write_text("key,value\n" + "".join(f"{key},{-order.index(key[1])}\n" for key in shown))
    out = write_set(tmp_path / "set", shown, near(shift=4.0, radius=32, keep=f"{wishes}:value"))
    copies = {tuple(sorted((p["key_a"], p["key_b"]))) for p in pairs_of(out) if p["score"] >= 0.74}
    assert copies == {
        (f"{n}{a}", f"{n}B") if a < "B" else (f"{n}B", f"{n}{a}") for n in range(3) for a in "AC"
    }
    found = removals_of(out)
    assert {key[1] for key in found} == set(removed)
    assert all(found[key][0] == key[0] and found[key][1] in removed[key[1]] for key in found)


def crowd(texture: Callable[..., np.ndarray], grain: Any, count: int) -> dict[str, np.ndarray]:
    return {f"{number:03d}": grain(texture(5, 32, 32), 6, number) for number in range(count)}


def test_a_crowd_of_which_each_is_compared_with_a_few(
    tmp_path: Path,
    texture: Callable[..., np.ndarray],
    grain: Any,
    write_set: Any,
    near: Any,
    removals_of: Any,
) -> None:
    """The search leaves most comparisons out; who is left over is compared with the best of its crowd."""
    recipe = near(records_per_shard=64, max_candidates=4, window=4)
    out = write_set(tmp_path / "set", crowd(texture, grain, 200), recipe)
    assert len(set(removals_of(out).values())) == 1
    assert len(removals_of(out)) == 199


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_when_questions_are_left_open_every_removal_still_rests_on_its_pair(
    tmp_path: Path,
    texture: Callable[..., np.ndarray],
    grain: Any,
    write_set: Any,
    near: Any,
    removals_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    rounds: int,
) -> None:
    monkeypatch.setattr("dcgan_data.deduplicate.deciding._MOST_ROUNDS", rounds)
    recipe = near(records_per_shard=64, max_candidates=1, window=1)
    out = write_set(tmp_path / "set", crowd(texture, grain, 40), recipe)
    assert removals_of(out)


def test_code_health() -> None:
    bits = np.zeros((4, 128), bool)
    bits[:, 0] = True  # always on
    bits[0, 1] = bits[1, 1] = True
    health = code_health(np.packbits(bits, axis=1))
    assert health.pop("bit_activity") == [1.0, 0.5, *[0.0] * 126]
    assert health == {
        "bits_never_on": 126,
        "bits_always_on": 1,
        "idle_bits": 127,
        "mean_activity": round((4 + 2) / (4 * 128), 4),
        "lowest_activity": 0.0,
        "highest_activity": 1.0,
        "distinct_codes": 2,
        "largest_buckets": [2, 2],
    }
