"""Vectors to a Faiss index, chosen and measured: what the indexes of texts and of images share."""

from __future__ import annotations

from collections.abc import Callable
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
CHECKED = 200  # images that an index of texts is measured by
BLOCK = 8192  # queries searched for at a time
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


def suited(
    settings: IndexSettings, index: Any, queries: np.ndarray, k: int, vectors: np.ndarray
) -> tuple[Any, dict[str, Any]]:
    """The index as it serves these queries, and what was measured: kind, images, k, recall, probed, probed_before.

    It was tuned by queries like its entries, and images lie elsewhere than texts. So its recall of the k nearest is
    measured on CHECKED of the queries, against exact search; where that is below `index.recall`, it looks further,
    tuned by as many others, and is measured anew. For as few queries as that, exact search takes no longer: then the
    index is None, for `found_in`. Raises RunError for an index that is damaged or of other vectors.
    """
    try:
        indexes.check(index, *vectors.shape)
        told = {"kind": indexes.kind(index), "images": 0, "k": k, "recall": 1.0}
        told |= dict.fromkeys(("probed", "probed_before"), indexes.probed(index))
        if told["kind"] == "exact":
            return index, told
        if len(queries) <= CHECKED:
            return None, told | {"kind": "exact", "probed": 0}
        order = np.random.default_rng(settings.seed).permutation(len(queries))
        measured, others = (np.asarray(queries[np.sort(part)]) for part in (order[:CHECKED], order[CHECKED:][:CHECKED]))
        recall = indexes.recall_of(index, vectors, measured, k)
        if recall < settings.recall:
            indexes.look_further(index, vectors, others, k, settings.recall)
            recall = indexes.recall_of(index, vectors, measured, k)
    except ValueError as error:
        raise RunError(f"index: {error}") from error
    return index, told | {"images": CHECKED, "recall": recall, "probed": indexes.probed(index)}


def quality_metrics(quality: pd.DataFrame) -> dict[str, float]:
    """Recall against exact search (higher is better), milliseconds, bytes."""
    return {name: float(quality.iloc[0][name]) for name in MEASURED}


def found_in(
    index: Any,
    queries: np.ndarray,
    k: int,
    vectors: np.ndarray,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines (m, min(k, n)) of the nearest of n `vectors`, by an index over them or, where that is None,
    exactly, a block of queries at a time. device: where an exact index is searched. Raises RunError for an index that
    is damaged or of other vectors."""
    k, count = min(k, len(vectors)), len(queries)
    rows, cosines = np.empty((count, k), np.int64), np.empty((count, k))
    try:
        if index is not None:
            indexes.check(index, *vectors.shape)
            index = indexes.on_device(index, device)
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            some = np.asarray(queries[part])
            found = exact_search(vectors, some, k) if index is None else indexes.search(index, some, k, vectors)
            rows[part], cosines[part] = found
            progress(min(start + BLOCK, count), count)
    except ValueError as error:
        raise RunError(f"index: {error}") from error
    return rows, cosines
