"""Digits that can be told apart, and settings that train at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.train.conditional.labelled import CLASSES, SIDE, LabelledImages
from dcgan_data.train.conditional.settings import ConditionalSettings

MakeSettings = Callable[..., ConditionalSettings]


@pytest.fixture(scope="session")
def digits() -> LabelledImages:
    """34 images: a pattern for each class, and noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (CLASSES, SIDE, SIDE))
    labels = (np.arange(34) % CLASSES).astype(np.uint8)
    images = patterns[labels] + rng.integers(0, 56, (34, SIDE, SIDE))
    return LabelledImages(images.astype(np.uint8), labels)


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """A tiny run on the CPU: 30 of 34 images in 4 batches an epoch, the last one of 6; 3 + 1 epochs."""

    def build(**changes: Any) -> ConditionalSettings:
        tiny = {"z_dim": 3, "filters": 2, "units": 4, "batch_size": 8, "held_out": 4, "device": "cpu"}
        tiny |= {"epochs": 3, "decay_epochs": 1, "checkpoint_every": 5, "log_every": 1}
        return ConditionalSettings(**{"run_dir": tmp_path / "run", **tiny, **changes})

    return build
