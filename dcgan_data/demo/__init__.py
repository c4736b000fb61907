"""Draws a small LMDB of bedrooms with planted near-duplicates whose truth is known."""

from dcgan_data.demo.bedroom import draw_bedroom
from dcgan_data.demo.lmdb_writer import make_demo_lmdb
from dcgan_data.demo.plant import KINDS, PlantedCopy
from dcgan_data.demo.truth import DemoScore, DemoTruth, load_truth

__all__ = [
    "KINDS",
    "DemoScore",
    "DemoTruth",
    "PlantedCopy",
    "draw_bedroom",
    "load_truth",
    "make_demo_lmdb",
]
