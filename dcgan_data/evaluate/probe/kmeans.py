"""Features of one layer of K-means, the paper's baseline (Coates, Lee and Ng, AISTATS 2011).

Patches of 6x6 pixels are brought to one contrast and whitened (ZCA), and K-means finds K centroids among
400,000 of them. A feature of an image is how much nearer than the average centroid one centroid is, the
"triangle" activation max(0, mean(z) - z_k), summed over the patches of a quadrant: 4 K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan_data.reporter import Reporter

PATCH = 6
"""Side of a patch in pixels; patches are taken at every pixel."""
_PATCHES = 400_000
_ROUNDS = 50
_CONTRAST_FLOOR = 10.0
"""Added to a patch's variance, of pixels in 0 to 255: plain patches are not blown up to noise."""
_WHITENING_FLOOR = 0.1
"""Added to the variances of whitening."""
_VARIANCE_FLOOR = 0.01
"""Added to a feature's variance when it is standardised."""
_AT_ONCE = 8192
"""Patches, or features, that are gone through together."""
_MAPPED_AT_ONCE = {"cpu": 2048, "cuda": 65536}
"""Patches whose activations are taken together: on a CPU they should stay in the cache."""


@dataclass(frozen=True)
class Centroids:
    """What turns images into features."""

    mean: Tensor
    """float32 (108,): of the patches, after their contrast is normalised."""
    whitening: Tensor
    """float32 (108, 108)."""
    centroids: Tensor
    """float32 (K, 108): of whitened patches."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3) to float32 (N, 4 K): quadrant by quadrant, not yet standardised."""
        found = np.empty((len(images), 4 * len(self.centroids)), np.float32)
        patches = _MAPPED_AT_ONCE[self.mean.device.type]
        at_once = max(1, patches // (images.shape[1] - PATCH + 1) ** 2)
        for start in range(0, len(images), at_once):
            part = torch.from_numpy(images[start : start + at_once]).to(self.mean.device)
            found[start : start + at_once] = self._pooled(part).cpu().numpy()
        return found

    def _pooled(self, images: Tensor) -> Tensor:
        side = images.shape[1] - PATCH + 1
        windows = images.unfold(1, PATCH, 1).unfold(2, PATCH, 1).permute(0, 1, 2, 4, 5, 3)
        patches = _normalised(windows.reshape(len(images) * side * side, -1)) - self.mean
        distances = _distances(patches @ self.whitening, self.centroids)
        active = distances.mean(dim=1, keepdim=True).sub(distances).clamp_(min=0)
        maps = active.view(len(images), side, side, -1)
        half = (side + 1) // 2  # of 27 places 14 are in the first half
        halves = (slice(0, half), slice(half, side))
        sums = [maps[:, rows, columns].sum(dim=(1, 2)) for rows in halves for columns in halves]
        return torch.cat(sums, dim=1)


def learn_centroids(
    images: np.ndarray, count: int, rng: np.random.Generator, device: torch.device, reporter: Reporter
) -> Centroids:
    """Find K = ``count`` centroids of patches of uint8 (N, S, S, 3) images; labels are not needed.

    As in Coates's published code K-means goes through 50 rounds; unlike there it begins with patches chosen
    at random, and a centroid without patches stays where it is.
    """
    patches = _normalised(_random_patches(images, rng).to(device))
    mean = patches.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T).double())
    whitening = ((vectors / (values + _WHITENING_FLOOR).sqrt()) @ vectors.T).float()
    whitened = (patches - mean) @ whitening
    start = rng.choice(len(whitened), min(count, len(whitened)), replace=False)
    centroids = whitened[torch.from_numpy(np.sort(start)).to(device)]
    with reporter.stage("k-means", _ROUNDS, "rounds") as stage:
        for _ in range(_ROUNDS):
            centroids = _moved(whitened, centroids)
            stage.advance(1)
    return Centroids(mean, whitening, centroids)


def standardise(train: np.ndarray, test: np.ndarray) -> None:
    """Give each feature mean 0 and variance about 1 over float32 (N, F) ``train``; both are changed."""
    mean = train.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(train), _AT_ONCE):  # a chunk at a time: differences of all would double them
        squares += np.square(train[start : start + _AT_ONCE] - mean).sum(axis=0)
    scale = np.sqrt(squares / max(1, len(train) - 1) + _VARIANCE_FLOOR)
    for features in (train, test):
        features -= mean.astype(np.float32)
        features /= scale.astype(np.float32)


def _random_patches(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """uint8 (M, 108): at most 400,000 patches, and no more than there are places for them."""
    places = images.shape[1] - PATCH + 1
    count = min(_PATCHES, len(images) * places**2)
    which = rng.integers(0, len(images), count)[:, None, None]
    rows, columns = rng.integers(0, places, (2, count))
    inside = np.arange(PATCH)
    patches = images[which, rows[:, None, None] + inside[:, None], columns[:, None, None] + inside]
    return torch.from_numpy(patches.reshape(count, -1))


def _normalised(patches: Tensor) -> Tensor:
    """uint8 (M, D) to float32: each of mean 0, and of variance 1 unless it is plain."""
    values = patches.float()
    values -= values.mean(dim=1, keepdim=True)
    variance = values.square().sum(dim=1, keepdim=True) / (values.shape[1] - 1)
    return values.div_((variance + _CONTRAST_FLOOR).sqrt_())


def _distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Euclidean, (M, D) and (K, D) to (M, K)."""
    squares = torch.addmm(centroids.square().sum(1), points, centroids.T, alpha=-2)
    return squares.add_(points.square().sum(1, keepdim=True)).clamp_(min=0).sqrt_()


def _moved(points: Tensor, centroids: Tensor) -> Tensor:
    """Each centroid at the mean of the points that are nearest to it: one round of Lloyd's algorithm."""
    sums, counts = torch.zeros_like(centroids), centroids.new_zeros(len(centroids))
    for part in torch.split(points, _AT_ONCE):
        # But for the points' own squares, which do not tell centroids apart.
        squares = torch.addmm(centroids.square().sum(1), part, centroids.T, alpha=-2)
        # Sums as a product with 0 and 1, because adding up by index is not reproducible on a GPU.
        members = torch.zeros_like(squares).scatter_(1, squares.argmin(dim=1, keepdim=True), 1.0)
        sums += members.T @ part
        counts += members.sum(0)
    return torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centroids)
