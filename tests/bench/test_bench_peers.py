"""The search of the peers equals a search by brute force; the hashes are the libraries' own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from dcgan_data.bench import peers
from dcgan_data.bench.copies import PlantedImage, PlantedSet
from dcgan_data.bench.peers import Pairs, keep_first, pairs_among, pairs_within, require_peers, score_peer
from dcgan_data.errors import BadRequest
from dcgan_data.reporter import SilentReporter
from dcgan_data.sources import open_source


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(peers, "_BLOCK_COLUMNS", 5)


def codes(count: int, words: int, seed: int) -> np.ndarray:
    """Hashes that lie near a few centres, so that some pairs are near and others are not."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 2, (4, 64 * words), dtype=np.uint8)
    bits = centres[rng.integers(4, size=count)] ^ (rng.random((count, 64 * words)) < 0.06)
    return np.packbits(bits, axis=1).view(np.uint64)


def brute_force(a: np.ndarray, b: np.ndarray, radius: int) -> dict[tuple[int, int], int]:
    found = {}
    for i, first in enumerate(a.tolist()):
        for j, second in enumerate(b.tolist()):
            distance = sum((x ^ y).bit_count() for x, y in zip(first, second, strict=True))
            if distance <= radius:
                found[i, j] = distance
    return found


def as_dict(pairs: Pairs) -> dict[tuple[int, int], int]:
    keys = list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, pairs.distance.tolist(), strict=True))


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize(("words", "radius"), [(1, 6), (1, 0), (4, 31)])
def test_the_search_in_blocks_is_exact(words: int, radius: int) -> None:
    a, b = codes(41, words, 1), codes(33, words, 2)
    a[3] = b[20]
    wanted = brute_force(a, b, radius)
    assert 0 < len(wanted) < a.shape[0] * b.shape[0]
    assert as_dict(pairs_within(a, b, radius)) == wanted
    a[40] = a[3]
    among = {pair: distance for pair, distance in brute_force(a, a, radius).items() if pair[0] < pair[1]}
    assert among
    assert as_dict(pairs_among(a, radius)) == among


def test_a_smaller_radius_of_the_same_search() -> None:
    a = codes(30, 1, 3)
    assert as_dict(pairs_among(a, 10).within(4)) == as_dict(pairs_among(a, 4))


def test_nothing_to_search() -> None:
    assert as_dict(pairs_among(np.empty((0, 4), np.uint64), 31)) == {}


def test_keep_first_names_the_earliest_kept_one() -> None:
    edges = np.array([(1, 3), (0, 1), (2, 3), (3, 4), (2, 4)])
    pairs = Pairs(edges[:, 0], edges[:, 1], np.zeros(5, np.int64))
    assert keep_first(pairs) == {1: 0, 3: 2, 4: 2}


def test_scores_of_a_peer() -> None:
    truth = PlantedSet(
        Path("set"),
        {
            "A": PlantedImage("A", "", "A"),
            "B": PlantedImage("B", "", "B"),
            "a": PlantedImage("A", "blur", "A"),
            "b": PlantedImage("B", "grey", "B"),
            "lost": PlantedImage("B", "noise", "B"),
        },
        0,
    )
    # a is near A; b is near A too, but not near B
    pairs = Pairs(np.array([0, 0]), np.array([2, 3]), np.array([1, 2]))
    result = score_peer(truth, ["A", "B", "a", "b"], pairs)
    assert result.recall == {"blur": 1.0, "grey": 0.0}
    assert (result.wrong_pairs, result.wrong_removals) == (1, 1)
    assert result.rejected == {"noise": 1}


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(name: str) -> ModuleType | None:
        return None if name == "pdqhash" else peers

    monkeypatch.setattr(peers, "find_spec", lost)
    with pytest.raises(BadRequest) as caught:
        require_peers()
    assert str(caught.value) == (
        "--peers: pdqhash not installed; pip install 'dcgan-data[bench]', "
        "or leave the peers out with --no-peers"
    )


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("imagehash", "pdqhash")),
    reason="imagehash and pdqhash are not installed: pip install 'dcgan-data[bench]'",
)
def test_the_hashes_are_the_libraries_own(source: Path, picture: Callable[..., np.ndarray]) -> None:
    import imagehash
    import pdqhash

    require_peers()
    hashes = peers.hash_source(source, 1, SilentReporter())
    keys = [record.key for shard in open_source(source, 100).shards() for record in shard]
    assert hashes.keys == [key for key in keys if key not in ("18 text", "19 cut")]
    image = Image.fromarray(picture(seed=3))
    row = hashes.keys.index("03")
    for name, function in (("phash", imagehash.phash), ("dhash", imagehash.dhash)):
        assert hashes.codes[name][row].tobytes().hex() == str(function(image))
        assert hashes.codes[name].shape == (18, 1)
    bits, _ = pdqhash.compute(np.asarray(image))
    assert np.array_equal(np.unpackbits(hashes.codes["pdq"][row].view(np.uint8)), bits)
    copies = pairs_among(hashes.codes["pdq"], 31)
    found = {(hashes.keys[a], hashes.keys[b]) for a, b in zip(copies.a, copies.b, strict=True)}
    assert {("03", "16 copy"), ("03", "17 copy"), ("16 copy", "17 copy")} <= found
