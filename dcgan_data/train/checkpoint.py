"""Checkpoints: directories that are either whole or absent, and hold tensors and JSON, never pickles.

checkpoints/000500/
  generator.safetensors
  discriminator.safetensors
  state.safetensors      both optimisers ("adam_g.<parameter>.exp_avg"), "z_rng", "measures"
  state.json             step, seconds, schema version
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch as st
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import TEMPORARY_SUFFIX, atomic_path, flush_to_disk, write_json
from dcgan_data.train.game import TrainState
from dcgan_data.train.models import Discriminator, Generator, ModelShape, Network, allocate

SCHEMA_VERSION = 1
GENERATOR, DISCRIMINATOR = "generator.safetensors", "discriminator.safetensors"
_TENSORS, _STATE = "state.safetensors", "state.json"
_WEIGHTS = {Generator: GENERATOR, Discriminator: DISCRIMINATOR}
_COMPLETE = re.compile(r"\d{6,}")
_UNFINISHED = re.compile(rf"\d{{6,}}{re.escape(TEMPORARY_SUFFIX)}")


def checkpoints_in(directory: Path) -> list[Path]:
    """The complete checkpoints of a ``checkpoints`` directory, oldest first; empty if it is missing."""
    return sorted(_matching(directory, _COMPLETE), key=lambda path: int(path.name))


def save_checkpoint(directory: Path, state: TrainState, keep: int) -> Path:
    """Write ``state`` to ``directory/<step>``, then remove all but the newest ``keep`` checkpoints."""
    target = directory / f"{state.step:06d}"
    if not target.exists():
        # The state goes last in the directory, the rename last of all: a kill leaves only a temporary name.
        temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
        shutil.rmtree(temporary, ignore_errors=True)
        _write_weights(temporary / GENERATOR, state.generator)
        _write_weights(temporary / DISCRIMINATOR, state.discriminator)
        _write_tensors(temporary / _TENSORS, _state_tensors(state))
        values = {"schema_version": SCHEMA_VERSION, "step": state.step, "seconds": state.seconds}
        write_json(temporary / _STATE, values)
        temporary.replace(target)
        flush_to_disk(directory)
    _remove(checkpoints_in(directory)[:-keep])
    for leftover in _matching(directory, _UNFINISHED):
        shutil.rmtree(leftover)
    return target


def load_checkpoint(checkpoint: Path, state: TrainState) -> None:
    """Overwrite ``state`` by what was saved; BadInput if the checkpoint is damaged or of other shapes."""
    with _damage_is_bad_input(checkpoint):
        values = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        if values["schema_version"] != SCHEMA_VERSION:
            found = values["schema_version"]
            raise ValueError(f"schema version {found}, this program reads {SCHEMA_VERSION}")
        for model in (state.generator, state.discriminator):
            model.load_state_dict(st.load_file(checkpoint / _WEIGHTS[type(model)]))
        tensors = st.load_file(checkpoint / _TENSORS)
        _load_adam(state.adam_g, "adam_g", state.generator, tensors)
        _load_adam(state.adam_d, "adam_d", state.discriminator, tensors)
        state.z_rng.set_state(tensors["z_rng"])
        state.measures.copy_(tensors["measures"])
        state.step, state.seconds = int(values["step"]), float(values["seconds"])


def load_network(checkpoint: Path, network: type[Network], shape: ModelShape) -> Network:
    """The saved generator or discriminator, on the CPU; BadInput if its file is damaged or does not fit."""
    model = allocate(network, shape)
    with _damage_is_bad_input(checkpoint):
        model.load_state_dict(st.load_file(checkpoint / _WEIGHTS[network]))
    return model


def _write_weights(path: Path, model: nn.Module) -> None:
    _write_tensors(path, dict(model.named_parameters()))


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        # Not save_file: it makes a file that only its owner can read.
        temporary.write_bytes(st.save(plain))


def _state_tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {"z_rng": state.z_rng.get_state(), "measures": state.measures}
    players = (("adam_g", state.adam_g, state.generator), ("adam_d", state.adam_d, state.discriminator))
    for prefix, adam, model in players:
        for name, parameter in model.named_parameters():
            for key, value in adam.state.get(parameter, {}).items():
                tensors[f"{prefix}.{name}.{key}"] = value
    return tensors


def _load_adam(adam: torch.optim.Adam, prefix: str, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for number, (name, parameter) in enumerate(model.named_parameters()):
        step = tensors.get(f"{prefix}.{name}.step")
        if step is None:
            continue  # saved before this player's first update
        moments[number] = {"step": step}
        for key in ("exp_avg", "exp_avg_sq"):
            # Laid out like the parameter: the fused kernel runs through both by address.
            moments[number][key] = torch.empty_like(parameter).copy_(tensors[f"{prefix}.{name}.{key}"])
    adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})


def _matching(directory: Path, name: re.Pattern[str]) -> list[Path]:
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if path.is_dir() and name.fullmatch(path.name)]


def _remove(checkpoints: list[Path]) -> None:
    for checkpoint in checkpoints:
        # Under the temporary name first: a kill must not leave half a checkpoint that looks whole.
        doomed = checkpoint.with_name(checkpoint.name + TEMPORARY_SUFFIX)
        checkpoint.replace(doomed)
        shutil.rmtree(doomed)


@contextmanager
def _damage_is_bad_input(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(
            f"{checkpoint}: damaged ({reason}); remove this directory to use the checkpoint before it"
        ) from error
