"""Checkpoints are whole or absent, and bring everything back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcgan_data.errors import BadInput
from dcgan_data.train.checkpoint import (
    checkpoints_in,
    load_checkpoint,
    load_network,
    save_checkpoint,
)
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.game import TrainState, new_state, read_measures, update_discriminator, update_generator
from dcgan_data.train.models import Discriminator, Generator, ModelShape
from dcgan_data.train.seeds import draw_z

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


def advance(state: TrainState) -> None:
    z = draw_z(state.z_rng, 4, 3)
    if state.step % 2 == 0:
        update_generator(state, z)
    else:
        update_discriminator(state, torch.full((4, 3, 32, 32), 0.1 * state.step), z)
    state.step += 1


@pytest.fixture
def trained(make_config: MakeConfig) -> TrainState:
    state = new_state(make_config(), 32, CPU)
    advance(state)
    advance(state)
    state.seconds = 1.25
    return state


def names(directory: Path) -> list[str]:
    return [path.name for path in checkpoints_in(directory)]


def test_everything_comes_back(tmp_path: Path, make_config: MakeConfig, trained: TrainState) -> None:
    saved = save_checkpoint(tmp_path, trained, keep=3)
    other = new_state(make_config(seed=5), 32, CPU)
    load_checkpoint(saved, other)
    assert (other.step, other.seconds) == (2, 1.25)
    assert read_measures(other) == read_measures(trained)
    for _ in range(4):  # weights, both optimisers and latent vectors: all show in what follows
        advance(trained)
        advance(other)
    assert all(map(torch.equal, trained.generator.parameters(), other.generator.parameters()))
    assert all(map(torch.equal, trained.discriminator.parameters(), other.discriminator.parameters()))
    for one, two in ((trained.adam_g, other.adam_g), (trained.adam_d, other.adam_d)):
        for left, right in zip(one.state.values(), two.state.values(), strict=True):
            assert left.keys() == right.keys() == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(left[key], right[key]) for key in left)
    assert torch.equal(trained.z_rng.get_state(), other.z_rng.get_state())


def test_before_the_discriminators_first_update(tmp_path: Path, make_config: MakeConfig) -> None:
    state = new_state(make_config(), 32, CPU)
    advance(state)
    other = new_state(make_config(), 32, CPU)
    load_checkpoint(save_checkpoint(tmp_path, state, keep=1), other)
    assert len(other.adam_g.state) > 0
    assert len(other.adam_d.state) == 0
    assert read_measures(other).loss_d is None


def test_files_are_tensors_and_json(tmp_path: Path, trained: TrainState) -> None:
    saved = save_checkpoint(tmp_path, trained, keep=3)
    assert saved == tmp_path / "000002"
    assert sorted(path.name for path in saved.iterdir()) == [
        "discriminator.safetensors",
        "generator.safetensors",
        "state.json",
        "state.safetensors",
    ]


def test_only_the_newest_are_kept_and_nothing_else_is_touched(tmp_path: Path, trained: TrainState) -> None:
    for name in ("mine", "12", "000001.bak", "notes.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "000000").write_text("a file, not a checkpoint")
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        trained.step = step
        save_checkpoint(tmp_path, trained, keep=2)
    assert names(tmp_path) == ["1000000", "1000001"]
    others = {path.name for path in tmp_path.iterdir()} - {"1000000", "1000001"}
    assert others == {"mine", "12", "000001.bak", "notes.tmp", "000000"}


def test_an_unfinished_checkpoint_does_not_count_and_is_swept(tmp_path: Path, trained: TrainState) -> None:
    (tmp_path / "000009.tmp").mkdir()
    (tmp_path / "000009.tmp" / "generator.safetensors").write_bytes(b"half")
    (tmp_path / "000002.tmp").mkdir()  # left by a kill in the very step that is saved now
    assert names(tmp_path) == []
    save_checkpoint(tmp_path, trained, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["000002"]


def test_an_existing_checkpoint_is_not_written_again(tmp_path: Path, trained: TrainState) -> None:
    saved = save_checkpoint(tmp_path, trained, keep=1)
    before = (saved / "state.json").stat().st_mtime_ns, (saved / "state.json").stat().st_ino
    save_checkpoint(tmp_path, trained, keep=1)
    assert ((saved / "state.json").stat().st_mtime_ns, (saved / "state.json").stat().st_ino) == before


def test_no_directory_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints_in(tmp_path / "absent") == []


@pytest.mark.parametrize("name", ["state.json", "state.safetensors", "generator.safetensors"])
def test_a_damaged_file_is_bad_input(
    tmp_path: Path, make_config: MakeConfig, trained: TrainState, name: str
) -> None:
    saved = save_checkpoint(tmp_path, trained, keep=1)
    (saved / name).write_bytes((saved / name).read_bytes()[:10])
    with pytest.raises(
        BadInput, match=r"000002: damaged .*; remove this directory to use the checkpoint before"
    ):
        load_checkpoint(saved, new_state(make_config(), 32, CPU))


def test_networks_are_loaded_alone(tmp_path: Path, trained: TrainState) -> None:
    saved = save_checkpoint(tmp_path, trained, keep=1)
    generator = load_network(saved, Generator, ModelShape(32, 2, 3))
    discriminator = load_network(saved, Discriminator, ModelShape(32, 2, 3))
    assert all(map(torch.equal, trained.generator.parameters(), generator.parameters()))
    assert all(map(torch.equal, trained.discriminator.parameters(), discriminator.parameters()))
    with pytest.raises(BadInput, match=r"000002: damaged \(RuntimeError: Error\(s\) in loading state_dict"):
        load_network(saved, Generator, ModelShape(32, 4, 3))
