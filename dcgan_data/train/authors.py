"""Read the weights that the authors published (repository Newmu/dcgan_code), from their numpy files.

joblib left each array in a file of its own, ``30_discrim_params.jl_01.npy`` and on: for the discriminator
the first convolution, then (convolution, gain, bias) of each other layer, then the weights of the logit; for
the generator (projection, gain, bias), then the same of each transposed convolution, the last of which has
neither gain nor bias. How many there are, and the side of their kernels, tells which model it is:

    8 and 10 arrays, 5x5      the SVHN model: D 64, 128, 256; z of 100 normal numbers
    17 and 19 arrays, 3x3     the ImageNet model at 32x32: D 128, 128, 256, 256, 512, 512; z of 256 uniform

and others of the same two families. Theano's convolutions flip their kernels, torch's do not: both kinds are
turned by 180 degrees. Theano multiplies row vectors from the left, so matrices are transposed; and our
networks order the units next to a matrix by place and then channel, theirs by channel and then place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.arrays import read_array
from dcgan_data.train.config import LATENT
from dcgan_data.train.model_file import SUFFIX, save_model
from dcgan_data.train.models import BASE_SIZE, IMAGE_SIZES, Discriminator, Generator, ModelShape, build
from dcgan_data.train.sample import standing_statistics
from dcgan_data.train.seeds import Stream, torch_rng

_BATCH = 128
"""The authors' batch, which standing statistics are taken over."""
_NAME = re.compile(r"(\d+)_(gen|discrim)_params\.jl_(\d+)\.npy")
_MAGIC = b"\x93NUMPY"
_PLACES = BASE_SIZE**2


@dataclass(frozen=True)
class Imported:
    """What was read, and where it was written."""

    directory: str
    """The authors' files."""
    epoch: int
    """The number that their names begin with."""
    file: str
    """The model's file."""
    shape: ModelShape
    """What it is."""


@dataclass(frozen=True)
class _Arrays:
    """A network's arrays, in the order of their files."""

    files: list[Path]
    values: list[np.ndarray]


def import_authors(
    directory: Path, out: Path, epoch: int | None = None, latent: str | None = None
) -> Imported:
    """Write the authors' model in ``directory`` to the file ``out``.

    epoch: which one, if there are several; latent: what its z are drawn from, uniform or normal (None: as
    published, normal for the SVHN model). BadInput if a file is missing or damaged, or does not fit the
    others; BadRequest if ``epoch`` is needed.
    """
    if out.suffix != SUFFIX:
        raise BadRequest(f"{out}: a model is written as safetensors; give a name that ends in {SUFFIX}")
    if latent not in (None, *LATENT):
        raise BadRequest(f"--latent {latent}: must be one of {', '.join(LATENT)}")
    epoch = _choose_epoch(directory, epoch)
    gen, discrim = (_read(directory, epoch, network) for network in ("gen", "discrim"))
    shape = _shape_of(directory, gen, discrim, latent)
    rng = torch_rng(0, Stream.GENERATOR_WEIGHTS)
    generator, discriminator = build(Generator, shape, rng), build(Discriminator, shape, rng)
    _check(gen, generator_arrays(shape))
    _check(discrim, discriminator_arrays(shape))
    generator.load_state_dict(_generator_state(gen, generator))
    discriminator.load_state_dict(_discriminator_state(discrim, discriminator))
    standing = standing_statistics(generator, 0, _BATCH)
    save_model(out, generator, discriminator, standing, f"authors' weights, {directory.name}, epoch {epoch}")
    return Imported(str(directory), epoch, str(out), shape)


def _choose_epoch(directory: Path, wanted: int | None) -> int:
    if not directory.is_dir():
        raise BadInput(f"{directory}: not a directory; give the one that holds the authors' .npy files")
    epochs = sorted({int(found[1]) for path in directory.iterdir() if (found := _NAME.fullmatch(path.name))})
    if not epochs:
        raise BadInput(
            f"{directory}: holds no files such as 30_discrim_params.jl_01.npy; give the directory of one of "
            "the models in github.com/Newmu/dcgan_code/tree/master/models"
        )
    if wanted is None and len(epochs) > 1:
        raise BadRequest(f"{directory}: holds epochs {', '.join(map(str, epochs))}; say which with --epoch")
    if wanted is not None and wanted not in epochs:
        raise BadRequest(f"--epoch {wanted}: {directory} holds {', '.join(map(str, epochs))}")
    return epochs[0] if wanted is None else wanted


def _read(directory: Path, epoch: int, network: str) -> _Arrays:
    """All arrays of a network; BadInput if one is missing between others, or is no array."""
    found = dict[int, Path]()
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name and int(name[1]) == epoch and name[2] == network:
            found[int(name[3])] = path
    stem = f"{epoch}_{network}_params.jl"
    if not found:
        raise BadInput(f"{directory}: {stem}_01.npy and the others of that network are missing")
    for number in range(1, max(found) + 1):
        if number not in found:
            raise BadInput(f"{directory}: {stem}_{number:02}.npy is missing; copy all files of the model")
    files = [found[number] for number in sorted(found)]
    return _Arrays(files, [_read_array(path) for path in files])


def _read_array(path: Path) -> np.ndarray:
    try:
        if not path.read_bytes().startswith(_MAGIC):
            raise ValueError("no numpy array")
        values = read_array(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: damaged ({error}); copy it again") from None
    if values.dtype != np.float32 or not values.size or not np.isfinite(values).all():
        raise BadInput(f"{path}: {values.dtype} of shape {values.shape}, expected finite float32 numbers")
    return values


def _shape_of(directory: Path, gen: _Arrays, discrim: _Arrays, latent: str | None) -> ModelShape:
    layers, rest = divmod(len(discrim.files) + 1, 3)
    if rest or len(gen.files) != 3 * layers + 1:
        raise BadInput(
            f"{directory}: {len(discrim.files)} arrays of the discriminator and {len(gen.files)} of the "
            "generator; expected 8 and 10 (SVHN), 17 and 19 (ImageNet) or others of these families; "
            "files are missing at the end, or it is another model"
        )
    first, projection = discrim.values[0], gen.values[0]
    kernel = first.shape[-1] if first.ndim == 4 else 0
    if kernel not in (3, 5) or projection.ndim != 2 or (kernel == 3 and layers % 2):
        raise BadInput(
            f"{discrim.files[0]}: {first.shape}, {gen.files[0]}: {projection.shape}; "
            "expected (channels, 3, 5, 5) or (channels, 3, 3, 3), and (z, units)"
        )
    size = BASE_SIZE << (layers if kernel == 5 else layers // 2)
    if size not in IMAGE_SIZES:
        raise BadInput(f"{directory}: a model for {size}x{size} pixels; only {IMAGE_SIZES} are known")
    channels = (projection.shape[1] // _PLACES, *(w.shape[1] for w in gen.values[3:-1:3] if w.ndim == 4))
    svhn = kernel == 5 and size == 32
    shape = ModelShape(
        image_size=size,
        width=first.shape[0],
        z_dim=projection.shape[0],
        layers="strided" if kernel == 5 else "paired",
        latent=latent or ("normal" if svhn else "uniform"),
    )
    mirrored = tuple(layer.inputs for layer in shape.generator_layers)
    return shape if channels == mirrored else _with_channels(shape, channels, gen)


def _with_channels(shape: ModelShape, channels: tuple[int, ...], gen: _Arrays) -> ModelShape:
    if len(channels) != len(shape.generator_layers):
        raise BadInput(f"{gen.files[3]} and on: transposed convolutions expected, of four dimensions")
    return ModelShape(**{**vars(shape), "generator_channels": channels})


def generator_arrays(shape: ModelShape) -> list[tuple[int, ...]]:
    """Shapes of the generator's arrays, as Theano has them."""
    layers = shape.generator_layers
    units = layers[0].inputs * _PLACES
    shapes: list[tuple[int, ...]] = [(shape.z_dim, units), (units,), (units,)]
    for layer in layers:
        kernels = (layer.inputs, layer.outputs, layer.kernel, layer.kernel)
        shapes += [kernels, (layer.outputs,), (layer.outputs,)]
    return shapes[:-2]


def discriminator_arrays(shape: ModelShape) -> list[tuple[int, ...]]:
    """Shapes of the discriminator's arrays, as Theano has them."""
    shapes = list[tuple[int, ...]]()
    for layer in shape.discriminator_layers:
        kernels = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        shapes += [kernels, (layer.outputs,), (layer.outputs,)]
    return [shapes[0], *shapes[3:], (shape.stage_widths[-1] * _PLACES, 1)]


def _check(arrays: _Arrays, expected: list[tuple[int, ...]]) -> None:
    for path, values, shape in zip(arrays.files, arrays.values, expected, strict=True):
        if values.shape != shape:
            raise BadInput(
                f"{path}: shape {values.shape}, with the arrays before it {shape} is expected; "
                "is it one of the authors' models?"
            )


def _generator_state(arrays: _Arrays, generator: Generator) -> dict[str, Tensor]:
    projection, gain, bias, *others = (torch.from_numpy(values) for values in arrays.values)
    state = {
        "project.weight": _by_place(projection).T,
        "project_norm.weight": _by_place(gain),
        "project_norm.bias": _by_place(bias),
    }
    for number in range(len(generator.stages)):
        state[f"stages.{number}.conv.weight"] = _turned(others[3 * number])
        if 3 * number + 2 < len(others):
            state[f"stages.{number}.norm.weight"] = others[3 * number + 1]
            state[f"stages.{number}.norm.bias"] = others[3 * number + 2]
    return state


def _discriminator_state(arrays: _Arrays, discriminator: Discriminator) -> dict[str, Tensor]:
    first, *others = (torch.from_numpy(values) for values in arrays.values)
    state = {"stages.0.conv.weight": _turned(first), "classify.weight": _by_place(others[-1].flatten())[None]}
    for number in range(1, len(discriminator.stages)):
        conv, gain, bias = others[3 * number - 3 : 3 * number]
        state[f"stages.{number}.conv.weight"] = _turned(conv)
        state[f"stages.{number}.norm.weight"], state[f"stages.{number}.norm.bias"] = gain, bias
    return state


def _by_place(units: Tensor) -> Tensor:
    """Reorder units of the last dimension: from channel by channel to place by place."""
    by_channel = units.reshape(*units.shape[:-1], -1, _PLACES)
    return by_channel.transpose(-1, -2).flatten(-2)


def _turned(kernels: Tensor) -> Tensor:
    return kernels.flip(-1, -2)
