"""The score of a walk: 1 for a cross-fade, the number of steps for a jump, and who is warned of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_data.evaluate.latent.interpolation import between
from dcgan_data.evaluate.latent.smoothness import changes, smoothness

POINTS, Z = 9, 100


def walk_of(kind: str, steps: int, sharpness: float = np.inf, stored: int = 200) -> np.ndarray:
    """uint8 (9 * steps, 8, 8, 3): a walk through a generator that is ``smooth``, or ``memorises`` pictures.

    The one that memorises blends stored pictures by how near z is to each one's latent vector: the less, the
    larger its ``sharpness`` is; at infinity it shows the nearest.
    """
    rng = torch.Generator().manual_seed(1)
    points = torch.empty(POINTS, Z).uniform_(-1, 1, generator=rng)
    z = torch.cat(
        [between(a, b, steps, "linear")[:-1] for a, b in zip(points, points.roll(-1, 0), strict=True)]
    )
    if kind == "smooth":
        first, second = torch.randn(Z, 64, generator=rng) / 5, torch.randn(64, 192, generator=rng) / 8
        images = torch.tanh(torch.relu(z @ first) @ second)
    else:
        keys = torch.empty(stored, Z).uniform_(-1, 1, generator=rng)
        pictures = torch.empty(stored, 192).uniform_(-1, 1, generator=rng)
        distances = torch.cdist(z, keys) ** 2
        if np.isinf(sharpness):
            images = pictures[distances.argmin(1)]
        else:
            images = torch.softmax(-distances * sharpness, 1) @ pictures
    return ((images + 1) * 127.5).round().to(torch.uint8).reshape(-1, 8, 8, 3).numpy()


def test_change_is_the_root_mean_square_of_pixels_from_minus_one_to_one() -> None:
    images = np.zeros((3, 2, 2, 3), np.uint8)
    images[1] = 255
    images[2, 0] = 255
    assert changes(images) == pytest.approx([2, 2 * np.sqrt(0.5)])


def test_a_cross_fade_has_one_and_a_jump_the_number_of_steps() -> None:
    black, white = np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)
    fade = [black + (white - black) * n / 15 for n in range(15)]
    jump = [white] * 11 + [black] * 4
    found = smoothness(np.array([*fade, *jump]).astype(np.uint8), 2)
    assert [part.score for part in found.segments] == pytest.approx([1, 15])
    assert [part.cross_fade for part in found.segments] == pytest.approx([1, 1])
    assert found.worst == pytest.approx(15) and found.steps == 15
    assert [(part.start, part.end, part.at) for part in found.sharp] == [(1, 0, 10)]
    assert found.segments[1].largest == pytest.approx(2)
    assert found.segments[0].mean == pytest.approx(2 / 15)
    assert found.independent == pytest.approx(2) and found.share == pytest.approx(1)
    assert found.whole == pytest.approx(2 / (4 / 30))


@pytest.mark.parametrize("steps", [8, 32, 64])
def test_a_generator_that_memorises_jumps_and_a_smooth_one_does_not(steps: int) -> None:
    smooth, jumping = (smoothness(walk_of(kind, steps), POINTS) for kind in ("smooth", "memorises"))
    assert not smooth.sharp and smooth.worst is not None and smooth.worst < 0.75 * smooth.limit
    assert len(jumping.sharp) >= 3
    assert jumping.worst is not None and jumping.worst > 1.5 * jumping.limit
    assert jumping.share is not None and jumping.share > 0.5
    assert smooth.cross_fade is not None and smooth.cross_fade < 1.1


def test_the_score_of_a_smooth_walk_settles_and_that_of_a_jump_grows() -> None:
    smooth, jumping = (
        [smoothness(walk_of(kind, steps), POINTS).worst or 0 for steps in (16, 64)]
        for kind in ("smooth", "memorises")
    )
    assert smooth[1] == pytest.approx(smooth[0], rel=0.15)
    assert jumping[1] == pytest.approx(4 * jumping[0], rel=0.3)


def test_a_soft_edge_between_memorised_pictures_is_sharp_too() -> None:
    assert smoothness(walk_of("memorises", 32, sharpness=4), POINTS).sharp


def test_a_generator_that_blends_what_it_stored_passes() -> None:
    """A smooth walk is no proof: the captions say so."""
    assert not smoothness(walk_of("memorises", 32, sharpness=0.1), POINTS).sharp


def test_a_walk_without_a_change_has_no_score() -> None:
    still = smoothness(np.full((16, 8, 8, 3), 7, np.uint8), 2)
    assert still.worst is None and still.whole is None and still.share is None and still.independent is None
    assert still.unchanging == still.segments and not still.sharp
