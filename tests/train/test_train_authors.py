"""The authors' weights: arrays as they wrote them, held against a forward pass in numpy as Theano has it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.signal import convolve2d

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.train.authors import import_authors
from dcgan_data.train.models import BASE_SIZE, ModelShape
from dcgan_data.train.norm import BatchNorm, measure_statistics
from dcgan_data.train.sample import open_sampler
from dcgan_data.train.trained import open_trained

CPU = torch.device("cpu")
SVHN = ((4, 8, 16), (2, 2, 2), 5)
"""Channels and strides of D's convolutions, side of their kernels: the published model's, made narrow."""
IMAGENET = ((2, 2, 4, 4, 8, 8), (1, 2, 1, 2, 1, 2), 3)
Layout = tuple[tuple[int, ...], tuple[int, ...], int]
Arrays = list[np.ndarray]


def random_arrays(layout: Layout, z_dim: int, middle: int | None = None) -> tuple[Arrays, Arrays]:
    """The discriminator's and the generator's; ``middle``: other channels than D's in the middle of G."""
    rng = np.random.default_rng(0)
    channels, _, kernel = layout
    maps = [3, *channels]

    def normal(*shape: int, mean: float = 0.0, std: float = 0.3) -> np.ndarray:
        return rng.normal(mean, std, shape).astype(np.float32)

    def with_norm(weights: np.ndarray, units: int) -> Arrays:
        return [weights, normal(units, mean=1), normal(units)]

    discrim = [normal(channels[0], 3, kernel, kernel)]
    for inputs, outputs in itertools.pairwise(channels):
        discrim += with_norm(normal(outputs, inputs, kernel, kernel, std=0.1), outputs)
    discrim.append(normal(channels[-1] * BASE_SIZE**2, 1, std=0.1))
    down = maps[::-1]
    if middle:
        down[1] = middle
    units = down[0] * BASE_SIZE**2
    gen = with_norm(normal(z_dim, units), units)
    for inputs, outputs in itertools.pairwise(down):
        gen += with_norm(normal(inputs, outputs, kernel, kernel), outputs)
    return discrim, gen[:-2]


def write(directory: Path, discrim: Arrays, gen: Arrays, epoch: int = 30) -> Path:
    directory.mkdir(exist_ok=True)
    for name, arrays in (("discrim", discrim), ("gen", gen)):
        for number, values in enumerate(arrays, 1):
            np.save(directory / f"{epoch}_{name}_params.jl_{number:02}.npy", values)
    return directory


def norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    every = (0, *range(2, x.ndim))
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = x.mean(every, keepdims=True), x.var(every, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-8) * gain.reshape(shape) + bias.reshape(shape)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def convolution(x: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """A convolution in the mathematical sense: the kernel is flipped."""
    pad = kernels.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    found = [
        [sum(convolve2d(x[n, c], w[c], "valid") for c in range(x.shape[1])) for w in kernels]
        for n in range(len(x))
    ]
    return np.array(found)[:, :, ::stride, ::stride]


def deconvolution(x: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """The adjoint of that convolution: each input puts the flipped kernel down where it was read from."""
    count, _, side, _ = x.shape
    size, pad = kernels.shape[-1], kernels.shape[-1] // 2
    flipped = kernels[:, :, ::-1, ::-1]
    out = np.zeros((count, kernels.shape[1], stride * side + 2 * pad, stride * side + 2 * pad))
    for row in range(side):
        for column in range(side):
            put = np.einsum("nc,cohw->nohw", x[:, :, row, column], flipped)
            top, left = row * stride, column * stride
            out[:, :, top : top + size, left : left + size] += put
    return out[:, :, pad : pad + stride * side, pad : pad + stride * side]


@pytest.mark.parametrize("layout", [SVHN, IMAGENET])
def test_the_discriminator_sees_what_theirs_saw(tmp_path: Path, layout: Layout) -> None:
    discrim, gen = random_arrays(layout, 5)
    imported = import_authors(write(tmp_path / "weights", discrim, gen), tmp_path / "m.safetensors")
    assert imported.epoch == 30
    discriminator = open_trained(Path(imported.file)).discriminator(CPU)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 3, 32, 32))
    maps = leaky(convolution(images, discrim[0], layout[1][0]))
    ours = discriminator.stages[0](torch.from_numpy(images).float())
    assert np.allclose(ours.detach(), maps, atol=1e-4)
    maps = leaky(norm(convolution(maps, discrim[1], layout[1][1]), *discrim[2:4]))
    ours = discriminator.stages[1](ours)
    assert np.allclose(ours.detach(), maps, atol=1e-3)
    for stage in discriminator.stages[2:]:
        ours = stage(ours)
    logits = ours.detach().flatten(1).numpy() @ discrim[-1]  # theirs: channel by channel
    whole = discriminator(torch.from_numpy(images).float())
    assert np.allclose(whole.detach(), logits[:, 0], atol=1e-3)


@pytest.mark.parametrize("layout", [SVHN, IMAGENET])
def test_the_generator_draws_what_theirs_drew(tmp_path: Path, layout: Layout) -> None:
    discrim, gen = random_arrays(layout, 5)
    imported = import_authors(write(tmp_path / "weights", discrim, gen), tmp_path / "m.safetensors")
    generator = open_trained(Path(imported.file)).generator(CPU)
    for module in generator.modules():
        if isinstance(module, BatchNorm):
            assert module.standing is not None
            module.standing = None  # by the batch, as theirs always
    z = np.random.default_rng(1).uniform(-1, 1, (2, 5))
    maps = np.maximum(norm(z @ gen[0], *gen[1:3]), 0).reshape(2, -1, BASE_SIZE, BASE_SIZE)
    strides = layout[1][::-1]
    maps = np.maximum(norm(deconvolution(maps, gen[3], strides[0]), *gen[4:6]), 0)
    seen = list[torch.Tensor]()
    generator.stages[0].register_forward_hook(lambda *found: seen.append(found[2]))
    images = generator(torch.from_numpy(z).float())
    assert np.allclose(seen[0].detach(), maps, atol=1e-3)
    for number, stride in enumerate(strides[1:-1], 2):
        weights, gain, bias = gen[3 * number : 3 * number + 3]
        maps = np.maximum(norm(deconvolution(maps, weights, stride), gain, bias), 0)
    assert np.allclose(images.detach(), np.tanh(deconvolution(maps, gen[-1], strides[-1])), atol=5e-3)


def test_published_shapes_are_known(tmp_path: Path) -> None:
    svhn = import_authors(write(tmp_path / "s", *random_arrays(SVHN, 5)), tmp_path / "s.safetensors").shape
    assert svhn == ModelShape(32, 4, 5, latent="normal")
    found = import_authors(write(tmp_path / "i", *random_arrays(IMAGENET, 7)), tmp_path / "i.safetensors")
    assert found.shape == ModelShape(32, 2, 7, layers="paired")
    directory = write(tmp_path / "s2", *random_arrays(SVHN, 5))
    told = import_authors(directory, tmp_path / "s2.safetensors", latent="uniform")
    assert told.shape.latent == "uniform"


def test_a_generator_of_other_widths_than_the_discriminator(tmp_path: Path) -> None:
    directory = write(tmp_path / "weights", *random_arrays(IMAGENET, 5, middle=6))
    shape = import_authors(directory, tmp_path / "m.safetensors").shape
    assert shape.generator_channels == (8, 6, 4, 4, 2, 2)
    assert open_trained(tmp_path / "m.safetensors").shape == shape


def test_samples_of_a_file_have_standing_statistics_over_16_batches_of_128(tmp_path: Path) -> None:
    directory = write(tmp_path / "weights", *random_arrays(SVHN, 5))
    import_authors(directory, tmp_path / "m.safetensors")
    sampler = open_sampler(tmp_path / "m.safetensors", device="cpu")
    assert (sampler.trained.name, sampler.trained.step) == (str(tmp_path / "m.safetensors"), None)
    (few,), (many,) = sampler.draw(2), sampler.draw(9)
    assert np.array_equal(few, many[:2])
    rng = torch.Generator().manual_seed(5)
    generator = sampler.generator
    standing = generator.project_norm.standing
    generator.project_norm.standing = None
    found = measure_statistics(generator, (generator.shape.draw_z(rng, 128) for _ in range(16)))
    assert standing is not None
    assert torch.allclose(standing[0], found["project_norm"][0], atol=0.1)
    assert torch.allclose(standing[1], found["project_norm"][1], rtol=0.2, atol=0.01)


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    directory, out = write(tmp_path / "w", *random_arrays(SVHN, 5)), tmp_path / "m.safetensors"
    middle, last = directory / "30_gen_params.jl_04.npy", directory / "30_discrim_params.jl_08.npy"
    kept = middle.read_bytes()
    middle.unlink()
    with pytest.raises(BadInput, match=r"w: 30_gen_params.jl_04.npy is missing; copy all files of the model"):
        import_authors(directory, out)
    huge = kept.replace(b"(16, 8, 5, 5)", b"(1688888888,)")
    assert huge != kept
    for damage in (b"", kept[:50], kept[:-1], b"no array at all", b"PK\3\4 no zip", huge):
        middle.write_bytes(damage)
        with pytest.raises(BadInput, match=r"30_gen_params.jl_04.npy: damaged \(.*\); copy it again"):
            import_authors(directory, out)
    np.save(middle, np.array([{}]), allow_pickle=True)
    with pytest.raises(BadInput, match=r"jl_04.npy: damaged \(.*Python objects"):
        import_authors(directory, out)
    np.save(middle, np.full((2, 2), np.nan, np.float32))
    with pytest.raises(BadInput, match=r"jl_04.npy: float32 of shape \(2, 2\), expected finite float32"):
        import_authors(directory, out)
    np.save(middle, np.ones((2, 2), np.float32))
    with pytest.raises(BadInput, match=r"transposed convolutions expected, of four dimensions"):
        import_authors(directory, out)
    middle.write_bytes(kept)
    np.save(directory / "30_gen_params.jl_05.npy", np.ones((2, 2), np.float32))
    with pytest.raises(
        BadInput,
        match=r"gen_params.jl_05.npy: shape \(2, 2\), .* \(8,\) is expected; is it one of the authors'",
    ):
        import_authors(directory, out)
    last.unlink()
    with pytest.raises(
        BadInput, match=r"w: 7 arrays of the discriminator and 10 of the generator; expected 8"
    ):
        import_authors(directory, out)
    for path in directory.glob("*_gen_*"):
        path.unlink()
    with pytest.raises(
        BadInput, match=r"w: 30_gen_params.jl_01.npy and the others of that network are missing"
    ):
        import_authors(directory, out)
    assert not out.exists()


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    directory = write(tmp_path / "w", *random_arrays(SVHN, 5))
    write(directory, *random_arrays(SVHN, 5), epoch=10)
    out = tmp_path / "m.safetensors"
    with pytest.raises(BadRequest, match=r"w: holds epochs 10, 30; say which with --epoch"):
        import_authors(directory, out)
    assert import_authors(directory, out, epoch=10).epoch == 10
    with pytest.raises(BadRequest, match=r"--epoch 20: .*w holds 10, 30"):
        import_authors(directory, out, epoch=20)
    with pytest.raises(BadRequest, match=r"--latent cauchy: must be one of uniform, normal"):
        import_authors(directory, out, epoch=10, latent="cauchy")
    with pytest.raises(BadRequest, match=r"m.bin: a model is written as safetensors; give a name"):
        import_authors(directory, tmp_path / "m.bin", epoch=10)
    with pytest.raises(BadInput, match=r"nowhere: not a directory"):
        import_authors(tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty: holds no files such as 30_discrim_params.jl_01.npy"):
        import_authors(tmp_path / "empty", out)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    import_authors(write(tmp_path / "w", *random_arrays(SVHN, 5)), tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (0, 5, 200, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"cut.safetensors: damaged \(.*\); import or copy it again"):
            open_trained(cut)
    with pytest.raises(
        BadInput, match=r"absent.safetensors: no such file; give a run directory, or a model's"
    ):
        open_trained(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_file_without_a_network(tmp_path: Path, network: str) -> None:
    import_authors(write(tmp_path / "w", *random_arrays(SVHN, 5)), tmp_path / "m.safetensors")
    part = tmp_path / "part.safetensors"
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        about = file.metadata()
    tensors = load_file(tmp_path / "m.safetensors")
    save_file({name: values for name, values in tensors.items() if not name.startswith(network)}, part, about)
    with pytest.raises(BadInput, match=f"part.safetensors: holds no {network}, which is needed here"):
        getattr(open_trained(part), network)(CPU)
