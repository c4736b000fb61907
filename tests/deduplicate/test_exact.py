"""The paper's rule: all 128 bits collide; flat images only if their pixels are equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate import ImageSet, Run, deduplicate
from dcgan_data.formats.assemble import Decisions

Texture = Callable[..., np.ndarray]


@pytest.fixture
def decided(recipe: Any, reporter: Any) -> Callable[..., Decisions]:
    def run(images: ImageSet, min_contrast: float = 4.0) -> Decisions:
        exact = recipe("exact", dedup={"rule": "exact", "min_contrast": min_contrast})
        return deduplicate(Run(images, exact, 1, "cpu", reporter, {}))

    return run


def test_equal_images_form_groups_across_shards(
    tmp_path: Path, texture: Texture, stage: Any, decided: Any
) -> None:
    a, b, c, d = (texture(seed, 32, 32) for seed in range(4))
    found = decided(stage(tmp_path, [[a, b], [c, a], [], [d, b, a]]))
    assert found.kept_by.tolist() == [-1, -1, -1, 0, -1, 1, 0]
    assert found.group.tolist() == [0, 1, -1, 0, -1, 1, 0]
    assert {name: values.tolist() for name, values in found.pairs.items() if name != "score"} == {
        "a": [0, 1, 0],
        "b": [3, 5, 6],
        "view": ["identity"] * 3,
        "distance": [0, 0, 0],
        "found": ["code"] * 3,
    }
    assert np.isnan(found.pairs["score"]).all()
    assert found.codes.shape == (7, 16)
    assert found.findings["rule"] == "exact"
    assert "threshold" not in found.findings
    assert found.findings["low_contrast_images"] == 0
    assert found.findings["code_health"]["distinct_codes"] == 4


def test_the_best_of_each_group_stays(tmp_path: Path, texture: Texture, stage: Any, decided: Any) -> None:
    a, b = texture(0, 32, 32), texture(1, 32, 32)
    facts = {
        0: {"key": "z", "width": 40, "height": 40},
        1: {"key": "m", "width": 60, "height": 50},  # the largest of the first group
        2: {"key": "a", "width": 50, "height": 50},
        3: {"key": "y", "width": 70, "height": 40},
        4: {"key": "c", "width": 40, "height": 70},  # as large as y, and the smaller key
        5: {"key": "d", "width": 70, "height": 40},
    }
    found = decided(stage(tmp_path, [[a, a, a, b], [b, b]], facts))
    assert found.kept_by.tolist() == [1, -1, 1, 4, -1, 4]
    assert found.pairs["a"].tolist() == [1, 1, 4, 4] or sorted(found.pairs["a"].tolist()) == [1, 1, 4, 4]


def flat(level: int, seed: int | None = None) -> np.ndarray:
    image = np.full((32, 32, 3), level, np.uint8)
    if seed is not None:
        image += np.random.default_rng(seed).integers(0, 2, image.shape, dtype=np.uint8)
    return image


def test_flat_images_are_the_same_only_if_their_pixels_are(
    tmp_path: Path, texture: Texture, stage: Any, decided: Any
) -> None:
    """Black, white and grey all have the code of the bias; only equal pixels make them duplicates."""
    images = [flat(0), flat(255), flat(100), flat(0), flat(7, 1), flat(7, 2), flat(7, 1), texture(0, 32, 32)]
    found = decided(stage(tmp_path, [images]))
    assert found.kept_by.tolist() == [-1, -1, -1, 0, -1, -1, 4, -1]
    assert found.findings["low_contrast_images"] == 7
    assert len({found.codes[n].tobytes() for n in range(4)}) == 1


def test_without_the_contrast_rule_flat_images_collide(tmp_path: Path, stage: Any, decided: Any) -> None:
    found = decided(stage(tmp_path, [[flat(0), flat(255), flat(100)]]), min_contrast=0.0)
    assert found.kept_by.tolist() == [-1, 0, 0]
    assert found.pairs["distance"].tolist() == [0, 0]


def test_one_image(tmp_path: Path, texture: Texture, stage: Any, decided: Any) -> None:
    found = decided(stage(tmp_path, [[texture(0, 32, 32)]]))
    assert (found.kept_by.tolist(), found.group.tolist(), found.pairs["a"].tolist()) == ([-1], [-1], [])
