"""``bench faces``: how detections are held against hand-made boxes, and what the measurement says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcgan_data.bench.faces import bench_faces, matched
from dcgan_data.errors import BadInput

BOX = (100, 100, 40, 40)


@pytest.mark.parametrize(
    ("wanted", "detected", "found"),
    [
        ([BOX], [BOX], 1),
        ([BOX], [(100, 100, 40, 60)], 1),  # 0.67
        ([BOX], [(120, 100, 40, 40)], 0),  # 0.33
        ([BOX], [(110, 100, 40, 40)], 1),  # 0.6
        ([BOX], [BOX, (102, 100, 40, 40)], 1),
        ([BOX, (102, 100, 40, 40)], [BOX], 1),
        ([BOX, (300, 0, 9, 9)], [(300, 0, 9, 9), BOX], 2),
        ([BOX], [], 0),
        ([], [BOX], 0),
        ([BOX], [(500, 500, 40, 40)], 0),
    ],
)
def test_each_box_is_used_once(
    wanted: list[tuple[int, int, int, int]], detected: list[tuple[int, int, int, int]], found: int
) -> None:
    assert matched(wanted, detected) == found


def test_the_best_overlaps_go_first() -> None:
    """Taken in the order given, the second box would be left without a partner."""
    assert matched([BOX, (108, 100, 40, 40)], [(108, 100, 40, 40), (96, 100, 40, 40)]) == 2


@pytest.fixture
def photos(tmp_path: Path, encoded: Callable[..., bytes], picture: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded(picture(160, 120, seed=number)))
    return folder


def test_photos_without_a_face(photos: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps([{"file": "1.png", "boxes": [list(BOX)]}, {"file": "no.png", "boxes": [list(BOX)]}])
    )
    result = bench_faces(photos, 32, 1, boxes=boxes)
    assert result.photos == 3
    assert {rate.detector for rate in result.rates} == {"yunet", "haar"}
    assert all(rate.photos_per_s > 0 and rate.workers == 1 for rate in result.rates)
    assert [(score.boxes, score.found) for score in result.boxes] == [(1, 0)] * len(result.boxes)
    assert len(result.boxes) == len(result.rates)


@pytest.mark.parametrize("text", ["no json", '[{"file": "a"}]', '[{"file": "a", "boxes": [[1, 2]]}]'])
def test_a_list_that_cannot_be_read(photos: Path, tmp_path: Path, text: str) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(text)
    with pytest.raises(BadInput, match=r"boxes\.json: not a JSON list of"):
        bench_faces(photos, 32, 1, boxes=boxes)
