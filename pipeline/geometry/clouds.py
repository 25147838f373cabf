"""A cloud of vectors with its clusters and their scores: the data, a cloud without clusters, or half of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.clustering import kmeans
from pipeline.metrics.blocks import Array, Floats, Integers
from pipeline.metrics.clustering import separation, silhouette, silhouette_samples

Cluster = Callable[[Array], Integers]
"""The clusterer with its settings and its k: (n, d) -> (n,), -1 noise."""

EMBEDDING, PROJECTION = "embedding", "projection"


@dataclass(frozen=True)
class Cloud:
    """vectors (n, d) in the embedding, places (n, d') where they are clustered and, unless flat, in the projection.

    scores: by (space, name), of the same clusters in each space. range_clusters (n, g): k-means for each k of a range.
    range_silhouettes (g,): theirs, in the space that is clustered.
    """

    vectors: Array
    places: Array
    clusters: Integers
    scores: Mapping[tuple[str, str], float]
    range_clusters: Integers
    range_silhouettes: Floats


def cloud(
    vectors: Array,
    projection: Array | None,
    cluster: Cluster,
    ks: Sequence[int],
    n_init: int,
    in_embedding: bool = False,
    clusters: Integers | None = None,
) -> Cloud:
    """Cluster and score. projection (n, d'): None where there is none. in_embedding: clusters are found among the
    vectors. clusters: those that are known already. ks, n_init: of the range."""
    places = vectors if projection is None or in_embedding else projection
    found = cluster(places) if clusters is None else clusters
    columns = [kmeans(places, k, n_init).clusters for k in ks]
    table = np.stack(columns, axis=1) if columns else np.empty((len(vectors), 0), np.int64)
    in_range = silhouette_samples(places, table, ("euclidean",))["euclidean"]
    return Cloud(
        vectors=vectors,
        places=places,
        clusters=found,
        scores=scores(vectors, projection, found),
        range_clusters=table,
        range_silhouettes=np.array([silhouette(column) for column in in_range.T]),
    )


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


def range_stability(whole: Cloud, halves: Sequence[tuple[np.ndarray, Cloud]]) -> Floats:
    """(g,) for each k of the range the mean adjusted Rand index, at most 1, of the clusters of halves (rows (n,) bool,
    cloud) with those that all rows have; NaN without halves."""
    from sklearn.metrics import adjusted_rand_score

    if not halves:
        return np.full(whole.range_clusters.shape[1], np.nan)
    values = [
        [
            adjusted_rand_score(whole.range_clusters[rows, column], half.range_clusters[:, column])
            for column in range(whole.range_clusters.shape[1])
        ]
        for rows, half in halves
    ]
    return np.asarray(np.mean(values, axis=0))
