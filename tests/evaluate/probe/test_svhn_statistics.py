"""Batch-norm statistics as the authors' script takes them: means over batches, the remainder one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcgan_data.evaluate.features_of import discriminator_features
from dcgan_data.evaluate.probe.svhn_statistics import use_mean_statistics
from dcgan_data.train.models import Discriminator, ModelShape, build
from dcgan_data.train.norm import BatchNorm


@pytest.mark.parametrize("layers", ["strided", "paired"])
def test_mean_of_batch_means_and_of_batch_variances(layers: str, reporter: Any) -> None:
    shape = ModelShape(32, 2, 3, layers=layers)
    model = build(Discriminator, shape, torch.Generator().manual_seed(0))
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
    images[:128] //= 4  # darker, so that batches differ
    use_mean_statistics(model, images, reporter)
    found: list[list[tuple[np.ndarray, np.ndarray]]] = []
    for start in (0, 128, 256):  # 128, 128 and 44
        maps = images[start : start + 128].transpose(0, 3, 1, 2) / np.float32(127.5) - 1
        seen = []
        for stage in model.stages:
            stride = stage.conv.stride[0]
            weight = stage.conv.weight.detach()
            maps = F.conv2d(
                torch.from_numpy(maps), weight, stride=stride, padding=weight.shape[-1] // 2
            ).numpy()
            if stage.norm is not None:
                mean = maps.mean(axis=(0, 2, 3), dtype=np.float64)
                variance = maps.var(axis=(0, 2, 3), dtype=np.float64)
                seen.append((mean, variance))
                gain, bias = (values.detach().numpy() for values in (stage.norm.weight, stage.norm.bias))
                scaled = (maps - mean[:, None, None]) / np.sqrt(variance + 1e-8)[:, None, None]
                maps = (scaled * gain[:, None, None] + bias[:, None, None]).astype(np.float32)
            maps = np.where(maps > 0, maps, np.float32(0.2) * maps)
        found.append(seen)
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    assert len(norms) == len(found[0]) > 0
    for place, norm in enumerate(norms):
        assert norm.standing is not None
        for which in (0, 1):
            expected = np.mean([batch[place][which] for batch in found], axis=0)
            np.testing.assert_allclose(norm.standing[which].numpy(), expected, rtol=2e-4, atol=1e-6)
        together = found[0][place][1] * 128 + found[1][place][1] * 128 + found[2][place][1] * 44
        assert not np.allclose(norm.standing[1].numpy(), together / 300, rtol=1e-3), (
            "the remainder counts full"
        )
    assert reporter.stages == {"statistics": 300}


def test_nothing_else_of_the_model_changes(reporter: Any) -> None:
    """Spectral norm would go on with its power iteration, and each look at an image give other features."""
    model = build(Discriminator, ModelShape(32, 2, 3, spectral_norm=True), torch.Generator().manual_seed(0))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (130, 32, 32, 3), np.uint8)
    use_mean_statistics(model, images, reporter)
    first, second = (discriminator_features(model, images) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_an_image_does_not_depend_on_others_then(reporter: Any) -> None:
    model = build(Discriminator, ModelShape(32, 2, 3), torch.Generator().manual_seed(0))
    images = np.random.default_rng(0).integers(0, 256, (130, 32, 32, 3), np.uint8)
    use_mean_statistics(model, images, reporter)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(model(pixels[:5]), model(pixels)[:5])
