"""Labels against structure: how far clusters, neighbours and a linear probe find the labels that they never saw."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.groups import group_numbers

log = logging.getLogger(__name__)

COLUMNS = ["name", "value", "permuted_mean", "permuted_sd", "p", "images", "meaning"]
TOO_FEW = "fewer than two labels have two images (in two groups, where there are groups)"


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, clusters: np.ndarray,
    replicate_rows: np.ndarray | None = None, half_clusters: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`label_structure`: a row per measure, those corrected for chance first; empty where fewer than two labels have
    two images. Agreement is of all labelled images in a cluster; what is told from vectors, of a sample.
    `half_label_scores`: agreement of the clusters of each half-sample, where there are some."""
    found = _structure(settings, workspace, images, image_embeddings, clusters)
    halves = half_clusters if len(found) else None
    return {"label_structure": found, "half_label_scores": _halves(images, replicate_rows, halves)}


def _halves(images: pd.DataFrame, rows: np.ndarray | None, half_clusters: np.ndarray | None) -> pd.DataFrame:
    """half, name, value: as far as they are defined. half: row of `half_rows`."""
    from pipeline.metrics.comparison import agreement

    found: list[dict[str, Any]] = []
    if rows is not None and half_clusters is not None:
        labels = pd.factorize(images["label"].iloc[rows], sort=True)[0].astype(np.int64)
        for number, clusters in enumerate(half_clusters):
            scores = agreement(labels, clusters)
            found += [{"half": number, "name": name, "value": scores[name]} for name in OF_HALVES]
    table = pd.DataFrame(found, columns=["half", "name", "value"])
    return table[table["value"].notna()].astype({"half": int, "value": float}).reset_index(drop=True)


OF_HALVES = ("ari", "ami", "nmi")


def _structure(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, clusters: np.ndarray
) -> pd.DataFrame:
    from pipeline.metrics.labels import repeated

    labelled = np.flatnonzero(images["label"].notna())
    labels = pd.factorize(images["label"].iloc[labelled], sort=True)[0].astype(np.int64)
    every = group_numbers(images["group"])
    groups = None if every is None else every[labelled]
    usable = repeated(labels, None)
    if len(np.unique(labels[usable])) < 2:
        log.warning("labels cannot be compared with anything: fewer than two have two images")
        return pd.DataFrame(columns=COLUMNS)
    if alone := len(np.unique(labels[~usable])):
        log.warning("labels with one image: %d, left out where labels are told from other images", alone)
    done = _counter(workspace, 2 * settings.significance.permutations)
    rows = _agreement(settings, labels, groups, clusters[labelled], done)
    rows += _told(settings, image_embeddings, labelled, labels, groups, done)
    return pd.DataFrame([*rows, _majority(labels)], columns=COLUMNS)


def _agreement(
    settings: Any, labels: np.ndarray, groups: np.ndarray | None, clusters: np.ndarray, done: Callable[[], None]
) -> list[dict[str, Any]]:
    """The clusters of the run against the labels."""
    from pipeline.metrics.comparison import agreement
    from pipeline.metrics.labels import compared

    kept = clusters >= 0
    of = None if groups is None else groups[kept]
    chosen = settings.significance

    def score(codes: np.ndarray) -> dict[str, float]:
        return agreement(codes, clusters[kept])

    found = compared(score, labels[kept], of, chosen.permutations, (chosen.seed, 0), done)
    return [_row(name, found[name], int(kept.sum())) for name in ("ari", "ami", "nmi", "accuracy", "purity")]


def _told(
    settings: Any, vectors: np.ndarray, labelled: np.ndarray, labels: np.ndarray, groups: np.ndarray | None,
    done: Callable[[], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Labels told from the vectors of other images: by their votes, and by a linear probe. Nothing where that cannot
    be: the reason is logged."""
    from pipeline.metrics.k_selection import distinct_rows
    from pipeline.metrics.labels import accuracy, compared, coordinates, folds, nearest_others, probed, voted

    chosen = settings.significance
    sample = _sample(labels, groups, chosen.max_images, chosen.seed)
    codes = np.unique(labels[sample], return_inverse=True)[1].astype(np.int64)
    of, shown = None if groups is None else groups[sample], np.asarray(vectors[labelled[sample]])
    if len(np.unique(codes)) < 2:
        log.warning("no labels told from vectors: %s", TOO_FEW)
        return []
    if distinct_rows(shown, most=2) < 2:
        log.warning("no labels told from vectors: all vectors are the same")
        return []
    near = nearest_others(shown, of)
    scores: dict[str, Callable[[np.ndarray], np.ndarray]] = {"knn_accuracy": lambda given: voted(given, near)}
    try:
        fold, features = folds(codes, of, chosen.seed), coordinates(shown)
        scores["probe_accuracy"] = lambda given: probed(features, given, fold)
    except ValueError as error:
        log.warning("no linear probe: %s", error)

    def score(given: np.ndarray) -> dict[str, float]:
        return {name: accuracy(given, tell(given)) for name, tell in scores.items()}

    found = compared(score, codes, of, chosen.permutations, (chosen.seed, 1), done)
    return [_row(name, value, len(sample)) for name, value in found.items()]


def _sample(labels: np.ndarray, groups: np.ndarray | None, most: int, seed: int) -> np.ndarray:
    """Rows whose label others share, at most `most`, in random order, so that of equally near images not the first of
    the data set votes."""
    from pipeline.metrics.labels import repeated

    usable = np.flatnonzero(repeated(labels, groups))
    alone = np.setdiff1d(labels[repeated(labels, None)], labels[usable])
    if groups is not None and len(alone):
        log.warning("labels that lie in one group: %d, left out where labels are told from other groups", len(alone))
    chosen = np.random.default_rng([seed, 2]).permutation(usable)[:most]
    return np.asarray(chosen[repeated(labels[chosen], None if groups is None else groups[chosen])])


def _row(name: str, found: Any, images: int) -> dict[str, Any]:
    from pipeline.metrics.catalog import METRICS

    meaning = METRICS[name].meaning
    values = {"value": found.value, "permuted_mean": found.mean, "permuted_sd": found.sd, "p": found.p}
    return {"name": name, **values, "images": images, "meaning": meaning}


def _majority(labels: np.ndarray) -> dict[str, Any]:
    from pipeline.metrics.labels import Permuted

    share = np.bincount(labels).max() / len(labels)
    return _row("majority_share", Permuted(float(share), math.nan, math.nan, math.nan), len(labels))


def _counter(workspace: Workspace, total: int) -> Callable[[], None]:
    state = [0]

    def done() -> None:
        state[0] += 1
        workspace.progress(state[0], total)

    return done


def refuse(facts: Facts, settings: Any) -> str | None:
    """It needs two classes."""
    if not facts.classes:
        return "the images have no labels"
    return "all labelled images are of one class" if len(facts.classes) < 2 else None


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<name>, and <name>/permuted_mean where labels were permuted."""
    numbers: dict[str, float] = {}
    for row in made["label_structure"].to_dict("records"):
        numbers[row["name"]] = row["value"]
        if not math.isnan(row["permuted_mean"]):
            numbers[f"{row['name']}/permuted_mean"] = row["permuted_mean"]
    return numbers


AGREEMENT = {
    "ari": "Adjusted Rand index",
    "ami": "Adjusted mutual information",
    "nmi": "Normalised mutual information",
    "accuracy": "Accuracy, matched one to one",
    "purity": "Purity",
}
TOLD = {"knn_accuracy": "Five nearest neighbours", "probe_accuracy": "Linear probe"}


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Every score beside that of permuted labels."""
    from pipeline.plots.label_structure import Measure, label_structure

    table = made["label_structure"].set_index("name")
    if not len(table):
        return {}

    def measures(names: Mapping[str, str]) -> list[Measure]:
        rows = [(label, table.loc[name]) for name, label in names.items() if name in table.index]
        return [
            Measure(label, row["value"], row["permuted_mean"], row["permuted_sd"], f"{row['value']:.2f}")
            for label, row in rows
            if math.isfinite(row["value"])
        ]

    found = measures(AGREEMENT), measures(TOLD)
    return (
        {"label_structure": label_structure(*found, float(table.loc["majority_share", "value"]))} if any(found) else {}
    )


def keyed(settings: Any) -> dict[str, int]:
    """Of the comparison's settings only these."""
    chosen = settings.significance
    return {"permutations": chosen.permutations, "max_images": chosen.max_images, "seed": chosen.seed}


STAGE = Stage(
    name="label_structure",
    version=2,
    needs=("images", "image_embeddings", "clusters"),
    uses=("replicate_rows", "half_clusters"),
    makes=("label_structure", "half_label_scores"),
    settings=("significance",),
    keyed=keyed,
    run=run,
    draw=draw,
    refuse=refuse,
    metrics=metrics,
    packages=("numpy", "scipy", "scikit-learn"),
)
