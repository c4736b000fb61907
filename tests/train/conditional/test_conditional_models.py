"""Both networks held against the same sums written out in numpy, and the weights of the authors' size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_data.train.conditional.draw import draw_latents
from dcgan_data.train.conditional.models import (
    ConditionalDiscriminator,
    ConditionalGenerator,
    ConditionalShape,
    PlainBatchNorm,
    condition,
    one_hot,
)
from dcgan_data.train.norm import set_standing

SMALL = ConditionalShape(z_dim=3, filters=2, units=5)
BATCH = 6


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labels() -> torch.Tensor:
    return one_hot(torch.tensor([3, 0, 9, 3, 1, 5]))


def weights_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: weight.detach().double().numpy() for name, weight in model.named_parameters()}


def normalised(x: np.ndarray) -> np.ndarray:
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + 1e-8))


def beside(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if x.ndim == 4:
        labels = np.broadcast_to(labels[:, :, None, None], (*labels.shape, *x.shape[2:]))
    return np.concatenate([x, labels], axis=1)


def correlated(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """5x5, stride 2, padding 2: half the side."""
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("bchwij,ocij->bohw", windows, weight)


def spread(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The transpose of ``correlated``: each input adds its kernel to twice its place."""
    side = x.shape[2]
    out = np.zeros((len(x), weight.shape[1], 2 * side + 4, 2 * side + 4))
    for row in range(side):
        for column in range(side):
            patch = np.einsum("bc,coij->boij", x[:, :, row, column], weight)
            out[:, :, 2 * row : 2 * row + 5, 2 * column : 2 * column + 5] += patch
    return out[:, :, 2:-2, 2:-2]


def test_the_generator_is_the_authors(labels: torch.Tensor) -> None:
    model = ConditionalGenerator(SMALL, rng())
    z = draw_latents(rng(1), BATCH, SMALL.z_dim)
    w, y = weights_of(model), labels.double().numpy()
    h = np.maximum(normalised(beside(z.double().numpy(), y) @ w["full"].T), 0)
    h = np.maximum(normalised(beside(h, y) @ w["base"].T), 0).reshape(BATCH, 4, 7, 7)
    h = np.maximum(normalised(spread(beside(h, y), w["middle"])), 0)
    expected = 1 / (1 + np.exp(-spread(beside(h, y), w["last"])))
    images = model(condition(z, labels))
    assert images.shape == (BATCH, 1, 28, 28)
    np.testing.assert_allclose(images.detach().numpy(), expected, atol=2e-5)


def test_the_discriminator_is_the_authors(labels: torch.Tensor) -> None:
    model = ConditionalDiscriminator(SMALL, rng())
    images = torch.rand(BATCH, 1, 28, 28, generator=rng(1))
    w, y = weights_of(model), labels.double().numpy()

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.2 * x)

    h = leaky(correlated(beside(images.double().numpy(), y), w["first"]))
    h = leaky(normalised(correlated(beside(h, y), w["middle"])))
    h = leaky(normalised(beside(h.reshape(BATCH, -1), y) @ w["full"].T))
    expected = beside(h, y) @ w["classify"].T
    np.testing.assert_allclose(model(images, labels).detach().numpy(), expected[:, 0], atol=2e-5)


def test_weights_of_the_authors_size() -> None:
    shape = ConditionalShape(z_dim=100, filters=64, units=1024)
    generator, discriminator = (
        ConditionalGenerator(shape, rng()),
        ConditionalDiscriminator(shape, rng()),
    )
    assert [tuple(weight.shape) for weight in generator.parameters()] == [
        (1024, 110),
        (128 * 7 * 7, 1034),
        (138, 64, 5, 5),
        (74, 1, 5, 5),
    ]
    assert [tuple(weight.shape) for weight in discriminator.parameters()] == [
        (64, 11, 5, 5),
        (128, 74, 5, 5),
        (1024, 128 * 7 * 7 + 10),
        (1, 1034),
    ]
    for weight in (generator.base, discriminator.full):
        assert abs(weight.mean().item()) < 1e-4 and weight.std().item() == pytest.approx(0.02, rel=0.01)


def test_nothing_but_weights_is_saved_and_nothing_else_is_drawn() -> None:
    before = torch.random.get_rng_state()
    model = ConditionalGenerator(SMALL, rng())
    assert set(model.state_dict()) == {"full", "base", "middle", "last"}
    assert torch.equal(before, torch.random.get_rng_state())


def test_batch_norm_is_of_the_batch_unless_statistics_stand() -> None:
    norm = PlainBatchNorm(2)
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert norm(x).tolist() == [[-1, 0], [1, 0]]
    holder = torch.nn.Sequential(norm)
    set_standing(holder, {"0": (torch.tensor([1.0, 1.0]), torch.tensor([4.0, 1.0]))})
    assert holder(x).tolist() == [[0, 4], [1, 4]]
