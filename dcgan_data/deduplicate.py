"""The whole-set driver: shards -> autoencoder -> codes -> candidates -> checks -> groups -> choice.

With the ``exact`` rule (the paper's, sec. 4.1.1) candidates are images whose 128 bits all collide, and a
collision needs no further check. Every removed image is compared with the kept one itself, never through a
chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.errors import BadInput
from dcgan_data.formats.assemble import Decisions
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.autoencoder_file import read_autoencoder, write_autoencoder
from dcgan_data.formats.dataset import AUTOENCODER, shard_name
from dcgan_data.formats.shards import open_shard
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.codes import CODE_BITS, INPUTS, Encoder, area_sums, encode, group_codes
from dcgan_data.parallel import run_tasks
from dcgan_data.recipe import AutoencoderRecipe, DedupRecipe

_CODE_ROW = np.dtype([("code", np.uint8, 16), ("match", np.uint8, 16)])
"""A row of a staged codes file: the code, and what must be equal for two images to count as the same (the
code too, or for an image without contrast a hash of its pixels)."""


@dataclass(frozen=True)
class ImageSet:
    """The decoded images of a run in progress, numbered through all shards."""

    staging: Staging
    """Where their rows are."""
    shard_rows: list[int]
    """Images in each shard."""
    image_size: int
    """Side in pixels."""

    def pixels(self, shard: int) -> np.ndarray:
        """One shard's images, uint8 (n, S, S, 3), memory-mapped."""
        return open_shard(self.staging.out / shard_name(shard), self.shard_rows[shard], self.image_size)


def fit(
    images: ImageSet,
    recipe: AutoencoderRecipe,
    seed: int,
    device: str = "auto",
    on_look: Callable[[int, float], None] | None = None,
) -> None:
    """Fit the autoencoder on a seeded sample and write it; keeps one of the same recipe and seed."""
    path = images.staging.out / AUTOENCODER
    if _is_fitted(path, recipe, seed):
        return
    # torch: not for --help, nor in workers
    from dcgan_data.device import resolve_device
    from dcgan_data.ops.autoencoder import FitSettings, fit_autoencoder

    values = asdict(recipe)
    max_images = values.pop("max_images")
    settings = FitSettings(**values, seed=seed)
    sample = sample_pixels(images, max_images, seed)
    place = resolve_device(device)
    result = fit_autoencoder(sample, settings, place, on_look)
    tensors = {
        "encoder.weight": result.encoder.weight,
        "encoder.bias": result.encoder.bias,
        "decoder.weight": result.decoder_weight,
        "decoder.bias": result.decoder_bias,
    }
    notes = {
        "recipe": asdict(recipe),
        "seed": seed,
        "device": place.type,
        "images": len(sample),
        "updates": result.updates,
        "holdout_losses": result.holdout_losses,
    }
    write_autoencoder(path, tensors, notes)


def _is_fitted(path: Path, recipe: AutoencoderRecipe, seed: int) -> bool:
    try:
        _, notes = read_autoencoder(path)
    except BadInput:
        return False
    return bool(notes["recipe"] == asdict(recipe) and notes["seed"] == seed)


def sample_pixels(images: ImageSet, most: int, seed: int) -> np.ndarray:
    """A seeded sample of the set as uint8 (n, 3072): 32x32 area averages, rounded, in source order."""
    total = sum(images.shard_rows)
    chosen = np.arange(total)
    if total > most:
        chosen = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    sample = np.empty((len(chosen), INPUTS), np.uint8)
    ends = np.cumsum(images.shard_rows)
    filled = 0
    for shard, end in enumerate(ends):
        rows = chosen[filled : np.searchsorted(chosen, end)] - (end - images.shard_rows[shard])
        pixels = images.pixels(shard)
        for start in range(0, len(rows), 1024):
            block = area_sums(pixels[rows[start : start + 1024]])
            cells = (images.image_size // 32) ** 2
            sample[filled : filled + len(block)] = np.rint(block / cells)
            filled += len(block)
    return sample


def encode_all(images: ImageSet, min_contrast: float, workers: int) -> Iterator[int]:
    """Write the codes of every shard that has none yet; yields each one's number of images as it ends."""
    staging = images.staging
    todo = [shard for shard in range(len(images.shard_rows)) if not staging.codes(shard).exists()]
    yield sum(images.shard_rows) - sum(images.shard_rows[shard] for shard in todo)
    tasks = [(images, shard, min_contrast) for shard in todo]
    yield from run_tasks(encode_shard, tasks, workers, hold=staging.out)


def encode_shard(images: ImageSet, shard: int, min_contrast: float) -> int:
    """Write one shard's codes; returns its number of images."""
    pixels = images.pixels(shard)
    codes, contrast = encode(pixels, read_encoder(images.staging.out / AUTOENCODER))
    rows = np.empty(len(codes), _CODE_ROW)
    rows["code"] = rows["match"] = codes
    for flat in np.flatnonzero(contrast < min_contrast):
        digest = hashlib.blake2b(pixels[flat].tobytes(), digest_size=16).digest()
        rows["match"][flat] = np.frombuffer(digest, np.uint8)
    with atomic_path(images.staging.codes(shard)) as temporary, temporary.open("wb") as file:
        np.save(file, rows)
    return len(rows)


def read_encoder(path: Path) -> Encoder:
    """The encoder of a fitted autoencoder file."""
    tensors, notes = read_autoencoder(path)
    return Encoder(tensors["encoder.weight"], tensors["encoder.bias"], notes["recipe"]["standardise"])


def decide(images: ImageSet, recipe: DedupRecipe) -> Decisions:
    """From the staged codes: which images are the same, and which of them stays."""
    rows = np.concatenate([np.load(images.staging.codes(s)) for s in range(len(images.shard_rows))])
    first = group_codes(rows["match"])
    members = _members(first)
    kept_by = choose_largest(images, first, members)
    removed = np.flatnonzero(kept_by >= 0)
    nothing = np.full(len(removed), np.nan, np.float32)
    pairs = {
        "a": kept_by[removed],
        "b": removed,
        "view": np.full(len(removed), "identity"),
        "distance": _hamming(rows["code"][kept_by[removed]], rows["code"][removed]),
        "score": nothing,
    }
    distance = np.zeros(len(rows), np.int32)
    distance[removed] = pairs["distance"]
    score = np.full(len(rows), np.nan, np.float32)
    flat = int((rows["code"] != rows["match"]).any(axis=1).sum())
    findings = {**asdict(recipe), "code_health": code_health(rows["code"]), "low_contrast_images": flat}
    group = _number_groups(first, members)
    return Decisions(np.ascontiguousarray(rows["code"]), group, kept_by, distance, score, pairs, findings)


def choose_largest(images: ImageSet, first: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The kept image of every group: largest source area, then smallest key, then smallest part.

    first: int64 (N,), the group of each image; members: the images that are in a group of two or more.
    Returns int64 (N,): for a removed image the kept one, else -1. Does not depend on the images' order.
    """
    kept_by = np.full(len(first), -1)
    if not len(members):
        return kept_by
    area, key_rank = _area_and_key_rank(images, members)
    order = np.lexsort((key_rank, -area, first[members]))
    ordered = members[order]
    group = first[ordered]
    best = np.ones(len(ordered), bool)
    best[1:] = group[1:] != group[:-1]
    winner = ordered[best][np.cumsum(best) - 1]
    kept_by[ordered[~best]] = winner[~best]
    return kept_by


def code_health(codes: np.ndarray) -> dict[str, Any]:
    """How well the codes use their bits: uint8 (N, 16) -> figures for ``dataset.json`` and the report."""
    on = np.zeros(CODE_BITS)
    for start in range(0, len(codes), 65536):
        on += np.unpackbits(codes[start : start + 65536], axis=1).sum(axis=0)
    share = on / max(len(codes), 1)
    _, sizes = np.unique(group_codes(codes), return_counts=True)
    return {
        "bits_never_on": int((on == 0).sum()),
        "bits_always_on": int((on == len(codes)).sum()),
        "idle_bits": int((on == 0).sum() + (on == len(codes)).sum()) if len(codes) > 1 else 0,
        "mean_activity": round(float(share.mean()), 4),
        "lowest_activity": round(float(share.min()), 4),
        "highest_activity": round(float(share.max()), 4),
        "distinct_codes": len(sizes),
        "largest_buckets": sorted(sizes.tolist(), reverse=True)[:10],
    }


def _members(first: np.ndarray) -> np.ndarray:
    """Images in groups of two or more."""
    sizes = np.bincount(first, minlength=len(first))
    return np.flatnonzero(sizes[first] > 1)


def _number_groups(first: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Consecutive numbers for the groups, in source order of their first images; -1 for images alone."""
    group = np.full(len(first), -1)
    group[members] = np.unique(first[members], return_inverse=True)[1]
    return group


def _area_and_key_rank(images: ImageSet, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Source area of each member, and its place when (key, part) are sorted."""
    parts = []
    offset = 0
    for shard, rows in enumerate(images.shard_rows):
        here = members[np.searchsorted(members, offset) : np.searchsorted(members, offset + rows)] - offset
        offset += rows
        table = images.staging.read_records(shard, ["key", "part", "row", "width", "height"])
        parts.append(table.filter(table["row"].is_valid()).take(here))
    table = pa.concat_tables(parts)
    area = table["width"].to_numpy().astype(np.int64) * table["height"].to_numpy()
    order = pc.sort_indices(table, [("key", "ascending"), ("part", "ascending")]).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return area, rank


def _hamming(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    distance: np.ndarray = np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int32)
    return distance
