"""Captions found by their images and images by their captions: how often the right one is among the nearest."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.metrics import retrieval as metric
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.groups import group_numbers
from pipeline.stages.text_vectors import no_text_side, text_vectors

log = logging.getLogger(__name__)

WAYS = ("image_to_text", "text_to_image")


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, text_encoder: Any
) -> dict[str, Any]:
    """`retrieval_scores`: a row for each way and way of judging (shared: equal captions of other images are right,
    too; strict). `retrieval_ranks`: a row an image with a caption: the ranks of both ways, from 1."""
    captions = images["caption"].fillna("").str.strip()
    rows = np.flatnonzero((captions != "").to_numpy())
    if len(rows) < len(images):
        log.warning("retrieval: %d of %d images have no caption", len(images) - len(rows), len(images))
    text_of, texts = pd.factorize(captions.iloc[rows])
    found = text_vectors(list(texts), text_encoder, workspace, workspace.folder / "captions")
    if len(texts) < len(rows):
        log.warning(
            "retrieval: %d images share their caption with others", int(pd.Series(text_of).duplicated(keep=False).sum())
        )
    queries, by_image = metric.image_ranks(image_embeddings, found.vectors, rows, text_of)
    by_text = metric.caption_ranks(image_embeddings, found.vectors, rows, text_of)
    groups = group_numbers(images["group"])
    of_rows = rows if groups is None else groups[rows]
    seed, times = settings.retrieval.seed, settings.retrieval.resamples
    table = [
        _row(way, judged, ranks, of_rows, times, (seed, number))
        for number, (way, ranks, judged) in enumerate(
            (way, ranks, judged)
            for way, ranks in zip(WAYS, (by_image, by_text), strict=True)
            for judged in ("shared", "strict")
        )
    ]
    ranks = pd.DataFrame({
        "id": images["id"].iloc[queries].to_numpy(), "caption_rank": by_image.shared, "image_rank": by_text.shared,
        "right_captions": by_image.right_shared, "right_images": by_text.right_shared,
    })  # fmt: skip
    return {"retrieval_scores": pd.DataFrame(table), "retrieval_ranks": ranks}


def _row(
    way: str, judged: str, ranks: metric.Ranks, groups: np.ndarray, times: int, seed: tuple[int, int]
) -> dict[str, Any]:
    candidates = getattr(ranks, f"candidates_{judged}")
    found = metric.recall(getattr(ranks, judged), getattr(ranks, f"right_{judged}"), candidates, groups, times, seed)
    row: dict[str, Any] = {"way": way, "judged": judged, "queries": found.queries, "candidates": found.candidates}
    for i, k in enumerate(found.at):
        row |= {
            f"recall_at_{k}": found.recall[i],
            f"recall_at_{k}_low": found.interval.low[i],
            f"recall_at_{k}_high": found.interval.high[i],
            f"chance_at_{k}": found.chance[i],
        }
    low, high = found.median_interval.low, found.median_interval.high
    return row | {"median_rank": found.median, "median_low": low, "median_high": high, "mean_rank": found.mean}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Recall and ranks of both ways, equal captions counted as right."""
    numbers: dict[str, float] = {}
    for row in made["retrieval_scores"].to_dict("records"):
        if row["judged"] == "shared":
            numbers |= {f"{row['way']}/{name}": row[name] for name in row if name not in ("way", "judged")}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Recall over k, both ways, beside a random order."""
    from pipeline.plots.words import recall_curves

    scores, ranks = made["retrieval_scores"], made["retrieval_ranks"]
    shared = scores[scores["judged"] == "shared"].set_index("way")
    columns = (("caption_rank", "right_captions"), ("image_rank", "right_images"))
    curves, marks = [], []
    for way, (rank, right) in zip(WAYS, columns, strict=True):
        row = shared.loc[way]
        found = metric.curve(ranks[rank].to_numpy(), ranks[right].to_numpy(), int(row["candidates"]))
        curves.append((way.replace("_", " "), *found))
        value, low, high = (
            np.array([row[f"recall_at_{k}{part}"] for k in metric.AT], np.float64) for part in ("", "_low", "_high")
        )
        marks.append((np.array(metric.AT), value, low, high))
    return {"recall": recall_curves(curves, marks)}


def refuse(facts: Facts, settings: Any) -> str | None:
    """Captions, several images, and an encoder that sees texts."""
    if not facts.captioned:
        return "the data set has no captions"
    alone = None if facts.images > 1 else "one image cannot be told from others"
    return no_text_side(facts) or facts.no_caption or alone


STAGE = Stage(
    name="retrieval",
    needs=("images", "image_embeddings", "text_encoder"),
    makes=("retrieval_scores", "retrieval_ranks"),
    settings=("retrieval",),
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    concerns=lambda facts: facts.captioned and facts.text_side,
    packages=("numpy", "torch", "transformers", "open_clip_torch"),
)
