"""The order of images in an epoch, the same on every device and in every process.

Each position gets a 64-bit key that hashes the seed, the epoch and the position, and the images are
taken in the order of their keys. No generator's state is in it: any epoch can be asked for at any time,
a run that began on a CPU goes on on a GPU, and the processes of one run agree without talking.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcgan_data.train.seeds import Stream

GOLDEN = 0x9E3779B97F4A7C15
"""Odd, and 2**64 over the golden ratio: its multiples spread evenly over all 64-bit numbers."""
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31


def epoch_order(seed: int, epoch: int, images: int, device: torch.device) -> Tensor:
    """All positions 0 .. images - 1 in the order of epoch ``epoch`` (from 0): int64 (images,) on the device.

    The host does not wait for a GPU here.
    """
    words = np.random.SeedSequence(seed, spawn_key=(Stream.ORDER, epoch)).generate_state(1, np.uint64)
    # Positions have different keys, as everything done to them can be undone: no tie is left to a device.
    return torch.argsort(hash_positions(int(words[0]), images, device))


def hash_positions(state: int, count: int, device: torch.device) -> Tensor:
    """The first ``count`` outputs of SplitMix64 from ``state``: int64 (count,), bits of unsigned numbers.

    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014: output n is a
    bijective mix of state + n * GOLDEN, so all outputs are computed at once.
    """
    keys = torch.arange(1, count + 1, device=device).mul_(_signed(GOLDEN)).add_(_signed(state))
    for shift, factor in _MIXERS:
        keys.bitwise_xor_(_shifted(keys, shift)).mul_(_signed(factor))
    return keys.bitwise_xor_(_shifted(keys, _LAST_SHIFT))


def _shifted(keys: Tensor, shift: int) -> Tensor:
    # >> copies the sign into the bits that it frees: the mask makes it a shift of unsigned numbers.
    return (keys >> shift).bitwise_and_((1 << (64 - shift)) - 1)


def _signed(word: int) -> int:
    """The int64 with the bits of a 64-bit word; torch multiplies and adds modulo 2**64."""
    return word - (1 << 64) if word >> 63 else word
