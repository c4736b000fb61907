"""Products by halves are, bit for bit, the products with the whole weights."""

from __future__ import annotations

import numpy as np
import pytest

from dcgan_data.ops.codes import CODE_BITS, Encoder, encode_views, snap_to_grid
from dcgan_data.ops.mirrored import MirroredProducts
from dcgan_data.ops.views import VIEW, make_view, standard_views

VIEWS = standard_views((0.94, 0.88, 0.8), 1.5, 1.05, mirror=True)


def encoder(inputs: int, standardise: bool = True) -> Encoder:
    rng = np.random.default_rng(inputs)
    weight = snap_to_grid(rng.normal(0, 0.05, (inputs, CODE_BITS)), standardise)
    return Encoder(weight, rng.normal(0, 0.3, CODE_BITS), standardise)


@pytest.mark.parametrize("inputs", [1024, 3072])
@pytest.mark.parametrize("standardise", [True, False])
def test_products_are_the_same_bits(inputs: int, standardise: bool) -> None:
    seeing = encoder(inputs, standardise).through(VIEWS)
    assert seeing.mirrored is not None
    assert len(seeing.mirrored.rows) < inputs // 8  # else there would be nothing to gain
    pictures = np.random.default_rng(0).integers(0, 256, (5, inputs)).astype(np.float64)
    pictures *= 64 if inputs == 3072 else 1  # sums of pixels, of 256 px pictures
    assert np.array_equal(seeing.products(pictures), pictures @ seeing.weight)


def test_codes_are_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(1).integers(0, 256, (70, 64, 64, 3), dtype=np.uint8)
    quick = encode_views(images, encoder(1024).through(VIEWS))
    monkeypatch.setattr(MirroredProducts, "of", lambda weight, views: None)
    plain = encode_views(images, encoder(1024).through(VIEWS))
    assert all(np.array_equal(a, b) for a, b in zip(quick, plain, strict=True))


@pytest.mark.parametrize(
    "views",
    [
        standard_views((0.94, 0.88), 1.5, 1.05, mirror=False),
        VIEWS[:-1],
        VIEWS[::-1],
        VIEWS[:1],
        np.array([make_view(100, 100, 0, 0, False), make_view(90, 100, 0, 0, True)], VIEW),
        np.array([make_view(100, 100, 10, 0, False), make_view(100, 100, 10, 0, True)], VIEW),
    ],
)
def test_other_views_are_left_whole(views: np.ndarray) -> None:
    assert encoder(1024).through(views).mirrored is None


def test_pairs_in_any_order_and_of_rough_weights() -> None:
    """Right even for weights that no rounding made: only slower."""
    rng = np.random.default_rng(2)
    pairs = np.concatenate([VIEWS[[4, 0]], VIEWS[[14, 19]]])
    weight = rng.integers(-1000, 1000, (1024, 4 * 3)).astype(np.float64)
    divided = MirroredProducts.of(weight, pairs)
    assert divided is not None
    assert divided.mirrored.tolist() == [3, 2]
    pictures = rng.integers(0, 256, (7, 1024)).astype(np.float64)
    assert np.array_equal(divided.products(pictures), pictures @ weight)
