"""Independent random streams from one seed; torch's and numpy's global generators are never touched."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a random stream is for. The numbers are part of what makes a run reproducible."""

    GENERATOR_WEIGHTS = 0
    DISCRIMINATOR_WEIGHTS = 1
    LATENT = 2
    ORDER = 3
    GRID = 4
    SAMPLE = 5
    STANDING = 6
    HELD_OUT = 7
    SCORE = 8
    BASELINE = 9


def torch_rng(seed: int, stream: Stream, attempt: int = 0) -> torch.Generator:
    """A CPU generator for ``stream``: its draws do not depend on the device that trains.

    attempt: how often the run was rolled back; another one draws other numbers.
    """
    key = (stream, attempt) if attempt else (stream,)
    # One 32-bit word, because that is all that torch's Mersenne Twister takes of a seed.
    word = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint32)[0]
    return torch.Generator().manual_seed(int(word))


def numpy_rng(seed: int, stream: Stream, position: int) -> np.random.Generator:
    """A generator for one position of ``stream``, a pure function of its arguments."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, position)))
