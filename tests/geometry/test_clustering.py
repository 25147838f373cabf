"""K-means: by hand, scikit-learn as oracle, fewer distinct points than clusters; example images."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pipeline.geometry.clustering import cluster_examples, kmeans


def _random(n: int = 200, d: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, d)) + 4 * rng.integers(0, 3, (n, 1))).astype(np.float32)


def test_ids_fall_by_size_and_of_equal_ones_the_earlier_row_comes_first() -> None:
    vectors = np.array([[50.0], [0.0], [1.0], [100.0], [0.5]])
    found = kmeans(vectors, 3)
    assert found.clusters.tolist() == [1, 0, 0, 2, 0]
    assert found.clusters.dtype == np.int64
    np.testing.assert_allclose(found.centroids, [[0.5], [50], [100]])
    assert found.inertia == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_the_clusters_of_scikit_learn(kind: str) -> None:
    vectors = (np.abs(_random()) * 10).astype(kind)
    found = kmeans(vectors, 5, n_init=3, seed=42)
    oracle = KMeans(5, n_init=3, random_state=42).fit(vectors.astype(np.float64) if kind == "uint8" else vectors)
    assert adjusted_rand_score(found.clusters, oracle.labels_) == 1.0
    assert found.inertia == pytest.approx(oracle.inertia_, rel=1e-5)
    assert found.centroids.dtype == np.float64
    means = np.stack([vectors[found.clusters == cluster].mean(axis=0, dtype=np.float64) for cluster in range(5)])
    np.testing.assert_allclose(found.centroids, means, rtol=1e-4, atol=1e-3)


def test_same_seed_same_clusters_and_sizes_fall() -> None:
    first, second = kmeans(_random(), 6, seed=3), kmeans(_random(), 6, seed=3)
    np.testing.assert_array_equal(first.clusters, second.clusters)
    np.testing.assert_array_equal(first.centroids, second.centroids)
    assert (np.diff(np.bincount(first.clusters)) <= 0).all()


def test_as_many_clusters_as_images() -> None:
    found = kmeans(np.array([[0.0], [5.0], [9.0]]), 3)
    assert found.clusters.tolist() == [0, 1, 2]
    assert found.inertia == 0


def test_fewer_distinct_vectors_than_clusters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = kmeans(np.repeat([[0.0], [1.0]], [2, 3], axis=0), 4)
    assert found.clusters.tolist() == [1, 1, 0, 0, 0]
    assert found.centroids.tolist() == [[1.0], [0.0]]
    assert "2 clusters instead of 4" in caplog.text


def test_examples_by_hand() -> None:
    vectors = np.array([[0.0], [4.0], [1.0], [10.0], [2.0]])
    clusters = np.array([0, 0, 0, 1, 0])
    found = cluster_examples(vectors, clusters, np.array([[1.5], [10.0]]), count=3)
    nearest = [(e.cluster, e.rank, e.row) for e in found if e.kind == "nearest"]
    assert nearest == [(0, 0, 2), (0, 1, 4), (0, 2, 0), (1, 0, 3)]  # rows 2 and 4 tie: by row number
    drawn = [e.row for e in found if e.kind == "random" and e.cluster == 0]
    assert len(set(drawn)) == 3
    assert set(drawn) <= {0, 1, 2, 4}


def test_examples_are_seeded_for_each_cluster_and_leave_noise_out() -> None:
    vectors = _random()
    clusters = np.arange(200) % 4 - 1
    centroids = np.zeros((3, 4))
    found = cluster_examples(vectors, clusters, centroids, seed=5)
    assert found == cluster_examples(vectors, clusters, centroids, seed=5)
    assert found != cluster_examples(vectors, clusters, centroids, seed=6)
    assert all(clusters[example.row] == example.cluster for example in found)
    assert len(found) == 3 * 2 * 9
    without = cluster_examples(vectors, np.where(clusters == 0, -1, clusters), centroids, seed=5)
    assert without == [example for example in found if example.cluster > 0]


def test_wrong_calls() -> None:
    for k in (1, 5):
        with pytest.raises(ValueError, match=f"k must lie between 2 and the number of images, 4, got {k}"):
            kmeans(np.ones((4, 2)), k)
    with pytest.raises(ValueError, match="n_init must be at least 1, got 0"):
        kmeans(np.ones((4, 2)), 2, n_init=0)
    with pytest.raises(ValueError, match=r"clusters must be \(4,\), one for each vector, got \(3,\)"):
        cluster_examples(np.ones((4, 2)), np.zeros(3), np.ones((1, 2)))
