"""Checkpoints of a conditional run: one safetensors file each, ``checkpoints/001000.safetensors``.

It holds "generator.<weight>", "discriminator.<weight>", both optimisers ("adam_g.<weight>.exp_avg"), "rng",
"measures", and the generator's standing statistics ("standing.<norm>.mean", ".variance"). Nothing in it
depends on the clock, so that a resumed run ends in the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch as st
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import TEMPORARY_SUFFIX, atomic_path
from dcgan_data.train.conditional.game import ConditionalState
from dcgan_data.train.conditional.models import ConditionalGenerator, ConditionalShape
from dcgan_data.train.norm import Statistics, set_standing
from dcgan_data.train.seeds import Stream, torch_rng

_SUFFIX = ".safetensors"
_NAME = re.compile(rf"\d{{6,}}{re.escape(_SUFFIX)}")
_MOMENTS = ("exp_avg", "exp_avg_sq")


def checkpoints_in(directory: Path) -> list[Path]:
    """The checkpoints of a ``checkpoints`` directory, oldest first; none if it is missing."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Minibatches that a checkpoint was trained for."""
    return int(checkpoint.stem)


def save_checkpoint(directory: Path, state: ConditionalState, standing: Statistics, keep: int) -> Path:
    """Write ``directory/<step>.safetensors``, then remove all but the newest ``keep``; returns the file."""
    tensors = {"rng": state.rng.get_state(), "measures": state.measures}
    for prefix, model, adam in _players(state):
        for name, weight in model.named_parameters():
            tensors[f"{prefix}.{name}"] = weight
            for key, value in adam.state.get(weight, {}).items():
                tensors[f"adam_{prefix[0]}.{name}.{key}"] = value
    for name, (mean, variance) in standing.items():
        tensors |= {f"standing.{name}.mean": mean, f"standing.{name}.variance": variance}
    target = directory / f"{state.step:06d}{_SUFFIX}"
    with atomic_path(target) as temporary:
        # Not save_file: it makes a file that only its owner can read.
        temporary.write_bytes(st.save({name: tensor.detach() for name, tensor in tensors.items()}))
    for old in (*checkpoints_in(directory)[:-keep], *directory.glob(f"*{TEMPORARY_SUFFIX}")):
        old.unlink()
    return target


def load_checkpoint(checkpoint: Path, state: ConditionalState) -> None:
    """Overwrite ``state`` by what was saved.

    Raises BadInput if the file is absent, damaged or of other shapes: ``state`` is then as it was. Another
    OSError says nothing of what is in the file.
    """
    weights, moments = {}, {}
    with _damage_is_bad_input(checkpoint):
        tensors = _read(checkpoint)
        for prefix, model, _ in _players(state):
            weights[prefix] = _below(prefix, tensors)
            _check_shapes(weights[prefix], dict(model.named_parameters()))
            moments[prefix] = _moments_of(model, _below(f"adam_{prefix[0]}", tensors))
        _check_shapes({"measures": tensors["measures"]}, {"measures": state.measures})
        _set_rng(state.rng, tensors["rng"])
    for prefix, model, adam in _players(state):
        model.load_state_dict(weights[prefix])
        groups = adam.state_dict()["param_groups"]
        adam.load_state_dict({"state": moments[prefix], "param_groups": groups})
    state.measures.copy_(tensors["measures"])
    state.step = step_of(checkpoint)


def load_generator(checkpoint: Path, shape: ConditionalShape) -> ConditionalGenerator:
    """The generator with its standing statistics, on the CPU; errors as of ``load_checkpoint``."""
    model = ConditionalGenerator(shape, torch_rng(0, Stream.GENERATOR_WEIGHTS))
    with _damage_is_bad_input(checkpoint):
        tensors = _read(checkpoint)
        weights = _below("generator", tensors)
        _check_shapes(weights, dict(model.named_parameters()))
        model.load_state_dict(weights)
        standing = _below("standing", tensors)
        names = {name.rpartition(".")[0] for name in standing}
        set_standing(
            model, {name: (standing[f"{name}.mean"], standing[f"{name}.variance"]) for name in names}
        )
    return model.requires_grad_(False)


def _players(state: ConditionalState) -> Iterator[tuple[str, nn.Module, torch.optim.Adam]]:
    yield "generator", state.generator, state.adam_g
    yield "discriminator", state.discriminator, state.adam_d


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in found.items()}


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        # Not load_file: it tells a file that may not be read from an absent one by neither type nor number.
        data = checkpoint.read_bytes()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(checkpoint)) from error  # with the name, always
    return st.load(data)


def _check_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    # Before torch does: of other shapes, and of a lack of memory, it says RuntimeError.
    if differing := sorted(found.keys() ^ expected.keys()):
        raise KeyError(f"{differing[0]} is {'unknown' if differing[0] in found else 'missing'}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = [tuple(one.shape) for one in (tensor, expected[name])]
            raise ValueError(f"{name} is {shapes[0]}, expected {shapes[1]}")


def _moments_of(model: nn.Module, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Adam's state for each weight, by its number; none before the player's first update."""
    moments = {}
    for number, (name, weight) in enumerate(model.named_parameters()):
        if found := _below(name, tensors):
            _check_shapes(found, {"step": torch.tensor(0.0), **dict.fromkeys(_MOMENTS, weight)})
            moments[number] = found
    return moments


def _set_rng(rng: torch.Generator, value: Tensor) -> None:
    try:
        rng.set_state(value)
    except RuntimeError as error:
        raise ValueError(f"rng: {error}") from error


@contextmanager
def _damage_is_bad_input(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(
            f"{checkpoint}: damaged ({reason}); remove this file to use the checkpoint before it"
        ) from error
