"""Clusterers: by hand, scikit-learn as oracle, fewer distinct points than clusters; example images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pipeline.geometry.clustering import (
    Clustering,
    agglomerative,
    cluster_examples,
    gaussian_mixture,
    hdbscan,
    kmeans,
    minibatch_kmeans,
    spherical_kmeans,
)


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


def _blobs(n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Two groups, the first twice as large, in two directions from the origin."""
    labels = (np.arange(n) % 3 == 2).astype(np.int64)
    centers = np.array([[9.0, 0, 1, 0], [0, 9, 0, 1]])
    return (centers[labels] + np.random.default_rng(0).normal(size=(n, 4))).astype(np.float32), labels


CLUSTERERS: dict[str, Callable[[np.ndarray], Clustering]] = {
    "kmeans": lambda vectors: kmeans(vectors, 2),
    "minibatch_kmeans": lambda vectors: minibatch_kmeans(vectors, 2, 20),
    "spherical_kmeans": lambda vectors: spherical_kmeans(vectors, 2),
    **{
        f"gmm {kind}": (lambda vectors, kind=kind: gaussian_mixture(vectors, 2, kind))
        for kind in ("full", "tied", "diag", "spherical")
    },
    **{
        f"agglomerative {linkage}": (lambda vectors, linkage=linkage: agglomerative(vectors, 2, linkage))
        for linkage in ("ward", "average", "complete", "single")
    },
    "hdbscan": lambda vectors: hdbscan(vectors, 10),
}
every_clusterer = pytest.mark.parametrize("cluster", CLUSTERERS.values(), ids=CLUSTERERS)


@every_clusterer
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_two_blobs(cluster: Callable[[np.ndarray], Clustering], kind: str) -> None:
    vectors, labels = _blobs()
    vectors = (np.clip(vectors * 20, 0, 255) if kind == "uint8" else vectors).astype(kind)
    before = vectors.copy()
    vectors.flags.writeable = False
    found = cluster(vectors)
    np.testing.assert_array_equal(vectors, before)
    kept = found.clusters >= 0
    assert kept.mean() > 0.9
    np.testing.assert_array_equal(found.clusters[kept], labels[kept])  # the larger is cluster 0
    assert (found.clusters.dtype, found.centroids.dtype) == (np.int64, np.float64)


@every_clusterer
def test_same_call_same_clusters_means_and_inertia(cluster: Callable[[np.ndarray], Clustering], request: Any) -> None:
    vectors, _ = _blobs()
    first, second = cluster(vectors), cluster(vectors)
    np.testing.assert_array_equal(first.clusters, second.clusters)
    np.testing.assert_array_equal(first.centroids, second.centroids)
    if "spherical_kmeans" in request.node.name:
        vectors = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    means = np.stack([vectors[first.clusters == cluster].mean(axis=0, dtype=np.float64) for cluster in (0, 1)])
    np.testing.assert_allclose(first.centroids, means, rtol=1e-9)
    kept = first.clusters >= 0
    inertia = ((vectors[kept] - means[first.clusters[kept]]) ** 2).sum()
    assert first.inertia == pytest.approx(inertia, rel=1e-9)


@every_clusterer
def test_identical_vectors_everywhere(cluster: Callable[[np.ndarray], Clustering]) -> None:
    found = cluster(np.full((30, 3), 2.5))
    assert found.inertia == pytest.approx(0, abs=1e-20)
    assert len(found.centroids) == found.clusters.max() + 1
    assert found.clusters.min() >= -1


@every_clusterer
def test_values_that_are_not_finite(cluster: Callable[[np.ndarray], Clustering]) -> None:
    for bad in (np.nan, np.inf):
        vectors = _blobs()[0].astype(np.float64)
        vectors[4, 1] = bad
        with pytest.raises(ValueError, match="not finite"):
            cluster(vectors)


def test_the_results_of_the_libraries() -> None:
    from sklearn import cluster, mixture

    vectors = _random(150).astype(np.float64)
    mixed = mixture.GaussianMixture(4, covariance_type="tied", n_init=2, random_state=5)
    pairs = [
        (gaussian_mixture(vectors, 4, "tied", 2, 5), mixed),
        (
            minibatch_kmeans(vectors, 4, 30, 2, 5),
            cluster.MiniBatchKMeans(4, batch_size=30, n_init=2, random_state=5),
        ),
        (agglomerative(vectors, 4, "average"), cluster.AgglomerativeClustering(4, linkage="average")),
        (hdbscan(vectors, 6, 3), cluster.HDBSCAN(min_cluster_size=6, min_samples=3, copy=True)),
    ]  # fmt: skip
    for found, oracle in pairs:
        assert adjusted_rand_score(found.clusters, oracle.fit_predict(vectors)) == 1.0


def test_spherical_kmeans_sees_directions_only_and_takes_all_points() -> None:
    vectors, labels = _blobs(2000)  # Faiss by itself would take 512 of them
    lengths = np.random.default_rng(1).uniform(0.01, 100, (2000, 1))
    found = spherical_kmeans(vectors * lengths, 2)
    np.testing.assert_array_equal(found.clusters, labels)
    np.testing.assert_allclose(found.centroids, spherical_kmeans(vectors, 2).centroids, atol=1e-6)


def test_rows_without_a_direction_are_noise(caplog: pytest.LogCaptureFixture) -> None:
    vectors, _ = _blobs()
    vectors[7] = 0
    with caplog.at_level(logging.WARNING):
        found = spherical_kmeans(vectors, 2)
    assert "1 images have all-zero vectors, so no direction: noise" in caplog.text
    assert np.flatnonzero(found.clusters == -1).tolist() == [7]
    with pytest.raises(ValueError, match="images with a direction, 1, got 2"):
        spherical_kmeans(np.array([[0.0, 0], [0, 0], [1, 0]]), 2)


def test_noise_is_everything_where_nothing_is_dense() -> None:
    found = hdbscan(np.random.default_rng(0).uniform(size=(40, 6)), 35)
    assert found.clusters.tolist() == [-1] * 40
    assert found.centroids.shape == (0, 6)
    assert found.inertia == 0
    assert cluster_examples(np.ones((40, 6)), found.clusters, found.centroids) == []


def test_an_outlier_is_noise_and_moves_no_centre() -> None:
    vectors, _ = _blobs()
    vectors[0] = 1000
    found = hdbscan(vectors, 10)
    assert found.clusters[0] == -1
    assert np.abs(found.centroids).max() < 20


def test_fewer_components_than_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = gaussian_mixture(np.repeat([[0.0], [1.0]], [20, 30], axis=0), 4)
    assert "mixture of Gaussians: 2 clusters instead of 4" in caplog.text
    assert len(found.centroids) == 2


def test_min_samples_is_lowered_and_it_says_to_what(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hdbscan(_blobs(12)[0], 3, min_samples=50)
    assert "min_samples lowered from 50 to 12, the number of images" in caplog.text


def test_wrong_calls_of_every_clusterer() -> None:
    for cluster in (minibatch_kmeans, spherical_kmeans, gaussian_mixture, agglomerative):
        for k in (1, 5):
            with pytest.raises(ValueError, match=f"k must lie between 2 and the number of images, 4, got {k}"):
                cluster(np.ones((4, 2)), k)
        with pytest.raises(ValueError, match="number of images, 1, got 2"):
            cluster(np.ones((1, 2)), 2)
    for size in (1, 5):
        with pytest.raises(ValueError, match=f"between 2 and the number of images, 4, got {size}"):
            hdbscan(np.ones((4, 2)), size)
    with pytest.raises(ValueError, match="n_iter must be at least 1"):
        spherical_kmeans(np.eye(4), 2, n_iter=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        minibatch_kmeans(np.eye(4), 2, batch_size=0)
    with pytest.raises(ValueError, match="full covariances of 5,000 dimensions do not fit into memory: take"):
        gaussian_mixture(np.ones((4, 5000)), 2)
