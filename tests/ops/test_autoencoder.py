"""The fit: deterministic, without side effects, and it learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dcgan_data.ops.autoencoder import Autoencoder, FitResult, FitSettings, fit_autoencoder, to_inputs
from dcgan_data.ops.codes import CODE_BITS, GRID, INPUTS, encode
from dcgan_data.recipe import AutoencoderRecipe

Picture = Callable[..., np.ndarray]
CPU = torch.device("cpu")

SMALL = FitSettings(
    standardise=True,
    noise="mask",
    noise_level=0.2,
    dropout=0.5,
    holdout=0.1,
    batch_size=16,
    learning_rate=1e-3,
    max_updates=14,
    max_epochs=1000,
    evaluate_every=7,
    patience=5,
    seed=0,
)


@pytest.fixture(scope="module")
def pixels(picture: Picture) -> np.ndarray:
    """120 pictures as uint8 (120, 3072)."""
    return np.stack([picture(32, 32, seed=seed).reshape(INPUTS) for seed in range(120)])


def fit(pixels: np.ndarray, **changes: Any) -> FitResult:
    return fit_autoencoder(pixels, dataclasses.replace(SMALL, **changes), CPU)


def arrays(result: FitResult) -> list[np.ndarray]:
    return [result.encoder.weight, result.encoder.bias, result.decoder_weight, result.decoder_bias]


def same(a: FitResult, b: FitResult) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


def test_shapes_and_grid(pixels: np.ndarray) -> None:
    result = fit(pixels)
    assert [(a.shape, a.dtype) for a in arrays(result)] == [
        ((INPUTS, CODE_BITS), np.float64),
        ((CODE_BITS,), np.float64),
        ((CODE_BITS, INPUTS), np.float32),
        ((INPUTS,), np.float32),
    ]
    steps = result.encoder.weight / GRID
    assert np.array_equal(steps, np.rint(steps))
    assert not steps.sum(axis=0).any()
    assert result.encoder.standardise
    assert (result.updates, len(result.holdout_losses)) == (14, 2)


def test_same_seed_same_bits_whatever_the_threads_and_the_global_state(pixels: np.ndarray) -> None:
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            state = torch.random.get_rng_state()
            results.append(fit(pixels))
            assert torch.get_num_threads() == count  # restored
            assert torch.equal(torch.random.get_rng_state(), state)  # not even read
        assert same(*results)
    finally:
        torch.set_num_threads(threads)
    assert not same(results[0], fit(pixels, seed=1))


def test_threads_are_restored_after_a_failure(pixels: np.ndarray) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:

        def fail(epoch: int, loss: float) -> None:
            raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            fit_autoencoder(pixels, SMALL, CPU, fail)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_it_learns() -> None:
    """Smooth pictures with 12 degrees of freedom, which 128 code units can hold."""
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    amounts = np.random.default_rng(0).normal(0, 40, (200, 4, 3))
    smooth = 128 + np.einsum("kyx,nkc->nyxc", np.stack([x, y, x * y, x * x - 1 / 3]), amounts)
    pixels = np.clip(smooth, 0, 255).astype(np.uint8).reshape(200, INPUTS)
    losses = fit(pixels, max_updates=200, evaluate_every=20).holdout_losses
    assert losses[0] > 2 * losses[-1]
    assert losses[-1] < 0.3  # of 1, the variance of the input


def test_every_look_is_told(pixels: np.ndarray) -> None:
    told: list[tuple[int, float]] = []
    result = fit_autoencoder(
        pixels,
        dataclasses.replace(SMALL, max_updates=17),
        CPU,
        lambda updates, loss: told.append((updates, loss)),
    )
    assert told == list(zip([7, 7, 3], result.holdout_losses, strict=True))
    assert result.updates == 17


def test_stops_after_the_last_epoch(pixels: np.ndarray) -> None:
    """108 images are 7 batches of 16."""
    result = fit(pixels, max_updates=1000, max_epochs=3, evaluate_every=10)
    assert (result.updates, len(result.holdout_losses)) == (21, 3)


def test_patience_stops_and_the_best_weights_stay(pixels: np.ndarray) -> None:
    # A learning rate that soon makes everything worse.
    result = fit(pixels, max_updates=100, evaluate_every=3, patience=2, learning_rate=0.02)
    best = int(np.argmin(result.holdout_losses))
    assert len(result.holdout_losses) == best + 3
    assert same(result, fit(pixels, max_updates=3 * (best + 1), evaluate_every=3, learning_rate=0.02))


def test_a_gain_that_is_too_small_does_not_count(pixels: np.ndarray) -> None:
    """It falls at every look, by less than half a percent, and patience ends."""
    result = fit(pixels, max_updates=100, evaluate_every=1, patience=3, learning_rate=1e-6)
    assert result.holdout_losses == sorted(result.holdout_losses, reverse=True)
    assert len(result.holdout_losses) == 4


def test_it_starts_at_the_mean_image_with_half_of_the_units_on(pixels: np.ndarray) -> None:
    mean = to_inputs(pixels, True, CPU).mean(dim=0)
    model = Autoencoder(0.5, mean, torch.Generator().manual_seed(0))
    with torch.no_grad():
        inputs = to_inputs(pixels, True, CPU)
        assert torch.equal(model(inputs), mean.expand(len(pixels), -1))
        share = (model.encoder(inputs) > 0).float().mean(dim=0)
    assert float(share.min()) > 0.35
    assert float(share.max()) < 0.65


@pytest.mark.parametrize("count", [2, 5, 12])
def test_a_few_unlike_pictures_keep_unlike_codes(pixels: np.ndarray, count: int) -> None:
    """With the default settings, where there is nearly nothing to learn from."""
    values = dataclasses.asdict(AutoencoderRecipe())
    del values["max_images"], values["inputs"]
    result = fit_autoencoder(pixels[:count], FitSettings(**{**values, "max_updates": 200}, seed=0), CPU)
    codes, _ = encode(pixels[:count].reshape(count, 32, 32, 3), result.encoder)
    distances = [int(np.bitwise_count(a ^ b).sum()) for n, a in enumerate(codes) for b in codes[:n]]
    assert min(distances) >= 8


@pytest.mark.parametrize(
    "change",
    [{"noise": "gauss"}, {"noise_level": 0.5}, {"dropout": 0.0}, {"standardise": False}, {"holdout": 0.2}],
)
def test_every_setting_matters(pixels: np.ndarray, change: dict[str, Any]) -> None:
    assert not same(fit(pixels), fit(pixels, **change))


@pytest.mark.parametrize("noise", ["mask", "gauss"])
def test_input_is_corrupted_as_said(pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, noise: str) -> None:
    """What the model sees while fitting, against the clean input that it has to reproduce."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = Autoencoder.forward

    def spy(model: Autoencoder, inputs: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        if keep is not None:
            seen.append((inputs.clone(), keep.float()))
        return original(model, inputs, keep)

    monkeypatch.setattr(Autoencoder, "forward", spy)
    fit(pixels, noise=noise, noise_level=0.3, dropout=0.25, max_updates=1, batch_size=108)
    ((inputs, keep),) = seen
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert float(keep.mean()) == pytest.approx(0.75, abs=0.02)
    fitted_on = np.random.default_rng(0).permutation(len(pixels))[12:]  # 10 % are held out
    clean = to_inputs(pixels[np.sort(fitted_on)], True, CPU)
    if noise == "mask":
        assert float((inputs == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
        assert torch.equal(inputs[inputs != 0], clean[inputs != 0])
    else:
        assert float((inputs - clean).std()) == pytest.approx(0.3, abs=0.01)


def test_inputs_are_standardised_and_a_flat_image_is_zero(pixels: np.ndarray) -> None:
    values = to_inputs(pixels, True, CPU)
    assert torch.allclose(values.mean(dim=1), torch.zeros(len(pixels)), atol=1e-5)
    assert torch.allclose(values.std(dim=1, correction=0), torch.ones(len(pixels)), atol=1e-5)
    assert not to_inputs(np.full((1, INPUTS), 9, np.uint8), True, CPU).any()
    plain = to_inputs(np.array([[0] * 1536 + [255] * 1536], np.uint8), False, CPU)
    assert (plain.min(), plain.max()) == (-1, 1)


def test_one_image_is_enough(pixels: np.ndarray) -> None:
    result = fit(pixels[:1])
    assert np.isfinite(result.holdout_losses).all()
    assert result.updates == 14
