"""The catalogue of measures: complete, consistent, light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.metrics.catalog import METRICS, MetricInfo
from pipeline.metrics.comparison import agreement
from pipeline.metrics.faithfulness import projection_quality


def test_every_reported_score_is_explained() -> None:
    scores = {*agreement(np.array([0, 0]), np.array([0, 0])), *projection_quality(np.eye(5), np.eye(5))}
    scores -= {"neighbours", "anchors"}  # settings, not scores
    scores |= {
        "silhouette",
        "silhouette_cosine",
        "silhouette_euclidean",
        "calinski_harabasz",
        "davies_bouldin",
        "inertia",
        "noise_share",
        "knee",
        *("gap", "auc", "d_prime", "overlap", "mean_length"),  # of class distances
        *("knn_accuracy", "probe_accuracy", "majority_share"),  # of labels against structure
        *("excess", "valley", "jaccard", "clustered_share"),  # against clouds without clusters
        "precision_at_5",  # of each of several labels
        *("top1", "top5", "macro", "ece", "adaptive_ece"),  # of zero-shot classes
        *("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank"),  # of retrieval
    }
    assert scores == set(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_an_entry_is_whole(metric: MetricInfo) -> None:
    assert METRICS[metric.name] is metric
    assert metric.low < metric.high
    assert metric.meaning.endswith(".")
    assert metric.source.endswith(".")
    assert metric.label


def test_importing_it_is_light() -> None:
    code = "import sys, pipeline.metrics.catalog; sys.exit('numpy' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
