"""Samples, and real images to hold them against, with the training images nearest to each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.closeness import Space, compare
from dcgan_data.evaluate.examined import Examined, in_chunks, some_of
from dcgan_data.formats.dataset import AUTOENCODER, check_stamp
from dcgan_data.formats.manifest import binary_codes
from dcgan_data.hashing import read_encoder
from dcgan_data.ops.codes import CODE_BITS, encode
from dcgan_data.ops.nearest import nearest
from dcgan_data.reporter import Reporter, Stage

_CODES_AT_A_TIME = 65536


@dataclass(frozen=True)
class Queries:
    """Images whose nearest training images are looked for."""

    samples: np.ndarray
    """uint8 (n, S, S, 3): drawn by the run."""
    training: np.ndarray
    """uint8 (t, S, S, 3): some of the training images."""
    positions: np.ndarray
    """int64 (t,): which ones."""
    held_out: np.ndarray
    """uint8 (h, S, S, 3): some of the images that training never saw; there may be none."""

    def together(self) -> np.ndarray:
        """All of them: uint8 (n + t + h, S, S, 3)."""
        return np.concatenate([self.samples, self.training, self.held_out])

    def themselves(self) -> np.ndarray:
        """Which training image each of them is, for it is not its own neighbour; -1 for none: int64."""
        own = np.full(len(self.samples) + len(self.training) + len(self.held_out), -1)
        own[len(self.samples) :][: len(self.positions)] = self.positions
        return own

    def apart(self, found: np.ndarray) -> list[np.ndarray]:
        """What was found for all of them, for samples, training and held-out images apart."""
        return np.split(found, np.cumsum([len(self.samples), len(self.training)]))


@dataclass(frozen=True)
class Found:
    """The training images nearest to each sample in one space, and how that compares."""

    positions: np.ndarray
    """int64 (n, k): training images, nearest first."""
    distances: np.ndarray
    """(n, k): float64 in pixels, int64 in code space."""
    space: Space
    """Samples held against real images."""


def choose_queries(run: Examined, count: int, controls: int, seed: int, reporter: Reporter) -> Queries:
    """Draw ``count`` samples, and choose at most ``controls`` training images and held-out images each."""
    drawn = []
    with reporter.stage("draw", count, "samples") as stage:
        for chunk in run.sampler.draw(count, seed):
            drawn.append(chunk)
            stage.advance(len(chunk))
    split = run.split
    positions = some_of(_alone(run), controls, seed)
    held_out = some_of(np.arange(len(split.held_out)), controls, seed)
    return Queries(
        np.concatenate(drawn), split.train.gather(positions), positions, split.held_out.gather(held_out)
    )


def _alone(run: Examined) -> np.ndarray:
    """Positions of the training images that have no known copy among the training images."""
    if not run.with_duplicates:
        return np.arange(len(run.split.train))
    group = run.prepared.manifest(["group"])["group"].take(pa.array(run.split.train_rows))
    alone = np.flatnonzero(pc.is_null(group).to_numpy())
    if not len(alone):
        raise BadRequest(f"{run.prepared.path}: every training image has copies; nothing to compare with")
    return alone


def find_in_pixels(run: Examined, queries: Queries, k: int, reporter: Reporter) -> Found:
    """Compare with every training image, pixel by pixel."""
    images = run.split.train
    with reporter.stage("pixels", len(images), "images") as stage:
        chunks = _watched(in_chunks(images), stage)
        found = nearest(queries.together(), chunks, k, run.device, queries.themselves())
    space = compare("Euclidean, in [-1, 1]", *queries.apart(found.distances))
    count = len(queries.samples)
    return Found(found.positions[:count], found.distances[:count], space)


def find_in_codes(run: Examined, queries: Queries, k: int) -> Found | None:
    """Compare the set's own codes of all images; None if it was only prepared and has none."""
    prepared = run.prepared
    if AUTOENCODER not in prepared.info.files:
        return None
    check_stamp(prepared.path, AUTOENCODER, prepared.info)
    asked, _ = encode(queries.together(), read_encoder(prepared.path / AUTOENCODER))
    codes = binary_codes(prepared.manifest(["code"])["code"].take(pa.array(run.split.train_rows)))
    bits = np.unpackbits(asked, axis=1)
    found = nearest(bits, _in_bits(codes), k, run.device, queries.themselves())
    space = compare(f"bits of {CODE_BITS}", *queries.apart(found.squared))
    count = len(queries.samples)
    return Found(found.positions[:count], found.squared[:count], space)


def _in_bits(codes: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(codes), _CODES_AT_A_TIME):
        yield np.unpackbits(codes[start : start + _CODES_AT_A_TIME], axis=1)


def _watched(chunks: Iterator[np.ndarray], stage: Stage) -> Iterator[np.ndarray]:
    for chunk in chunks:
        yield chunk
        stage.advance(len(chunk))
