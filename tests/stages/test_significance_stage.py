"""The significance stage: each number from its parts, the verdict on data of known make, and bad input."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import schema as s
from pipeline.metrics.clustering import silhouette, silhouette_samples
from pipeline.metrics.gaps import gaps
from pipeline.metrics.nulls import draw_null, isometric
from pipeline.metrics.significance import excess, halves
from pipeline.metrics.stability import jaccard
from pipeline.stage import Facts, Workspace
from pipeline.stages import significance as stage
from pipeline.stages.clustering import CLUSTER
from tests.stages.comparing import NONE, PCA, TSNE, UMAP, blobs, chosen, significant

EMBEDDING = s.Space.embedding


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in stage.STAGE.makes:
        if isinstance(one[name], np.ndarray):
            np.testing.assert_array_equal(one[name], other[name])
        else:
            pd.testing.assert_frame_equal(one[name], other[name], check_exact=True)


def verdict(made: dict[str, Any]) -> Any:
    return made["verdict"].iloc[0]


def row(made: dict[str, Any], space: str, name: str) -> Any:
    table = made["null_scores"]
    return table[(table["space"] == space) & (table["name"] == name)].iloc[0]


def kmeans3(places: np.ndarray) -> np.ndarray:
    clusterer = s.KmeansClustering("kmeans", s.Space.projection, 3, 2, 0)
    return CLUSTER[type(clusterer)](clusterer, places, 3).clusters


def test_every_number_is_made_of_the_parts_that_it_says(tmp_path: Path) -> None:
    vectors = blobs()
    made = significant(tmp_path, vectors, chosen(replicates=4))

    def silhouettes(places: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
        of = silhouette_samples(places, clusters)
        return silhouette(of["euclidean"]), silhouette(of["cosine"])

    places = made["sample_projection"]
    clusters = kmeans3(places)
    null_clusters = [kmeans3(null) for null in made["null_projections"]]
    null_vectors = [draw_null(vectors, "gaussian", (0, r)) for r in range(4)]
    half_clusters = [kmeans3(p[h]) for p, h in zip(made["half_projections"], made["half_rows"], strict=True)]

    nulls = [silhouettes(p, c)[0] for p, c in zip(made["null_projections"], null_clusters, strict=True)]
    expected = excess("silhouette", silhouettes(places, clusters)[0], nulls)
    found = row(made, "projection", "silhouette")
    assert (found["observed"], found["null_mean"], found["null_sd"], found["excess"], found["p"]) == pytest.approx(
        (expected.observed, expected.null_mean, expected.null_sd, expected.excess, expected.p)
    )

    nulls = [silhouettes(v, c)[1] for v, c in zip(null_vectors, null_clusters, strict=True)]
    expected = excess("silhouette_cosine", silhouettes(vectors, clusters)[1], nulls)
    of_halves = [silhouettes(vectors[h], c)[1] for h, c in zip(made["half_rows"], half_clusters, strict=True)]
    spread = halves(expected.observed, of_halves)
    found = row(made, "embedding", "silhouette_cosine")
    assert (found["excess"], found["p"], found["half_mean"], found["half_sd"]) == pytest.approx(
        (expected.excess, expected.p, spread.mean, spread.sd)
    )

    support = made["cluster_support"]
    assert support["gap"].tolist() == pytest.approx([gap.value for gap in gaps(vectors, clusters, 0)])
    of_halves = np.array([[gap.value for gap in gaps(vectors[h], clusters[h], 0)] for h in made["half_rows"]])
    assert support["gap_sd"].tolist() == pytest.approx(of_halves.std(axis=0, ddof=1))
    assert verdict(made)["gap_sd"] == pytest.approx(np.median(of_halves, axis=1).std(ddof=1))
    again = [jaccard(clusters[h], c) for h, c in zip(made["half_rows"], half_clusters, strict=True)]
    assert support["jaccard"].tolist() == pytest.approx(np.mean(again, axis=0))
    of_nulls = [
        jaccard(c[h], kmeans3(p[h])).mean()
        for c, p, h in zip(null_clusters, made["null_half_projections"], made["null_half_rows"], strict=False)
    ]
    assert support["null_jaccard"].unique() == pytest.approx([np.mean(of_nulls)])
    assert verdict(made)["null_gap"] == pytest.approx(
        np.mean([np.median([gap.value for gap in gaps(v, c, 0)]) for v, c in zip(null_vectors, null_clusters,
                                                                                  strict=True)])
    )  # fmt: skip


def test_blobs_are_supported_and_one_cloud_is_not(tmp_path: Path) -> None:
    made = significant(tmp_path / "blobs", blobs(), chosen())
    assert verdict(made)["verdict"] == "supported" and verdict(made)["clusters"] == 3
    assert (made["cluster_support"]["gap"] < 0.2).all() and (made["cluster_support"]["jaccard"] > 0.95).all()
    assert (made["cluster_support"]["jaccard"] > made["cluster_support"]["null_jaccard"] + 0.1).all()
    assert (verdict(made)["k_low"], verdict(made)["k_high"]) == (3, 3)
    for seed in range(3):
        one = significant(tmp_path / str(seed), blobs(150, apart=0, seed=seed), chosen())
        assert verdict(one)["verdict"] == "none", verdict(one)["sentence"]
        assert pd.isna(verdict(one)["k_low"])


def test_a_null_is_drawn_from_the_vectors_not_their_coordinates(tmp_path: Path) -> None:
    """d > n: the data are scored in coordinates of their own, which change no distance."""
    vectors = blobs(60, 90)
    made = significant(tmp_path, vectors, chosen())
    clusters = kmeans3(made["sample_projection"])
    own = silhouette(silhouette_samples(vectors, clusters)["cosine"])
    assert row(made, "embedding", "silhouette_cosine")["observed"] == pytest.approx(own, abs=1e-5)
    assert isometric(vectors).shape == (60, 60)
    assert verdict(made)["verdict"] == "supported"


def test_clusters_of_the_embedding_itself_have_halves_too(tmp_path: Path) -> None:
    vectors = blobs()
    made = significant(tmp_path, vectors, chosen())
    own = made["null_scores"].query("clusters_of == 'embedding' and name == 'silhouette_euclidean'").iloc[0]
    of_halves = []
    for half in made["half_rows"]:
        found = kmeans3(vectors[half])
        of_halves.append(silhouette(silhouette_samples(vectors[half], found)["euclidean"]))
    assert (own["half_mean"], own["half_sd"]) == pytest.approx((np.mean(of_halves), np.std(of_halves, ddof=1)))
    for given in (chosen(NONE), chosen(space=EMBEDDING)):
        made = significant(tmp_path / given.projection.name, vectors, given)
        assert row(made, "embedding", "silhouette_cosine")["half_sd"] >= 0
        assert (made["cluster_support"]["gap_sd"] >= 0).all()


def test_a_sample_is_clustered_by_itself(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(150), chosen(max_images=60))
    assert (verdict(made)["images"], verdict(made)["of"], verdict(made)["clusters"]) == (60, 150, 3)
    assert made["cluster_support"]["size"].sum() == 60
    assert (made["null_scores"]["images"] == 60).all()


def test_rows_for_each_way(tmp_path: Path) -> None:
    projected = significant(tmp_path / "a", blobs(), chosen())["null_scores"]
    assert projected.groupby(["space", "clusters_of"]).size().to_dict() == {
        ("projection", "projection"): 4, ("embedding", "projection"): 4, ("embedding", "embedding"): 4,
    }  # fmt: skip
    flat = significant(tmp_path / "b", blobs(), chosen(NONE))["null_scores"]
    assert set(flat["space"]) == set(flat["clusters_of"]) == {"embedding"} and len(flat) == 5
    inside = significant(tmp_path / "c", blobs(), chosen(space=EMBEDDING))["null_scores"]
    assert set(inside["clusters_of"]) == {"embedding"} and set(inside["space"]) == {"embedding", "projection"}


@pytest.mark.parametrize("given", [
    chosen(NONE), chosen(PCA, space=EMBEDDING), chosen(TSNE),
    pytest.param(chosen(UMAP), marks=pytest.mark.slow),
    chosen(clusterer=s.SphericalKmeansClustering("spherical_kmeans", EMBEDDING, 3, 20, 2, 0)),
    chosen(clusterer=s.GmmClustering("gmm", s.Space.projection, 3, s.Covariance.full, 1, 0)),
    chosen(clusterer=s.AgglomerativeClustering("agglomerative", s.Space.projection, 3, s.Linkage.ward, 20_000)),
])  # fmt: skip
def test_every_projection_and_clusterer(given: Any, tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), given)
    assert verdict(made)["verdict"] == "supported", verdict(made)["sentence"]
    numbers = stage.metrics(made)
    assert numbers["gap"] < 0.3 and numbers["embedding/silhouette_cosine/excess"] > 0.1


def test_the_same_numbers_again(tmp_path: Path) -> None:
    one, again = (significant(tmp_path / name, blobs(), chosen()) for name in "ab")
    same(one, again)


def test_the_same_bits_on_one_core_and_on_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of the embedding itself are found side by side."""
    made = []
    for cores in (1, 3):
        monkeypatch.setattr("pipeline.metrics.blocks.workers", lambda cores=cores: cores)
        made.append(significant(tmp_path / str(cores), blobs(150, 60, apart=2), chosen(embedding_replicates=9)))
    same(made[0], made[1])


def test_k_larger_than_a_half_sample(tmp_path: Path) -> None:
    """No half can be clustered into so many: no intervals, and nothing breaks."""
    clusterer = s.KmeansClustering("kmeans", s.Space.projection, 31, 1, 0)
    made = significant(tmp_path, blobs(60), chosen(clusterer=clusterer))
    assert made["null_scores"]["half_mean"].isna().all()
    assert made["cluster_support"][["jaccard", "null_jaccard"]].isna().all().all()
    assert len(made["cluster_support"]) == 31
    assert verdict(made)["k_gate"] is not None


def test_exact_duplicates(tmp_path: Path) -> None:
    """Five places, each twenty times: fewer clusters than asked for in halves and clouds alike is no error."""
    vectors = np.repeat(blobs(5, count=5), 20, axis=0)
    clusterer = s.KmeansClustering("kmeans", s.Space.projection, 7, 2, 0)
    made = significant(tmp_path, vectors, chosen(clusterer=clusterer))
    assert verdict(made)["clusters"] == 5
    assert len(made["cluster_support"]) == 5
    assert not np.isinf(list(stage.metrics(made).values())).any()
    found = row(made, "projection", "davies_bouldin")
    assert found["observed"] == pytest.approx(0, abs=1e-6) and not found["p"] > 0.5


@pytest.mark.parametrize("shape", [(60, 4), (60, 90)])
@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("projection", [PCA, NONE])
def test_equal_vectors(projection: Any, value: float, shape: tuple[int, int], tmp_path: Path) -> None:
    vectors = np.full(shape, value, np.float32)
    clusters = np.zeros(60, np.int64)
    made = significant(tmp_path, vectors, chosen(projection), clusters=clusters, ks=range(2, 2))
    assert verdict(made)["sentence"] == "There is one cluster only: no clusters supported."
    assert all(math.isfinite(value) for name, value in stage.metrics(made).items() if "/" not in name)


@pytest.mark.parametrize("n", [12, 24, 49])
def test_too_few_images(n: int, tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(n), chosen(), ks=range(2, 4))
    assert verdict(made)["verdict"] == "unknown"
    assert verdict(made)["sentence"].endswith(f"cannot be told: {n} images are too few: at least 50.")


def test_four_images(tmp_path: Path) -> None:
    clusterer = s.KmeansClustering("kmeans", s.Space.projection, 2, 2, 0)
    made = significant(tmp_path, blobs(4), chosen(clusterer=clusterer), ks=range(2, 4))
    assert verdict(made)["verdict"] == "unknown" and len(made["k_choice"]) == 0


def hdbscan(size: int = 5) -> Any:
    return s.HdbscanClustering("hdbscan", s.Space.projection, size, None)


def test_all_noise(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(apart=0), chosen(clusterer=hdbscan(40)), clusters=np.full(90, -1))
    assert verdict(made)["sentence"] == "All images are noise: no clusters supported."
    assert len(made["cluster_support"]) == 0 and math.isnan(verdict(made)["gap"])


def test_one_cluster(tmp_path: Path) -> None:
    clusters = np.where(np.arange(90) < 80, 0, -1)
    made = significant(tmp_path, blobs(apart=0), chosen(clusterer=hdbscan()), clusters=clusters)
    assert verdict(made)["why"] == "there is one cluster only" and verdict(made)["verdict"] == "none"
    assert made["cluster_support"][["cluster", "size", "nearest"]].values.tolist() == [[0, 80, -1]]


def test_clouds_without_clusters_are_evidence(tmp_path: Path) -> None:
    """HDBSCAN finds the blobs and nothing in the clouds: no silhouette to compare with, but shares of the images."""
    made = significant(tmp_path, blobs(), chosen(clusterer=hdbscan(12)))
    found, share = verdict(made), row(made, "projection", "clustered_share")
    assert found["clusters"] == 3 and (made["cluster_support"]["gap"] < 0.3).all()
    assert found["verdict"] == "supported" and found["score"] == "clustered_share"
    assert (share["observed"], share["null_mean"], share["replicates"]) == (pytest.approx(found["excess"]), 0, 3)
    assert found["p"] == 1 / 4 and share["half_sd"] >= 0
    assert found["sentence"].startswith(f"The clusters hold {share['observed']:.0%} of the images; of a structureless")
    assert "find 0% in clusters. In the encoder's own space they are separated by real gaps" in found["sentence"]


def test_dense_cores_of_one_cloud_are_no_clusters(tmp_path: Path) -> None:
    """What is between them was left out as noise; with it there is no gap, whatever the clouds have."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(200, 4)).astype(np.float32)
    vectors[:, 0] *= 3
    clusters = np.where(vectors[:, 0] < -1.5, 0, np.where(vectors[:, 0] > 1.5, 1, -1))
    made = significant(tmp_path, vectors, chosen(clusterer=hdbscan(60)), clusters=clusters)
    assert verdict(made)["score"] == "clustered_share" and verdict(made)["excess"] > 0.5
    assert verdict(made)["verdict"] == "none" and verdict(made)["gap"] > 0.85


def test_one_replicate(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen(replicates=1, embedding_replicates=1))
    assert verdict(made)["why"] == "fewer than two of the clouds to compare with have clusters to measure"
    assert made["null_scores"]["null_mean"].notna().all() and made["null_scores"]["p"].isna().all()
    assert (made["null_scores"]["replicates"] == 1).all()


def test_no_clouds_for_the_embedding_alone(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen(embedding_replicates=0))
    assert verdict(made)["verdict"] == "supported"
    own = made["null_scores"].query("clusters_of == 'embedding'")
    assert (own["replicates"] == 0).all() and own["p"].isna().all()


def test_no_half_samples(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen(half_samples=0))
    assert verdict(made)["verdict"] == "supported"
    assert made["null_scores"][["half_mean", "half_sd"]].isna().all().all()
    assert made["cluster_support"]["jaccard"].isna().all() and made["k_choice"]["stability"].isna().all()


def test_groups_too_few_to_be_halved(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen(), groups=["p"] * 90)
    assert verdict(made)["verdict"] == "supported"
    assert made["cluster_support"]["jaccard"].isna().all()


def test_clusters_with_few_members(tmp_path: Path) -> None:
    clusters = np.repeat(np.arange(30), 3)
    made = significant(tmp_path, blobs(), chosen(), clusters=clusters)
    assert verdict(made)["why"] == "the clusters are too small to see gaps between them"


def test_clouds_and_halves_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What k-means has to say of a cloud or a half is not about the user's data."""
    vectors = np.repeat(blobs(9, count=3), 10, axis=0)  # nine places, and twelve clusters wanted
    given = chosen(clusterer=s.KmeansClustering("kmeans", s.Space.projection, 12, 1, 0))
    made = significant(tmp_path, vectors, given, clusters=np.arange(90) % 12)
    assert verdict(made)["clusters"] == 12
    assert [record.message for record in caplog.records if "instead of 12" in record.message] == []
    assert logging.root.manager.disable == 0


def test_the_sentence_names_the_cloud(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen(null_model=s.NullModel.isotropic))
    assert "the same variance, but round" in verdict(made)["sentence"]
    assert verdict(made)["null"] == "isotropic"


def test_refused() -> None:
    facts = Facts(100, ())
    assert stage.refuse(facts, chosen(name="none", replicates=0)) == "significance=none"
    assert stage.refuse(facts, chosen(NONE, embedding_replicates=0)) == "significance.embedding_replicates = 0"
    assert stage.refuse(facts, chosen(NONE, replicates=0)) is None


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    given, vectors = chosen(), blobs()
    made = significant(tmp_path, vectors, given)
    parts = {name: made[name] for name in stage.STAGE.needs if name in made}  # the vectors and clusters are given below
    seen: list[tuple[int, int]] = []
    workspace = Workspace(tmp_path, progress=lambda done, total: seen.append((done, total)))
    stage.run(given, workspace, vectors, kmeans3(made["sample_projection"]), **parts)
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(("projection", "k"), [(PCA, 3), (NONE, 3), (PCA, 20)])
def test_the_values_of_half_samples_are_kept(tmp_path: Path, projection: Any, k: int) -> None:
    kmeans = s.KmeansClustering("kmeans", s.Space.projection, k, 2, 0)
    made = significant(tmp_path, blobs(), chosen(projection, kmeans, half_samples=4))
    halves, table = made["half_scores"], made["null_scores"]
    for row in table[table["name"] != "best_silhouette"].to_dict("records"):
        of = (halves["space"] == row["space"]) & (halves["clusters_of"] == row["clusters_of"])
        values = halves.loc[of & (halves["name"] == row["name"]), "value"]
        assert len(values) == 4
        assert (values.mean(), values.std()) == pytest.approx((row["half_mean"], row["half_sd"]), abs=1e-12)
    assert len(halves) == 4 * (table["name"] != "best_silhouette").sum()
    clusters = made["half_clusters"]
    assert clusters.shape == made["half_rows"].shape and clusters.dtype == np.int32
    assert ((clusters >= 0) == made["half_rows"]).all() and clusters.max() == k - 1


def test_half_samples_that_are_too_small_have_no_values(tmp_path: Path) -> None:
    kmeans = s.KmeansClustering("kmeans", s.Space.projection, 30, 1, 0)
    made = significant(tmp_path, blobs(), chosen(PCA, kmeans))
    assert not len(made["half_scores"]) and (made["half_clusters"] == -1).all()
    assert len(made["half_clusters"]) == 3
