"""Distances within and between classes."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.metrics.catalog import METRICS
from pipeline.report.parts import (
    MOST_CLASSES,
    Column,
    RunFolder,
    Section,
    Table,
    direction,
    filled,
    in_brackets,
    link_to,
    named_table,
    span_of,
    table_of,
    text,
)
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import NONE, number, score

MOST_PAIRS = 200  # rows of the table; the file holds all
_CLASS_COLUMNS: list[Column] = [
    ("class", "class", text),
    ("count", "images", number),
    ("within_mean", "within: mean", score),
    ("within_sd", "sd", score),
    ("within_min", "min", score),
    ("within_max", "max", score),
    ("radius_mean", "radius: mean", score),
    ("radius_p95", "95 %", score),
    ("radius_max", "max", score),
    ("center_norm", "length of centre", score),
    ("nearest_class", "nearest: by cosine", text),
    ("nearest_center", "by centre", text),
]
_SEPARATION_COLUMNS: list[Column] = [
    ("class", "class", text),
    ("when", "", text),
    ("within", "mean within (95 %)", str),
    ("between", "mean with others (95 %)", str),
    ("gap", "gap (95 %)", str),
    ("d_prime", "d′", score),
    ("auc", "AUC", score),
    ("overlap", "overlap", score),
]
_PAIR_COLUMNS: list[Column] = [
    ("class_a", "class", text),
    ("class_b", "and class", text),
    ("between_mean", "between: mean", score),
    ("between_sd", "sd", score),
    ("between_min", "min", score),
    ("between_max", "max", score),
    ("center_cosine", "cosine of centres", score),
    ("center_distance", "distance of centres", score),
    ("centered_between_mean", "centred: between, mean", score),
    ("centered_center_cosine", "cosine of centres", score),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there are classes."""
    return filled(
        "distances",
        "Class distances",
        summary=_distance_summary(run.metrics),
        separation=_separation_scores(run.metrics),
        by_class=_class_separation(run),
        classes=named_table(run, "class_summary", _CLASS_COLUMNS, MOST_CLASSES, "classes"),
        pairs=named_table(run, "class_pairs", _PAIR_COLUMNS, MOST_PAIRS, "pairs of classes"),
        pictures=pictures_of(run, privacy, "distances"),
    )


def _distance_summary(metrics: Mapping[str, float]) -> Table | None:
    """Pairs within and between, before and after centring."""
    rows = []
    for place, when in (("", ""), ("centered/", ", centred")):
        for name, label in (("within", "within a class"), ("between", "between classes")):
            found = {part: metrics.get(f"class_distances/{place}{name}/all/{part}") for part in _SPREAD}
            if any(value is not None for value in found.values()):
                ends = [found["mean_low"], found["mean_high"]]
                span = NONE if None in ends else " to ".join(map(score, ends))
                rows.append([label + when, score(found["mean"]), span, *(score(found[part]) for part in _SPREAD[3:])])
    if not rows:
        return None
    note = "The interval takes images (or groups of them) for what was drawn at random, not pairs."
    heads = ["pairs of images", "mean", "95 % interval", "sd", "min", "max"]
    return Table(heads, rows, frozenset(range(1, 6)), note)


_SPREAD = ("mean", "mean_low", "mean_high", "sd", "min", "max")


def _separation_scores(metrics: Mapping[str, float]) -> Table | None:
    """How well pairs within stand apart from pairs between, before and after centring."""
    rows = []
    for name in ("auc", "d_prime", "overlap", "gap"):
        info, cells = METRICS[name], []
        for place in ("", "centered/"):
            of_all = f"class_distances/{place}separation/all/{name}"
            ends = [metrics.get(f"{of_all}_{end}") for end in ("low", "high")]
            span = "" if None in ends else f" ({score(ends[0])} to {score(ends[1])})"
            cells.append(score(metrics.get(of_all)) + span)
        if set(cells) != {NONE}:
            rows.append([info.label, *cells, span_of(info), direction(info.better), info.meaning])
    if not rows:
        return None
    heads = ["within against between", "as it is", "centred", "range", "better", "meaning"]
    note = (
        "In brackets: 95 % intervals. Centred: the mean of all images' unit vectors was subtracted and each vector "
        "scaled to length 1 again."
    )
    if "class_distances/mean_length" in metrics:
        length = score(metrics["class_distances/mean_length"])
        note += f" That mean has length {length}; near 1, all vectors lie in a narrow cone and all cosines are high."
    return Table(heads, rows, frozenset({1, 2}), note)


def _class_separation(run: RunFolder) -> Table | None:
    """For each class, its pairs against its pairs with all others."""
    if not run.has("class_separation"):
        return None
    frame = run.table("class_separation")
    frame = frame[frame["class"].notna()].copy()
    if frame.empty:
        return None
    frame["when"] = ["centred" if centered else "as it is" for centered in frame["centered"]]
    for name in ("within", "between", "gap"):
        value = "gap" if name == "gap" else f"{name}_mean"
        ends = zip(frame[value], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        frame[name] = [score(middle) + in_brackets(low, high) for middle, low, high in ends]
    frame = frame.sort_values(["class", "centered"], kind="stable")
    link = link_to(run, "class_separation")
    return table_of(frame, _SEPARATION_COLUMNS, 2 * MOST_CLASSES, link, "rows")
