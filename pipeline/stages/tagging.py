"""The nearest entries of a text index for each image, and which of their files describe which group."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.metrics import categories as by_category
from pipeline.metrics import hubness as hubs
from pipeline.metrics.blocks import row_lengths
from pipeline.schema import HubCorrection
from pipeline.stage import Drawing, Stage, Workspace
from pipeline.stages.indexing import found_in, suited
from pipeline.stages.sidecars import write_sidecars
from pipeline.stages.word_groups import groups_of

log = logging.getLogger(__name__)

CANDIDATES = 100  # nearest entries of an image, among which corrected cosines choose
SHEET = 24  # images shown with their tags


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    texts: Any,
    text_embeddings: np.ndarray,
    text_index: Any,
    clusters: np.ndarray | None,
) -> dict[str, Any]:
    """`tags`: id, rank, text, category, score (cosine; with csls also corrected), the best first. `tag_counts`: how
    many images have each. `hubness`: of the plain and the corrected tags. `tag_categories`: for each cluster and
    class and each category of entries its share of the tags, and how many times what all images have (log2); None
    for one category. `tag_recall`: one row, how many of the true nearest the search found (indexing.suited)."""
    if len(text_embeddings) == 0:
        raise RunError("tagging: the index has no entry")
    k = min(settings.tagging.k, len(text_embeddings))
    if k < settings.tagging.k:
        log.warning("tagging.k = %d: the index has only %d entries", settings.tagging.k, k)
    csls = settings.tagging.hub_correction is HubCorrection.csls
    wanted = min(max(k, CANDIDATES), len(text_embeddings)) if csls else k
    if not (row_lengths(image_embeddings) > 0).all():
        raise RunError("tagging: an image has an all-zero vector, which is near to nothing")
    index, told = suited(settings.index, text_index, image_embeddings, wanted, text_embeddings)
    if len(texts) != len(text_embeddings):
        raise RunError(
            f"tagging.index: damaged: {len(text_embeddings):,} vectors, but {len(texts):,} texts: build it anew"
        )
    device = settings.index.device
    rows, cosines = found_in(index, image_embeddings, wanted, text_embeddings, device, workspace.progress)
    measured = [("cosine", hubs.hubness(rows[:, :k], len(text_embeddings)))]
    corrected = None
    if csls:
        rows, corrected, cosines = _corrected(rows, cosines, image_embeddings, text_embeddings, k)
        measured.append(("csls", hubs.hubness(rows, len(text_embeddings))))
    if settings.tagging.min_score is not None:
        rows = np.where(cosines >= settings.tagging.min_score, rows, -1)
    return {
        "tags": _tags(images, rows, cosines, corrected, texts),
        "tag_counts": _counts(rows, len(images), texts),
        "hubness": _hubness(measured, texts),
        "tag_categories": _categories(images, clusters, rows, texts),
        "tag_recall": pd.DataFrame([told]),
    }


def _corrected(
    rows: np.ndarray, cosines: np.ndarray, images: np.ndarray, entries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    used = np.unique(rows)
    of_entries = np.zeros(len(entries))
    of_entries[used] = hubs.surroundings(entries[used], images)
    of_images = cosines[:, : hubs.NEAREST].mean(axis=1)
    return hubs.corrected(rows, cosines, of_images, of_entries, k)


def _tags(
    images: pd.DataFrame, rows: np.ndarray, cosines: np.ndarray, corrected: np.ndarray | None, texts: Any
) -> pd.DataFrame:
    image, place = np.nonzero(rows >= 0)
    entries = rows[image, place]
    columns = {"id": images["id"].to_numpy()[image], "rank": place + 1, "text": _of(texts, "text", entries)}
    columns |= {"category": _of(texts, "category", entries), "score": cosines[image, place]}
    if corrected is not None:
        columns["corrected"] = corrected[image, place]
    return pd.DataFrame(columns)


def _of(texts: Any, column: str, rows: np.ndarray) -> list[str]:
    return list(texts[column].take(rows).to_pylist())


def _counts(rows: np.ndarray, images: int, texts: Any) -> pd.DataFrame:
    """Entries that are a tag, the most frequent first."""
    entries, counts = np.unique(rows[rows >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    entries, counts = entries[order], counts[order]
    columns = {"text": _of(texts, "text", entries), "category": _of(texts, "category", entries), "images": counts}
    return pd.DataFrame({**columns, "share": counts / max(1, images)})


def _hubness(measured: list[tuple[str, hubs.Hubness]], texts: Any) -> pd.DataFrame:
    rows = []
    for way, found in measured:
        top = _of(texts, "text", np.array([found.top]))[0] if found.top >= 0 else ""
        rows.append((way, found.skewness, top, found.top_share, found.unused))
    return pd.DataFrame(rows, columns=["way", "skewness", "top_text", "top_share", "unused"])


def _categories(images: pd.DataFrame, clusters: np.ndarray | None, rows: np.ndarray, texts: Any) -> pd.DataFrame | None:
    codes, names = pd.factorize(pd.Series(texts["category"].to_pylist(), dtype="str"), sort=True)
    if len(names) < 2:
        return None
    parts = []
    for groups in groups_of(images, clusters):
        found = by_category.lift(rows, codes, len(names), groups.codes, len(groups.names))
        parts += [
            (groups.kind, group, name, found.counts[g, c], found.shares[g, c], found.expected[g, c], found.lift[g, c])
            for g, group in enumerate(groups.names)
            for c, name in enumerate(names)
        ]
    columns = ["kind", "group", "category", "tags", "share", "expected", "lift"]
    return pd.DataFrame(parts, columns=columns) if parts else None


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Mean cosine of the best tag; hubness, plain and corrected; recall of the search."""
    tags = made["tags"]
    numbers = {"tagged": float(tags["id"].nunique()), "best_score": float(tags.loc[tags["rank"] == 1, "score"].mean())}
    numbers["recall"] = float(made["tag_recall"]["recall"].iloc[0])
    for row in made["hubness"].to_dict("records"):
        numbers |= {f"hubness/{row['way']}/{name}": row[name] for name in ("skewness", "top_share", "unused")}
    return numbers


def deliver(settings: Any, values: Mapping[str, Any]) -> list[str]:
    """Sidecars beside the images, if asked for."""
    if not settings.tagging.sidecars:
        return []
    of_images = values["tags"].groupby("id", sort=False)["text"].agg(list)
    images = values["images"]
    tags = {path: of_images.get(name, []) for name, path in zip(images["id"], images["path"], strict=True)}
    return write_sidecars(tags, settings.tagging.overwrite)


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Some images with their tags; which categories describe which group."""
    from pipeline.plots.words import picture_grid

    figures, images = {}, needs["images"]
    if images["path"].any():
        chosen = np.sort(np.random.default_rng(drawing.seed).permutation(len(images))[:SHEET])
        some = images.iloc[chosen]
        tags = made["tags"][made["tags"]["id"].isin(set(some["id"]))]
        lines = {name: _lines(of_image) for name, of_image in tags.groupby("id")}
        rows = some.to_dict("records")
        figures["tags"] = picture_grid(
            [drawing.thumbnail(row["path"]) for row in rows],
            [lines.get(row["id"], "no tag") for row in rows],
            "some images and their tags",
            subtitle="the nearest entries with their cosines",
        )
    if (found := made.get("tag_categories")) is not None:
        figures |= _category_figures(found)
    return figures


def _lines(tags: pd.DataFrame) -> str:
    return "\n".join(f"{text} {score:.2f}" for text, score in zip(tags["text"], tags["score"], strict=True))


def _category_figures(found: pd.DataFrame) -> dict[str, Any]:
    from pipeline.plots.heat_maps import category_lift

    figures = {}
    for kind, of_kind in found.groupby("kind"):
        matrix = of_kind.pivot(index="group", columns="category", values="lift")
        matrix = matrix.reindex(index=of_kind["group"].unique(), columns=of_kind["category"].unique())
        figures[f"categories_by_{kind}"] = category_lift(
            matrix.to_numpy(),
            list(matrix.index),
            list(matrix.columns),
            f"rows: each {kind}; columns: files of the texts",
        )
    return figures


STAGE = Stage(
    name="tagging",
    needs=("images", "image_embeddings", "texts", "text_embeddings", "text_index"),
    makes=("tags", "tag_counts", "hubness", "tag_categories", "tag_recall"),
    uses=("clusters",),
    settings=("tagging", "index"),
    version=2,
    keyed=lambda settings: {
        **{name: getattr(settings.tagging, name) for name in ("k", "min_score", "hub_correction")},
        **{name: getattr(settings.index, name) for name in ("recall", "seed")},
    },
    run=run,
    metrics=metrics,
    deliver=deliver,
    draw=draw,
    packages=("faiss-cpu", "numpy"),
)
