"""Codes made by torch are those that numpy makes, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_data.ops.codes import CODE_BITS, INPUTS, Encoder, encode_views, snap_to_grid
from dcgan_data.ops.codes_torch import encode_views_on
from dcgan_data.ops.views import standard_views

_NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=_NO_GPU)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("luma", [True, False])
def test_the_same_bytes_as_numpy(device: str, standardise: bool, luma: bool) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    images[0] = 9  # flat
    weight = snap_to_grid(rng.normal(0, 0.1, (INPUTS, CODE_BITS)), standardise)
    encoder = Encoder(weight, rng.normal(0, 0.5, CODE_BITS), standardise)
    views = standard_views((0.9,), 1.5, 1.05, mirror=True)
    encoder = (encoder.seeing_luma() if luma else encoder).through(views)
    codes, contrast = encode_views(images, encoder)
    others, same = encode_views_on(torch.device(device), images, encoder)
    assert codes.shape == (40, len(views), 16)
    assert np.array_equal(codes, others)
    assert np.array_equal(contrast, same)
    assert len(np.unique(codes[:, 0], axis=0)) > 30
