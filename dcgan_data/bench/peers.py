"""Other perceptual hashes on the same images: pHash and dHash (imagehash), PDQ (pdqhash).

Each is used as its users do: the whole encoded image is decoded with Pillow and hashed, and two images are
the same if their hashes differ in at most so many bits. All pairs are looked at, in blocks: time grows with
the square of the number of images, memory does not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dcgan_data.bench.copies import PlantedSet
from dcgan_data.bench.scoring import MethodScore, score
from dcgan_data.errors import BadRequest
from dcgan_data.parallel import run_tasks
from dcgan_data.reporter import Reporter
from dcgan_data.sources import Shard, open_source

RADII = {"phash": (6, 8, 10), "dhash": (6,), "pdq": (31, 60)}
"""Usual radii in bits, of 64 for pHash and dHash and of 256 for PDQ (31 is its authors')."""
_RECORDS_IN_A_TASK = 256
_BLOCK_ROWS, _BLOCK_COLUMNS = 128, 8192
"""One block's differing bits are 8 MB: they stay in the processor's cache."""


class Pairs(NamedTuple):
    """Pairs of images within a radius."""

    a: np.ndarray
    """int64 (P,): row in the first set of hashes."""
    b: np.ndarray
    """int64 (P,): row in the second."""
    distance: np.ndarray
    """int64 (P,): differing bits."""

    def within(self, radius: int) -> Pairs:
        """Those of at most ``radius`` differing bits."""
        near = self.distance <= radius
        return Pairs(self.a[near], self.b[near], self.distance[near])


@dataclass(frozen=True)
class Hashes:
    """The hashes of a source's images, in its order."""

    keys: list[str]
    """Of the images that could be decoded."""
    codes: dict[str, np.ndarray]
    """Name of the hash -> uint64 (N, words)."""


def require_peers() -> None:
    """BadRequest unless the libraries of the peers are installed."""
    missing = [name for name in ("imagehash", "pdqhash") if find_spec(name) is None]
    if missing:
        raise BadRequest(
            f"--peers: {' and '.join(missing)} not installed; "
            "pip install 'dcgan-data[bench]', or leave the peers out with --no-peers"
        )


def hash_source(path: Path, workers: int, reporter: Reporter) -> Hashes:
    """Hash every image of a source."""
    source = open_source(path, _RECORDS_IN_A_TASK)
    shards = source.shards()
    done: dict[int, tuple[list[str], dict[str, np.ndarray]]] = {}
    with reporter.stage("peers", len(source), "images") as stage:
        for number, keys, codes in run_tasks(hash_shard, list(enumerate(shards)), workers):
            done[number] = keys, codes
            stage.advance(len(shards[number]))
    parts = [done[number] for number in range(len(shards))]
    return Hashes(
        [key for keys, _ in parts for key in keys],
        {name: np.concatenate([codes[name] for _, codes in parts]) for name in RADII},
    )


def hash_shard(number: int, shard: Shard) -> tuple[int, list[str], dict[str, np.ndarray]]:
    """(number, keys of the images that can be decoded, their hashes as uint64 (n, words))."""
    keys: list[str] = []
    rows: dict[str, list[np.ndarray]] = {name: [] for name in RADII}
    for record in shard:
        try:
            with Image.open(io.BytesIO(record.data)) as opened:
                image = opened.convert("RGB")
        except Exception:  # noqa: BLE001 (a damaged image, which has no hash)
            continue
        keys.append(record.key)
        for name, code in _hash(image).items():
            rows[name].append(code)
    words = {name: 4 if name == "pdq" else 1 for name in RADII}
    return number, keys, {name: np.array(rows[name], np.uint64).reshape(-1, words[name]) for name in RADII}


def _hash(image: Image.Image) -> dict[str, np.ndarray]:
    """The hashes of one image as uint64 (words,)."""
    import imagehash  # the optional extra [bench]
    import pdqhash

    bits = {
        "phash": imagehash.phash(image).hash,
        "dhash": imagehash.dhash(image).hash,
        "pdq": pdqhash.compute(np.asarray(image))[0],
    }
    return {name: np.packbits(found.astype(bool)).view(np.uint64) for name, found in bits.items()}


def pairs_within(a: np.ndarray, b: np.ndarray, radius: int) -> Pairs:
    """All pairs of a row of ``a`` and a row of ``b``, uint64 (N, words) and (M, words), within ``radius``."""
    found = list(_near_in_blocks(a, b, radius))
    return Pairs(*(np.concatenate([block[part] for block in found]) for part in range(3)))


def pairs_among(codes: np.ndarray, radius: int) -> Pairs:
    """All pairs a < b of the rows of ``codes``, uint64 (N, words), within ``radius``; each pair once."""
    found = list(_near_in_blocks(codes, codes, radius, upper=True))
    return Pairs(*(np.concatenate([block[part] for block in found]) for part in range(3)))


def _near_in_blocks(a: np.ndarray, b: np.ndarray, radius: int, upper: bool = False) -> Iterator[Pairs]:
    nothing = np.empty(0, np.int64)
    yield Pairs(nothing, nothing, nothing)
    for top in range(0, len(a), _BLOCK_ROWS):
        rows = a[top : top + _BLOCK_ROWS]
        for left in range(top // _BLOCK_COLUMNS * _BLOCK_COLUMNS if upper else 0, len(b), _BLOCK_COLUMNS):
            columns = b[left : left + _BLOCK_COLUMNS]
            distance = np.zeros((len(rows), len(columns)), np.uint16)
            for word in range(a.shape[1]):
                distance += np.bitwise_count(rows[:, None, word] ^ columns[None, :, word])
            row, column = np.nonzero(distance <= radius)
            pairs = Pairs(row + top, column + left, distance[row, column].astype(np.int64))
            once = pairs.a < pairs.b if upper else slice(None)
            yield Pairs(pairs.a[once], pairs.b[once], pairs.distance[once])


def keep_first(pairs: Pairs) -> dict[int, int]:
    """Removed row -> kept row, when every row near an earlier kept one is removed in its favour.

    pairs: a < b, as ``pairs_among`` gives them.
    """
    removed: dict[int, int] = {}
    for place in np.lexsort((pairs.a, pairs.b)):  # the earliest partner of each row first
        a, b = int(pairs.a[place]), int(pairs.b[place])
        if a not in removed and b not in removed:
            removed[b] = a
    return removed


def score_peers(truth: PlantedSet, hashes: Hashes) -> dict[str, MethodScore]:
    """How every hash did at each of its radii, by names such as ``phash_8``."""
    scores = {}
    for name, radii in RADII.items():
        pairs = pairs_among(hashes.codes[name], max(radii))
        for radius in radii:
            scores[f"{name}_{radius}"] = score_peer(truth, hashes.keys, pairs.within(radius))
    return scores


def score_peer(truth: PlantedSet, keys: list[str], pairs: Pairs) -> MethodScore:
    """A copy is found if it is near its original; what keep-first would remove is held against families."""
    found = set[str]()
    wrong = 0
    for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
        first, second = keys[a], keys[b]
        wrong += truth.family(first) != truth.family(second)
        found.update(key for key, other in ((first, second), (second, first)) if _copies(truth, key, other))
    kept_by: Mapping[str, str] = {keys[b]: keys[a] for b, a in keep_first(pairs).items()}
    return score(truth, kept_by, found, truth.images.keys() - set(keys), wrong)


def _copies(truth: PlantedSet, key: str, other: str) -> bool:
    image = truth.images[key]
    return bool(image.kind) and image.original == other
