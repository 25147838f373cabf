"""Clusterers behind one result, ids by falling size, -1 noise; and example images of every cluster."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline.geometry.faiss_threads import one_faiss_thread
from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    map_blocks,
    mean_row,
    one_thread,
    product_dtype,
    row_blocks,
    row_lengths,
    squares,
    unit_rows,
)

_LOG = logging.getLogger(__name__)
_MOST_COVARIANCE = 4096


@dataclass(frozen=True)
class Clustering:
    """Clusters of n rows: ids (n,) int64 by falling size, -1 noise; centroids (k, d) float64 in that order; inertia.

    Centroids are the means of the members. inertia is the sum of squared Euclidean distances of rows to their
    centroid, >= 0; it falls as k grows. Noise has no part in either.
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

    _check(vectors, k, n_init)
    floats = _floats(vectors)
    with warnings.catch_warnings(), one_thread():
        # Counted and logged below, once instead of for every start.
        warnings.filterwarnings("ignore", message="Number of distinct clusters", category=ConvergenceWarning)
        copied = floats is vectors  # else they are a copy already, which may be moved to its mean
        model = KMeans(n_clusters=k, n_init=n_init, random_state=seed, copy_x=copied).fit(floats)
    return _found(vectors, model.labels_, "k-means", k)


def minibatch_kmeans(vectors: Array, k: int, batch_size: int = 1024, n_init: int = 3, seed: int = 0) -> Clustering:
    """K-means that moves its centres after every `batch_size` rows, drawn at random. The best of n_init starts.

    Sculley (2010), starts by k-means++, tried on a sample. The clusters of `sklearn.cluster.MiniBatchKMeans(k,
    batch_size=batch_size, n_init=n_init, random_state=seed)` on one thread, ids by falling size. `vectors` (n, d) of
    any real type. Fewer clusters than k, with a logged warning, where a centre ends as no row's nearest. ValueError
    unless 2 <= k <= n, batch_size and n_init >= 1, and for values that are not finite.

    >>> minibatch_kmeans(np.array([[0.0], [9.0], [10.0], [11.0]]), k=2).clusters.tolist()
    [1, 0, 0, 0]
    """
    from sklearn.cluster import MiniBatchKMeans

    _check(vectors, k, n_init)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    with one_thread():
        model = MiniBatchKMeans(k, batch_size=batch_size, n_init=n_init, random_state=seed).fit(_floats(vectors))
    return _found(vectors, model.labels_, "mini-batch k-means", k, "some centres are no image's nearest")


def spherical_kmeans(vectors: Array, k: int, n_iter: int = 100, n_init: int = 10, seed: int = 0) -> Clustering:
    """K-means of directions: rows scaled to length 1, centres too, near is a large cosine. The best of n_init starts.

    Dhillon & Modha (2001), by Faiss on one thread with all rows (by itself Faiss takes at most 256 a centre), starts
    drawn among the rows. `vectors` (n, d) of any real type; a row of zeros has no direction and becomes noise, with
    a logged warning. Centroids are means of the members' unit vectors, not scaled again, and the inertia belongs to
    the unit vectors. ValueError unless 2 <= k <= number of rows with a direction, n_init and n_iter >= 1, and for
    values that are not finite.

    >>> spherical_kmeans(np.array([[1.0, 0], [0, 3], [2, 0], [0, 1], [9, 0]]), k=2).clusters.tolist()
    [0, 1, 0, 1, 0]
    """
    import faiss

    _check(vectors, k, n_init, n_iter=n_iter)
    lengths = row_lengths(vectors)
    directed = np.flatnonzero(lengths > 0)
    if len(directed) < len(vectors):
        _LOG.warning("%d images have all-zero vectors, so no direction: noise", len(vectors) - len(directed))
    if k > len(directed):
        raise ValueError(f"k must lie between 2 and the number of images with a direction, {len(directed)}, got {k}")
    rows = unit_rows(vectors)
    unit = np.ascontiguousarray(rows[directed], dtype=np.float32)
    with one_faiss_thread(), one_thread():
        model = faiss.Kmeans(
            unit.shape[1], k, niter=n_iter, nredo=n_init, seed=seed, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=len(unit) + 1,
        )  # fmt: skip
        model.train(unit)
        nearest = model.index.search(unit, 1)[1][:, 0]
    labels = np.full(len(vectors), -1, dtype=np.int64)
    labels[directed] = nearest
    return _found(rows, labels, "spherical k-means", k)


def gaussian_mixture(
    vectors: Array, k: int, covariance_type: str = "full", n_init: int = 1, seed: int = 0
) -> Clustering:
    """The most likely component of each row under a mixture of k Gaussians. The best of n_init starts.

    Dempster, Laird & Rubin (1977): expectation and maximisation from a k-means start, scikit-learn's GaussianMixture
    on one thread. covariance_type: full, tied (one for all), diag (along the axes) or spherical. `vectors` (n, d) of
    any real type. Components that are no row's most likely one are dropped, with a logged warning. ValueError unless
    2 <= k <= n and n_init >= 1, where covariances cannot be estimated (fewer rows than dimensions, or so many
    dimensions that full ones would not fit into memory), and for values that are not finite.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    _check(vectors, k, n_init)
    d = vectors.shape[1]
    advice = "take covariance_type=diag or spherical, or cluster a projection"
    if covariance_type in ("full", "tied") and d > _MOST_COVARIANCE:
        raise ValueError(f"{covariance_type} covariances of {d:,} dimensions do not fit into memory: {advice}")
    model = GaussianMixture(k, covariance_type=covariance_type, n_init=n_init, random_state=seed)
    with warnings.catch_warnings(record=True) as caught, one_thread():
        warnings.simplefilter("ignore")
        warnings.filterwarnings(
            "always", message="(Best p|P)erformance|.*did not converge", category=ConvergenceWarning
        )
        try:
            labels = model.fit_predict(vectors.astype(product_dtype(d), copy=False))
        except ValueError as error:
            if "ill-defined empirical covariance" not in str(error):
                raise
            raise ValueError(
                f"{covariance_type} covariances of {d:,} dimensions cannot be estimated: {advice}"
            ) from error
    if caught or not model.converged_:
        _LOG.warning("mixture of Gaussians: not converged after %d iterations", model.max_iter)
    return _found(vectors, labels, "mixture of Gaussians", k, "they are no image's most likely one")


def agglomerative(vectors: Array, k: int, linkage: str = "ward") -> Clustering:
    """The k clusters left when the nearest two are merged again and again.

    linkage: what is near: ward (the merger that adds least to the inertia; Ward 1963), average, complete (farthest
    members) or single (nearest members) by Euclidean distance; scikit-learn's AgglomerativeClustering. No random
    choice. Memory: 8 bytes for every pair of rows. `vectors` (n, d) of any real type. ValueError unless 2 <= k <= n,
    and for values that are not finite.

    >>> agglomerative(np.array([[0.0], [9.0], [10.0], [11.0]]), k=2).clusters.tolist()
    [1, 0, 0, 0]
    """
    from sklearn.cluster import AgglomerativeClustering

    _check(vectors, k)
    with one_thread():
        labels = AgglomerativeClustering(k, linkage=linkage).fit_predict(_floats(vectors))
    return _found(vectors, labels, "agglomerative clustering", k)


def hdbscan(vectors: Array, min_cluster_size: int = 15, min_samples: int | None = None) -> Clustering:
    """Regions that stay dense over many densities; how many there are is found, all other rows are noise (-1).

    Campello, Moulavi & Sander (2013) by Euclidean distance, scikit-learn's HDBSCAN. Groups below min_cluster_size
    are noise; min_samples is how many rows, itself among them, a dense row has near (None: min_cluster_size), lowered
    to n with a logged warning. No random choice. `vectors` (n, d) of any real type. There may be no cluster at all.
    ValueError unless 2 <= min_cluster_size <= n, and for values that are not finite.
    """
    from sklearn.cluster import HDBSCAN

    n = len(vectors)
    if not 2 <= min_cluster_size <= n:
        raise ValueError(f"min_cluster_size must lie between 2 and the number of images, {n}, got {min_cluster_size}")
    _check_finite(vectors)
    if min_samples is not None and min_samples > n:
        _LOG.warning("HDBSCAN: min_samples lowered from %d to %d, the number of images", min_samples, n)
        min_samples = n
    with one_thread():
        labels = HDBSCAN(min_cluster_size, min_samples=min_samples, n_jobs=1, copy=True).fit_predict(_floats(vectors))
    return _found(vectors, labels, "HDBSCAN")


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


def _check(vectors: Array, k: int, n_init: int = 1, n_iter: int = 1) -> None:
    if not 2 <= k <= len(vectors):
        raise ValueError(f"k must lie between 2 and the number of images, {len(vectors)}, got {k}")
    if n_init < 1:
        raise ValueError(f"n_init must be at least 1, got {n_init}")
    if n_iter < 1:
        raise ValueError(f"n_iter must be at least 1, got {n_iter}")
    _check_finite(vectors)


def _check_finite(vectors: Array) -> None:
    if not np.isfinite(mean_row(vectors)).all():
        raise ValueError("vectors hold values that are not finite")


def _floats(vectors: Array) -> Array:
    floating = np.issubdtype(vectors.dtype, np.floating)
    return vectors if floating else vectors.astype(product_dtype(vectors.shape[1]))


def _found(
    vectors: Array, labels: Array, method: str, k: int | None = None, why: str = "there are no more distinct vectors"
) -> Clustering:
    """The result of any clusterer, from its labels (n,), negative for noise. k: how many clusters were asked for."""
    clusters, count = _by_size(labels)
    if k is not None and count < k:
        _LOG.warning("%s: %d cluster%s instead of %d: %s", method, count, "s" * (count != 1), k, why)
    centroids, inertia = _centroids(vectors, clusters, count)
    return Clustering(clusters, centroids, inertia)


def _by_size(labels: Array) -> tuple[Integers, int]:
    """Ids by falling size, of equal ones the earlier first row first, noise -1; and how many clusters there are."""
    kept = labels >= 0
    old, first, codes, sizes = np.unique(labels[kept], return_index=True, return_inverse=True, return_counts=True)
    new = np.empty(len(old), dtype=np.int64)
    new[np.lexsort((first, -sizes))] = np.arange(len(old))
    clusters = np.full(len(labels), -1, dtype=np.int64)
    clusters[kept] = new[codes]
    return clusters, len(old)


def _centroids(vectors: Array, clusters: Integers, count: int) -> tuple[Floats, float]:
    """Means of the members (k, d), and the sum of squared distances to them; a block of rows at a time."""
    order = np.argsort(clusters, kind="stable")
    order = order[clusters[order] >= 0]
    blocks = row_blocks(len(order), bytes_per_row=16 * vectors.shape[1])
    middle = mean_row(vectors)  # sums of what is left lose no digits to a far origin
    moved = np.zeros((count, vectors.shape[1]))

    def add(rows: slice) -> tuple[Integers, Floats]:
        found, starts = np.unique(clusters[order[rows]], return_index=True)
        return found, np.add.reduceat(vectors[order[rows]] - middle, starts, axis=0)

    for found, part in map_blocks(add, blocks):
        moved[found] += part
    moved /= np.bincount(clusters[order], minlength=count)[:, None]

    def measure(rows: slice) -> float:
        return float(squares(vectors[order[rows]] - middle - moved[clusters[order[rows]]]).sum())

    return moved + middle, sum(map_blocks(measure, blocks))


def _squared_lengths(vectors: Array, members: Integers, centroid: Array) -> Floats:
    """Squared distances of chosen rows to one point, a block at a time in float64."""
    result = np.empty(len(members))
    point = np.asarray(centroid, dtype=np.float64)
    for rows in row_blocks(len(members), bytes_per_row=16 * len(point)):
        result[rows] = squares(vectors[members[rows]] - point)
    return result
