"""Clusters in the projection or among the embeddings, and the images that stand for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.errors import CallError, RunError
from pipeline.schema import (
    AgglomerativeClustering,
    GmmClustering,
    HdbscanClustering,
    KmeansClustering,
    MinibatchKmeansClustering,
    NoProjection,
    Space,
    SphericalKmeansClustering,
)
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.projection import map_name

if TYPE_CHECKING:
    from pipeline.geometry.clustering import Clustering  # imported where something is clustered

log = logging.getLogger(__name__)

SHOWN = 50  # clusters that get a picture of their images: the largest
DEFAULT_K = 8  # where neither the call nor the labels say how many


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, projection: np.ndarray
) -> dict[str, Any]:
    """`clusters` (n,) by falling size, -1 noise; `centroids` (k, d'); examples of each; k, inertia, share of noise."""
    from pipeline.geometry.clustering import cluster_examples
    from pipeline.metrics.blocks import unit_rows

    chosen = settings.clustering
    vectors = image_embeddings if chosen.space is Space.embedding else projection
    k = asked_k(chosen, images)
    try:
        found = CLUSTER[type(chosen)](chosen, vectors, k)
    except ValueError as error:
        raise RunError(f"clustering={chosen.name}: {error}") from error
    compared = unit_rows(vectors) if isinstance(chosen, SphericalKmeansClustering) else vectors
    examples = cluster_examples(compared, found.clusters, found.centroids, seed=getattr(chosen, "seed", settings.seed))
    noise = float(np.mean(found.clusters < 0))
    if noise:
        _say_noise(int((found.clusters < 0).sum()), len(images))
    if isinstance(chosen, SphericalKmeansClustering) and _space(settings) == "projection":
        log.warning("spherical k-means compares directions, which mean little in a projection: use space=embedding")
    summary = {"k": len(found.centroids), "inertia": found.inertia, "noise_share": noise}
    return {
        "clusters": found.clusters,
        "centroids": found.centroids,
        "cluster_examples": pd.DataFrame(examples, columns=["cluster", "kind", "rank", "row"]),
        "clustering_summary": pd.DataFrame({"name": list(summary), "value": list(summary.values())}),
    }


def asked_k(chosen: Any, images: pd.DataFrame) -> int | None:
    """How many clusters to find; None where the clusterer finds that itself. Raises RunError for too many."""
    if not hasattr(chosen, "k"):
        return None
    k: int = chosen.k or _default_k(images["label"].nunique(), len(images))
    if k > len(images):
        raise RunError(f"clustering.k = {k}: more clusters than images that could be read ({len(images)})")
    return k


def _say_noise(noise: int, images: int) -> None:
    share = f"{noise:,} of {images:,} images ({noise / images:.0%})"
    log.warning("%s are noise: in no cluster, and without a part in any score of the clusters", share)


def _kmeans(chosen: KmeansClustering, vectors: np.ndarray, k: int) -> Clustering:
    from pipeline.geometry.clustering import kmeans

    return kmeans(vectors, k, chosen.n_init, chosen.seed)


def _minibatch_kmeans(chosen: MinibatchKmeansClustering, vectors: np.ndarray, k: int) -> Clustering:
    from pipeline.geometry.clustering import minibatch_kmeans

    return minibatch_kmeans(vectors, k, chosen.batch_size, chosen.n_init, chosen.seed)


def _spherical_kmeans(chosen: SphericalKmeansClustering, vectors: np.ndarray, k: int) -> Clustering:
    from pipeline.geometry.clustering import spherical_kmeans

    return spherical_kmeans(vectors, k, chosen.n_iter, chosen.n_init, chosen.seed)


def _gmm(chosen: GmmClustering, vectors: np.ndarray, k: int) -> Clustering:
    from pipeline.geometry.clustering import gaussian_mixture

    return gaussian_mixture(vectors, k, chosen.covariance_type.value, chosen.n_init, chosen.seed)


def _agglomerative(chosen: AgglomerativeClustering, vectors: np.ndarray, k: int) -> Clustering:
    from pipeline.geometry.clustering import agglomerative

    return agglomerative(vectors, k, chosen.linkage.value)


def _hdbscan(chosen: HdbscanClustering, vectors: np.ndarray, k: None) -> Clustering:
    from pipeline.geometry.clustering import hdbscan

    return hdbscan(vectors, chosen.min_cluster_size, chosen.min_samples)


CLUSTER: dict[type, Callable[[Any, np.ndarray, Any], Clustering]] = {
    KmeansClustering: _kmeans,
    MinibatchKmeansClustering: _minibatch_kmeans,
    SphericalKmeansClustering: _spherical_kmeans,
    GmmClustering: _gmm,
    AgglomerativeClustering: _agglomerative,
    HdbscanClustering: _hdbscan,
}


def _default_k(classes: int, images: int) -> int:
    return min(classes if classes > 1 else DEFAULT_K, images)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """k, inertia and the share of noise."""
    return dict(zip(made["clustering_summary"]["name"], made["clustering_summary"]["value"], strict=True))


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The map by cluster and by label; for each cluster its nearest and some random images."""
    from pipeline.plots.images import cluster_grid
    from pipeline.plots.maps import cluster_and_label_map

    images, clusters = needs["images"], made["clusters"]
    labels = images["label"].tolist() if images["label"].notna().any() else None
    clustered = settings.clustering.space is Space.projection
    subtitle = map_name(settings.projection, needs["projection"].shape[1], clustered)
    figures = {"map": cluster_and_label_map(needs["map"], clusters, labels, subtitle)}
    rows = images.to_dict("records")
    sizes = np.bincount(clusters[clusters >= 0])
    examples = made["cluster_examples"] if images["path"].any() else made["cluster_examples"].head(0)
    for cluster, of_cluster in examples[examples["cluster"] < SHOWN].groupby("cluster"):
        shown = {
            kind: [rows[row] for row in of_cluster.loc[of_cluster["kind"] == kind, "row"]]
            for kind in ("nearest", "random")
        }
        heading = f"cluster {cluster}: {sizes[cluster]:,} images; nearest by distance in the {_space(settings)}"
        figures[f"cluster_{cluster:02d}"] = cluster_grid(
            [drawing.thumbnail(row["path"]) for row in shown["nearest"]],
            [drawing.title(row) for row in shown["nearest"]],
            [drawing.thumbnail(row["path"]) for row in shown["random"]],
            [drawing.title(row) for row in shown["random"]],
            heading,
        )
    return figures


def _space(settings: Any) -> str:
    if settings.clustering.space is Space.embedding or isinstance(settings.projection, NoProjection):
        return "embedding space"
    return "projection"


def refuse(facts: Facts, settings: Any) -> str | None:
    """There must be an image for every cluster, and memory for all distances where those are needed."""
    chosen = settings.clustering
    k = getattr(chosen, "k", None)
    if k is not None and k > facts.images:
        raise CallError(f"clustering.k = {k}: more clusters than images ({facts.images})")
    if isinstance(chosen, HdbscanClustering) and chosen.min_cluster_size > facts.images:
        raise CallError(
            f"clustering.min_cluster_size = {chosen.min_cluster_size}: more than there are images ({facts.images})"
        )
    if isinstance(chosen, AgglomerativeClustering) and facts.images > chosen.max_rows:
        memory = 4 * facts.images**2 / 2**20
        return (
            f"clustering=agglomerative needs all distances at once, {memory:,.0f} MB for {facts.images:,} images, and "
            f"clustering.max_rows = {chosen.max_rows:,}: raise it, limit the data set (dataset.limit), or take "
            f"another clusterer"
        )
    return None if facts.images >= 2 else "one image cannot be clustered"


STAGE = Stage(
    name="clustering",
    version=2,
    needs=("images", "image_embeddings", "projection"),
    makes=("clusters", "centroids", "cluster_examples", "clustering_summary"),
    settings=("clustering", "projection", "seed"),
    run=run,
    metrics=metrics,
    draw=draw,
    draw_needs=("map",),
    refuse=refuse,
    packages=("scikit-learn", "faiss-cpu", "numpy"),
)
