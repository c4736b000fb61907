"""128-bit codes: exact, the same however computed, and grouped by equality."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dcgan_data.ops.codes import (
    CODE_BITS,
    CODE_SIDE,
    GRID,
    INPUTS,
    MAX_WEIGHT,
    Encoder,
    activations,
    area_sums,
    encode,
    encode_views,
    group_codes,
    network_inputs,
    snap_to_grid,
    spread,
    to_luma,
)
from dcgan_data.ops.views import IDENTITY, VIEW, make_view, standard_views, tap_matrices

Picture = Callable[..., np.ndarray]


def make_encoder(standardise: bool = True, seed: int = 0) -> Encoder:
    rng = np.random.default_rng(seed)
    weight = snap_to_grid(rng.normal(0, 0.05, (INPUTS, CODE_BITS)), zero_sum=standardise)
    return Encoder(weight, rng.normal(0, 0.3, CODE_BITS), standardise)


def pictures(picture: Picture, count: int, size: int = 32) -> np.ndarray:
    return np.stack([picture(size, size, seed=seed) for seed in range(count)])


@given(st.integers(0, 2**32), st.booleans(), st.floats(1e-6, 8))
def test_snap_is_near_and_exactly_zero_sum(seed: int, zero_sum: bool, scale: float) -> None:
    weight = np.random.default_rng(seed).normal(0.1 * scale, scale, (INPUTS, 4))
    snapped = snap_to_grid(weight, zero_sum)
    steps = snapped / GRID
    assert snapped.dtype == np.float64
    assert np.array_equal(steps, np.rint(steps))
    wanted = weight - weight.mean(axis=0) if zero_sum else weight
    # Rounding moves a weight by half a step, and making the sum zero by one more.
    assert np.abs(snapped - wanted).max() <= GRID * (1.5 if zero_sum else 0.5) + 1e-9
    if zero_sum:
        assert [sum(int(step) for step in column) for column in steps.T] == [0] * 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, MAX_WEIGHT, -MAX_WEIGHT])
def test_snap_refuses_what_would_not_be_exact(bad: float) -> None:
    weight = np.zeros((INPUTS, CODE_BITS))
    weight[7, 5] = bad
    with pytest.raises(ValueError, match=r"encoder weights must be finite and under 256\.0"):
        snap_to_grid(weight, zero_sum=False)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_area_sums_are_the_sums(size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    images[2] = 255  # the largest sum
    step = size // 32
    expected = images.reshape(3, 32, step, 32, step, 3).sum(axis=(2, 4), dtype=np.int64)
    assert np.array_equal(area_sums(images), expected.reshape(3, INPUTS))


@given(hnp.arrays(np.int64, (2, INPUTS), elements=st.integers(0, 255 * 64), fill=st.integers(0, 255 * 64)))
def test_spread_is_the_standard_deviation(sums: np.ndarray) -> None:
    assert np.allclose(spread(sums.astype(float)), sums.std(axis=1), rtol=1e-9, atol=1e-6)


def exact_code(image: np.ndarray, encoder: Encoder) -> list[bool | None]:
    """The bits by rational arithmetic; None where a bit hangs on the last digits of the square root."""
    sums = [int(value) for value in area_sums(image[None])[0]]
    cells = (image.shape[0] // 32) ** 2
    variance = INPUTS * sum(value * value for value in sums) - sum(sums) ** 2  # times INPUTS squared
    digits = 10**30
    deviation = Fraction(isqrt(variance * digits**2), digits * INPUTS) if encoder.standardise else None
    bits: list[bool | None] = []
    for column in range(CODE_BITS):
        steps = [int(step) for step in encoder.weight[:, column] / GRID]
        product = Fraction(sum(s * w for s, w in zip(sums, steps, strict=True)), int(1 / GRID))
        bias = Fraction(float(encoder.bias[column]))
        if deviation is None:  # inputs are pixel / 127.5 - 1
            activation = product / (Fraction(255, 2) * cells) + bias - Fraction(sum(steps), int(1 / GRID))
        else:
            activation = product / (deviation or 1) + bias
        bits.append(None if abs(activation) < Fraction(1, 10**12) else activation > 0)
    return bits


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("size", [32, 64])
def test_encode_is_the_exact_arithmetic(picture: Picture, size: int, standardise: bool) -> None:
    encoder = make_encoder(standardise)
    images = pictures(picture, 2, size)
    codes, _ = encode(images, encoder)
    for image, code in zip(images, codes, strict=True):
        exact = exact_code(image, encoder)
        assert None not in exact
        assert np.unpackbits(code).astype(bool).tolist() == exact
        assert 20 < sum(map(bool, exact)) < 108  # neither all nor none


def test_partial_sums_are_exact_in_the_worst_case() -> None:
    """The largest weights, all of one sign, on the largest pixels: no order of summing may round."""
    rng = np.random.default_rng(0)
    steps = int(MAX_WEIGHT / GRID) - rng.integers(1, 1000, (INPUTS, CODE_BITS))
    image = rng.choice([254, 255], (1, 256, 256, 3)).astype(np.uint8)
    sums = area_sums(image)
    exact = (sums.astype(np.int64) @ steps).tolist()
    assert max(exact[0]) < 2**53  # every integer up to there is a float64
    for order in (slice(None), slice(None, None, -1)):
        found = sums[:, order] @ (steps * GRID)[order]
        assert (found / GRID).astype(np.int64).tolist() == exact


def test_encode_does_not_depend_on_batch_or_order(picture: Picture) -> None:
    encoder = make_encoder()
    images = pictures(picture, 40)
    codes, contrast = encode(images, encoder)
    order = np.random.default_rng(0).permutation(40)
    for other, wanted in (
        (encode(images[order], encoder), (codes[order], contrast[order])),
        (encode(images[7:8], encoder), (codes[7:8], contrast[7:8])),
        (encode(np.tile(images, (60, 1, 1, 1)), encoder), (np.tile(codes, (60, 1)), np.tile(contrast, 60))),
    ):
        assert np.array_equal(other[0], wanted[0])
        assert np.array_equal(other[1], wanted[1])


def test_sums_may_be_split_over_threads(picture: Picture) -> None:
    """Threads add up in another order. Split by hand, and by torch, the sums are the same bits."""
    encoder = make_encoder()
    sums = area_sums(pictures(picture, 8))
    whole = sums @ encoder.weight
    halves = sums[:, :1500] @ encoder.weight[:1500] + sums[:, 1500:] @ encoder.weight[1500:]
    assert np.array_equal(whole, halves)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            product = torch.from_numpy(sums) @ torch.from_numpy(encoder.weight)
            assert np.array_equal(product.numpy(), whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_encode_does_not_depend_on_numpys_threads(tmp_path: Path, picture: Picture, threads: str) -> None:
    encoder = make_encoder()
    images = pictures(picture, 8)
    np.savez(tmp_path / "given.npz", images=images, weight=encoder.weight, bias=encoder.bias)
    script = (
        "import sys, numpy as np; from dcgan_data.ops.codes import Encoder, encode;"
        "given = np.load(sys.argv[1]);"
        "codes, _ = encode(given['images'], Encoder(given['weight'], given['bias'], True));"
        "print(codes.tobytes().hex())"
    )
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "given.npz")],
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == encode(images, encoder)[0].tobytes().hex()


def test_scaled_and_shifted_integers_have_the_same_code(picture: Picture) -> None:
    encoder = make_encoder()
    small = pictures(picture, 12) // 4
    codes, contrast = encode(small, encoder)
    brighter, same = encode(small + 100, encoder)
    doubled, twice = encode(small * 2, encoder)
    assert np.array_equal(brighter, codes)
    assert np.array_equal(same, contrast)
    assert np.array_equal(doubled, codes)
    assert np.array_equal(twice, 2 * contrast)
    assert not np.array_equal(encode(small + 100, make_encoder(standardise=False))[0], codes)


def test_rounded_contrast_changes_move_few_bits(picture: Picture) -> None:
    encoder = make_encoder()
    images = pictures(picture, 12)
    paler = np.rint(images * 0.8 + 20).astype(np.uint8)
    distance = np.bitwise_count(encode(images, encoder)[0] ^ encode(paler, encoder)[0]).sum(axis=1)
    assert distance.max() <= 3
    unlike = np.bitwise_count(encode(images, encoder)[0] ^ encode(images[::-1], encoder)[0]).sum(axis=1)
    assert unlike.min() > 20


@pytest.mark.parametrize("level", [0, 7, 255])
def test_flat_image_has_the_bits_of_the_bias(level: int) -> None:
    encoder = make_encoder()
    codes, contrast = encode(np.full((1, 64, 64, 3), level, np.uint8), encoder)
    assert np.array_equal(np.unpackbits(codes[0]), encoder.bias > 0)
    assert contrast[0] == 0


def test_code_bits_are_packed_in_order() -> None:
    bias = np.where(np.arange(CODE_BITS) % 3 == 0, 1.0, -1.0)
    codes, _ = encode(np.zeros((1, 32, 32, 3), np.uint8), Encoder(np.zeros((INPUTS, CODE_BITS)), bias, True))
    assert codes[0, 0] == 0b10010010
    assert np.array_equal(np.unpackbits(codes[0]), bias > 0)


def test_encode_of_no_images() -> None:
    codes, contrast = encode(np.empty((0, 32, 32, 3), np.uint8), make_encoder())
    assert codes.shape == (0, 16) and contrast.shape == (0,)


@settings(max_examples=25)
@given(st.lists(st.binary(min_size=16, max_size=16), max_size=40))
def test_packing_round_trip(rows: list[bytes]) -> None:
    """The bits that come out of a code are those that went in, through weights that copy the input."""
    packed = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)
    weight = np.zeros((INPUTS, CODE_BITS))
    weight[np.arange(CODE_BITS), np.arange(CODE_BITS)] = 1.0
    encoder = Encoder(weight, np.full(CODE_BITS, 1.0), standardise=False)
    images = np.zeros((len(packed), INPUTS), np.uint8)
    images[:, :CODE_BITS] = np.unpackbits(packed, axis=1)  # level 0 is -1, which the bias makes 0: not on
    codes, _ = encode(images.reshape(-1, 32, 32, 3), encoder)
    assert np.array_equal(codes, packed)


@pytest.mark.parametrize("size", [32, 64, 256])
def test_luma_is_the_rounded_weighted_average(size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    images[1, :, : size // 2], images[1, :, size // 2 :] = 255, 0
    found = to_luma(images)
    assert found.dtype == np.uint8 and found.shape == (2, 32, 32)
    cells = (size // 32) ** 2
    for luma, sums in zip(found, area_sums(images).reshape(2, 32, 32, 3).astype(int).tolist(), strict=True):
        for y in range(32):
            for x in range(32):
                r, g, b = sums[y][x]
                # Half a grey level goes up.
                assert (
                    luma[y, x]
                    == (Fraction(77 * r + 150 * g + 29 * b, 256 * cells) + Fraction(1, 2)).__floor__()
                )
    assert set(found[1].ravel().tolist()) == {0, 255}


def test_luma_of_primary_colours_and_rounding() -> None:
    images = np.zeros((6, 64, 64, 3), np.uint8)
    images[0, ..., 0] = images[1, ..., 1] = images[2, ..., 2] = 255
    images[3, ::2] = 1  # half a level on average
    images[4, ::2, ::2] = 1  # a quarter
    images[5] = 77
    assert to_luma(images)[:, 3, 4].tolist() == [77, 149, 29, 1, 0, 77]  # of 76.7, 149.4, 28.9


def test_luma_of_grey_is_grey_and_of_none_is_none() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(1, 32, 32)
    assert np.array_equal(to_luma(np.repeat(levels[..., None], 3, axis=3)), levels)
    assert to_luma(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, 32, 32)


def test_luma_does_not_depend_on_the_batch(picture: Picture) -> None:
    images = np.tile(pictures(picture, 12), (50, 1, 1, 1))  # more than one block
    assert np.array_equal(to_luma(images), np.tile(to_luma(images[:12]), (50, 1, 1)))


def grey(images: np.ndarray) -> np.ndarray:
    """The three channels all the luminance."""
    return np.repeat(to_luma(images)[..., None], 3, axis=3)


@pytest.mark.parametrize("standardise", [True, False])
def test_seeing_luma_is_the_same_encoder_on_grey_images(picture: Picture, standardise: bool) -> None:
    colour = make_encoder(standardise)
    luma = colour.seeing_luma()
    assert colour.sees_colours and not luma.sees_colours
    assert luma.weight.shape == (CODE_SIDE * CODE_SIDE, CODE_BITS)
    steps = luma.weight / GRID
    assert np.array_equal(steps, np.rint(steps))
    if standardise:
        assert not luma.weight.sum(axis=0).any()
    images = grey(pictures(picture, 20, 64))
    codes, contrast = encode(images, luma)
    wanted, wanted_contrast = encode(images, colour)
    assert np.array_equal(codes, wanted)
    assert np.allclose(contrast, wanted_contrast, rtol=1e-12)
    # Colours do not matter to it, except by their luminance.
    assert np.array_equal(encode(pictures(picture, 20, 64), luma)[0], codes)
    assert not np.array_equal(encode(pictures(picture, 20, 64), colour)[0], codes)


@pytest.mark.parametrize("luma", [True, False])
@pytest.mark.parametrize("standardise", [True, False])
def test_the_size_of_the_same_picture_does_not_matter(
    picture: Picture, standardise: bool, luma: bool
) -> None:
    encoder = make_encoder(standardise).seeing_luma() if luma else make_encoder(standardise)
    encoder = encoder.through(np.array([IDENTITY, make_view(90, 90, 15)], VIEW))
    small = pictures(picture, 12)
    codes, contrast = encode_views(small, encoder)
    for factor in (2, 4, 8):
        large = small.repeat(factor, axis=1).repeat(factor, axis=2)
        again, same = encode_views(large, encoder)
        assert np.array_equal(again, codes)
        assert np.array_equal(same, contrast)


@pytest.mark.parametrize("luma", [True, False])
def test_network_inputs(picture: Picture, luma: bool) -> None:
    encoder = make_encoder().seeing_luma() if luma else make_encoder()
    images = pictures(picture, 3, 64)
    inputs, scale = network_inputs(images, encoder)
    assert inputs.dtype == np.float64 and inputs.shape == (3, 1024 if luma else 3072)
    assert scale == (1 if luma else 4)
    assert np.array_equal(inputs, to_luma(images).reshape(3, -1) if luma else area_sums(images))


@pytest.mark.parametrize("standardise", [True, False])
def test_the_first_view_has_the_code_itself(picture: Picture, standardise: bool) -> None:
    encoder = make_encoder(standardise).seeing_luma()
    views = standard_views((0.9,), 0.0, 1.0, mirror=True)
    through = encoder.through(views)
    assert through.weight.shape == (1024, len(views) * CODE_BITS)
    assert np.array_equal(through.weight[:, :CODE_BITS], encoder.weight)
    images = pictures(picture, 30)
    codes, contrast = encode_views(images, through)
    assert codes.shape == (30, len(views), 16)
    wanted, wanted_contrast = encode(images, encoder)
    assert np.array_equal(codes[:, 0], wanted)
    assert np.array_equal(contrast, wanted_contrast)
    assert np.array_equal(encode(images, through)[0], wanted)
    # Each view's codes are those of an encoder of that view alone.
    for number, view in enumerate(views):
        alone, _ = encode_views(images, encoder.through(np.array([view], VIEW)))
        assert np.array_equal(alone[:, 0], codes[:, number])
    # A mirrored picture, seen mirrored, is the picture.
    mirrored, _ = encode_views(images[:, :, ::-1], through)
    moved = np.bitwise_count(mirrored[:, len(views) // 2] ^ wanted).sum()
    assert moved == 0


@pytest.mark.parametrize("standardise", [True, False])
def test_views_have_the_activations_of_warped_pictures(picture: Picture, standardise: bool) -> None:
    """But for the rounding of the folded weights; the contrast is that of the whole picture."""
    encoder = make_encoder(standardise).seeing_luma()
    inputs, _ = network_inputs(pictures(picture, 6), encoder)
    view = make_view(88, 94, -12, 7, mirror=True)
    (rows,), _ = tap_matrices(view["zoom_y"][None], view["shift_y"][None])
    (columns,), _ = tap_matrices(view["zoom_x"][None], view["shift_x"][None])
    warped = (rows.astype(float) @ inputs.reshape(-1, 32, 32) @ columns.T.astype(float) / 64**2)[:, :, ::-1]
    found = activations(inputs, 1, encoder.through(np.array([view], VIEW)))
    products = warped.reshape(6, -1) @ encoder.weight
    if standardise:
        wanted = products / spread(inputs)[:, None] + encoder.bias
        error = 1.5 * GRID * inputs.sum(axis=1) / spread(inputs)
    else:
        wanted = products / 127.5 + encoder.bias - encoder.weight.sum(axis=0)
        error = 0.5 * GRID * (inputs.sum(axis=1) / 127.5 + 1024)
    assert (np.abs(found - wanted) <= error[:, None]).all()
    assert np.abs(found).max() > 10 * error.max()


def test_folded_weights_sum_to_zero_and_lie_on_the_grid() -> None:
    views = standard_views((0.94, 0.7), 4.0, 1.3, mirror=True, outward=True)
    through = make_encoder().seeing_luma().through(views)
    steps = through.weight / GRID
    assert np.array_equal(steps, np.rint(steps))
    assert not through.weight.sum(axis=0).any()
    assert np.array_equal(through.bias, np.tile(make_encoder().bias, len(views)))


def test_views_of_no_images() -> None:
    through = make_encoder().through(standard_views((), 0, 1, mirror=True))
    codes, contrast = encode_views(np.empty((0, 64, 64, 3), np.uint8), through)
    assert codes.shape == (0, 2, 16) and contrast.shape == (0,)


few_values = st.sampled_from([0, 1, 128, 255])


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 60), st.just(16)), elements=few_values, fill=few_values))
def test_group_codes_against_a_dictionary(codes: np.ndarray) -> None:
    seen: dict[bytes, int] = {}
    expected = [seen.setdefault(code.tobytes(), row) for row, code in enumerate(codes)]
    found = group_codes(codes)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_group_codes_tells_every_bit_apart() -> None:
    codes = np.packbits(np.vstack([np.zeros((1, 128), bool), np.eye(128, dtype=bool)]), axis=1)
    assert group_codes(codes).tolist() == list(range(129))
    assert group_codes(np.vstack([codes, codes[::-1]])).tolist() == [*range(129), *range(128, -1, -1)]


def test_group_codes_takes_any_memory_layout() -> None:
    codes = np.random.default_rng(0).integers(0, 2, (40, 16), dtype=np.uint8)
    assert np.array_equal(group_codes(np.asfortranarray(codes)), group_codes(codes))


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (np.zeros((3, 16), np.int8), r"int8 \(3, 16\)"),
        (np.zeros((3, 15), np.uint8), r"uint8 \(3, 15\)"),
        (np.zeros(16, np.uint8), r"uint8 \(16,\)"),
    ],
)
def test_group_codes_refuses_other_arrays(codes: np.ndarray, found: str) -> None:
    with pytest.raises(ValueError, match=rf"codes must be uint8 \(N, 16\), not {found}"):
        group_codes(codes)
