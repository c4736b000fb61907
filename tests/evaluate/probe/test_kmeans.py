"""K-means features, held against the pipeline written down plainly in numpy, patch by patch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dcgan_data.evaluate.probe import kmeans
from dcgan_data.evaluate.probe.kmeans import Centroids, learn_centroids, standardise

CPU = torch.device("cpu")


@pytest.fixture
def images(texture: Callable[..., np.ndarray]) -> np.ndarray:
    return np.stack([texture(seed, 32, 32) for seed in range(12)])


def learnt(images: np.ndarray, reporter: Any, count: int = 5, seed: int = 0) -> Centroids:
    return learn_centroids(images, count, np.random.default_rng(seed), CPU, reporter)


def plain_patch(image: np.ndarray, row: int, column: int) -> np.ndarray:
    patch = image[row : row + 6, column : column + 6].reshape(-1).astype(float)
    normalised: np.ndarray = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 10)
    return normalised


def plain_features(image: np.ndarray, learnt: Centroids) -> np.ndarray:
    """Coates's, of one image: the triangle activations of 27 x 27 patches, summed over quadrants."""
    mean, whitening, centroids = (
        each.double().numpy() for each in (learnt.mean, learnt.whitening, learnt.centroids)
    )
    quadrants = np.zeros((2, 2, len(centroids)))
    for row in range(27):
        for column in range(27):
            whitened = (plain_patch(image, row, column) - mean) @ whitening
            distances = np.linalg.norm(whitened - centroids, axis=1)
            quadrants[row // 14, column // 14] += np.maximum(0, distances.mean() - distances)
    return quadrants.reshape(-1)


def test_features_are_those_of_the_plain_pipeline(images: np.ndarray, reporter: Any) -> None:
    found = learnt(images, reporter)
    features = found.features(images)
    assert features.shape == (12, 20) and features.dtype == np.float32
    for number in (0, 7):
        assert features[number] == pytest.approx(plain_features(images[number], found), rel=1e-3, abs=1e-2)
    assert reporter.stages == {"k-means": 50}


def test_features_do_not_depend_on_the_other_images(images: np.ndarray, reporter: Any) -> None:
    found = learnt(images, reporter)
    assert found.features(images[5:6])[0] == pytest.approx(found.features(images)[5], rel=1e-5, abs=1e-4)


def test_patches_are_whitened(images: np.ndarray, reporter: Any) -> None:
    """ZCA: all variances are v / (v + 0.1), and the matrix is symmetric."""
    found = learnt(images, reporter)
    patches = np.stack([plain_patch(image, r, c) for image in images for r in range(27) for c in range(27)])
    whitening = found.whitening.double().numpy()
    assert whitening == pytest.approx(whitening.T, abs=1e-5)
    variances = np.linalg.eigvalsh(np.cov(((patches - patches.mean(0)) @ whitening).T))
    before = np.linalg.eigvalsh(np.cov(patches.T))
    # The patches are drawn at random: as many as there are, but some twice.
    assert variances[-20:] == pytest.approx((before / (before + 0.1))[-20:], abs=0.15)


def test_a_plain_patch_stays_plain() -> None:
    patches = torch.tensor([[7] * 108, list(range(108))], dtype=torch.uint8)
    normalised = kmeans._normalised(patches)
    assert normalised[0].abs().max() == 0
    values = np.arange(108.0)
    expected = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 10)
    assert normalised[1].numpy() == pytest.approx(expected, rel=1e-5)


def test_centroids_move_to_the_means_of_what_is_nearest() -> None:
    rng = np.random.default_rng(0)
    points, centroids = rng.normal(size=(500, 3)), rng.normal(size=(6, 3))
    centroids[4] = 100  # nothing is near
    nearest = ((points[:, None] - centroids) ** 2).sum(2).argmin(1)
    expected = [points[nearest == n].mean(0) if (nearest == n).any() else centroids[n] for n in range(6)]
    moved = kmeans._moved(torch.from_numpy(points).float(), torch.from_numpy(centroids).float())
    assert moved.numpy() == pytest.approx(np.stack(expected), abs=1e-5)


def test_blobs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    points = torch.from_numpy(np.concatenate([centre + rng.normal(size=(200, 2)) for centre in centres]))
    centroids = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, 5.0]], dtype=torch.float64)
    monkeypatch.setattr(kmeans, "_AT_ONCE", 70)
    for _ in range(10):
        centroids = kmeans._moved(points, centroids)
    assert centroids.numpy() == pytest.approx(centres, abs=0.3)


def test_the_same_seed_gives_the_same_bits(images: np.ndarray, reporter: Any) -> None:
    first, second, other = (learnt(images, reporter, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.centroids, second.centroids)
    assert not torch.equal(first.centroids, other.centroids)


def test_standardising_is_by_the_training_images_alone() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(5, [0.0, 1.0, 30.0], (9000, 3)).astype(np.float32)
    test = rng.normal(4, 2, (50, 3)).astype(np.float32)
    mean, scale = train.mean(0, dtype=float), np.sqrt(train.var(0, ddof=1, dtype=float) + 0.01)
    expected = (train - mean) / scale, (test - mean) / scale
    standardise(train, test)
    assert train == pytest.approx(expected[0], abs=1e-3) and test == pytest.approx(expected[1], abs=1e-3)
    assert np.abs(train[:, 0]).max() < 1e-3, "a feature that never changes is not blown up"
