"""Semantic hashes: 128-bit codes of 32x32 images, and images grouped by equal codes (paper, sec. 4.1.1).

A code is the same on every machine. The encoder's weights lie on a fixed-point grid, so that with integer
pixels every product and every partial sum is exact in float64, in whatever order a library adds them; mean
and standard deviation come from exact integers; the rest is elementwise IEEE arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CODE_BITS = 128
CODE_SIDE = 32
INPUTS = CODE_SIDE * CODE_SIDE * 3
GRID = 2.0**-16
"""Spacing of the encoder's weights."""
MAX_WEIGHT = 64.0
"""16 + 6 bits of weight, 14 of pixel sums (256 px) and 12 for 3,072 terms make 48 of float64's 53."""
_BLOCK = 1024


@dataclass(frozen=True)
class Encoder:
    """The encoding half of the autoencoder, on the fixed-point grid."""

    weight: np.ndarray
    """float64 (3072, 128), multiples of GRID; with ``standardise`` every column sums to exactly 0."""
    bias: np.ndarray
    """float64 (128,)."""
    standardise: bool
    """Whether an image is brought to mean 0 and standard deviation 1 first."""


def snap_to_grid(weight: np.ndarray, zero_sum: bool) -> np.ndarray:
    """Round float (3072, 128) weights to the grid; with ``zero_sum``, make every column sum to exactly 0.

    A zero-sum column does not see the image's mean, which therefore need not be subtracted from the pixels:
    they stay integers. No weight moves by more than one and a half grid steps.
    """
    weight = weight.astype(np.float64)
    if zero_sum:
        weight = weight - weight.mean(axis=0)
    if not np.isfinite(weight).all() or np.abs(weight).max() >= MAX_WEIGHT:
        raise ValueError(f"encoder weights must be finite and under {MAX_WEIGHT}")
    steps = np.rint(weight / GRID)
    if zero_sum:
        for column in range(steps.shape[1]):
            excess = int(steps[:, column].sum())
            steps[: abs(excess), column] -= np.sign(excess)
    return steps * GRID


def area_sums(images: np.ndarray) -> np.ndarray:
    """Sum uint8 (N, S, S, 3) over blocks: float64 (N, 3072), (S/32)^2 times the exact area average."""
    factor = images.shape[1] // CODE_SIDE
    sums = np.zeros((len(images), CODE_SIDE, CODE_SIDE, 3), np.uint16)
    for y in range(factor):
        for x in range(factor):
            sums += images[:, y::factor, x::factor]
    return sums.reshape(len(images), INPUTS).astype(np.float64)


def spread(sums: np.ndarray) -> np.ndarray:
    """Standard deviation of each row of integer-valued float64 (N, 3072): float64 (N,).

    n * sum(x^2) - sum(x)^2 is computed in int64, so that only the square root rounds (correctly, by IEEE).
    """
    totals = sums.sum(axis=1).astype(np.int64)
    squares = np.einsum("ij,ij->i", sums, sums).astype(np.int64)
    deviation: np.ndarray = np.sqrt((INPUTS * squares - totals * totals).astype(np.float64)) / INPUTS
    return deviation


def encode(images: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Codes and contrasts of uint8 (N, S, S, 3) images.

    Returns uint8 (N, 16), the 128 thresholded activations packed big-endian, and float64 (N,), the standard
    deviation of the 32x32 pixels in grey levels. Independent of how the images are batched.
    """
    codes = np.empty((len(images), CODE_BITS // 8), np.uint8)
    contrast = np.empty(len(images))
    for start in range(0, len(images), _BLOCK):  # bounds the float64 copies to some 50 MB
        block = slice(start, start + _BLOCK)
        codes[block], contrast[block] = _encode_block(images[block], encoder)
    return codes, contrast


def _encode_block(images: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    pixels_per_cell = (images.shape[1] // CODE_SIDE) ** 2
    sums = area_sums(images)
    deviation = spread(sums)
    products = sums @ encoder.weight
    if encoder.standardise:
        # A flat image has products of exactly 0: dividing them by 1 leaves the bias.
        activation = products / np.where(deviation > 0, deviation, 1.0)[:, None] + encoder.bias
    else:
        activation = products / (127.5 * pixels_per_cell) + (encoder.bias - encoder.weight.sum(axis=0))
    return np.packbits(activation > 0, axis=1), deviation / pixels_per_cell


def group_codes(codes: np.ndarray) -> np.ndarray:
    """Map each image to the first image with the same code.

    codes: uint8 (N, 16). Returns int64 (N,) row numbers; the first of its kind maps to itself.
    O(N log N), some 50 bytes an image. Raises ValueError unless codes is uint8 (N, 16): a caller's bug.
    """
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != CODE_BITS // 8:
        raise ValueError(f"codes must be uint8 (N, 16), not {codes.dtype} {codes.shape}")
    halves = np.ascontiguousarray(codes).view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal codes stay in row order
    ordered = halves[order]
    starts = np.ones(len(codes), bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    run = np.cumsum(starts) - 1
    first = np.empty(len(codes), np.int64)
    first[order] = order[starts][run]
    return first
