"""A Faiss index of the images' vectors, for searches of large data sets and for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.stage import Stage, Workspace
from pipeline.stages.indexing import indexed, quality_metrics


def run(settings: Any, workspace: Workspace, image_embeddings: np.ndarray) -> dict[str, Any]:
    """`image_index` over unit vectors, by inner product; `image_index_quality`: one row (pipeline.stages.indexing)."""
    index, quality = indexed(settings.index, image_embeddings, workspace)
    return {"image_index": index, "image_index_quality": quality}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Recall against exact search, milliseconds, bytes."""
    return quality_metrics(made["image_index_quality"])


STAGE = Stage(
    name="image_index",
    needs=("image_embeddings",),
    makes=("image_index", "image_index_quality"),
    settings=("index",),
    run=run,
    metrics=metrics,
    packages=("faiss-cpu", "numpy"),
)
