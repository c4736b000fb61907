"""Draws procedural bedrooms: ``draw_bedroom`` is all that the rest of the program needs of it."""

from dcgan_data.demo.bedroom.scene import draw_bedroom

__all__ = ["draw_bedroom"]
