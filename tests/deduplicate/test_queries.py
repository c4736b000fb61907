"""Who is looked up: one of several images with equal pixels, and no flat ones, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate.encoding import CODE_ROW
from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.queries import GROUP_BYTES, choose_all, choose_distinct
from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.staging import Staging


def staged(out: Path, shards: list[int]) -> tuple[ImageSet, np.ndarray]:
    """Codes of images, about a third of which have the pixels of another one, and a tenth is flat."""
    rng = np.random.default_rng(1)
    count = sum(shards)
    rows = np.zeros(count, CODE_ROW)
    rows["code"] = rng.integers(0, 256, (count, 16))
    rows["pixels"] = rng.integers(0, 256, (max(count // 2, 1), 16))[
        rng.integers(0, max(count // 2, 1), count)
    ]
    rows["flat"] = rows["pixels"][:, 3] < 26
    images = ImageSet(Staging(out), shards, 32)
    for shard, end in enumerate(np.cumsum(shards).tolist()):
        save_array(images.staging.codes(shard), rows[end - shards[shard] : end])
    return images, rows


@pytest.mark.parametrize("share", [0, 1, 7, 300, 10**9])
@pytest.mark.parametrize("shards", [[40, 0, 31, 60], [1], [0]])
def test_against_all_at_once(tmp_path: Path, shards: list[int], share: int) -> None:
    """share: into how many parts the hashes are cut, for the memory's sake."""
    images, rows = staged(tmp_path, shards)
    memory = GROUP_BYTES * len(rows) // share if share else 0
    chosen = choose_distinct(images, tmp_path / "index", memory)
    seen: dict[bytes, int] = {}
    same = []
    for number, row in enumerate(rows):
        first = seen.setdefault(row["pixels"].tobytes(), number)
        if first != number:
            same.append([first, number])
    assert chosen.same.tolist() == same and chosen.same.dtype == np.int64
    assert chosen.flat == rows["flat"].sum()
    wanted = [n for n in seen.values() if not rows["flat"][n]]
    queries = np.load(tmp_path / "index" / "queries.npy")
    assert queries.tolist() == sorted(wanted) and queries.dtype == np.int64
    codes: Any = np.load(tmp_path / "index" / "codes.npy")
    assert np.array_equal(codes, rows["code"][queries]) and codes.dtype == np.uint8


def test_all_but_flat_ones(tmp_path: Path) -> None:
    images, rows = staged(tmp_path, [40, 60])
    chosen = choose_all(images, tmp_path / "index")
    assert chosen.flat == rows["flat"].sum() > 0 and len(chosen.same) == 0
    assert np.load(tmp_path / "index" / "queries.npy").tolist() == np.flatnonzero(~rows["flat"]).tolist()
