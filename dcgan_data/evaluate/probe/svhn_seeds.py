"""Random streams of the SVHN probe: each draw and each trial has one of its own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for; the numbers are part of what makes a result reproducible."""

    CHOOSE_COST = 0
    MEASURE = 1
    TRIAL = 2


def rng_of(seed: int, purpose: Purpose, *number: int) -> np.random.Generator:
    """A pure function of its arguments."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *number)))
