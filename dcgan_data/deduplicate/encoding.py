"""What is worked out once for each image: its codes under all views, its structure, what must be equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.formats.atomic import save_array
from dcgan_data.formats.dataset import AUTOENCODER
from dcgan_data.formats.staging import load_array
from dcgan_data.hashing import read_encoder
from dcgan_data.ops.codes import Encoder, encode_views, to_luma
from dcgan_data.ops.similarity import structure
from dcgan_data.parallel import Deaths, run_tasks
from dcgan_data.recipe import DedupRecipe

CODE_ROW = np.dtype([("code", np.uint8, 16), ("pixels", np.uint8, 16), ("flat", np.bool_)])
"""A row of a staged codes file: the code, a hash of the stored pixels, and whether contrast is too low for a
code to mean anything."""


_MOST_ON_A_GPU = 4
"""Processes that share one: each takes half a gigabyte of its memory."""


def encode_all(
    images: ImageSet, recipe: DedupRecipe, workers: int, views: np.ndarray, device: str = "cpu"
) -> Iterator[int]:
    """Write the codes of every shard that has none yet; yields each one's number of images as it ends.

    device: cpu or cuda, for the matrix products; the codes are the same.
    """
    staging = images.staging
    todo = [shard for shard in range(len(images.shard_rows)) if not staging.codes(shard).exists()]
    yield len(images) - sum(images.shard_rows[shard] for shard in todo)
    tasks = [(images, shard, recipe, views, device) for shard in todo]
    processes = workers if device == "cpu" else min(workers, _MOST_ON_A_GPU)
    deaths = Deaths([f"shard {shard}" for shard in todo])
    yield from run_tasks(encode_shard, tasks, processes, hold=staging.out, deaths=deaths)


def encode_shard(
    images: ImageSet, shard: int, recipe: DedupRecipe, views: np.ndarray, device: str = "cpu"
) -> int:
    """Write one shard's codes, and for the near rule its views' codes and structure; returns its images."""
    staging = images.staging
    pixels = images.pixels(shard)
    encoder = read_encoder(staging.out / AUTOENCODER)
    if recipe.rule == "near":
        encoder = encoder.through(views)
    luma = to_luma(pixels)
    codes, contrast = _encode(pixels if encoder.sees_colours else luma, encoder, device)
    rows = np.empty(len(codes), CODE_ROW)
    rows["code"] = codes[:, 0]
    rows["flat"] = contrast < recipe.min_contrast
    for row, image in enumerate(pixels):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        rows["pixels"][row] = np.frombuffer(digest, np.uint8)
    if recipe.rule == "near":
        save_array(staging.part("views", shard), codes)
        save_array(staging.part("structure", shard), structure(luma))
    save_array(staging.codes(shard), rows)  # last: its presence means that all are there
    return len(rows)


def _encode(pixels: np.ndarray, encoder: Encoder, device: str) -> tuple[np.ndarray, np.ndarray]:
    if device == "cpu":
        return encode_views(pixels, encoder)
    import torch  # not in workers that do without

    from dcgan_data.ops.codes_torch import encode_views_on

    return encode_views_on(torch.device(device), pixels, encoder)


def read_codes(images: ImageSet) -> np.ndarray:
    """The staged codes of all images: CODE_ROW (N,)."""
    return np.concatenate([load_array(images.staging.codes(s)) for s in range(len(images.shard_rows))])


def view_encoder(images: ImageSet, views: np.ndarray) -> Encoder:
    """The set's encoder, looking through views."""
    return read_encoder(images.staging.out / AUTOENCODER).through(views)
