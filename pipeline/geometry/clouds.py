"""A cloud of vectors with its clusters and their scores: the data, a cloud without clusters, or half of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.clustering import kmeans
from pipeline.metrics.blocks import Array, Floats, Integers
from pipeline.metrics.clustering import separation, silhouette, silhouette_samples
from pipeline.metrics.k_selection import total_inertia

Cluster = Callable[[Array], Integers]
"""The clusterer with its settings and its k: (n, d) -> (n,), -1 noise."""

EMBEDDING, PROJECTION = "embedding", "projection"


@dataclass(frozen=True)
class Cloud:
    """vectors (n, d) in the embedding; clusters (n,), -1 noise; scores: by (space, name), of the same clusters in each
    space."""

    vectors: Array
    clusters: Integers
    scores: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Range:
    """K-means for each of g numbers of clusters: clusters (n, g); silhouettes (g,) Euclidean, inertias (g,) >= 0, in
    the space that is clustered; inertia of one cluster."""

    clusters: Integers
    silhouettes: Floats
    inertias: Floats
    of_one: float


def cloud(
    vectors: Array,
    projection: Array | None,
    cluster: Cluster,
    in_embedding: bool = False,
    clusters: Integers | None = None,
) -> Cloud:
    """Cluster and score. projection (n, d'): None where there is none. in_embedding: clusters are found among the
    vectors. clusters: those that are known already."""
    places = vectors if projection is None or in_embedding else projection
    found = cluster(places) if clusters is None else clusters
    return Cloud(vectors, found, scores(vectors, projection, found))


def clustered_range(places: Array, ks: Sequence[int], n_init: int) -> Range:
    """K-means of (n, d) places for each k, the best of n_init starts, and what is said of it."""
    fits = [kmeans(places, k, n_init) for k in ks]
    table = np.stack([fit.clusters for fit in fits], axis=1) if fits else np.empty((len(places), 0), np.int64)
    samples = silhouette_samples(places, table, ("euclidean",))["euclidean"]
    return Range(
        clusters=table,
        silhouettes=np.array([silhouette(column) for column in samples.T]),
        inertias=np.array([fit.inertia for fit in fits]),
        of_one=total_inertia(places),
    )


def share_in_clusters(clusters: Integers) -> float:
    """Share of rows that are no noise, in [0, 1]; 0 where there are fewer than two clusters: none tells rows apart.

    >>> share_in_clusters(np.array([0, 0, 1, -1])), share_in_clusters(np.array([0, 0, 0, -1]))
    (0.75, 0.0)
    """
    return float((clusters >= 0).mean()) if len(np.unique(clusters[clusters >= 0])) > 1 else 0.0


def scores(vectors: Array, projection: Array | None, clusters: Integers) -> dict[tuple[str, str], float]:
    """Of one clustering, by (space, name); NaN where not defined."""
    found: dict[tuple[str, str], float] = {}
    if projection is not None:
        found[PROJECTION, "silhouette"] = silhouette(
            silhouette_samples(projection, clusters, ("euclidean",))["euclidean"]
        )
        apart = separation(projection, clusters)
        found[PROJECTION, "calinski_harabasz"] = apart.calinski_harabasz
        found[PROJECTION, "davies_bouldin"] = apart.davies_bouldin
    samples = silhouette_samples(vectors, clusters)
    found[EMBEDDING, "silhouette_cosine"] = silhouette(samples["cosine"])
    found[EMBEDDING, "silhouette_euclidean"] = silhouette(samples["euclidean"])
    apart = separation(vectors, clusters)
    found[EMBEDDING, "calinski_harabasz"] = apart.calinski_harabasz
    found[EMBEDDING, "davies_bouldin"] = apart.davies_bouldin
    return found


def range_stability(whole: Range, halves: Sequence[tuple[np.ndarray, Range]]) -> Floats:
    """(S, g) for each half (rows (n,) bool, and its range) and each k the adjusted Rand index, at most 1, of its
    clusters with those that all rows have."""
    from sklearn.metrics import adjusted_rand_score

    found = np.empty((len(halves), whole.clusters.shape[1]))
    for i, (rows, half) in enumerate(halves):
        for column in range(found.shape[1]):
            found[i, column] = adjusted_rand_score(whole.clusters[rows, column], half.clusters[:, column])
    return found
