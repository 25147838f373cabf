"""The clusters one by one."""

from __future__ import annotations

from typing import Any

from pipeline.report import naming
from pipeline.report.parts import (
    MOST_CLUSTERS,
    Column,
    RunFolder,
    Section,
    Table,
    filled,
    link_to,
    share,
    table_of,
    text,
)
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.trust import sampled
from pipeline.report.words import number, score


def _cluster_name(value: Any) -> str:
    return "noise" if value == -1 else number(value)


CLUSTER_COLUMNS: list[Column] = [
    ("cluster", "cluster", _cluster_name),
    ("size", "images", number),
    ("silhouette_projection", "silhouette, projection (Euclidean)", score),
    ("silhouette_embedding", "silhouette, embedding (cosine)", score),
    ("majority_label", "most frequent label", text),
    ("majority_share", "its share", share),
]


SUPPORT_COLUMNS: list[Column] = [
    ("gap", "gap to the nearest (1: none)", score),
    ("gap_sd", "± sd of the gap", score),
    ("jaccard", "found again in halves (1: whole)", score),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there are clusters."""
    pictures = pictures_of(run, privacy, "clusters")
    return filled("clusters", "Clusters", table=_cluster_table(run, privacy), pictures=pictures)


def _cluster_table(run: RunFolder, privacy: Privacy) -> Table | None:
    """A row per cluster, with its names, and its gap and stability where these were measured on all images."""
    if not run.has("cluster_table") or not len(frame := run.table("cluster_table")):
        return None
    support = run.table("cluster_support") if run.has("cluster_support") and not sampled(run) else None
    if support is not None:
        frame = frame.merge(support[["cluster", "gap", "gap_sd", "jaccard"]], on="cluster", how="left")
    if names := naming.of_clusters(run, privacy.entry):
        frame = frame.assign(names=[names.get(cluster, "") for cluster in frame["cluster"]])
    first, *scores = CLUSTER_COLUMNS
    columns = [first, ("names", "names", text), *scores[:3], *SUPPORT_COLUMNS, *scores[3:]]
    return table_of(frame, columns, MOST_CLUSTERS, link_to(run, "cluster_table"), "clusters")
