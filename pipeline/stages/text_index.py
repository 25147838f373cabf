"""A Faiss index of the texts' vectors, beside its entries in the layout of clip-retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.stage import Stage, Workspace
from pipeline.stages.indexing import indexed, quality_metrics


def run(settings: Any, workspace: Workspace, texts: Any, text_embeddings: np.ndarray) -> dict[str, Any]:
    """`text_index` over `text_embeddings`, by inner product; `text_index_metadata`: a row for each vector, caption
    (the entry), category, kind; `text_index_quality`: one row (pipeline.stages.indexing)."""
    index, quality = indexed(settings.index, text_embeddings, workspace)
    metadata = texts.select(["text", "category", "kind"]).rename_columns(["caption", "category", "kind"])
    return {"text_index": index, "text_index_metadata": metadata.to_pandas(), "text_index_quality": quality}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Recall against exact search, milliseconds, bytes."""
    return quality_metrics(made["text_index_quality"])


STAGE = Stage(
    name="text_index",
    needs=("texts", "text_embeddings"),
    makes=("text_index", "text_index_metadata", "text_index_quality"),
    settings=("index",),
    run=run,
    metrics=metrics,
    packages=("faiss-cpu", "numpy"),
)
