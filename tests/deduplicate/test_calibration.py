"""How many false pairs are to be expected, from the set's own unrelated images."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.deduplicate.calibration import expected_false_pairs


def is_warning(text: str) -> bool:
    return text.startswith("warning: ")


def pictures(texture: Callable[..., np.ndarray], count: int) -> dict[str, np.ndarray]:
    return {f"{number:03d}": texture(100 + number, 32, 32) for number in range(count)}


def test_unrelated_pictures_are_not_expected_to_score_high(
    tmp_path: Path, texture: Callable[..., np.ndarray], write_set: Any, near: Any, reporter: Any
) -> None:
    shown = pictures(texture, 70) | {f"copy {n}": texture(100 + n, 32, 32) for n in range(2)}
    out = write_set(tmp_path / "set", shown, near(records_per_shard=40), reporter=reporter)
    found = _findings(out)
    assert found["null"]["pairs"] >= 200
    assert 0 <= found["expected_false_pairs"] < 0.01
    assert found["expected_false_share"] == pytest.approx(found["expected_false_pairs"] / 2, rel=0.01)
    assert not any(map(is_warning, reporter.said))


def test_too_few_images_say_nothing(near_set: Path) -> None:
    found = _findings(near_set)
    assert found["null"] is None
    assert "expected_false_pairs" not in found
    assert "expected_false_share" not in found


def test_the_expectation_falls_with_the_threshold_and_grows_with_the_pairs() -> None:
    null = {"pairs": 4000, "level": 0.2, "slope": 0.05}
    levels = [expected_false_pairs(null, 1000, threshold / 100) for threshold in range(50, 101)]
    assert all(a > b >= 0 for a, b in pairwise(levels))  # type: ignore[operator]
    tenfold = expected_false_pairs(null, 10_000, 0.6)
    assert tenfold == pytest.approx(10 * expected_false_pairs(null, 1000, 0.6))  # type: ignore[operator]
    assert expected_false_pairs(None, 1000, 0.6) is None
    # By its definition: a fifth of unrelated pairs score at least the level, and e times fewer a slope on.
    assert expected_false_pairs(null, 1000, math.tanh(0.2)) == pytest.approx(200)
    assert expected_false_pairs(null, 1000, math.tanh(0.25)) == pytest.approx(200 / math.e)


@pytest.mark.parametrize(("expected", "warned"), [(0.05, False), (3.0, True)])
def test_a_warning_when_many_removals_may_be_wrong(
    tmp_path: Path,
    near_source: Path,
    near_recipe: Any,
    make: Any,
    reporter: Any,
    monkeypatch: pytest.MonkeyPatch,
    expected: float,
    warned: bool,
) -> None:
    monkeypatch.setattr(
        "dcgan_data.deduplicate.deciding.expected_false_pairs", lambda null, checked, threshold: expected
    )
    info = make(near_source, tmp_path / "set", near_recipe, reporter)
    assert info.deduplication["expected_false_share"] == expected / info.counts.duplicate
    text = (
        f"warning: {expected / info.counts.duplicate:.1%} of the removals may be wrong "
        "(estimated from the set's unrelated images); "
        "look at the lowest scores in the report, and try a higher --threshold"
    )
    assert (text in reporter.said) == warned == any(map(is_warning, reporter.said))


def test_idle_code_bits_are_said(
    tmp_path: Path, texture: Callable[..., np.ndarray], grain: Any, write_set: Any, near: Any, reporter: Any
) -> None:
    """A hundred pictures of one kind: their codes hardly differ."""
    shown = {f"{n:03d}": grain(texture(1, 32, 32), 4, n) for n in range(100)}
    write_set(tmp_path / "set", shown, near(records_per_shard=100), reporter=reporter)
    found = list(filter(is_warning, reporter.said))
    assert len(found) == 1
    assert "of 128 code bits are the same for every image, so that unlike images collide" in found[0]


def _findings(out: Path) -> dict[str, Any]:
    from dcgan_data.formats.dataset import read_info

    return read_info(out).deduplication
