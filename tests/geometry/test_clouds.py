"""A cloud with its clusters and scores: the numbers of the libraries, in both spaces, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans

from pipeline.geometry.clouds import (
    EMBEDDING,
    PROJECTION,
    cloud,
    clustered_range,
    range_stability,
    scores,
    share_in_clusters,
)
from pipeline.geometry.clustering import kmeans

NAMES = ("silhouette_cosine", "silhouette_euclidean", "calinski_harabasz", "davies_bouldin")


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 8)) + 3 * random.normal(size=(3, 8))[np.arange(60) % 3]
    return vectors, vectors[:, :2].astype(np.float32)


def three(places: np.ndarray) -> np.ndarray:
    return kmeans(places, 3).clusters


def test_scores_are_scikit_learns_in_both_spaces() -> None:
    vectors, projection = data()
    found = cloud(vectors, projection, three)
    assert (found.clusters == three(projection)).all()
    expected = {
        (PROJECTION, "silhouette"): metrics.silhouette_score(projection, found.clusters),
        (PROJECTION, "calinski_harabasz"): metrics.calinski_harabasz_score(projection, found.clusters),
        (PROJECTION, "davies_bouldin"): metrics.davies_bouldin_score(projection, found.clusters),
        (EMBEDDING, "silhouette_cosine"): metrics.silhouette_score(vectors, found.clusters, metric="cosine"),
        (EMBEDDING, "silhouette_euclidean"): metrics.silhouette_score(vectors, found.clusters),
        (EMBEDDING, "calinski_harabasz"): metrics.calinski_harabasz_score(vectors, found.clusters),
        (EMBEDDING, "davies_bouldin"): metrics.davies_bouldin_score(vectors, found.clusters),
    }
    assert found.scores == pytest.approx(expected, rel=1e-5)
    ranged = clustered_range(projection, [2, 3, 5], n_init=2)
    assert ranged.of_one == pytest.approx(KMeans(1, n_init=1).fit(projection).inertia_)
    for column, k in enumerate((2, 3, 5)):
        fit = KMeans(k, n_init=2, random_state=0).fit(projection)
        labels = fit.labels_
        assert ranged.inertias[column] == pytest.approx(fit.inertia_, rel=1e-5)
        assert metrics.adjusted_rand_score(labels, ranged.clusters[:, column]) == 1
        assert ranged.silhouettes[column] == pytest.approx(metrics.silhouette_score(projection, labels), abs=1e-5)


def test_clusters_found_in_the_embedding_are_measured_in_both() -> None:
    vectors, projection = data()
    found = cloud(vectors, projection, three, in_embedding=True)
    assert (found.clusters == three(vectors)).all()
    assert set(found.scores) == {*((EMBEDDING, name) for name in NAMES), *((PROJECTION, name) for name in
                                 ("silhouette", *NAMES[2:]))}  # fmt: skip


def test_without_a_projection() -> None:
    vectors, _ = data()
    found = cloud(vectors, None, three)
    assert set(found.scores) == {(EMBEDDING, name) for name in NAMES}
    nothing = clustered_range(vectors, [], 1)
    assert nothing.clusters.shape == (60, 0) and nothing.silhouettes.shape == nothing.inertias.shape == (0,)


def test_known_clusters_are_taken() -> None:
    vectors, projection = data()
    known = np.arange(60) % 3
    assert cloud(vectors, projection, lambda _: pytest.fail("clustered again"), clusters=known).clusters is known


@pytest.mark.parametrize("clusters", [np.zeros(60, int), np.full(60, -1), np.arange(60)])
def test_what_is_not_defined_is_nan(clusters: np.ndarray) -> None:
    vectors, projection = data()
    assert np.isnan(list(scores(vectors, projection, clusters).values())).all()


def test_noise_has_no_part() -> None:
    vectors, projection = data()
    clusters = np.where(np.arange(60) < 50, np.arange(60) % 2, -1)
    assert scores(vectors, projection, clusters) == pytest.approx(
        scores(vectors[:50], projection[:50], clusters[:50]), rel=1e-6
    )


def test_share_in_clusters() -> None:
    assert share_in_clusters(np.array([-1, 3, 3, 5, 5])) == 0.8
    assert share_in_clusters(np.array([3, 3, 3])) == share_in_clusters(np.full(3, -1)) == 0


def test_stability_over_a_range_by_hand() -> None:
    _, projection = data()
    whole = clustered_range(projection, [2, 3], 1)
    rows = np.arange(60) < 30
    halves = [(of, clustered_range(projection[of], [2, 3], 1)) for of in (rows, ~rows)]
    expected = [
        [
            metrics.adjusted_rand_score(whole.clusters[of, column], half.clusters[:, column])
            for column in (0, 1)
        ]
        for of, half in halves
    ]  # fmt: skip
    assert range_stability(whole, halves).tolist() == [pytest.approx(one) for one in expected]
    assert range_stability(whole, []).shape == (0, 2)
