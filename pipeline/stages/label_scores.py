"""Where an image has several labels: how well the embedding tells, for each, the images that show it from others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.stage import Drawing, Facts, Stage, Workspace, key_part
from pipeline.stages.groups import group_numbers

log = logging.getLogger(__name__)

LEAST = 2  # images that must show a label, and that must be verified not to where only those are the others
VERIFIED = "verified absent"
UNMARKED = "not marked present"
SCORES = ("gap", "gap_low", "gap_high", "auc", "auc_error", "precision_at_5")
MEANS = ("gap", "auc", "precision_at_5")


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, image_labels: pd.DataFrame
) -> dict[str, Any]:
    """A row for each label that at least two images show, those best told apart first."""
    from pipeline.metrics.blocks import row_lengths

    lengths = row_lengths(image_embeddings)
    directed = lengths > 0
    if lost := int((~directed).sum()):
        log.warning("%d images have all-zero vectors, so no cosine; left out of label scores", lost)
    judged = image_labels.assign(row=pd.Index(images["id"]).get_indexer(image_labels["id"]))
    judged = judged[(judged["row"] >= 0) & directed[judged["row"]]]
    rows = np.flatnonzero(directed)
    groups = group_numbers(images["group"])
    found: list[dict[str, Any]] = []
    few: list[str] = []
    names = sorted(judged["label"].unique())
    for done, name in enumerate(names):
        of_label = judged[judged["label"] == name]
        row = _scores(name, of_label, rows, image_embeddings, lengths, groups)
        if row is None:
            few.append(name)
        else:
            found.append(row)
        workspace.progress(done + 1, len(names))
    if few:
        log.warning("%d labels are shown by fewer than %d images, or by all: no scores, as %s", len(few), LEAST, few[0])
    table = pd.DataFrame(found, columns=_COLUMNS)
    return {"label_scores": table.sort_values(["auc", "label"], ascending=[False, True], ignore_index=True)}


_COLUMNS = ["label", "present", "absent", "negatives", "negatives_are", "within_mean", "between_mean", "gap", "gap_low",
            "gap_high", "auc", "auc_error", "precision_at_5", "chance_at_5"]  # fmt: skip


def _scores(
    name: str, judged: pd.DataFrame, rows: np.ndarray, vectors: np.ndarray, lengths: np.ndarray,
    groups: np.ndarray | None,
) -> dict[str, Any] | None:  # fmt: skip
    """A label's row; None where too few images show it, or no other is left."""
    from pipeline.metrics.presence import presence

    present = np.sort(judged.loc[judged["present"], "row"].to_numpy())
    absent = np.sort(judged.loc[~judged["present"], "row"].to_numpy())
    verified = len(absent) >= LEAST
    negatives = absent if verified else np.setdiff1d(rows, present)
    if len(present) < LEAST or not len(negatives):
        return None
    found = presence(vectors, present, negatives, groups, lengths)
    return {
        "label": name,
        "present": len(present),
        "absent": len(absent),
        "negatives": len(negatives),
        "negatives_are": VERIFIED if verified else UNMARKED,
        "within_mean": found.within,
        "between_mean": found.between,
        "gap": found.gap,
        "gap_low": found.gap_interval.low,
        "gap_high": found.gap_interval.high,
        "auc": found.auc,
        "auc_error": found.auc_error,
        "precision_at_5": found.precision,
        "chance_at_5": found.chance,
    }


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """labels: how many have scores; mean/<score> over them; label/<label>/<score>."""
    table = made["label_scores"]
    numbers: dict[str, float] = {"labels": len(table)}
    if len(table):
        numbers |= {f"mean/{name}": table[name].mean() for name in MEANS}
    for row in table.to_dict("records"):
        numbers |= {f"label/{key_part(row['label'])}/{name}": row[name] for name in SCORES}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """AUC and neighbours of each label."""
    from pipeline.plots.labels import label_scores

    table = made["label_scores"]
    if table.empty:
        return {}
    verified = (table["negatives_are"] == VERIFIED).to_numpy()
    scores = {"auc": "auc", "precision": "precision_at_5", "chance": "chance_at_5"}
    counts = {"present": "present", "negatives": "negatives"}
    columns = {name: table[column].to_numpy() for name, column in (scores | counts).items()}
    return {"label_scores": label_scores(table["label"].tolist(), **columns, verified=verified)}


def refuse(facts: Facts, settings: Any) -> str | None:
    """It needs a data set that knows several labels of an image."""
    if not facts.several_labels:
        return "each image has one label at most: label scores need several (dataset.several_labels=multi)"
    return None


STAGE = Stage(
    name="label_scores",
    needs=("images", "image_embeddings", "image_labels"),
    makes=("label_scores",),
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    concerns=lambda facts: facts.several_labels,
    packages=("numpy",),
)
