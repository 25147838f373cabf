"""Clusters in the projection, and the images that stand for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CallError, RunError
from pipeline.schema import NoProjection
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.projection import map_name

SHOWN = 50  # clusters that get a picture of their images: the largest
DEFAULT_K = 8  # where neither the call nor the labels say how many


def run(settings: Any, workspace: Workspace, images: pd.DataFrame, projection: np.ndarray) -> dict[str, Any]:
    """`clusters` (n,) by falling size, `centroids` (k, d'), examples of each, and k with its inertia."""
    from pipeline.geometry.clustering import cluster_examples, kmeans

    chosen = settings.clustering
    k = chosen.k or _default_k(images["label"].nunique(), len(images))
    if k > len(images):
        raise RunError(f"clustering.k = {k}: more clusters than images that could be read ({len(images)})")
    found = kmeans(projection, k, chosen.n_init, chosen.seed)
    examples = cluster_examples(projection, found.clusters, found.centroids, seed=chosen.seed)
    return {
        "clusters": found.clusters,
        "centroids": found.centroids,
        "cluster_examples": pd.DataFrame(examples, columns=["cluster", "kind", "rank", "row"]),
        "clustering_summary": pd.DataFrame({"name": ["k", "inertia"], "value": [len(found.centroids), found.inertia]}),
    }


def _default_k(classes: int, images: int) -> int:
    return min(classes if classes > 1 else DEFAULT_K, images)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """k and inertia."""
    return dict(zip(made["clustering_summary"]["name"], made["clustering_summary"]["value"], strict=True))


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The map by cluster and by label; for each cluster its nearest and some random images."""
    from pipeline.plots.images import cluster_grid
    from pipeline.plots.maps import cluster_and_label_map

    images, clusters = needs["images"], made["clusters"]
    labels = images["label"].tolist() if images["label"].notna().any() else None
    subtitle = map_name(settings.projection, needs["projection"].shape[1])
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
    return "embedding space" if isinstance(settings.projection, NoProjection) else "projection"


def refuse(facts: Facts, settings: Any) -> str | None:
    """k must leave an image for every cluster."""
    k = settings.clustering.k
    if k is not None and k > facts.images:
        raise CallError(f"clustering.k = {k}: more clusters than images ({facts.images})")
    return None if facts.images >= 2 else "one image cannot be clustered"


STAGE = Stage(
    name="clustering",
    needs=("images", "projection"),
    makes=("clusters", "centroids", "cluster_examples", "clustering_summary"),
    settings=("clustering", "projection"),
    run=run,
    metrics=metrics,
    draw=draw,
    draw_needs=("map",),
    refuse=refuse,
    packages=("scikit-learn", "numpy"),
)
