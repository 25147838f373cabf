"""A run folder as the report sees it, made up in memory."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pandas as pd

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
STAGES = ("listing", "encoder", "embedding", "class_distances", "projection", "clustering", "cluster_metrics")


def record(**changes: Any) -> dict[str, Any]:
    """A complete run's record; `changes` replace whole sections."""
    made: dict[str, Any] = {
        "format": 1,
        "status": "complete",
        "reason": None,
        "started": "2026-11-21T02:15:01Z",
        "finished": "2026-11-21T02:15:13Z",
        "seconds": 12.3,
        "command": "python run.py clustering.k=10",
        "config": {
            "dataset": {"name": "digits", "source": "folders", "root": None, "pairs": [], "group": None,
                        "limit": None, "sample_seed": 0},
            "encoder": {"name": "none", "size": 8, "color": "gray", "normalize": False},
            "projection": {"name": "umap", "n_components": 5, "n_neighbors": 15, "min_dist": 0.1, "seed": 0},
            "clustering": {"name": "kmeans", "k": 10, "n_init": 10, "seed": 0},
            "report": {"hide": []},
            "seed": 0,
            "paths": {"outputs": "outputs", "cache": ".cache"},
        },
        "stages": [
            {"name": name, "status": "done", "cache": "miss", "seconds": 1.5, "computed_seconds": 1.5,
             "peak_memory_mb": 210.0, "key": "0123456789abcdef", "reason": None, "warnings": []}
            for name in STAGES
        ],
        "left_out": [{"stage": "zero_shot", "reason": "the encoder has no text tower"}],
        "images": {"listed": 1797, "read": 1795, "skipped": 2, "classes": 10, "labelled": True,
                   "captioned": False},
        "skipped_reasons": {"truncated": 2},
        "dataset": {"name": "digits", "fingerprint": "d" * 64},
        "encoder": {"name": "none", "model": "raw pixels", "dimension": 64, "fingerprint": "e" * 64,
                    "preprocessing": "Greyscale, 8x8, flattened to 0..255.", "normalized": False,
                    "precision": "exact (uint8)", "dtype": "uint8"},
        "seeds": {"seed": 0, "projection.seed": 0},
        "warnings": [],
        "git": {"commit": "a" * 40, "dirty": True},
        "versions": {"numpy": "2.4.6"},
        "machine": {"platform": "Linux", "python": "3.11.9", "cpu": "x86", "cores": 2, "memory_gb": 8.0},
        "process": {"pid": 1, "host": "somewhere"},
        "sweep": None,
    }  # fmt: skip
    return made | changes


METRICS = {
    "cluster_metrics/projection/silhouette": 0.7213,
    "cluster_metrics/projection/davies_bouldin": 0.41,
    "cluster_metrics/projection/calinski_harabasz": 12345.6,
    "cluster_metrics/embedding/silhouette_cosine": 0.2511,
    "cluster_metrics/embedding/silhouette_euclidean": 0.1811,
    "cluster_metrics/embedding/calinski_harabasz": 160.2,
    "cluster_metrics/embedding/davies_bouldin": 1.92,
    "cluster_metrics/labels/ari": 0.8123,
    "cluster_metrics/labels/ami": 0.8623,
    "cluster_metrics/labels/nmi": 0.8633,
    "cluster_metrics/labels/accuracy": 0.8933,
    "cluster_metrics/labels/purity": 0.8943,
    "projection/quality/trustworthiness": 0.98,
    "projection/quality/continuity": 0.97,
    "projection/quality/neighbours_kept": 0.61,
    "class_distances/within/all/mean": 0.88,
    "class_distances/within/all/sd": 0.06,
    "class_distances/within/all/min": 0.41,
    "class_distances/within/all/max": 1.0,
    "class_distances/between/all/mean": 0.66,
    "class_distances/between/all/sd": 0.1,
    "class_distances/between/all/min": 0.2,
    "class_distances/between/all/max": 0.97,
    "clustering/k": 10.0,
    "clustering/inertia": 123.4,
}


class FakeRun:
    """Has what `pipeline.report.parts.RunFolder` asks for."""

    name = "2026-11-21/02-15-01-123456"

    def __init__(
        self,
        folder: Path = Path("nowhere"),
        record_: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        frames: dict[str, pd.DataFrame] | None = None,
        pictures: list[tuple[str, str, Path]] | None = None,
        skipped: pd.DataFrame | None = None,
    ) -> None:
        self.folder = folder
        self.record = record() if record_ is None else record_
        self.metrics = METRICS if metrics is None else metrics
        self._frames = frames or {}
        self.tables = {name: folder / "stage" / f"{name}.csv" for name in self._frames}
        self.pictures = pictures or []
        self.skipped = pd.DataFrame(columns=["path", "reason", "detail"]) if skipped is None else skipped

    def has(self, name: str) -> bool:
        return name in self._frames

    def table(self, name: str) -> pd.DataFrame:
        return self._frames[name]


def class_summary(names: list[str]) -> pd.DataFrame:
    columns = ("radius_max", "radius_mean", "radius_p95", "within_mean", "within_sd", "within_min",
               "within_max", "center_norm")  # fmt: skip
    return pd.DataFrame(
        [{"class": name, "count": 180} | dict.fromkeys(columns, 0.5 + 0.01 * row) for row, name in enumerate(names)]
    )


def class_pairs(names: list[str]) -> pd.DataFrame:
    columns = ("between_mean", "between_sd", "between_min", "between_max", "center_cosine", "center_distance")
    return pd.DataFrame(
        [
            {"class_a": a, "class_b": b} | dict.fromkeys(columns, 0.25)
            for place, a in enumerate(names)
            for b in names[place + 1 :]
        ]
    )


def cluster_table(count: int, label: str = "seven") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"cluster": cluster, "size": 200 - cluster, "silhouette_embedding": 0.2,
             "silhouette_projection": 0.7, "majority_label": label, "majority_share": 0.98}
            for cluster in range(count)
        ]
    )  # fmt: skip
