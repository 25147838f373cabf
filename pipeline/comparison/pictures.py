"""The pictures of a comparison: from its tables to what the drawing functions take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.comparison.differences import Known, embedding_score, excess, label_score
from pipeline.comparison.entries import Entry
from pipeline.comparison.pairs import blocks
from pipeline.comparison.scores import SEPARATION, TOLD
from pipeline.comparison.words import between, label
from pipeline.metrics.catalog import METRICS
from pipeline.metrics.paired import over_halves
from pipeline.report.words import is_missing, number

Spread = tuple[float, float, float]  # value, low, high

AGAINST_K = (
    ("cluster_metrics/projection/silhouette", "Silhouette, in the projection"),
    ("cluster_metrics/embedding/silhouette_cosine", "Silhouette (cosine), in the embedding"),
    ("cluster_metrics/projection/davies_bouldin", "Davies-Bouldin, in the projection"),
    ("cluster_metrics/embedding/davies_bouldin", "Davies-Bouldin, in the embedding"),
    ("cluster_metrics/labels/ari", "Adjusted Rand index, against labels"),
    ("cluster_metrics/labels/ami", "Adjusted mutual information, against labels"),
)
"""What is drawn over k: (key, label with its space)."""

_WITH_ENDS = (
    SEPARATION,
    "zero_shot/top1",
    "retrieval/image_to_text/recall_at_1",
    "retrieval/text_to_image/recall_at_1",
)
_NOT_DRAWN = ("labels/nmi", "label_structure/probe_accuracy")


def figures(entries: Sequence[Entry], rows: pd.DataFrame, differences: pd.DataFrame) -> dict[str, Any]:
    """comparison: scores over k; comparison_models: excess and label scores side by side; comparison_differences.
    Those that would be empty are left out."""
    from pipeline.plots.comparison import dots
    from pipeline.plots.sweep import metric_against_k

    found: dict[str, Any] = {}
    complete = rows[rows["status"] == "complete"] if len(rows) else rows
    drawn = [(key, words) for key, words in AGAINST_K if key in complete and complete[key].notna().any()]
    if drawn:
        done = json.loads(complete.to_json(orient="records"))  # missing values as None
        metrics = [(key, words, METRICS[key.rsplit("/", 1)[1]].better) for key, words in drawn]
        found["comparison"] = metric_against_k(_told_apart(done), metrics)
    if panels := side_by_side(entries):
        found["comparison_models"] = dots(
            panels, "Scores that compare between encoders, with 95 % intervals; hollow: without", zero=False
        )
    if panels := apart(differences):
        heading = "Differences on the same images, first less second, with 95 % intervals; hollow: without"
        found["comparison_differences"] = dots(panels, heading, zero=True)
    return found


def _told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Models of different images are different lines."""
    known = [row for row in rows if not is_missing(row["same_images"])]
    if len({row["same_images"] for row in known}) < 2:
        return rows
    return [{**row, "model": f"{row['model']}, images {number(row['same_images'])}"} for row in known]


def side_by_side(entries: Sequence[Entry]) -> list[Any]:
    """A panel for each score, a row for each complete run."""
    from pipeline.plots.comparison import Panel

    known = [entry for entry in entries if entry.complete and entry.identity is not None]
    if len(known) < 2:
        return []
    models = dict.fromkeys(entry.model for entry in known)
    groups = {model: place for place, model in enumerate(models)}
    made = []
    for title, better, of_k, scores in _scores(known):
        panel = [
            _dot(name, score, groups[entry.model])
            for name, entry, score in zip(_row_names(known, of_k), known, scores, strict=True)
            if score is not None
        ]
        if len(panel) > 1:
            made.append(Panel(title, f"{better} is better" if better else "", panel))
    return made


def _row_names(entries: Sequence[Entry], of_k: bool) -> list[str]:
    """What tells runs apart in a picture. of_k: whether the score depends on k."""
    of_images = {entry.name: place for place, block in enumerate(blocks(entries)) for entry in block}
    several = max(of_images.values()) > 0
    ks = {number(entry.k) for entry in entries} if of_k else set()
    names = []
    for entry in entries:
        parts = [entry.model]
        parts += [f"k = {number(entry.k)}"] if len(ks) > 1 and not math.isnan(entry.k) else []
        parts += [f"{key.split('.')[0]} seed {value}" if "." in key else f"seed {value}" for key, value in entry.seeds]
        parts += [f"images {of_images[entry.name] + 1}"] if several else []
        names.append(", ".join(parts))
    return names


def _scores(entries: Sequence[Entry]) -> list[tuple[str, str | None, bool, list[Spread | None]]]:
    """(title, better, whether it depends on k, (value, low, high) of each entry)."""
    found: list[tuple[str, str | None, bool, list[Spread | None]]] = []
    beyond = [excess(entry, "projection", "silhouette") for entry in entries]
    found.append((label("projection/silhouette/excess"), "higher", True, [_spread(one) for one in beyond]))
    names = [embedding_score(entry) for entry in entries]
    name = names[0] if len(set(names)) == 1 else "silhouette_cosine"
    beyond = [excess(entry, "embedding", name) for entry in entries]
    found.append((label(f"embedding/{name}/excess"), "higher", True, [_spread(one) for one in beyond]))
    first = {entry.model: entry.name for entry in reversed(entries)}
    for name in ("ari", "ami"):
        found.append(
            (label(f"labels/{name}"), "higher", True, [_spread(label_score(entry, name)) for entry in entries])
        )
    for key in (*TOLD[:1], *_WITH_ENDS):
        ends = [_ends(entry, key) if first[entry.model] == entry.name else None for entry in entries]
        found.append((label(key), METRICS[key.rsplit("/", 1)[1]].better, False, ends))
    return found


def _spread(known: Known | None) -> Spread | None:
    """A score with its interval over half-samples."""
    if known is None:
        return None
    found = over_halves(known.value, list(known.halves.values()), [known.error] if known.error else [])
    return found.value, found.low, found.high


def _ends(entry: Entry, key: str) -> Spread | None:
    value = entry.run.metrics.get(key)
    low, high = (entry.run.metrics.get(f"{key}_{end}", math.nan) for end in ("low", "high"))
    return None if value is None else (value, low, high)


def _dot(name: str, score: Spread, group: int) -> Any:
    from pipeline.plots.comparison import Dot

    return Dot(name, *score, group)


def apart(differences: pd.DataFrame) -> list[Any]:
    """A panel for each score, a row for each pair."""
    from pipeline.plots.comparison import Dot, Panel

    made = []
    for key, part in differences.groupby("score", sort=False):
        if key in _NOT_DRAWN or str(key).endswith(("_at_5", "_at_10")):
            continue
        panel = [Dot(between(row), row["difference"], row["low"], row["high"]) for row in part.to_dict("records")]
        better = part["better"].iloc[0]
        side = {"higher": "above 0: the first is better", "lower": "below 0: the first is better"}.get(better, "")
        made.append(Panel(label(str(key)), side, panel))
    return made
