"""Indexes in words, for the report and the console: which kind was chosen, why, and what was measured."""

from __future__ import annotations

from typing import Any

from pipeline.report.words import number, score
from pipeline.report.zero_shot import Tables

HEADS = ["of", "kind", "vectors", "bytes", "recall", "ms a query", "ms in a batch"]
_QUALITIES = {"texts": "text_index_quality", "images": "image_index_quality"}


def _found(run: Tables) -> list[tuple[str, dict[str, Any]]]:
    return [(what, run.table(name).iloc[0].to_dict()) for what, name in _QUALITIES.items() if run.has(name)]


def rows(run: Tables) -> list[list[str]]:
    """A row of cells (HEADS) for each index."""
    return [
        [
            what,
            str(row["kind"]),
            number(row["entries"]),
            size(row["bytes"]),
            f"{score(row['recall'])} at {number(row['k'])}",
            number(row["query_ms"], 2),
            number(row["batch_query_ms"], 3),
        ]
        for what, row in _found(run)
    ]


def reasons(run: Tables) -> list[str]:
    """Why each was chosen, a sentence each."""
    return [f"Index of {what}, {str(row['explanation']).rstrip('.')}." for what, row in _found(run)]


def of_tags(run: Tables) -> str:
    """How exact the search for tags was, in a sentence; '' where it was exact or nothing is known of it."""
    if not run.has("tag_recall"):
        return ""
    row = run.table("tag_recall").iloc[0]
    if row["kind"] == "exact":
        return ""
    k, images, now, before = (number(row[name]) for name in ("k", "images", "probed", "probed_before"))
    nearest = "nearest entry" if k == "1" else f"{k} nearest entries"
    said = f"Recall of the index for the {nearest} of {images} images, against exact search: {score(row['recall'])}"
    if now == before:
        return f"{said}."
    return f"{said}; it looks into {now} of its parts for them, {before} were enough for queries like its entries."


def size(count: float) -> str:
    """Bytes as people say them.

    >>> size(2048), size(3.2e9)
    ('2 kB', '3.2 GB')
    """
    for ending, unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= unit:
            return f"{number(round(count / unit, 1), 1)} {ending}"
    return f"{number(count)} B"
