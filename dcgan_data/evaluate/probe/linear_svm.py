"""Linear L2-SVMs with squared hinge loss, for features of which LinearSVC's copy would not fit in memory.

Each classifier minimises LIBLINEAR's objective, which is that of scikit-learn's LinearSVC as it comes:

    P(w) = |w|^2 / 2 + C sum_i max(0, 1 - y_i w.x_i)^2

The intercept is the weight of a feature that is always 1, and is regularised like the others. LinearSVC turns
features into pairs of a number and a double, 16 bytes each: over 20 GB for 50,000 images of 28,672 features.
Here they stay as they are, float32, on a CPU or a GPU.

P is piecewise quadratic: generalised Newton steps (Mangasarian, 2002; Keerthi and DeCoste, 2005), by
conjugate gradients, with an exact line search. All classifiers are fitted at once, so that they share every
pass over the features. P is strongly convex, P(w) - min P <= |gradient|^2 / 2, which is the duality gap at w:
it says when to stop, and how good the result is whatever the optimum may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-3
"""Bound of how far an objective may be above its minimum, as a share of it. It is far from tight: objectives
are then within some 1e-5 of LinearSVC's at its closest."""
_MOST_PASSES = 1000
"""Over the features, in a fit."""
_MOST_DIRECTIONS = 100
"""Of conjugate gradients in a step: the classifiers' support vectors change with each step anyway."""
_RESIDUAL = 0.1
"""Of a step's linear equations, relative to the gradient."""
_STALLED = 1e-9
"""A relative fall of the objective that is only rounding."""
_LEAST_SAMPLED, MOST_SAMPLED = 500, 2000
"""Rows that the preconditioner is made from, if there are as many: a tenth, within these bounds."""
_STEEPEST = 1e4
"""Curvature that the preconditioner takes away, at most: of more, float32 leaves less than its rounding."""
_TINY = 1e-30


@dataclass(frozen=True)
class Classifiers:
    """P linear functions of F features."""

    weights: Tensor
    """float32 (P, F + 1), the intercept last."""
    objective: tuple[float, ...]
    """Of each: P(w)."""
    gap: float
    """No objective is above its minimum by more than this share of it."""
    converged: bool
    """Whether the gap is below the tolerance that was asked for."""
    passes: int
    """How often all features were gone through."""

    def scores(self, features: Tensor) -> Tensor:
        """float32 (N, F) to float32 (N, P): above 0 for the one side, below for the other."""
        return _Rows(features).scores(self.weights)

    def predict(self, features: Tensor) -> np.ndarray:
        """Which classifier has the highest score, int64 (N,)."""
        best: np.ndarray = self.scores(features).argmax(dim=1).cpu().numpy()
        return best


def one_versus_rest(labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 (N,) labels to float32 (N, classes): 1 for a class's own images, -1 for the others."""
    return np.where(labels[:, None] == np.arange(classes), np.float32(1), np.float32(-1))


class LinearSvm:
    """Classifiers that share their features, to be fitted with one C after another."""

    def __init__(self, features: Tensor, signs: np.ndarray) -> None:
        """features: float32 (N, F), on the device to compute on. signs: float32 (N, P): y of each image for
        each classifier, 1 or -1; 0 for an image that this classifier does not learn from."""
        self._rows = _Rows(features)
        self._signs = torch.from_numpy(signs).to(features.device)
        self._preconditioner = _Preconditioner(features)

    def fit(self, cost: float, start: Classifiers | None = None, tolerance: float = TOLERANCE) -> Classifiers:
        """Minimise all objectives; ``start``: classifiers to begin with, such as those of the next smaller C.

        It ends without ``converged`` after some 1,000 passes over the features, or when float32 allows for no
        further progress.
        """
        rows, signs = self._rows, self._signs
        rows.passes = 0
        weights = torch.zeros(signs.shape[1], rows.width + 1, device=signs.device)
        scores = torch.zeros_like(signs)
        if start is not None:
            weights, scores = start.weights.clone(), rows.scores(start.weights)
        before = None
        while True:
            slack = (1 - signs * scores).clamp(min=0) * signs.abs()
            objective = _squares(weights, 1) / 2 + cost * _squares(slack, 0)
            gradient = weights - 2 * cost * rows.combined(signs * slack)
            gap = float((_squares(gradient, 1) / 2 / objective.clamp(min=_TINY)).max())
            stalled = before is not None and bool((before - objective <= _STALLED * objective).all())
            # One step is always made: no weights at all are near enough to the best ones of a small C, but
            # tell nothing apart.
            if (gap <= tolerance and before is not None) or stalled or rows.passes >= _MOST_PASSES:
                break
            before = objective
            direction, change = self._descent(gradient, (slack > 0).float(), cost)
            length = _step_length(1 - signs * scores, signs * change, weights, direction, cost)
            weights += length[:, None] * direction
            scores += length * change
        return Classifiers(weights, tuple(objective.tolist()), gap, gap <= tolerance, rows.passes)

    def _descent(self, gradient: Tensor, active: Tensor, cost: float) -> tuple[Tensor, Tensor]:
        """The Newton direction, or, where rounding has spoilt it, straight down; and the change of scores."""
        direction, change = self._newton_direction(gradient, active, cost)
        spoilt = ~direction.isfinite().all(1) | ((direction * gradient).sum(1) > 0)
        if bool(spoilt.any()):
            direction = torch.where(spoilt[:, None], -gradient, direction)
            change = self._rows.scores(direction)
        return direction, change

    def _newton_direction(self, gradient: Tensor, active: Tensor, cost: float) -> tuple[Tensor, Tensor]:
        """Solve H d = -gradient, H = I + 2 C sum_active x x', for each classifier; d, and what it does to
        the scores: float32 (P, F + 1) and (N, P)."""
        self._preconditioner.prepare(cost * float(active.mean()))
        direction, change = torch.zeros_like(gradient), torch.zeros_like(active)
        residual = -gradient
        enough = _RESIDUAL**2 * _squares(gradient, 1)
        search = self._preconditioner.apply(residual)
        energy = (residual * search).sum(1)
        for _ in range(_MOST_DIRECTIONS):
            bent, seen = self._rows.curved(search, active)
            bent = search + 2 * cost * bent
            length = energy / (search * bent).sum(1).clamp(min=_TINY)
            direction += length[:, None] * search
            change += length * seen
            residual = residual - length[:, None] * bent
            if bool((_squares(residual, 1) <= enough).all()):
                break
            scaled = self._preconditioner.apply(residual)
            energy, earlier = (residual * scaled).sum(1), energy
            search = scaled + (energy / earlier.clamp(min=_TINY))[:, None] * search
        return direction, change


def _squares(values: Tensor, dim: int) -> Tensor:
    """Sums of squares in float64."""
    return values.double().square().sum(dim)


def _step_length(margins: Tensor, change: Tensor, weights: Tensor, direction: Tensor, cost: float) -> Tensor:
    """For each classifier the minimum along its direction, float32 (P,).

    margins: 1 - y f, float32 (N, P); a step of t takes t * ``change`` away from them. The objective is convex
    and piecewise quadratic in t: Newton's method ends at the very minimum after a few rounds.
    """
    slope, bend = (weights * direction).sum(1), direction.square().sum(1)
    length = torch.ones_like(slope)
    for _ in range(_MOST_DIRECTIONS):
        left = (margins - length * change).clamp(min=0)
        rise = slope + length * bend - 2 * cost * (left * change).sum(0)
        curvature = bend + 2 * cost * ((left > 0) * change.square()).sum(0)
        correction = rise / curvature.clamp(min=_TINY)
        length -= correction
        if bool((correction.abs() < 1e-4).all()):
            break
    return length


class _Rows:
    """Features, (N, F), gone through a chunk at a time; each has a further one, that is always 1."""

    def __init__(self, features: Tensor) -> None:
        self.width = features.shape[1]
        self.passes = 0
        self._features = features
        # On a CPU a chunk should stay in the cache from the first product with it to the second.
        self._at_once = 256 if features.device.type == "cpu" else 8192

    def scores(self, weights: Tensor) -> Tensor:
        """(P, F + 1) to (N, P): their products with all rows."""
        found = self._features.new_empty(len(self._features), len(weights))
        for part, rows in self._chunks():
            torch.addmm(weights[:, -1], rows, weights[:, :-1].T, out=found[part])
        return found

    def combined(self, factors: Tensor) -> Tensor:
        """(N, P) to (P, F + 1): sums of all rows, each times its factor."""
        sums = factors.new_zeros(factors.shape[1], self.width + 1)
        for part, rows in self._chunks():
            sums[:, :-1].addmm_(factors[part].T, rows)
        sums[:, -1] = factors.sum(0)
        return sums

    def curved(self, weights: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        """``combined(factors * scores(weights))`` and ``scores(weights)``, in one pass."""
        scores, sums = torch.empty_like(factors), torch.zeros_like(weights)
        for part, rows in self._chunks():
            torch.addmm(weights[:, -1], rows, weights[:, :-1].T, out=scores[part])
            sums[:, :-1].addmm_((factors[part] * scores[part]).T, rows)
        sums[:, -1] = (factors * scores).sum(0)
        return sums, scores

    def _chunks(self) -> Iterator[tuple[slice, Tensor]]:
        self.passes += 1
        for start in range(0, len(self._features), self._at_once):
            part = slice(start, start + self._at_once)
            yield part, self._features[part]


class _Preconditioner:
    """About the inverse of I + c X'X, X being all rows: some of them, Z, stand for all, and

        (I + s Z'Z)^-1 = I - s Z' (I + s Z Z')^-1 Z

    with the eigenvectors of Z Z', which serve for any s. What is left to conjugate gradients is how the
    classifiers differ, and the directions of little variance: half or a third of the passes.
    """

    def __init__(self, features: Tensor) -> None:
        count = min(len(features), MOST_SAMPLED, max(_LEAST_SAMPLED, len(features) // 10))
        chosen = torch.linspace(0, len(features) - 1, count, device=features.device).long()
        rows = features[chosen]
        self._rows = torch.cat([rows, rows.new_ones(count, 1)], dim=1)
        self._share = count / len(features)
        values, vectors = torch.linalg.eigh((self._rows @ self._rows.T).double())
        self._values, self._vectors = values.clamp(min=0), vectors.float()
        self._factors = torch.zeros_like(values, dtype=torch.float32)

    def prepare(self, cost: float) -> None:
        """For c = 2 ``cost``."""
        curvature = (2 * cost / self._share * self._values).clamp(max=_STEEPEST)
        self._factors = (curvature / (1 + curvature) / self._values.clamp(min=_TINY)).float()

    def apply(self, vectors: Tensor) -> Tensor:
        """(P, F + 1) to (P, F + 1)."""
        inner = (vectors @ self._rows.T @ self._vectors) * self._factors
        applied: Tensor = vectors - inner @ self._vectors.T @ self._rows
        return applied
