"""Vectors to a Faiss index, chosen and measured: what the indexes of texts and of images share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.geometry import indexes
from pipeline.geometry.cosine_search import exact_search
from pipeline.geometry.index_choice import choose
from pipeline.schema import IndexSettings, size_in_bytes
from pipeline.stage import Workspace

QUERIES = 500  # that an index is measured by
MEASURED = ("recall", "query_ms", "batch_query_ms", "bytes")


def indexed(settings: IndexSettings, vectors: np.ndarray, workspace: Workspace) -> tuple[Any, pd.DataFrame]:
    """The index and one row: kind, entries, dimension, bytes, k, queries, recall (share of the true k nearest of
    queries that are no entries and that nothing was tuned by), query_ms and batch_query_ms (alone and together, on this
    machine), probed, explanation. Raises RunError where nothing fits."""
    n, d = vectors.shape
    try:
        choice = choose(n, d, size_in_bytes(settings.memory), settings.query_ms, settings.recall, settings.device)
    except ValueError as error:
        raise RunError(f"index.memory = {settings.memory}: {error}") from error
    try:
        indexes.check_device(settings.device)
        index = indexes.build(vectors, choice, settings.seed, k=settings.k, progress=workspace.progress)
        queries = indexes.perturbed(vectors, QUERIES, settings.seed + 1)
        searched = indexes.on_device(index, settings.device)
        found = indexes.measure(searched, vectors, queries, settings.k)
    except ValueError as error:
        raise RunError(f"index: {error}") from error
    row = {"kind": found.kind, "entries": n, "dimension": d, "bytes": found.bytes, "k": found.k}
    row |= {"queries": found.queries, "recall": found.recall, "query_ms": found.query_ms}
    row |= {"batch_query_ms": found.batch_query_ms, "probed": found.probed, "device": settings.device}
    return index, pd.DataFrame([{**row, "explanation": choice.explanation}])


def quality_metrics(quality: pd.DataFrame) -> dict[str, float]:
    """Recall against exact search (higher is better), milliseconds, bytes."""
    return {name: float(quality.iloc[0][name]) for name in MEASURED}


def found_in(
    index: Any, queries: np.ndarray, k: int, vectors: np.ndarray, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines (m, k) of the nearest `vectors`, by an index over them or, where that is None, exactly. Raises
    RunError for an index that is damaged or of other vectors."""
    try:
        if index is None:
            return exact_search(vectors, queries, k)
        indexes.check(index, *vectors.shape)
        return indexes.search(indexes.on_device(index, device), queries, k, vectors)
    except ValueError as error:
        raise RunError(f"index: {error}") from error
