"""The images nearest to texts, to images, or to a sum of both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.embed import EmbeddingFailed, embed
from inference.encoders import EncoderError
from inference.images import ReadingRules
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import RunError
from pipeline.schema import plain
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.indexing import found_in
from pipeline.stages.text_vectors import no_text_side, text_vectors

log = logging.getLogger(__name__)

SHOWN = 12  # queries that get a picture
PICTURED = 24  # images in it


@dataclass(frozen=True)
class Query:
    """words: what was asked, as it is shown; image: the file where it is one image alone; vector: (d,), length 1."""

    words: str
    image: str
    vector: np.ndarray


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    encoder: Any,
    text_encoder: Any,
    query_images: pd.DataFrame,
    image_index: Any,
) -> dict[str, Any]:
    """`hits`: for each query its k nearest images by cosine, best first; of equal ones the earlier."""
    search = settings.search
    texts = [*search.queries, *search.minus]
    spoken = text_vectors(texts, text_encoder, workspace, workspace.folder / "texts").vectors if texts else None
    seen = _image_vectors(settings, workspace, query_images["path"].tolist(), encoder) if len(query_images) else None
    queries = _queries(search, spoken, seen)
    k = min(search.k, len(images))
    if k < search.k:
        log.warning("search.k = %d: there are only %d images", search.k, k)
    asked = np.stack([query.vector for query in queries])
    rows, scores = found_in(image_index, asked, k, image_embeddings, settings.index.device, workspace.progress)
    found = zip(queries, rows, scores, strict=True)
    tables = [_hits(images, number, *of_query) for number, of_query in enumerate(found)]
    return {"hits": pd.concat(tables, ignore_index=True)}


def _image_vectors(settings: Any, workspace: Workspace, paths: list[str], encoder: Any) -> np.ndarray:
    """(n, d) of length 1. Raises RunError for an image that cannot be read."""
    if isinstance(encoder, Precomputed):
        raise RunError("search.images: encoder=precomputed has vectors, but no network for new images")
    from pipeline.metrics.blocks import unit_rows

    folder = workspace.folder / "images"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = embed(paths, encoder, folder, rules=ReadingRules(**plain(settings.images)), workers=0,
                     timeout=workspace.timeout, batch_size=workspace.batch_size)  # fmt: skip
    except EncoderError as error:
        raise RunError(f"{error.key}: {error.message}") from error
    except EmbeddingFailed as error:
        raise RunError(f"search.images: {error}") from error
    if made.unreadable:
        row, reason, detail = made.unreadable[0]
        raise RunError(f"search.images: {Path(paths[row]).name} cannot be read: {reason}: {detail}")
    return np.asarray(unit_rows(np.asarray(made.vectors)), np.float32)


def _queries(search: Any, spoken: np.ndarray | None, seen: np.ndarray | None) -> list[Query]:
    """Each text and each image by itself, or all of them as one direction."""
    texts = [] if spoken is None else [Query(words, "", v) for words, v in zip(search.queries, spoken, strict=False)]
    files = [] if seen is None else [Query(Path(p).name, p, v) for p, v in zip(search.images, seen, strict=True)]
    if not search.combine:
        return [*texts, *files]
    asked = [*files, *texts]
    minus = [] if spoken is None else list(spoken[len(search.queries) :])
    total = np.sum([query.vector for query in asked], axis=0, dtype=np.float64) - np.sum(minus, axis=0)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise RunError("search: the texts and images cancel each other out: no direction is left")
    words = " + ".join(query.words for query in asked) + "".join(f" - {text}" for text in search.minus)
    alone = asked[0].image if len(asked) == 1 and not search.minus else ""
    return [Query(words, alone, (total / length).astype(np.float32))]


def _hits(images: pd.DataFrame, number: int, query: Query, rows: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    of_images = images.iloc[rows][["id", "path", "label", "caption"]].reset_index(drop=True)
    asked = {"query": number, "query_text": query.words, "query_image": query.image}
    return pd.concat([pd.DataFrame({**asked, "rank": np.arange(1, len(rows) + 1), "score": scores}), of_images], axis=1)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """How many queries; the best score of each."""
    best = made["hits"].groupby("query")["score"].max()
    return {"queries": float(len(best)), **{f"best/{number}": float(score) for number, score in best.items()}}


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """For each query its nearest images."""
    from pipeline.plots.words import cosine_explained, hits

    figures = {"cosine": cosine_explained()}
    found = made["hits"]
    subtitle = f"by cosine, among {len(needs['images']):,} images"
    for number, of_query in found[found["query"] < SHOWN].groupby("query"):
        rows = of_query.head(PICTURED).to_dict("records")
        image = rows[0]["query_image"]
        figures[f"query_{number:02d}"] = hits(
            "" if image else rows[0]["query_text"],
            [drawing.thumbnail(image)] if image else [],
            [drawing.thumbnail(row["path"]) for row in rows],
            [f"{row['score']:.3f}\n{drawing.title(row)}" for row in rows],
            subtitle,
        )
    return figures


def refuse(facts: Facts, settings: Any) -> str | None:
    """Texts need an encoder that sees them."""
    return no_text_side(facts) if settings.search.queries or settings.search.minus else None


STAGE = Stage(
    name="search",
    needs=("images", "image_embeddings", "encoder", "text_encoder", "query_images"),
    makes=("hits",),
    uses=("image_index",),
    settings=("search", "images", "index"),
    keyed=lambda settings: {"search": settings.search, "images": settings.images},
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    packages=("numpy", "faiss-cpu", "torch", "transformers", "open_clip_torch"),
)
