"""The tables of a comparison, as they are to stand in Markdown, LaTeX and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from pipeline.comparison.entries import Entry
from pipeline.comparison.scores import ScoreColumn, best_rows, score_columns
from pipeline.comparison.words import between, interval, signed, what_intervals_are
from pipeline.metrics.verdict import excess_in_words
from pipeline.report import experiment
from pipeline.report.words import NONE, is_missing, number, score

MOST = 60  # differences that are shown; the CSV has all
_SHORT = {
    "silhouette": "silhouette", "silhouette_cosine": "silhouette (cosine)",
    "silhouette_euclidean": "silhouette (Euclid.)",
    "calinski_harabasz": "CH", "davies_bouldin": "DB", "ari": "ARI", "ami": "AMI", "nmi": "NMI", "accuracy": "accuracy",
    "auc": "AUC", "knn_accuracy": "5-NN", "probe_accuracy": "probe", "top1": "top-1", "top5": "top-5",
    "macro": "macro recall", "ece": "ECE",
}  # fmt: skip
_MEANING = {
    "CH": "Calinski-Harabasz", "DB": "Davies-Bouldin, lower is better", "ARI": "adjusted Rand index",
    "AMI": "adjusted mutual information", "NMI": "normalised mutual information",
    "AUC": "pairs within classes against between", "5-NN": "labels told by five nearest images",
    "probe": "by a linear probe", "ECE": "expected calibration error, lower is better",
}  # fmt: skip
_TABLES = (
    ("Clusters", ("projection/silhouette", "embedding/silhouette_cosine", "embedding/silhouette_euclidean")),
    ("Other indices, in the projection", ("projection/calinski_harabasz", "projection/davies_bouldin")),
    ("Other indices, in the embedding", ("embedding/calinski_harabasz", "embedding/davies_bouldin")),
    ("Agreement with labels", tuple(f"labels/{name}" for name in ("ari", "ami", "nmi", "accuracy"))),
    ("Classes in the vectors", tuple(f"labels/{name}" for name in ("auc", "knn_accuracy", "probe_accuracy"))),
    ("By texts", tuple(f"words/{name}" for name in ("top1", "top5", "macro", "ece", "recall_at_1", "recall_at_5"))),
)
"""Tables narrow enough for a page: title, and scores as <space>/<name>."""
_WITHOUT_CLUSTERS = ("Classes in the vectors", "By texts")  # a row a model


@dataclass(frozen=True)
class Sheet:
    """heads: of the columns, and whether they hold numbers; rows: texts below them; best: (row, column) to be set in
    bold."""

    title: str
    caption: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()


def sheets(
    entries: Sequence[Entry], seeds: pd.DataFrame, differences: pd.DataFrame, total: int, protocol: str
) -> list[Sheet]:
    """Scores beside their excess, block of same images by block; the other indices; differences; published values.

    seeds: `rows.over_seeds`; differences: of `total` those that are shown; protocol: the caption."""
    found: list[Sheet] = []
    of_images = [part for _, part in seeds.groupby("same_images", sort=True)] if len(seeds) else []
    for place, part in enumerate(of_images):
        which = f", images {place + 1}" if len(of_images) > 1 else ""
        known: dict[str, list[ScoreColumn]] = {f"{of.space}/{of.name}": [] for of in score_columns(list(part))}
        for of in score_columns(list(part)):
            known[f"{of.space}/{of.name}"] += [of] if part[of.key].notna().any() else []
        for title, names in _TABLES:
            if columns := [of for name in names for of in known.get(name, [])]:
                said = "Runs and protocol as in the first table." if found else protocol
                of_clusters = title not in _WITHOUT_CLUSTERS
                shown = part if of_clusters else part.drop_duplicates("model")
                shown = shown[shown[[of.key for of in columns]].notna().any(axis=1)]  # raw pixels know no texts
                found.append(_scores(shown.reset_index(drop=True), columns, title + which, said, of_clusters))
    if len(differences):
        found.append(_differences(differences, total))
    return [*found, *_published(entries)]


def _scores(part: pd.DataFrame, scores: Sequence[ScoreColumn], title: str, protocol: str, of_clusters: bool) -> Sheet:
    several = bool((part["seeds"] > 1).any())
    beyond = [of for of in scores if _has_excess(part, of)]
    columns = [_Column("model", False, partial(_text, "model"))]
    columns += [_Column("k", True, _k)] if of_clusters else []
    if several:
        columns.append(_Column("seeds", True, partial(_text, "seeds")))
    if judged := bool(beyond) and "verdict" in part:
        columns.append(_Column("clusters?", False, partial(_text, "verdict")))
    if gaps := judged and title.startswith("Clusters"):
        columns.append(_Column("gap", True, partial(with_sd, key="gap")))
    places = {}
    for of in scores:
        places[of.key] = len(columns)
        columns.append(_Column(_head(of, title), True, partial(with_sd, key=of.key)))
        columns += [_Column("excess", True, partial(_excess, of))] if of in beyond else []
    best = frozenset((row, places[of.key]) for of in scores for row in best_rows(part, of))
    heads = [(column.head, column.numeric) for column in columns]
    rows = [[column.cell(row) for column in columns] for row in part.to_dict("records")]
    notes = ["Mean ± standard deviation over seeds."] if several else []
    if beyond:
        notes.append(
            "Excess: over clouds without clusters through the same steps (ln: logarithm of the ratio). Raw scores of "
            "different encoders or projections do not compare."
        )
    notes += ["Gap: density between clusters, 1 is none."] if gaps else []
    notes += [f"{head}: {_MEANING[head]}." for head, _ in heads if head in _MEANING]
    notes += ["Bold: best among those that compare."] if best else []
    return Sheet(title, " ".join([protocol, *notes]), heads, rows, best)


def _head(of: ScoreColumn, title: str) -> str:
    short = _SHORT.get(of.name) or of.label
    return f"{short}, {of.space}" if title.startswith("Clusters") else short


@dataclass(frozen=True)
class _Column:
    head: str
    numeric: bool
    cell: Callable[[Mapping[str, Any]], str]


def _has_excess(part: pd.DataFrame, column: ScoreColumn) -> bool:
    key = f"{column.key}/excess"
    return key in part and bool(part[key].notna().any())


def with_sd(row: Mapping[str, Any], key: str, written: Any = score) -> str:
    """A number, with its deviation over seeds where there is one."""
    value, sd = row.get(key), row.get(f"{key}/sd")
    if is_missing(value):
        return NONE
    return written(value) if is_missing(sd) else f"{written(value)} ± {score(sd)}"


def _text(name: str, row: Mapping[str, Any]) -> str:
    return NONE if is_missing(row[name]) else str(row[name])


def _k(row: Mapping[str, Any]) -> str:
    """Most often the same for all seeds."""
    return number(row["k"]) if row.get("k/sd") == 0 else with_sd(row, "k", number)


def _excess(of: ScoreColumn, row: Mapping[str, Any]) -> str:
    return with_sd(row, f"{of.key}/excess", lambda value: excess_in_words(of.name, value) or NONE)


def brief(key: str) -> str:
    """A score of the differences in few words.

    >>> brief("labels/ari"), brief("embedding/silhouette_cosine/excess"), brief("retrieval/image_to_text/recall_at_5")
    ('ARI', 'excess, embedding', 'recall at 5, image to text')
    """
    parts = key.split("/")
    if parts[-1] == "excess":
        return f"excess, {parts[0]}"
    if parts[0] == "retrieval":
        return f"{parts[-1]}, {parts[1]}".replace("_", " ")
    return _SHORT.get(parts[-1], parts[-1]) + (f", {parts[0]}" if parts[0] in ("projection", "embedding") else "")


def _differences(table: pd.DataFrame, total: int) -> Sheet:
    heads = [("pair", False), ("score", False), ("first", True), ("second", True), ("difference", True),
             ("95 % interval", True), ("over", False)]  # fmt: skip
    rows = [
        [
            between(row), brief(row["score"]), score(row["value_a"]), score(row["value_b"]),
            signed(row["difference"]), interval(row), f"{row['count']:,} {row['over']}" if row["over"] else NONE,
        ]
        for row in table.head(MOST).to_dict("records")
    ]  # fmt: skip
    more = f" {len(rows):,} of {total:,}; differences.csv has all." if total > len(rows) else ""
    reasons = list(dict.fromkeys(note for note in table["note"] if note))
    notes = f" {'. '.join(f'{note[0].upper()}{note[1:]}' for note in reasons[:4])}." if reasons else ""
    caption = f"Paired differences on the same images, first less second. {what_intervals_are(table)}{more}{notes}"
    return Sheet("Paired differences", caption, heads, rows)


def _published(entries: Sequence[Entry]) -> list[Sheet]:
    """Published rows beside those that were measured, of all runs that have them."""
    rows: list[list[str]] = []
    told: dict[str, None] = {}
    for entry in entries:
        for block in experiment.blocks(entry.run) if entry.complete else ():
            if not block.source:  # repeats of a run of one's own
                continue
            rows += [[block.title, *cells] for cells in block.rows]
            told |= dict.fromkeys([f"{block.title}: {' '.join(block.told)} Source: {block.source}."])
    if not rows:
        return []
    heads = [("published row", False), *((name, 0 < i < 5) for i, name in enumerate(experiment.HEADS))]
    return [Sheet("Published values", f"{experiment.MEANING} {' '.join(told)}", heads, rows)]
