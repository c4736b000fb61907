"""Features of a set's real images, extracted once and kept in the user's cache directory.

Not in the prepared set, which only ``dedup`` writes to, nor beside the run: all runs on a set share them.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dcgan_data.evaluate.examined import in_chunks
from dcgan_data.evaluate.fidelity import Extractor, Moments, moments
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.reporter import Reporter

MOST_IMAGES, MOST_FEATURES = 50_000, 10_000
"""Real images that FID's moments are of, and those whose features KID draws from; at most."""
_SEED = 0
"""Which images those are, the same for all runs."""


@dataclass(frozen=True)
class Reference:
    """What FID and KID need of real images."""

    moments: Moments
    """Of all of them."""
    features: np.ndarray
    """float32 (M, F): of some of them."""
    images: int
    """How many there are."""
    file: Path
    """Where they are kept."""
    reused: bool
    """Whether they were there already."""


def cache_directory() -> Path:
    """Where this program may keep what it can compute again: $XDG_CACHE_HOME/dcgan-data, or ~/.cache/..."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcgan-data"


def real_reference(prepared: PreparedSet, extractor: Extractor, cache: Path, reporter: Reporter) -> Reference:
    """Features of at most MOST_IMAGES kept images of a set, whatever any run trained on.

    They are found again in ``cache`` by the set's contents, the extractor and its version. A file there that
    is damaged is replaced; if none can be written, that is said, and done without.
    """
    images = prepared.rows()
    chosen = np.random.default_rng(_SEED).permutation(len(images))[:MOST_IMAGES]
    key = {
        "set": prepared.info.content_sha256,
        "images": len(chosen),
        "features": MOST_FEATURES,
        "extractor": extractor.name,
        "weights": extractor.weights,
        "library": extractor.library,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = cache / "fid" / f"{name}.safetensors"
    kept = _read(path)
    tensors = kept or _extract(images, chosen, extractor, reporter)
    if not kept:
        _write(path, tensors, reporter)
    found = Moments(tensors["mean"], tensors["covariance"])
    return Reference(found, tensors["features"], len(chosen), path, kept is not None)


def _extract(
    images: ImageRows, chosen: np.ndarray, extractor: Extractor, reporter: Reporter
) -> dict[str, np.ndarray]:
    features = []
    with reporter.stage("features", len(chosen), "images") as stage:
        for chunk in in_chunks(images, chosen):
            features.append(extractor.features(chunk))
            stage.advance(len(chunk))
    found = np.concatenate(features)
    of_all = moments(found)
    return {"mean": of_all.mean, "covariance": of_all.covariance, "features": found[:MOST_FEATURES]}


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError):
        return None


def _write(path: Path, tensors: dict[str, np.ndarray], reporter: Reporter) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors))
    except OSError as error:
        reporter.say(f"{path}: cannot be written ({error.strerror}): features of real images are not kept")
