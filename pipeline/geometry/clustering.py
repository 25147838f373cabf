"""K-means clusters with ids by falling size, and example images of every cluster."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks, product_dtype, row_blocks, squares

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clustering:
    """Clusters of n rows: ids (n,) int64 by falling size, centroids (k, d) float64 in that order, inertia.

    inertia is the sum of squared Euclidean distances of rows to their centroid, >= 0; it falls as k grows.
    """

    clusters: Integers
    centroids: Floats
    inertia: float


class ClusterExample(NamedTuple):
    """One image that stands for a cluster: `rank` counts from 0, `row` is the image's row."""

    cluster: int
    kind: Literal["nearest", "random"]
    rank: int
    row: int


def kmeans(vectors: Array, k: int, n_init: int = 10, seed: int = 0) -> Clustering:
    """K-means: the best of n_init starts by inertia.

    Lloyd (1982), starts by k-means++ (Arthur & Vassilvitskii 2007). The clusters of
    `sklearn.cluster.KMeans(k, n_init=n_init, random_state=seed)` on one thread, so the same on any number of
    cores, with ids renumbered by falling size (of equal ones, the one with the earlier first row first).
    `vectors` (n, d) of any real type; integers are clustered in `product_dtype(d)`. Where there are fewer
    distinct vectors than k, a warning is logged and the result has fewer clusters than k.

    ValueError unless 2 <= k <= n and n_init >= 1, and for values that are not finite.

    >>> found = kmeans(np.array([[0.0], [9.0], [10.0], [11.0]]), k=2)
    >>> found.clusters.tolist(), found.centroids.tolist(), found.inertia
    ([1, 0, 0, 0], [[10.0], [0.0]], 2.0)
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    n, d = vectors.shape
    if not 2 <= k <= n:
        raise ValueError(f"k must lie between 2 and the number of images, {n}, got {k}")
    if n_init < 1:
        raise ValueError(f"n_init must be at least 1, got {n_init}")
    floats = vectors if np.issubdtype(vectors.dtype, np.floating) else vectors.astype(product_dtype(d))
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # Counted and logged below, once instead of for every start.
        warnings.filterwarnings("ignore", message="Number of distinct clusters", category=ConvergenceWarning)
        model = KMeans(n_clusters=k, n_init=n_init, random_state=seed).fit(floats)
    clusters, kept = _by_size(model.labels_)
    if len(kept) < k:
        _LOG.warning("k-means: %d clusters instead of %d: there are no more distinct vectors", len(kept), k)
    centroids = np.asarray(model.cluster_centers_[kept], dtype=np.float64)
    return Clustering(clusters, centroids, _inertia(floats, clusters, centroids))


def cluster_examples(
    vectors: Array, clusters: Array, centroids: Array, count: int = 9, seed: int = 0
) -> list[ClusterExample]:
    """For every cluster the `count` rows nearest to its centroid and as many drawn at random.

    Fewer where the cluster is smaller. `vectors` (n, d), `clusters` (n,) ids of rows of `centroids` (k, d),
    -1 noise. Nearest by Euclidean distance, ties by row number; the draw is without repetition, seeded for
    each cluster by itself. Rows that are near may be drawn as well. Sorted by cluster, then kind (nearest
    first), then rank.

    >>> examples = cluster_examples(np.array([[0.0], [3.0], [1.0]]), np.zeros(3), np.array([[1.0]]), count=2)
    >>> examples[0]
    ClusterExample(cluster=0, kind='nearest', rank=0, row=2)
    """
    clusters = np.asarray(clusters)
    if clusters.shape != (len(vectors),):
        raise ValueError(f"clusters must be ({len(vectors)},), one for each vector, got {clusters.shape}")
    examples: list[ClusterExample] = []
    for cluster, centroid in enumerate(centroids):
        members = np.flatnonzero(clusters == cluster)
        distances = _squared_lengths(vectors, members, centroid)
        nearest = members[np.argsort(distances, kind="stable")[:count]]
        generator = np.random.default_rng((seed, cluster))
        drawn = generator.permutation(members)[:count]
        examples += [ClusterExample(cluster, "nearest", rank, int(row)) for rank, row in enumerate(nearest)]
        examples += [ClusterExample(cluster, "random", rank, int(row)) for rank, row in enumerate(drawn)]
    return examples


def _by_size(labels: Array) -> tuple[Integers, Integers]:
    """New ids by falling size, of equal ones the earlier first row first; and the old id of each new one."""
    old, first, codes, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    new = np.empty(len(old), dtype=np.int64)
    new[order] = np.arange(len(old))
    return new[codes], old[order]


def _inertia(vectors: Array, clusters: Integers, centroids: Floats) -> float:
    def add(rows: slice) -> float:
        return float(squares(vectors[rows] - centroids[clusters[rows]]).sum())

    return sum(map_blocks(add, row_blocks(len(vectors), bytes_per_row=16 * vectors.shape[1])))


def _squared_lengths(vectors: Array, members: Integers, centroid: Array) -> Floats:
    """Squared distances of chosen rows to one point, a block at a time in float64."""
    result = np.empty(len(members))
    point = np.asarray(centroid, dtype=np.float64)
    for rows in row_blocks(len(members), bytes_per_row=16 * len(point)):
        result[rows] = squares(vectors[members[rows]] - point)
    return result
