"""FID and KID, computed by the library torch-fidelity: all that touches it is here.

The library sets warning filters when it is imported, and its network draws its first weights from torch's
global generator; both are put back. It is loaded only when asked for, as it is an optional extra.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.reporter import Reporter

INCEPTION = "inception-v3-compat"
"""The library's name of the network that FID is defined with, in the weights of 2015."""
KID_SUBSETS, _KID_SUBSET = 100, 1000
"""How many draws KID is the mean of, and of how many images each: the library's defaults."""
_WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_WEIGHTS_MB = 96
_RESIZER = "bilinear to 299x299 as in TensorFlow 1, no antialiasing, corners not aligned"
_BATCH = 64
"""Images at a time: some 1 GB at 299x299."""


@dataclass(frozen=True)
class Distances:
    """How far apart two sets of features are."""

    fid: float
    """Fréchet distance of the two Gaussians (Heusel et al., 2017)."""
    kid: float
    """Unbiased squared maximum mean discrepancy, cubic kernel, mean over subsets (Binkowski et al., 2018)."""
    kid_deviation: float
    """Standard deviation over the subsets."""
    kid_subset_images: int
    """Images in each subset."""


@dataclass(frozen=True)
class Moments:
    """What FID needs of a set of features."""

    mean: np.ndarray
    """float32 (F,)."""
    covariance: np.ndarray
    """float64 (F, F)."""


class Extractor:
    """A network that turns images into features."""

    def __init__(self, name: str, network: Any, weights: str, device: torch.device) -> None:
        self.name = name
        """As registered with the library."""
        self.weights = weights
        """sha256 of its weights, if they are known."""
        self._network = network.to(device)
        self._device = device

    @property
    def library(self) -> str:
        """Name and version."""
        return f"torch-fidelity {version('torch-fidelity')}"

    @property
    def resizer(self) -> str:
        """How it brings images to its own size."""
        return _RESIZER if self.name == INCEPTION else "the extractor's own"

    @torch.no_grad()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of uint8 (N, S, S, 3) images, as they are: float32 (N, F)."""
        found = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).contiguous()
            (features,) = self._network(batch.to(self._device))
            found.append(features.float().cpu().numpy())
        return np.concatenate(found)


def open_extractor(name: str, weights: Path | None, device: torch.device, reporter: Reporter) -> Extractor:
    """Load a network that is registered with the library.

    Inception's weights come from ``weights``, or from torch's cache, into which they are downloaded at first.
    BadRequest without the library, or if they are neither there nor to be had; BadInput if they are others.
    """
    registry = _library("registry").FEATURE_EXTRACTORS_REGISTRY
    if name not in registry:
        raise BadRequest(f"extractor={name!r}: torch-fidelity knows {', '.join(sorted(registry))}")
    options = {}
    if name == INCEPTION:
        weights = _inception_weights(weights, reporter)
        options["feature_extractor_weights_path"] = str(weights)
    layer = registry[name].get_default_feature_layer_for_metric("fid")
    with torch.random.fork_rng(devices=[]):
        network = _library("utils").create_feature_extractor(
            name, [layer], cuda=False, verbose=False, **options
        )
    return Extractor(name, network, _WEIGHTS_SHA256 if name == INCEPTION else "", device)


def moments(features: np.ndarray) -> Moments:
    """Mean and covariance of float32 (N, F) features, N > 1."""
    statistics = _library("metric_fid").fid_features_to_statistics(torch.from_numpy(features))
    return Moments(statistics["mu"], statistics["sigma"])


def distances(samples: np.ndarray, real: Moments, real_features: np.ndarray) -> Distances:
    """Compare float32 (N, F) features of samples with those of real images.

    FID takes the real images' moments, KID some of their features, float32 (M, F).
    """
    fid, kid = _library("metric_fid"), _library("metric_kid")
    own = moments(samples)
    both = [{"mu": each.mean, "sigma": each.covariance} for each in (own, real)]
    frechet = fid.fid_statistics_to_metric(*both, verbose=False)
    subset = min(_KID_SUBSET, len(samples), len(real_features))
    kernel = kid.kid_features_to_metric(
        torch.from_numpy(samples),
        torch.from_numpy(real_features),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=subset,
        verbose=False,
    )
    return Distances(
        fid=frechet[fid.KEY_METRIC_FID],
        kid=kernel[kid.KEY_METRIC_KID_MEAN],
        kid_deviation=kernel[kid.KEY_METRIC_KID_STD],
        kid_subset_images=subset,
    )


def _library(module: str) -> Any:
    """A module of torch-fidelity; BadRequest if the library is not installed, or cannot be loaded."""
    try:
        with warnings.catch_warnings():  # also undoes the filters that it sets
            warnings.simplefilter("ignore")
            return importlib.import_module(f"torch_fidelity.{module}")
    except ImportError as error:
        raise BadRequest(
            f"--fid: needs torch-fidelity ({error}); install it with: pip install 'dcgan-data[fid]'"
        ) from None
    except RuntimeError as error:  # what torchvision raises beside a torch that it was not built for
        reason = str(error).splitlines()[0]
        raise BadRequest(
            f"--fid: torchvision does not go with torch {torch.__version__} ({reason}); install the build "
            "that belongs to it, for a torch without CUDA: "
            "pip install --force-reinstall torchvision --index-url https://download.pytorch.org/whl/cpu"
        ) from None


def _inception_weights(given: Path | None, reporter: Reporter) -> Path:
    """Where the weights are; their bytes are checked, since others give other numbers."""
    url = _library("feature_extractor_inceptionv3").URL_INCEPTION_V3
    path = given or Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if given is None and not path.exists():
        reporter.say(f"downloading {url} ({_WEIGHTS_MB} MB) to {path}")
        _download(url, path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadRequest(
            f"--inception {path}: cannot be read ({error.strerror}); get it from {url}"
        ) from None
    if found != _WEIGHTS_SHA256:
        raise BadInput(f"{path}: not the weights that FID is defined with (sha256 differs); get {url}")
    return path


def _download(url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under a temporary name until its hash is right.
        torch.hub.download_url_to_file(url, str(path), _WEIGHTS_SHA256, progress=False)
    except (OSError, RuntimeError) as error:
        raise BadRequest(
            f"--fid: the weights could not be downloaded ({error}); get {url} on a machine that can, "
            "and give it as --inception FILE"
        ) from None
