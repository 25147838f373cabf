"""What a run says at its end of clusters, classes and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.console.tables import new_table, number
from pipeline.metrics.catalog import METRICS
from pipeline.metrics.k_selection import CRITERIA, in_words
from pipeline.report.trust import labels_in_words, rows, sampled, supported_k

SPACES = ("projection", "embedding", "labels")
_OF_PAIRS = ("mean", "mean_low", "mean_high", "sd", "min", "max")
_CLASSES_UP_TO = 12


def parts(run: Any) -> Iterator[Table | Text]:
    """Tables and lines, in the order of the report."""
    classes = (_each_class(run), _class_scores(run.metrics), _label_scores(run))
    for table in (_cluster_scores(run.metrics), *classes, _compared_scores(run)):
        if table is not None:
            yield table
    for line in (_suggested_k(run), _labels(run)):
        if line:
            yield Text(line)


def _cluster_scores(metrics: dict[str, float]) -> Table | None:
    """A row per score, a column per space. The projection's silhouette is Euclidean, and stands in that row."""
    found = {}
    for key, value in metrics.items():
        stage, _, rest = key.partition("/")
        if stage == "cluster_metrics":
            space, _, name = rest.partition("/")
            found[space, "silhouette_euclidean" if name == "silhouette" else name] = value
    if not found:
        return None
    table = new_table("clusters: each score in the space named (scores of different spaces do not compare)")
    table.add_column("score")
    for space in SPACES:
        table.add_column(space, justify="right")
    table.add_column("better")
    for name, info in METRICS.items():
        if any((space, name) in found for space in SPACES):
            cells = [number(found.get((space, name))) for space in SPACES]
            table.add_row(info.label, *cells, info.better or "")
    return table


def _each_class(run: Any) -> Table | None:
    """Centre, radius and cosines inside each class, where the classes are few."""
    if not run.has("class_summary"):
        return None
    rows = run.table("class_summary").to_dict("records")
    if len(rows) > _CLASSES_UP_TO:
        return None
    table = new_table("each class: length of its centre, radius (farthest image), cosines of its pairs, nearest class")
    table.add_column("class")
    for name in ("images", "centre", "radius", "mean", "sd", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("nearest")
    for row in rows:
        spread = [number(row[f"within_{name}"]) for name in ("mean", "sd", "min", "max")]
        near = row["nearest_class"]
        cells = [f"{row['count']:,}", number(row["center_norm"]), number(row["radius_max"]), *spread]
        table.add_row(escape(str(row["class"])), *cells, escape(near) if isinstance(near, str) else "-")
    return table


def _class_scores(metrics: dict[str, float]) -> Table | None:
    """Pairs within against pairs between, before and after centring, each with what tells them apart."""
    places = {"": "", "centered/": ", centred"}
    if not any(f"class_distances/{key}/all/mean" in metrics for key in ("within", "between")):
        return None
    table = new_table("class distances: cosines in the embedding space (centred: seen from the mean of all images)")
    table.add_column("pairs of images")
    for name in ("mean", "95 % interval", "sd", "min", "max", "AUC", "d′", "overlap"):
        table.add_column(name, justify="right")
    for place, words in places.items():
        for label, key in (("within classes", "within"), ("between classes", "between")):
            found = {name: metrics.get(f"class_distances/{place}{key}/all/{name}") for name in _OF_PAIRS}
            if found["mean"] is None:
                continue
            span = f"{number(found['mean_low'])} to {number(found['mean_high'])}"
            cells = [number(found["mean"]), span, *(number(found[name]) for name in ("sd", "min", "max"))]
            if key == "within":
                of_all = f"class_distances/{place}separation/all/"
                cells += [number(metrics.get(of_all + name)) for name in ("auc", "d_prime", "overlap")]
            table.add_row(label + words, *cells)
    return table


def _label_scores(run: Any) -> Table | None:
    """Each of several labels, those best told apart first; their mean where they are many."""
    if not run.has("label_scores"):
        return None
    frame = run.table("label_scores")
    table = new_table("each label for itself: images that show it against others, cosines in the embedding space")
    table.add_column("label")
    for name in ("images", "others", "AUC", "gap", "95 % interval", "of the 5 nearest", "by chance"):
        table.add_column(name, justify="right")
    for row in frame.head(_CLASSES_UP_TO).to_dict("records"):
        span = f"{number(row['gap_low'])} to {number(row['gap_high'])}"
        scores = [number(row[name]) for name in ("auc", "gap", "precision_at_5", "chance_at_5")]
        cells = [*scores[:2], span, *scores[2:]]
        table.add_row(escape(str(row["label"])), f"{row['present']:,}", f"{row['negatives']:,}", *cells)
    if len(frame) > 1:
        mean = {name: number(frame[name].mean()) for name in ("auc", "gap", "precision_at_5", "chance_at_5")}
        cells = ["", "", mean["auc"], mean["gap"], "", mean["precision_at_5"], mean["chance_at_5"]]
        table.add_row(f"mean of {len(frame):,} labels", *cells)
    return table if len(frame) else None


def _compared_scores(run: Any) -> Table | None:
    """A row per score: the images against clouds without clusters, in both spaces."""
    found = rows(run)
    if not found:
        return None
    table = new_table("against clouds without clusters: what the same steps make of them")
    table.add_column("score")
    for name in ("images ± sd", "clouds ± sd", "excess", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    where = ""
    for row in found:
        if row.where != where:
            table.add_row(Text(row.where, "dim"))
            where = row.where
        table.add_row(f"  {row.label}", row.observed, row.clouds, row.excess, row.p)
    notes = [
        "±: over half-samples, over clouds. ln: logarithm of the ratio to the clouds. Higher excess: more structure.",
        *(["*: half of the images score otherwise than all."] if any("*" in row.observed for row in found) else []),
        *([sampled(run)] if sampled(run) else []),
    ]
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def _suggested_k(run: Any) -> str:
    """What is supported, and which criteria agree on the number of clusters; '' where none was asked."""
    keys = {criterion.label: f"k_selection/{criterion.space}/{criterion.name}/k" for criterion in CRITERIA}
    ks = {label: int(run.metrics[key]) for label, key in keys.items() if key in run.metrics}
    found = supported_k(run)
    parts = [found, "" if found.startswith("No") or not ks else in_words(ks)]
    said = " ".join(filter(None, parts))
    return f"how many clusters? {said}" if said else ""


def _labels(run: Any) -> str:
    """How far clusters and embedding know the labels; '' where there are none."""
    said = labels_in_words(run)
    return f"labels? {said}" if said else ""
