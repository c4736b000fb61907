"""A model in one file: the weights of both networks, and in the file's header what they are weights of.

Tensors are called "generator.<name>", "discriminator.<name>" and "standing.<norm>.mean", ".variance".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import safetensors.torch as st
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.plain import build as build_checked
from dcgan_data.formats.plain import parse_json
from dcgan_data.train.models import Discriminator, Generator, ModelShape, Network, build, check_bytes
from dcgan_data.train.norm import Statistics, set_standing
from dcgan_data.train.seeds import Stream, torch_rng

SUFFIX = ".safetensors"
_FORMAT, _VERSION = "dcgan_data model", "1"
_PREFIX = {Generator: "generator.", Discriminator: "discriminator."}
_STANDING = "standing."
_DAMAGE = (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError)


def save_model(
    path: Path, generator: Generator, discriminator: Discriminator, standing: Statistics, origin: str
) -> None:
    """Write a model, atomically; ``standing``: the generator's statistics, ``origin``: where it is from."""
    tensors = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    tensors |= {f"discriminator.{name}": tensor for name, tensor in discriminator.state_dict().items()}
    for name, (mean, variance) in standing.items():
        tensors |= {f"{_STANDING}{name}.mean": mean, f"{_STANDING}{name}.variance": variance}
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "shape": json.dumps(asdict(generator.shape)),
        "origin": origin,
    }
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(st.save(plain, about))  # save_file's files are their owner's alone to read


def read_shape(path: Path) -> ModelShape:
    """What a file's weights are of; BadInput unless it is one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            about: Mapping[str, str] = file.metadata() or {}
            if about.get("format") != _FORMAT:
                raise BadInput(
                    f"{path}: weights, but it does not say of what; give a run directory, or a file that "
                    "'dcgan-data import-authors' wrote"
                )
            if about["version"] != _VERSION:
                raise BadInput(f"{path}: version {about['version']}, this program reads {_VERSION}")
            return build_checked(ModelShape, parse_json(about["shape"]))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; give a run directory, or a model's file") from None
    except _DAMAGE as error:
        raise _damaged(path, error) from None


def load_file_network(path: Path, network: type[Network], shape: ModelShape) -> Network:
    """A network of the file, on the CPU, a generator with standing statistics; BadInput if it is damaged."""
    try:
        tensors = st.load_file(path)
        weights = _named(tensors, _PREFIX[network])
        if not weights:
            raise BadInput(f"{path}: holds no {network.__name__.lower()}, which is needed here")
        check_bytes(path, network, shape)
        model = build(network, shape, torch_rng(0, Stream.GENERATOR_WEIGHTS))
        model.load_state_dict(weights)
        if isinstance(model, Generator):
            found = _named(tensors, _STANDING)
            names = {name.rpartition(".")[0] for name in found}
            set_standing(model, {name: (found[f"{name}.mean"], found[f"{name}.variance"]) for name in names})
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return model


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


def _damaged(path: Path, error: Exception) -> BadInput:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return BadInput(f"{path}: damaged ({reason}); import or copy it again")
