"""Samples: the grid's layout, full batches, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import scale
from dcgan_data.train.loop import train
from dcgan_data.train.sample import image_grid, open_sampler, to_pixels
from dcgan_data.train.sample import sample as write_sample

MakeConfig = Callable[..., TrainConfig]


def sample(run_dir: Path, count: int, out: Path, seed: int = 0, checkpoint: str = "last") -> Path:
    return write_sample(open_sampler(run_dir, checkpoint, "cpu"), count, out, seed)


@pytest.fixture
def run_dir(make_set: Callable[..., Path], make_config: MakeConfig) -> Path:
    summary = train(make_config(make_set(), steps=2))
    assert summary is not None
    return summary.run_dir


def test_grid_runs_row_by_row_and_ends_in_white() -> None:
    images = np.stack([np.full((2, 2, 3), n, np.uint8) for n in range(5)])
    grid = image_grid(images, columns=3)
    assert grid.shape == (4, 6, 3)
    assert grid[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 255]]


def test_grid_keeps_pixels_in_place() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    grid = image_grid(images, columns=2)
    assert np.array_equal(grid[3:, :3], images[2])
    assert np.array_equal(grid[:3, 3:], images[1])


def test_pixels_survive_scaling_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(12).view(1, 32, 32, 3)
    assert np.array_equal(to_pixels(scale(pixels)), pixels.numpy())


def test_an_image_does_not_depend_on_how_many_are_asked_for(run_dir: Path) -> None:
    sampler = open_sampler(run_dir, device="cpu")
    few, many = (np.concatenate(list(sampler.draw(count))) for count in (3, 130))
    assert few.shape == (3, 32, 32, 3)
    assert many.shape == (130, 32, 32, 3)
    assert few.dtype == np.uint8
    assert np.array_equal(few, many[:3])
    z = torch.rand(70, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    together = sampler.images(z)
    for one in (0, 5, 69):
        assert np.array_equal(sampler.images(z[one : one + 1])[0], together[one])


def test_a_checkpoint_can_be_chosen(
    make_set: Callable[..., Path], make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(make_set(kept=12), steps=4, checkpoint_every=2, held_out=3)
    train(config)
    names = [open_sampler(config.run_dir, name, "cpu").trained.weights.name for name in ("last", "2", "best")]
    assert names[:2] == ["000004", "000002"]
    assert names[2] in names[:2]
    with pytest.raises(BadRequest, match=r"--checkpoint 3: .*run has 2, 4; give one of these, last, or best"):
        open_sampler(config.run_dir, "3", "cpu")
    bare = make_config(steps=1, held_out=0, run_dir=tmp_path / "bare")
    train(bare)
    with pytest.raises(BadInput, match="bare: no checkpoint has a score, no images were held out; use last"):
        open_sampler(bare.run_dir, "best", "cpu")


def test_sample_writes_a_grid(run_dir: Path, tmp_path: Path) -> None:
    out = sample(run_dir, 5, tmp_path / "new" / "grid.png", seed=1)
    assert out == tmp_path / "new" / "grid.png"
    with Image.open(out) as image:
        assert (image.format, image.size) == ("PNG", (3 * 32, 2 * 32))


def test_sample_depends_on_the_seed(run_dir: Path, tmp_path: Path) -> None:
    first, again, other = (
        sample(run_dir, 4, tmp_path / f"{n}.png", seed).read_bytes() for n, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first != other


def test_the_newest_checkpoint_is_drawn(
    run_dir: Path, tmp_path: Path, make_set: Callable[..., Path], make_config: MakeConfig
) -> None:
    before = sample(run_dir, 4, tmp_path / "before.png").read_bytes()
    train(make_config(steps=6), resume=True)
    assert sample(run_dir, 4, tmp_path / "after.png").read_bytes() != before


def test_refusals(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--count 0: must be 1 to 10,000"):
        sample(run_dir, 0, tmp_path / "a.png")
    with pytest.raises(BadRequest, match="--seed -4: must be 0 or more"):
        sample(run_dir, 1, tmp_path / "a.png", seed=-4)
    with pytest.raises(BadRequest, match="device tpu: must be one of auto, cpu, cuda"):
        open_sampler(run_dir, device="tpu")
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"a.png: cannot be written .*; choose another --out"):
        sample(run_dir, 1, tmp_path / "file" / "a.png")
    with pytest.raises(BadRequest, match=r"a.jpg: samples are written as PNG; give a name that ends in .png"):
        sample(run_dir, 1, tmp_path / "a.jpg")
    with pytest.raises(BadInput, match=r"nowhere: not a run directory, it has no config.json"):
        sample(tmp_path / "nowhere", 1, tmp_path / "a.png")
    for path in sorted((run_dir / "checkpoints").glob("*/*")):
        path.unlink()
    (run_dir / "checkpoints" / "000002").rmdir()
    with pytest.raises(
        BadInput, match=r"run: has no checkpoint yet; train it further with 'dcgan-data train'"
    ):
        sample(run_dir, 1, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
