"""Look images up among a set's, as its duplicates were found: near codes under views, then a check of pixels.

What several drivers need: ``query`` for photos, ``evaluate`` for samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dcgan_data.errors import BadRequest
from dcgan_data.formats.dataset import AUTOENCODER, check_stamp
from dcgan_data.formats.manifest import binary_codes
from dcgan_data.formats.prepared import ImageRows, PreparedSet
from dcgan_data.hashing import read_encoder, recipe_views
from dcgan_data.ops.codes import Encoder, encode_views, network_inputs, spread, to_luma
from dcgan_data.ops.search import code_halves
from dcgan_data.ops.similarity import align, structure
from dcgan_data.ops.views import IDENTITY, VIEW, inverse
from dcgan_data.recipe import DedupRecipe, recipe_from_dict

MOST_CHECKED = 64
"""Images whose pixels are checked for one that is looked up, those with the nearest codes."""
_CODES_AT_A_TIME = 65536
"""Their first halves, and what is made of them, stay in the processor's cache."""
_IMAGES_AT_A_TIME = 64
HIT = np.dtype([("row", np.int64), ("view", VIEW), ("distance", np.uint8), ("score", np.float32)])
"""``row`` counts the images that are searched; what is looked up is seen through ``view``."""


@dataclass(frozen=True)
class Lookup:
    """Images of a set, ready to be searched."""

    recipe: DedupRecipe
    """The near rule with the set's own numbers."""
    views: np.ndarray
    """VIEW (V,): how images are seen when they are looked up, the identity first."""
    encoder: Encoder
    """Looking through the views."""
    codes: np.ndarray
    """uint64 (2, N): the halves of the codes of all images that are searched."""
    images: ImageRows
    """Their pixels."""


def open_lookup(prepared: PreparedSet, images: ImageRows, rows: np.ndarray) -> Lookup:
    """Read codes; ``images`` are those of the manifest's ``rows``, int64 (N,).

    BadRequest if the set was only prepared, BadInput if its autoencoder is missing or damaged.
    """
    if AUTOENCODER not in prepared.info.files:
        raise BadRequest(
            f"{prepared.path}: was only prepared; 'dcgan-data dedup {prepared.path}' fits the codes that are "
            "needed here"
        )
    check_stamp(prepared.path, AUTOENCODER, prepared.info)
    # A set of the exact rule has no views, but its codes can be looked up through them just the same.
    near = dataclasses.replace(recipe_from_dict(prepared.info.recipe).dedup, rule="near")
    views = recipe_views(near, outward=True)
    codes = binary_codes(prepared.manifest(["code"])["code"].take(pa.array(rows)))
    encoder = read_encoder(prepared.path / AUTOENCODER).through(views)
    return Lookup(near, views, encoder, code_halves(codes), images)


def look_up(lookup: Lookup, pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """HIT (H,) of the images that may show what uint8 (S, S, 3) does, best first, and whether it is flat.

    From a score of the recipe's threshold on they are copies. Flat: too little contrast for a code.
    """
    codes, contrast = encode_views(pixels[None], lookup.encoder)
    seen = code_halves(codes[0])
    flat = bool(contrast[0] < lookup.recipe.min_contrast)
    hits = _equal_images(lookup, pixels, seen[:, 0])
    if not flat:
        near = nearest_codes(lookup.codes, seen, lookup.views, lookup.recipe.radius)
        near = near[~np.isin(near["row"], hits["row"])]
        if len(near):
            hits = np.concatenate([hits, _checked(lookup, pixels, near)])
    return hits[np.lexsort((hits["row"], hits["distance"], -hits["score"]))], flat


def _equal_images(lookup: Lookup, pixels: np.ndarray, code: np.ndarray) -> np.ndarray:
    """HIT of at most MOST_CHECKED images with the same pixels; their codes are the same too."""
    rows = np.flatnonzero((lookup.codes[0] == code[0]) & (lookup.codes[1] == code[1]))
    equal = np.zeros(0, np.int64)
    for start in range(0, len(rows), _IMAGES_AT_A_TIME):  # there may be thousands of flat images
        block = rows[start : start + _IMAGES_AT_A_TIME]
        same = (lookup.images.gather(block) == pixels).all(axis=(1, 2, 3))
        equal = np.concatenate([equal, block[same]])
        if len(equal) >= MOST_CHECKED:
            break
    return _hits(equal[:MOST_CHECKED], IDENTITY, 0, 1)


def nearest_codes(codes: np.ndarray, seen: np.ndarray, views: np.ndarray, radius: int) -> np.ndarray:
    """HIT of at most MOST_CHECKED images whose codes are within ``radius`` bits of one of the views' codes.

    codes: uint64 (2, N); seen: uint64 (2, V). Each image once, with the view under which it is nearest. Every
    code is compared, some 0.1 s for a million, so that none is missed.
    """
    best = np.zeros(0, HIT)
    for start in range(0, codes.shape[1], _CODES_AT_A_TIME):
        block = codes[:, start : start + _CODES_AT_A_TIME]
        found = [best]
        for view, first, second in zip(views, seen[0], seen[1], strict=True):
            distance = np.bitwise_count(block[0] ^ first)
            at = np.flatnonzero(distance <= radius)  # most end here, with half of the work
            distance = distance[at] + np.bitwise_count(block[1, at] ^ second)
            near = distance <= radius
            found.append(_hits(start + at[near], view, distance[near], 0))
        best = _nearest(np.concatenate(found))
    return best


def _nearest(hits: np.ndarray) -> np.ndarray:
    ordered = hits[np.lexsort((hits["row"], hits["distance"]))]  # stable: of equal views the earlier
    _, first = np.unique(ordered["row"], return_index=True)
    return ordered[np.sort(first)[:MOST_CHECKED]]


def _checked(lookup: Lookup, pixels: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """The hits with scores and better views, flat images left out: they are copies of equal pixels only."""
    images = lookup.images.gather(hits["row"])
    inputs, scale = network_inputs(images, lookup.encoder)
    telling = spread(inputs) / scale >= lookup.recipe.min_contrast
    hits, images = hits[telling], images[telling]
    photo = np.repeat(structure(to_luma(pixels[None])), len(hits), axis=0)
    shown = structure(to_luma(images))
    # Both ways round, as a set's own images meet: a photo that shows only the middle of an image is best seen
    # with that image's middle laid over it.
    forth, scores = align(photo, shown, hits["view"])
    back, other_scores = align(shown, photo, inverse(hits["view"]))
    better = other_scores > scores
    hits["view"] = np.where(better, inverse(back), forth)
    scores = np.where(better, other_scores, scores)
    hits["score"] = np.clip(scores, 0, 1)
    return hits


def _hits(rows: np.ndarray, view: np.void, distance: np.ndarray | int, score: float) -> np.ndarray:
    hits = np.empty(len(rows), HIT)
    hits["row"], hits["view"], hits["distance"], hits["score"] = rows, view, distance, score
    return hits
