"""How good the clusters are, in both spaces and, where there are labels, against them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.schema import NoProjection
from pipeline.stage import Drawing, Stage, Workspace

log = logging.getLogger(__name__)


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    projection: np.ndarray,
    clusters: np.ndarray,
) -> dict[str, Any]:
    """Scores by space, per cluster and per image; with labels their agreement and the label-by-cluster table."""
    from pipeline.metrics.clustering import defined

    if why := defined(clusters):
        log.warning("silhouette, Calinski-Harabasz and Davies-Bouldin are not defined: %s", why)
    embedding, samples = scores_in(image_embeddings, clusters, "embedding")
    if isinstance(settings.projection, NoProjection):  # the same vectors: the same numbers
        projected, in_projection = {**embedding}, samples["euclidean"]
        projected["silhouette"] = projected.pop("silhouette_euclidean")
        projected.pop("silhouette_cosine")
    else:
        projected, of_projection = scores_in(projection, clusters, "projection")
        projected["silhouette"] = projected.pop("silhouette_euclidean")
        in_projection = of_projection["euclidean"]
    scores = {"projection": projected, "embedding": embedding}
    label_table, agreement = _against_labels(images, clusters)
    if agreement:
        scores["labels"] = agreement
    per_image = pd.DataFrame({"silhouette_embedding": samples["cosine"], "silhouette_projection": in_projection})
    return {
        "cluster_scores": _table(scores),
        "cluster_table": _per_cluster(images, clusters, per_image),
        "label_table": label_table,
        "image_silhouettes": per_image,
    }


def scores_in(vectors: np.ndarray, clusters: np.ndarray, space: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Scores of the clusters in one space, and each image's silhouette there; none where all vectors are the same."""
    from pipeline.metrics.clustering import calinski_harabasz, davies_bouldin, silhouette, silhouette_samples
    from pipeline.metrics.k_selection import distinct_rows

    if distinct_rows(vectors, most=2) < 2:
        if (clusters > 0).any():
            log.warning("all vectors are the same in the %s: clusters have no scores there", space)
        clusters = np.full_like(clusters, -1)
    samples = silhouette_samples(vectors, clusters, ("euclidean", "cosine") if space == "embedding" else ("euclidean",))
    scores = {f"silhouette_{metric}": silhouette(samples[metric]) for metric in sorted(samples)}
    scores["calinski_harabasz"] = calinski_harabasz(vectors, clusters)
    scores["davies_bouldin"] = davies_bouldin(vectors, clusters)
    return scores, samples


def _against_labels(images: pd.DataFrame, clusters: np.ndarray) -> tuple[pd.DataFrame, dict[str, float]]:
    from pipeline.metrics.comparison import agreement, contingency

    labelled = images["label"].notna().to_numpy()
    if not labelled.any():
        return pd.DataFrame({"label": pd.Series([], dtype=str)}), {}
    names, codes = np.unique(images["label"][labelled].to_numpy(dtype=str), return_inverse=True)
    known = clusters[labelled]
    counts, rows, columns = contingency(codes, known)
    table = pd.DataFrame(counts, columns=[str(cluster) for cluster in columns])
    table.insert(0, "label", names[rows])
    return table, agreement(codes, known)


def _table(scores: dict[str, dict[str, float]]) -> pd.DataFrame:
    rows = [
        {"space": space, "name": name, "value": value} for space, of in scores.items() for name, value in of.items()
    ]
    return pd.DataFrame(rows)


def _per_cluster(images: pd.DataFrame, clusters: np.ndarray, samples: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for cluster in np.unique(clusters):
        members = clusters == cluster
        labels = images["label"][members].dropna().value_counts()
        rows.append(
            {
                "cluster": int(cluster),
                "size": int(members.sum()),
                "silhouette_embedding": samples["silhouette_embedding"][members].mean(),
                "silhouette_projection": samples["silhouette_projection"][members].mean(),
                "majority_label": None if labels.empty else str(labels.index[0]),
                "majority_share": math.nan if labels.empty else labels.iloc[0] / members.sum(),
            }
        )
    return pd.DataFrame(rows)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<space>/<name>; what is not defined is left out."""
    rows = made["cluster_scores"].itertuples(index=False)
    return {f"{row.space}/{row.name}": row.value for row in rows if not math.isnan(row.value)}


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Silhouette blades in both spaces; labels by clusters."""
    from pipeline.plots.scores import label_table, silhouette_blades

    samples, clusters = made["image_silhouettes"], needs["clusters"]
    figures = {}
    for space, title in (("embedding", "cosine, in the embedding space"), ("projection", "in the projection")):
        values = samples[f"silhouette_{space}"].to_numpy(dtype=float)
        if not np.isnan(values).all():
            figures[f"silhouettes_{space}"] = silhouette_blades(values, clusters, f"silhouettes, {title}")
    table = made["label_table"]
    if len(table):
        counts = table.drop(columns="label").to_numpy()
        figures["label_table"] = label_table(counts, table["label"].tolist(), list(table.columns[1:]))
    return figures


STAGE = Stage(
    name="cluster_metrics",
    version=3,
    needs=("images", "image_embeddings", "projection", "clusters"),
    makes=("cluster_scores", "cluster_table", "label_table", "image_silhouettes"),
    settings=("projection",),
    run=run,
    metrics=metrics,
    draw=draw,
    packages=("numpy", "scipy", "scikit-learn"),
)
