"""The semantic hash as a recipe and a fitted autoencoder define it: what several drivers need."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcgan_data.formats.autoencoder_file import read_autoencoder
from dcgan_data.ops.codes import Encoder
from dcgan_data.ops.views import IDENTITY, standard_views
from dcgan_data.recipe import DedupRecipe


def read_encoder(path: Path) -> Encoder:
    """The encoder of a fitted autoencoder file; BadInput if it is missing or damaged."""
    tensors, notes = read_autoencoder(path)
    encoder = Encoder(tensors["encoder.weight"], tensors["encoder.bias"], notes["recipe"]["standardise"])
    return encoder.seeing_luma() if notes["recipe"]["inputs"] == "luma" else encoder


def recipe_views(recipe: DedupRecipe, outward: bool = False) -> np.ndarray:
    """The views under which a recipe looks images up: VIEW (V,), the identity first.

    outward: beyond the border too, for when only one of two images can be seen through views.
    """
    if recipe.rule != "near":
        return np.array([IDENTITY])
    return standard_views(recipe.zooms, recipe.shift, recipe.aspect, recipe.mirror, outward)
