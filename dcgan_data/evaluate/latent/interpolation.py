"""Ways from one latent vector to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from dcgan_data.errors import BadRequest
from dcgan_data.train.models import ModelShape

INTERPOLATIONS = ("linear", "slerp")
_PARALLEL = 1e-7
"""Sine of the angle below which two directions do not fix a great circle."""


def check_interpolation(name: str | None) -> None:
    """BadRequest unless it is a name of an interpolation, or None."""
    if name is not None and name not in INTERPOLATIONS:
        raise BadRequest(f"--interpolation {name}: choose linear or slerp")


def interpolation_for(shape: ModelShape, name: str | None) -> str:
    """``name``, or what suits the latent vectors; BadRequest for slerp between uniform ones.

    Normal latent vectors of many dimensions all have nearly the same length, so that the straight line
    between two of them leaves what the generator was trained on, and the great circle does not. The uniform
    ones lie in a cube: the straight line stays in it, the great circle leaves it.
    """
    if name is None:
        return "slerp" if shape.latent == "normal" else "linear"
    if name == "slerp" and shape.latent != "normal":
        raise BadRequest(
            "--interpolation slerp: this model's latent vectors are uniform on (-1, 1), and a great circle "
            "leaves that cube; use linear"
        )
    return name


def between(start: torch.Tensor, end: torch.Tensor, steps: int, interpolation: str) -> torch.Tensor:
    """The way from ``start`` to ``end``, float32 (z_dim,) each, in equal steps: float32 (steps + 1, z_dim).

    Its ends are exactly these.
    """
    way: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    way = slerp if interpolation == "slerp" else linear
    shares = np.arange(steps + 1) / steps
    places = torch.from_numpy(way(start.double().numpy(), end.double().numpy(), shares)).float()
    places[0], places[-1] = start, end
    return places


def linear(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The straight line: float64 (Z,) and (Z,) at shares (N,) of the way: float64 (N, Z)."""
    along = shares[:, None]
    line: np.ndarray = (1 - along) * start + along * end
    return line


def slerp(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The great circle between two directions, the length going evenly from one to the other.

    float64 (Z,) and (Z,) at shares (N,) of the way: float64 (N, Z). Between opposite directions every great
    circle is as short: the one through the axis that ``start`` has least of is taken. Equal directions, and
    the origin, which has none, have a straight line.
    """
    lengths = float(np.linalg.norm(start)), float(np.linalg.norm(end))
    if min(lengths) == 0:
        return linear(start, end, shares)
    a, b = start / lengths[0], end / lengths[1]
    across = b - (a @ b) * a
    angle = np.arctan2(np.linalg.norm(across), a @ b)
    if np.linalg.norm(across) < _PARALLEL:
        if a @ b > 0 or len(a) == 1:
            return linear(start, end, shares)
        across = np.eye(len(a))[np.abs(a).argmin()]
        across -= (a @ across) * a
    turned = (shares * angle)[:, None]
    directions = np.cos(turned) * a + np.sin(turned) * across / np.linalg.norm(across)
    radii = lengths[0] + (lengths[1] - lengths[0]) * shares
    circle: np.ndarray = radii[:, None] * directions
    return circle
