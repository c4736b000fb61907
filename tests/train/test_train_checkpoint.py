"""Checkpoints are whole or absent, and bring everything back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcgan_data.errors import BadInput
from dcgan_data.train.checkpoint import (
    Facts,
    best_checkpoint,
    checkpoints_in,
    discard_after,
    load_checkpoint,
    load_drawing_generator,
    load_network,
    read_facts,
)
from dcgan_data.train.checkpoint import save_checkpoint as save
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.engine import Stepper
from dcgan_data.train.game import TrainState, new_state
from dcgan_data.train.models import Discriminator, Generator, ModelShape
from dcgan_data.train.readings import Measures, read_now
from dcgan_data.train.sample import draw_images, standing_statistics

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


def advance(config: TrainConfig, state: TrainState) -> None:
    pixels = torch.full((4, 32, 32, 3), 10 * state.step, dtype=torch.uint8)
    Stepper(config, state).step(pixels)


def read_measures(state: TrainState) -> Measures:
    return read_now(state).measures


def save_checkpoint(directory: Path, state: TrainState, keep: int, score: float | None = None) -> Path:
    standing = standing_statistics(state.drawing, 0, 4)
    return save(directory, state, standing, Facts(state.step, state.seconds, score), keep)


@pytest.fixture
def trained(make_config: MakeConfig) -> TrainState:
    state = new_state(make_config(), 32, CPU)
    advance(make_config(), state)
    advance(make_config(), state)
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
        advance(make_config(), trained)
        advance(make_config(), other)
    assert all(map(torch.equal, trained.generator.parameters(), other.generator.parameters()))
    assert all(map(torch.equal, trained.discriminator.parameters(), other.discriminator.parameters()))
    for one, two in ((trained.adam_g, other.adam_g), (trained.adam_d, other.adam_d)):
        for left, right in zip(one.state.values(), two.state.values(), strict=True):
            assert left.keys() == right.keys() == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(left[key], right[key]) for key in left)
    assert torch.equal(trained.rng.get_state(), other.rng.get_state())


def test_before_the_discriminators_first_update(tmp_path: Path, make_config: MakeConfig) -> None:
    state = new_state(make_config(), 32, CPU)
    advance(make_config(), state)
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
        "standing.safetensors",
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


def test_the_best_is_kept_beside_the_newest(tmp_path: Path, trained: TrainState) -> None:
    for step, score in ((1, 9.0), (2, 5.0), (3, 6.0), (4, None), (5, 5.0), (6, 7.0)):
        trained.step = step
        save_checkpoint(tmp_path, trained, keep=2, score=score)
    assert names(tmp_path) == ["000005", "000006"]
    assert best_checkpoint(tmp_path) == tmp_path / "000005"  # the later of equals
    assert read_facts(tmp_path / "000005").score == 5.0
    trained.step = 7
    save_checkpoint(tmp_path, trained, keep=1, score=8.0)
    assert names(tmp_path) == ["000005", "000007"]


def test_without_scores_none_is_the_best(tmp_path: Path, trained: TrainState) -> None:
    assert best_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, trained, keep=1)
    assert best_checkpoint(tmp_path) is None


def test_a_damaged_checkpoint_is_not_the_best(tmp_path: Path, trained: TrainState) -> None:
    (save_checkpoint(tmp_path, trained, keep=2, score=1.0) / "state.json").write_text("{")
    trained.step = 9
    save_checkpoint(tmp_path, trained, keep=2, score=2.0)
    assert best_checkpoint(tmp_path) == tmp_path / "000009"
    with pytest.raises(BadInput, match="000002: damaged"):
        read_facts(tmp_path / "000002")


def test_later_ones_are_discarded(tmp_path: Path, trained: TrainState) -> None:
    for step in (1, 2, 3):
        trained.step = step
        save_checkpoint(tmp_path, trained, keep=3)
    discard_after(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_samples_come_from_the_moving_average(tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config(ema=0.9, alternate=False)
    state = new_state(config, 32, CPU)
    for _ in range(3):
        advance(config, state)
    saved = save_checkpoint(tmp_path, state, keep=1)
    shape = ModelShape(32, 2, 3)
    drawing, plain = load_drawing_generator(saved, shape), load_network(saved, Generator, shape)
    assert state.average is not None
    assert all(map(torch.equal, state.average.parameters(), drawing.parameters()))
    assert not any(map(torch.equal, plain.parameters(), drawing.parameters()))
    assert draw_images(drawing, torch.zeros(2, 3)).shape == (2, 32, 32, 3)
    other = new_state(config, 32, CPU)
    load_checkpoint(saved, other)
    assert other.average is not None
    assert all(map(torch.equal, state.average.parameters(), other.average.parameters()))


@pytest.mark.parametrize("missing", ["average.safetensors", "standing.safetensors"])
def test_a_missing_file_is_damage(tmp_path: Path, make_config: MakeConfig, missing: str) -> None:
    config = make_config(ema=0.9)
    state = new_state(config, 32, CPU)
    saved = save_checkpoint(tmp_path, state, keep=1)
    (saved / missing).unlink()
    with pytest.raises(BadInput, match="000000: damaged"):
        load_checkpoint(saved, state)
        load_drawing_generator(saved, ModelShape(32, 2, 3))
