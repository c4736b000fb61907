"""Checkpoints: directories that are either whole or absent, and hold tensors and JSON, never pickles.

checkpoints/000500/
  generator.safetensors
  discriminator.safetensors
  average.safetensors        moving average of the generator's weights, if there is one
  standing.safetensors       statistics of the generator that samples come from ("<norm>.mean", ".variance")
  state.safetensors          both optimisers ("adam_g.<parameter>.exp_avg"), "rng", "measures"
  state.json                 step, seconds, score, attempt, watchdog, schema version
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch as st
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dcgan_data.errors import BadInput, TrainingStopped
from dcgan_data.formats.atomic import TEMPORARY_SUFFIX, atomic_path, flush_to_disk, write_json
from dcgan_data.formats.plain import build as build_checked
from dcgan_data.formats.plain import read_object
from dcgan_data.train.game import TrainState
from dcgan_data.train.models import Discriminator, Generator, ModelShape, Network, build, check_bytes
from dcgan_data.train.norm import Statistics, set_standing
from dcgan_data.train.seeds import Stream, torch_rng

SCHEMA_VERSION = 2
GENERATOR, DISCRIMINATOR = "generator.safetensors", "discriminator.safetensors"
_AVERAGE, _STANDING = "average.safetensors", "standing.safetensors"
_TENSORS, _STATE = "state.safetensors", "state.json"
EXAMINED = (GENERATOR, DISCRIMINATOR, _AVERAGE, _STANDING)
"""The files of a checkpoint that say what a model is."""
_WEIGHTS = {Generator: GENERATOR, Discriminator: DISCRIMINATOR}
_COMPLETE = re.compile(r"\d{6,}")
_UNFINISHED = re.compile(rf"\d{{6,}}{re.escape(TEMPORARY_SUFFIX)}")


@dataclass(frozen=True)
class Facts:
    """What a checkpoint knows beside tensors."""

    step: int
    """Minibatches done."""
    seconds: float = 0.0
    """Time spent training until then."""
    score: float | None = None
    """How well samples and held-out images are told apart by their nearest neighbour: the mean distance of
    the two shares (``ops.nearest.told_apart``) from a half; 0 is best, 0.5 worst. None: none held out."""
    attempt: int = 0
    """How often the run had been rolled back."""
    watchdog: dict[str, Any] = field(default_factory=dict)
    """What the watchdog remembered."""
    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of older checkpoints would be wrong."""


def checkpoints_in(directory: Path) -> list[Path]:
    """The complete checkpoints of a ``checkpoints`` directory, oldest first; empty if it is missing."""
    return sorted(_matching(directory, _COMPLETE), key=lambda path: int(path.name))


def best_checkpoint(directory: Path) -> Path | None:
    """The checkpoint of the lowest score, the later of equals; None if none has a score."""
    facts_of = {path: _peek(path) for path in checkpoints_in(directory)}
    scored = [(facts.score, -facts.step, path) for path, facts in facts_of.items() if facts]
    known = [entry for entry in scored if entry[0] is not None]
    return min(known)[2] if known else None


def read_facts(checkpoint: Path) -> Facts:
    """What a checkpoint knows beside tensors; BadInput if it is damaged."""
    with _damage_is_bad_input(checkpoint):
        return _read_facts(checkpoint)


def discard_after(directory: Path, step: int) -> None:
    """Remove the checkpoints after ``step``, which is about to be trained on from."""
    _remove([path for path in checkpoints_in(directory) if int(path.name) > step])


def save_checkpoint(
    directory: Path, state: TrainState, standing: Statistics, facts: Facts, keep: int
) -> Path:
    """Write ``state`` to ``directory/<step>``, then remove all but the newest ``keep`` and the best.

    Raises TrainingStopped if it cannot be written; the checkpoints before it stay.
    """
    target = directory / f"{state.step:06d}"
    if not target.exists():
        # The rename comes last of all: a kill leaves only a temporary name.
        temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _write(temporary, state, standing, facts)
            temporary.replace(target)
            flush_to_disk(directory)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise TrainingStopped(_cannot_write(target, error)) from None
    remove_old(directory, keep)
    return target


def remove_old(directory: Path, keep: int) -> None:
    """Remove all checkpoints but the newest ``keep`` and the best, and what kills have left unfinished."""
    best = best_checkpoint(directory)
    _remove([path for path in checkpoints_in(directory)[:-keep] if path != best])
    for leftover in _matching(directory, _UNFINISHED):
        shutil.rmtree(leftover)


def load_checkpoint(checkpoint: Path, state: TrainState) -> Facts:
    """Overwrite ``state`` by what was saved; BadInput if the checkpoint is damaged or of other shapes.

    After BadInput ``state`` may be half overwritten: load another one into it, or drop it.
    """
    with _damage_is_bad_input(checkpoint):
        facts = _read_facts(checkpoint)
        models: list[tuple[nn.Module, str]] = [
            (state.generator, GENERATOR),
            (state.discriminator, DISCRIMINATOR),
        ]
        if state.average is not None:
            models.append((state.average, _AVERAGE))
        for model, name in models:
            model.load_state_dict(st.load_file(checkpoint / name))
        st.load_file(checkpoint / _STANDING)  # only drawing needs it, but half a checkpoint is none
        tensors = st.load_file(checkpoint / _TENSORS)
        _load_adam(state.adam_g, "adam_g", state.generator, tensors)
        _load_adam(state.adam_d, "adam_d", state.discriminator, tensors)
        state.rng.set_state(tensors["rng"])
        state.measures.copy_(tensors["measures"])
        state.step, state.seconds = facts.step, facts.seconds
    return facts


def load_network(checkpoint: Path, network: type[Network], shape: ModelShape) -> Network:
    """The saved generator or discriminator, on the CPU; BadInput if its file is damaged or does not fit."""
    with _damage_is_bad_input(checkpoint):
        check_bytes(checkpoint / _WEIGHTS[network], network, shape)
        model = build(network, shape, torch_rng(0, Stream.GENERATOR_WEIGHTS))
        model.load_state_dict(st.load_file(checkpoint / _WEIGHTS[network]))
    return model


def load_drawing_generator(checkpoint: Path, shape: ModelShape) -> Generator:
    """The generator that samples come from, on the CPU: the moving average if there is one, with
    standing statistics. BadInput if a file is damaged or does not fit."""
    with _damage_is_bad_input(checkpoint):
        average = checkpoint / _AVERAGE
        check_bytes(checkpoint / GENERATOR, Generator, shape)
        model = build(Generator, shape, torch_rng(0, Stream.GENERATOR_WEIGHTS))
        model.load_state_dict(st.load_file(average if average.exists() else checkpoint / GENERATOR))
        tensors = st.load_file(checkpoint / _STANDING)
        names = {name.rpartition(".")[0] for name in tensors}
        set_standing(model, {name: (tensors[f"{name}.mean"], tensors[f"{name}.variance"]) for name in names})
    return model


def _write(directory: Path, state: TrainState, standing: Statistics, facts: Facts) -> None:
    _write_tensors(directory / GENERATOR, state.generator.state_dict())
    _write_tensors(directory / DISCRIMINATOR, state.discriminator.state_dict())
    if state.average is not None:
        _write_tensors(directory / _AVERAGE, state.average.state_dict())
    statistics = {f"{name}.mean": mean for name, (mean, _) in standing.items()}
    statistics |= {f"{name}.variance": variance for name, (_, variance) in standing.items()}
    _write_tensors(directory / _STANDING, statistics)
    _write_tensors(directory / _TENSORS, _state_tensors(state))
    write_json(directory / _STATE, vars(facts))


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        # Not save_file: it makes a file that only its owner can read.
        temporary.write_bytes(st.save(plain))


def _state_tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {"rng": state.rng.get_state(), "measures": state.measures}
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


def _read_facts(checkpoint: Path) -> Facts:
    values = read_object(checkpoint / _STATE)
    if values["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {values['schema_version']}, this program reads {SCHEMA_VERSION}")
    return build_checked(Facts, values)


def _peek(checkpoint: Path) -> Facts | None:
    try:
        return _read_facts(checkpoint)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged: whoever wants to load it is told


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


def _cannot_write(target: Path, error: OSError) -> str:
    saved = checkpoints_in(target.parent)
    remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "mend this"
    return (
        f"{target}: cannot be written ({error.strerror}); last checkpoint: {saved[-1] if saved else 'none'}; "
        f"{remedy} and go on with --resume"
    )


@contextmanager
def _damage_is_bad_input(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(
            f"{checkpoint}: damaged ({reason}); remove this directory to use the checkpoint before it"
        ) from error
