"""Runs as a comparison sees them, made up in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.entries import Entry, of_sweep
from pipeline.report.privacy import Privacy

HALVES = np.array([[True, False] * 6, [False, True] * 6, [True] * 6 + [False] * 6, [False] * 6 + [True] * 6])


class MadeRun:
    """Has what `pipeline.comparison` asks of a `pipeline.run_dir.Run`."""

    def __init__(self, folder: Path, record: dict[str, Any], metrics: dict[str, float], made: dict[str, Any]) -> None:
        self.folder, self.record, self.metrics, self.made = folder, record, metrics, made
        self.name = "/".join(folder.parts[-2:])

    def has(self, name: str) -> bool:
        return name in self.made

    def table(self, name: str) -> Any:
        return self.made[name]

    __getitem__ = table


def run(
    number: int, words: tuple[str, ...] = (), *, encoder: str = "none", k: int = 3, ari: float = 0.5,
    silhouette: float = 0.3, cloud: float = 0.1, halves: tuple[float, ...] = (0.0, 0.1, -0.1, 0.05),
    ids: tuple[str, ...] = tuple("abcdefghijkl"), contents: bool = True, labels: str = "xyxyxyxyxyxy",
    projection: str | None = "key of the projection", rows: np.ndarray | None = None, half_rows: np.ndarray = HALVES,
    status: str = "complete", **more: Any,
) -> MadeRun:  # fmt: skip
    """A run of twelve images whose halves differ from the whole by `halves`; `cloud`: the clouds' mean silhouette.
    more: artifacts beside these, None for one that is not there; metrics: scores beside these."""
    metrics = {
        "clustering/k": float(k), "images/read": float(len(ids)), "cluster_metrics/labels/ari": ari,
        "cluster_metrics/labels/ami": ari, "cluster_metrics/labels/nmi": ari,
        "cluster_metrics/embedding/silhouette_cosine": silhouette, "cluster_metrics/projection/silhouette": silhouette,
    } | more.pop("metrics", {})  # fmt: skip
    record = {
        "status": status, "reason": "out of memory" if status == "failed" else None, "seconds": 1.0,
        "config": {"dataset": {"name": "made"}, "encoder": {"name": encoder}, "projection": {"name": "pca"},
                   "clustering": {"name": "kmeans", "k": k, "seed": 0},
                   "significance": {"name": "default", "null_model": "gaussian", "replicates": 5, "half_samples": 4,
                                    "max_images": 2000, "seed": 0}},
        "dataset": {"name": "made"}, "images": {"read": len(ids), "classes": 2},
        "encoder": {"name": encoder, "model": f"{encoder} of 2026", "dimension": 8, "fingerprint": encoder},
        "stages": [{"name": "projection", "key": projection and f"{encoder} {projection}"},
                   {"name": "clustering", "key": f"clusters of {number}"}],
        "git": {"commit": "a" * 40}, "versions": {"numpy": "2.4.6"},
        "sweep": {"job": number, "overrides": list(words)}, "command": "python run.py",
    } | more.pop("record", {})  # fmt: skip
    nulls = [
        {"space": space, "clusters_of": "projection", "name": name, "observed": silhouette, "null_mean": cloud,
         "null_sd": 0.02, "null_low": cloud - 0.03, "null_high": cloud + 0.03, "replicates": 5,
         "excess": silhouette - cloud}
        for space, name in (("projection", "silhouette"), ("embedding", "silhouette_cosine"))
    ]  # fmt: skip
    half_scores = [
        {"half": i, "space": row["space"], "clusters_of": "projection", "name": row["name"], "value": silhouette + of}
        for i, of in enumerate(halves)
        for row in nulls
    ]
    images = pd.DataFrame({
        "id": list(ids), "content_hash": [f"{ord(name):064x}" if contents else "no image named: ..." for name in ids],
        "label": list(labels)[: len(ids)], "caption": None, "group": None,
    })  # fmt: skip
    made: dict[str, Any] = {
        "images": images,
        "projection": np.zeros((len(ids), 2)),
        "replicate_rows": np.arange(len(ids)) if rows is None else rows,
        "half_rows": half_rows,
        "null_scores": pd.DataFrame(nulls),
        "half_scores": pd.DataFrame(half_scores),
        "half_label_scores": pd.DataFrame(
            [{"half": i, "name": n, "value": ari + of} for i, of in enumerate(halves) for n in ("ari", "ami", "nmi")]
        ),
        "verdict": pd.DataFrame([{"verdict": "weak", "excess": silhouette - cloud, "p": 0.04, "gap": 0.8,
                                  "score": "silhouette_cosine", "images": len(ids), "of": len(ids)}]),
    } | more  # fmt: skip
    kept = {name: value for name, value in made.items() if value is not None}
    return MadeRun(Path(f"/made/sweep/{number}"), record, metrics, kept)


def entries(*runs: MadeRun, hide: tuple[str, ...] = ()) -> list[Entry]:
    """As the jobs of a sweep."""
    return of_sweep(list(runs), Privacy(hide))  # type: ignore[arg-type]
