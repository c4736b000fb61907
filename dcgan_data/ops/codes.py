"""Semantic hashes: 128-bit codes of 32x32 images, and images grouped by equal codes (paper, sec. 4.1.1).

A code is the same on every machine. The encoder's weights lie on a fixed-point grid, so that with integer
pixels every product and every partial sum is exact in float64, in whatever order a library adds them; mean
and standard deviation come from exact integers; the rest is elementwise IEEE arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dcgan_data.ops.mirrored import MirroredProducts
from dcgan_data.ops.views import fold

CODE_BITS = 128
CODE_SIDE = 32
INPUTS = CODE_SIDE * CODE_SIDE * 3
GRID = 2.0**-16
"""Spacing of the encoder's weights."""
MAX_WEIGHT = 256.0
"""16 + 8 bits of weight, 14 of pixel sums (256 px) and 12 for 3,072 terms make 50 of float64's 53."""
_LUMA = (77, 150, 29)
"""Weights of red, green and blue in luminance (Rec. 601), in 256ths."""
_BLOCK = 128


@dataclass(frozen=True)
class Encoder:
    """The encoding half of the autoencoder, on the fixed-point grid."""

    weight: np.ndarray
    """float64 (3072, 128) for colours or (1024, 128) for luminance, multiples of GRID; with ``standardise``
    every column sums to exactly 0. Of V views side by side: (..., V * 128)."""
    bias: np.ndarray
    """float64 (128,), or (V * 128,)."""
    standardise: bool
    """Whether an image is brought to mean 0 and standard deviation 1 first."""
    mirrored: MirroredProducts | None = None
    """The weights of views that come in mirrored pairs, divided: the same products sooner."""

    def products(self, inputs: np.ndarray) -> np.ndarray:
        """``inputs @ weight``: integers as float64 (N, inputs) -> float64 (N, V * 128), exact."""
        if self.mirrored:
            return self.mirrored.products(inputs)
        product: np.ndarray = inputs @ self.weight
        return product

    @property
    def sees_colours(self) -> bool:
        """Whether the inputs are colours or luminance."""
        return len(self.weight) == INPUTS

    def seeing_luma(self) -> Encoder:
        """The same encoder for pictures whose three channels are all their luminance."""
        pixels = CODE_SIDE * CODE_SIDE
        return replace(self, weight=self.weight.reshape(pixels, 3, CODE_BITS).sum(axis=1))

    def through(self, views: np.ndarray) -> Encoder:
        """An encoder of VIEW (V,) views side by side: weight (inputs, V * 128), bias (V * 128,)."""
        folded = [snap_to_grid(fold(self.weight, view), self.standardise) for view in views]
        weight = np.concatenate(folded, axis=1)
        mirrored = MirroredProducts.of(weight, views)
        return replace(self, weight=weight, bias=np.tile(self.bias, len(views)), mirrored=mirrored)


def snap_to_grid(weight: np.ndarray, zero_sum: bool) -> np.ndarray:
    """Round float (inputs, K) weights to the grid; with ``zero_sum``, make every column sum to exactly 0.

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
        excess = steps.sum(axis=0)
        steps -= np.sign(excess) * (np.arange(len(steps))[:, None] < np.abs(excess))
    return steps * GRID


def area_sums(images: np.ndarray) -> np.ndarray:
    """Sum uint8 (N, S, S, 3) over blocks: float64 (N, 3072), (S/32)^2 times the exact area average."""
    factor = images.shape[1] // CODE_SIDE
    sums = np.zeros((len(images), CODE_SIDE, CODE_SIDE, 3), np.uint16)
    for y in range(factor):
        for x in range(factor):
            sums += images[:, y::factor, x::factor]
    return sums.reshape(len(images), INPUTS).astype(np.float64)


def to_luma(images: np.ndarray) -> np.ndarray:
    """Luminance (Rec. 601) of uint8 (N, S, S, 3) images: 32x32 area averages, rounded, uint8 (N, 32, 32)."""
    side = images.shape[1]
    factor = side // CODE_SIDE
    # A cell's rows are added up first; then one product weighs the colours and adds up its columns. Integers
    # under 2^24 all the way: exact in float32.
    weigh = np.zeros((side, 3, CODE_SIDE), np.float32)
    weigh[np.arange(side), :, np.arange(side) // factor] = _LUMA
    luma = np.empty((len(images), CODE_SIDE, CODE_SIDE), np.uint8)
    divisor = sum(_LUMA) * factor**2
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        rows = block[:, ::factor].astype(np.uint16)
        for row in range(1, factor):
            rows += block[:, row::factor]
        sums = rows.reshape(-1, side * 3).astype(np.float32) @ weigh.reshape(side * 3, CODE_SIDE)
        rounded = (sums.astype(np.int32) + divisor // 2) // divisor
        luma[start : start + _BLOCK] = rounded.reshape(-1, CODE_SIDE, CODE_SIDE)
    return luma


def spread(sums: np.ndarray) -> np.ndarray:
    """Standard deviation of each row of integer-valued float64 (N, inputs): float64 (N,).

    n * sum(x^2) - sum(x)^2 is computed in int64, so that only the square root rounds (correctly, by IEEE).
    """
    inputs = sums.shape[1]
    totals = sums.sum(axis=1).astype(np.int64)
    squares = np.einsum("ij,ij->i", sums, sums).astype(np.int64)
    deviation: np.ndarray = np.sqrt((inputs * squares - totals * totals).astype(np.float64)) / inputs
    return deviation


def encode(images: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Codes uint8 (N, 16) and contrasts float64 (N,) of uint8 (N, S, S, 3) images; see ``encode_views``."""
    codes, contrast = encode_views(images, encoder)
    return codes[:, 0], contrast


def encode_views(images: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Codes and contrasts of uint8 (N, S, S, 3) images.

    Returns uint8 (N, V, 16), the thresholded activations of each of the encoder's views packed big-endian,
    and float64 (N,), the standard deviation of the 32x32 pixels in grey levels. Independent of the batching.
    """
    views = encoder.weight.shape[1] // CODE_BITS
    codes = np.empty((len(images), views, CODE_BITS // 8), np.uint8)
    contrast = np.empty(len(images))
    for start in range(0, len(images), _BLOCK):  # bounds the float64 copies to some 15 MB
        block = slice(start, start + _BLOCK)
        inputs, scale = network_inputs(images[block], encoder)
        bits = activations(inputs, scale, encoder) > 0
        codes[block] = np.packbits(bits, axis=1).reshape(-1, views, CODE_BITS // 8)
        contrast[block] = spread(inputs) / scale
    return codes, contrast


def network_inputs(images: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, int]:
    """What an encoder sees of uint8 (N, S, S, 3) images, or of uint8 (N, 32, 32) luminance.

    Returns integers as float64 (N, inputs), and how many of their steps make one grey level.
    """
    if encoder.sees_colours:
        return area_sums(images), (images.shape[1] // CODE_SIDE) ** 2
    luma = images if images.ndim == 3 else to_luma(images)
    return luma.reshape(len(images), CODE_SIDE * CODE_SIDE).astype(np.float64), 1


def activations(inputs: np.ndarray, scale: int, encoder: Encoder) -> np.ndarray:
    """The code units before thresholding: float64 (N, V * 128)."""
    products = encoder.products(inputs)
    if encoder.standardise:
        deviation = spread(inputs)
        # A flat image has products of exactly 0: dividing them by 1 leaves the bias.
        products /= np.where(deviation > 0, deviation, 1.0)[:, None]
        products += encoder.bias
    else:
        products /= 127.5 * scale
        products += encoder.bias - encoder.weight.sum(axis=0)
    return products


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
