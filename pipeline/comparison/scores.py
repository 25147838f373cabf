"""The scores of a comparison: in which space each is, and between which runs it may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.metrics.catalog import METRICS
from pipeline.report.words import is_missing, number

SEPARATION = "class_distances/separation/all/auc"
"""How well the encoder keeps the classes apart: the one score that compares encoders without clusters."""

WAYS = {"image_to_text": "image to caption", "text_to_image": "caption to image"}
OF_WORDS = (
    *(f"zero_shot/{name}" for name in ("top1", "top5", "macro", "ece")),
    *(f"retrieval/{way}/recall_at_{k}" for way in WAYS for k in (1, 5, 10)),
)
"""What texts tell of the images: comparable between encoders and prompts."""

TOLD = ("label_structure/knn_accuracy", "label_structure/probe_accuracy")
"""Labels told from the vectors of other images, without clusters."""

COMPARED = (
    "cluster_metrics/",
    "projection/quality/",
    "class_distances/within/all/",
    "class_distances/between/all/",
    SEPARATION,
    "class_distances/centered/separation/all/auc",
    "clustering/inertia",
    "clustering/noise_share",
    *TOLD,
    *(f"zero_shot/{name}" for name in ("top1", "top5", "macro", "ece", "majority")),
    *(f"retrieval/{way}/recall_at_" for way in WAYS),
)
"""What a comparison tells of a run: keys of metrics.json by their beginnings."""

SPACES = {"projection": "Projection", "embedding": "Embedding", "labels": "Against labels", "words": "By texts"}

_SAME = {
    "labels": "same_labels",
    "words": "same_words",
    "embedding": "same_embedding",
    "projection": "same_projection",
}
_GROW_WITH_K = frozenset({"nmi", "purity"})


@dataclass(frozen=True)
class ScoreColumn:
    """A score: its key in metrics.json, its space and its name in the catalogue."""

    key: str
    space: str
    name: str

    @property
    def label(self) -> str:
        label = METRICS[self.name].label if self.name in METRICS else self.name.replace("_", " ")
        way = self.key.split("/")[1]
        return f"{label}, {WAYS[way]}" if way in WAYS else label

    @property
    def better(self) -> str | None:
        return METRICS[self.name].better if self.name in METRICS else None

    @property
    def grows_with_k(self) -> bool:
        return self.name in _GROW_WITH_K


def score_columns(columns: Sequence[str]) -> list[ScoreColumn]:
    """The scores among a comparison's columns, by space and in the order of the catalogue.

    Known: 'cluster_metrics/<space>/<name>', 'projection/quality/<name>' (a score of the projection), SEPARATION, TOLD
    and OF_WORDS.
    """
    found = []
    for key in map(str, columns):
        stage, _, rest = key.partition("/")
        space, _, name = rest.partition("/")
        if stage == "cluster_metrics" and space in SPACES and name and "/" not in name:  # else it is of its clouds
            found.append(ScoreColumn(key, space, name))
        elif key.startswith("projection/quality/"):
            found.append(ScoreColumn(key, "projection", name))
        elif key == SEPARATION or key in TOLD:
            found.append(ScoreColumn(key, "labels", key.rsplit("/", 1)[1]))
        elif key in OF_WORDS:
            found.append(ScoreColumn(key, "words", key.rsplit("/", 1)[1]))
    spaces, names = list(SPACES), list(METRICS)
    place = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda it: (spaces.index(it.space), place.get(it.name, len(names)), it.name))


def comparable(row: Mapping[str, Any], column: ScoreColumn) -> tuple[str, ...] | None:
    """What must be equal for two rows' scores in this column to be comparable; None where nothing can be.

    The images and their labels for agreement with labels; the texts too for what words tell; the encoder's own space
    for scores in the embedding; the same coordinates for scores in the projection. And as many images must count: a
    clusterer that calls the hard ones noise is not better at the rest. Scores that grow with k: the same k.
    """
    same = row.get(_SAME[column.space], 1)  # rows of one space only need not say so
    if is_missing(same):
        return None
    return (
        number(same),
        str(row.get("noise", "")) if column.key.startswith("cluster_metrics/") else "",
        f"k = {number(row.get('k'))}" if column.grows_with_k else "",
    )


def best_rows(rows: pd.DataFrame, column: ScoreColumn) -> set[int]:
    """Row numbers with the best score among comparable ones; none where a row has nothing to compare with."""
    if column.better is None:
        return set()
    groups: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for place, row in enumerate(rows.to_dict("records")):
        value, of = row.get(column.key), comparable(row, column)
        if not is_missing(value) and of is not None:
            groups.setdefault(of, []).append((float(value), place))
    pick = max if column.better == "higher" else min
    best: set[int] = set()
    for scores in groups.values():
        values = [value for value, _ in scores]
        if len(set(values)) > 1:  # alone, or all equal: nothing is best
            best |= {place for value, place in scores if value == pick(values)}
    return best
