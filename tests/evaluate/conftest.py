"""A set of textures, with copies and codes; runs on it; and a small feature extractor for FID."""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from dcgan_data.evaluate import examined
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.loop import train
from dcgan_data.train.sample import Sampler, open_sampler

PICTURES, COPIED = 60, 10
HELD_OUT = 8
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def textures(
    tmp_path_factory: pytest.TempPathFactory,
    texture: Callable[..., np.ndarray],
    encoded: Callable[..., bytes],
    write_lmdb: Callable[[Path, Mapping[bytes, bytes]], Path],
) -> Path:
    """An LMDB of 60 textures; the first 10 have a copy each, equal to the byte."""
    found = {b"%03d" % n: encoded(texture(n)) for n in range(PICTURES)}
    found |= {b"%03d copy" % n: found[b"%03d" % n] for n in range(COPIED)}
    return write_lmdb(tmp_path_factory.mktemp("textures") / "lmdb", found)


@pytest.fixture(scope="session")
def texture_set(
    tmp_path_factory: pytest.TempPathFactory, textures: Path, make: Callable[..., Any], recipe: Any
) -> Path:
    """60 kept, 10 duplicates, at 32 px, with codes. Tests only read it."""
    out = tmp_path_factory.mktemp("textures") / "set"
    make(textures, out, recipe(records_per_shard=25))
    return out


@pytest.fixture(scope="session")
def bare_set(
    tmp_path_factory: pytest.TempPathFactory, textures: Path, make: Callable[..., Any], recipe: Any
) -> Path:
    """The same, only prepared: 70 kept, without codes."""
    out = tmp_path_factory.mktemp("textures") / "bare"
    make(textures, out, recipe(dedup={"rule": "none"}))
    return out


def train_a_little(prepared: Path, run_dir: Path, **changes: Any) -> Path:
    tiny = {"steps": 2, "width": 2, "z_dim": 3, "batch_size": 4, "device": "cpu", "held_out": HELD_OUT}
    train(TrainConfig(prepared=prepared, run_dir=run_dir, **{**tiny, **changes}))
    return run_dir


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Train a tiny model for two steps."""
    return train_a_little


@pytest.fixture(scope="session")
def texture_run(tmp_path_factory: pytest.TempPathFactory, texture_set: Path) -> Path:
    """A run on ``texture_set``: 52 training images, 8 held out. Copy it to write into it."""
    return train_a_little(texture_set, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def run(tmp_path: Path, texture_run: Path) -> Path:
    """A copy of ``texture_run``, to write into."""
    return Path(shutil.copytree(texture_run, tmp_path / "run"))


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], None]:
    """Let runs draw the images that are given, whatever they learnt."""

    def use(images: np.ndarray) -> None:
        def opened(run_dir: Path, checkpoint: str, device: str) -> Sampler:
            sampler = open_sampler(run_dir, checkpoint, device)
            monkeypatch.setattr(
                sampler, "draw", lambda count, seed=0: iter(np.array_split(images[:count], 3))
            )
            return sampler

        monkeypatch.setattr(examined, "open_sampler", opened)

    return use


@pytest.fixture(scope="session")
def torch_fidelity() -> Iterator[ModuleType]:
    """The library, if the extra is installed."""
    declared = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            library = importlib.import_module("torch_fidelity")
        except ImportError:
            if os.environ.get("CI"):  # there it must not be absent
                pytest.fail("needs the extra [fid]")
            pytest.skip("needs the extra [fid]")
        except RuntimeError:
            # The package index's torchvision is built for CUDA: beside a torch without, its operators are
            # missing, and it names two of them as it is imported. FID needs none.
            declared = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library = importlib.import_module("torch_fidelity")
    yield library
    del declared


FEATURES = 6


@pytest.fixture(scope="session")
def small_extractor(torch_fidelity: ModuleType) -> Iterator[str]:
    """The name of an extractor with 6 features, registered with the library."""

    class Small(torch_fidelity.FeatureExtractorBase):  # type: ignore[name-defined,misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            rng = torch.Generator().manual_seed(0)
            self.directions = torch.nn.Parameter(torch.randn(3072, FEATURES, generator=rng) / 4000)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("six",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "six"

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            assert images.dtype == torch.uint8 and images.shape[1:] == (3, 32, 32)
            return (torch.tanh(images.flatten(1).float() @ self.directions),)

    torch_fidelity.register_feature_extractor("small", Small)
    yield "small"
    importlib.import_module("torch_fidelity.registry").FEATURE_EXTRACTORS_REGISTRY.pop("small")
