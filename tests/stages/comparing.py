"""Data and settings for the stages that compare with clouds without clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import schema as s
from pipeline.geometry.clustering import kmeans
from pipeline.metrics.clustering import silhouette, silhouette_samples
from pipeline.stage import Workspace
from pipeline.stages import clustering, k_support, replicates, significance
from tests.making import settings

PCA = s.PcaProjection("pca", 2)
NONE = s.NoProjection("none", 200_000)
UMAP = s.UmapProjection("umap", 2, 10, 0.1, 0, 200_000)
TSNE = s.TsneProjection("tsne", 5.0, 50, 0, 200_000)


def compared(replicates: int = 3, **changes: Any) -> s.SignificanceSettings:
    """Settings of significance: few of everything."""
    given = {"embedding_replicates": 3, "half_samples": 3, "permutations": 0, "max_images": 2000, "seed": 0}
    given |= {"name": "default", "null_model": s.NullModel.gaussian} | changes
    return s.SignificanceSettings(replicates=replicates, **given)


def chosen(projection: Any = PCA, clusterer: Any = None, space: s.Space = s.Space.projection, **changes: Any) -> Any:
    """What all three stages are given; `changes` are of significance."""
    clusterer = clusterer or s.KmeansClustering("kmeans", space, 3, 2, 0)
    return settings(projection=projection, clustering=clusterer, significance=compared(**changes), seed=0)


def blobs(n: int = 90, d: int = 6, count: int = 3, apart: float = 8.0, seed: int = 0) -> np.ndarray:
    """(n, d) float32: `count` round clusters, one after the other row by row; apart=0: one cloud."""
    random = np.random.default_rng(seed)
    centres = apart * np.eye(max(count, d))[:count, :d]
    return (random.normal(size=(n, d)) + centres[np.arange(n) % count]).astype(np.float32)


def images(n: int, groups: Any = None) -> pd.DataFrame:
    """As much of the table of images as is looked at."""
    return pd.DataFrame({"group": pd.Series(groups or [None] * n, dtype=object)})


def replicated(folder: Path, vectors: np.ndarray, given: Any, groups: Any = None) -> dict[str, Any]:
    """The projection of the vectors, and what the stage `replicates` makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = isinstance(given.projection, s.NoProjection)
    projection = vectors if flat else replicates.projected(given.projection, vectors)
    made = replicates.run(given, Workspace(folder), images(len(vectors), groups), vectors, projection)
    return made | {"projection": projection}


def scored_range(places: np.ndarray, ks: range) -> pd.DataFrame:
    """As much of k_scores as is looked at."""
    rows = []
    for k in ks:
        found = kmeans(places, k, 2)
        value = silhouette(silhouette_samples(places, found.clusters, ("euclidean",))["euclidean"])
        rows.append({"k": k, "silhouette_projection": value, "inertia_projection": found.inertia})
    return pd.DataFrame(rows, columns=["k", "silhouette_projection", "inertia_projection"])


def supported(
    folder: Path, vectors: np.ndarray, given: Any, places: np.ndarray, ks: range, made: Any
) -> dict[str, Any]:
    """What the stage `k_support` makes of what `replicates` made."""
    return k_support.run(given, Workspace(folder), vectors, scored_range(places, ks), **made)


def significant(
    folder: Path, vectors: np.ndarray, given: Any, groups: Any = None, clusters: np.ndarray | None = None,
    ks: range = range(2, 6),
) -> dict[str, Any]:  # fmt: skip
    """What all three stages make of the vectors; clusters are found as the stage `clustering` does."""
    made = replicated(folder, vectors, given, groups)
    projection = made.pop("projection")
    places = vectors if given.clustering.space is s.Space.embedding else projection
    if clusters is None:
        kind = given.clustering
        clusters = clustering.CLUSTER[type(kind)](kind, places, getattr(kind, "k", None)).clusters
    of_k = supported(folder, vectors, given, places, ks, made)
    return made | of_k | significance.run(given, Workspace(folder), vectors, clusters, of_k["k_gate"], **made)
