"""Which class text each image is nearest to, and how often that is right."""

from __future__ import annotations

from pipeline.metrics.catalog import METRICS
from pipeline.report import zero_shot
from pipeline.report.parts import (
    MOST_CLASSES,
    Column,
    RunFolder,
    Section,
    Table,
    direction,
    filled,
    link_to,
    share,
    table_of,
    text,
)
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import NONE, look_up, number, score

MOST_CONFUSIONS = 20  # rows of the tables; the files hold all
MOST_PREDICTIONS = 40
_CLASS_COLUMNS: list[Column] = [
    ("class", "class", text),
    ("prompt", "in prompts", text),
    ("images", "images", number),
    ("recall", "told right (recall)", score),
    ("interval", "95 % interval", str),
    ("predicted", "called so", number),
    ("precision", "of these right (precision)", score),
    ("f1", "F1", score),
]
_CONFUSION_COLUMNS: list[Column] = [
    ("label", "class", text),
    ("predicted", "called", text),
    ("images", "images", number),
    ("share", "of the class", share),
]
_PREDICTION_COLUMNS: list[Column] = [
    ("id", "image", text),
    ("predicted", "called", text),
    ("probability", "probability", score),
    ("cosine", "cosine", score),
    ("class_2", "next", text),
    ("probability_2", "probability", score),
    ("cosine_2", "cosine", score),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where images were classified by texts."""
    if not run.has("predictions"):
        return None
    scored = run.has("zero_shot_scores")
    return filled(
        "zero_shot",
        "Zero-shot classes",
        answer=zero_shot.answer(run),
        templates=list(look_up(run.record, "config.prompts.templates", [])),
        none=look_up(run.record, "config.zero_shot.none_prompt", ""),
        lines=[line for line in (zero_shot.calibration(run), *zero_shot.withheld(run)) if line],
        scores=_scores(run),
        pictures=pictures_of(run, privacy, "zero_shot"),
        classes=_classes(run) if scored else None,
        confusions=_confusions(run),
        predictions=None if scored else _predictions(run, privacy),
    )


def _scores(run: RunFolder) -> Table | None:
    cells = []
    for row in zero_shot.rows(run):
        info = METRICS[row.name]
        cells.append(
            [info.label, row.value, row.interval or NONE, row.floor or NONE, direction(info.better), info.meaning]
        )
    heads = ["score", "value", "95 % interval", "without looking", "better", "meaning"]
    return Table(heads, cells, frozenset({1, 2}), "", link_to(run, "zero_shot_scores")) if cells else None


def _classes(run: RunFolder) -> Table:
    frame = run.table("zero_shot_classes")
    spans = [zero_shot.ends(row, "recall_low", "recall_high") or NONE for row in frame.to_dict("records")]
    frame = frame.assign(interval=spans)
    if (frame["prompt"].fillna("") == frame["class"]).all():
        frame = frame.drop(columns="prompt")
    return table_of(frame, _CLASS_COLUMNS, MOST_CLASSES, link_to(run, "zero_shot_classes"), "classes")


def _confusions(run: RunFolder) -> Table | None:
    wrong = zero_shot.confusions(run)
    if wrong is None or wrong.empty:
        return None
    link = link_to(run, "zero_shot_confusion")
    return table_of(wrong, _CONFUSION_COLUMNS, MOST_CONFUSIONS, link, "pairs of classes")


def _predictions(run: RunFolder, privacy: Privacy) -> Table:
    """Of images whose classes are not known."""
    frame = privacy.table(run.table("predictions"))
    link = "" if {"path", "id"} & privacy.hide else link_to(run, "predictions")
    return table_of(frame, _PREDICTION_COLUMNS, MOST_PREDICTIONS, link, "images")
