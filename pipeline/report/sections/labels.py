"""Each of several labels for itself."""

from __future__ import annotations

from pipeline.report.parts import (
    MOST_CLASSES,
    Column,
    RunFolder,
    Section,
    Table,
    filled,
    in_brackets,
    link_to,
    share,
    table_of,
    text,
)
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import number, score

_LABEL_COLUMNS: list[Column] = [
    ("label", "label", text),
    ("present", "images that show it", number),
    ("negatives", "images that do not", number),
    ("negatives_are", "which are", text),
    ("within_mean", "mean within", score),
    ("between_mean", "mean with the others", score),
    ("gap_with_interval", "gap (95 %)", str),
    ("auc", "AUC", score),
    ("precision_at_5", "of the 5 nearest show it", share),
    ("chance_at_5", "by chance", share),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where images may have several labels."""
    pictures = pictures_of(run, privacy, "labels")
    return filled("labels", "Each label for itself", table=_label_scores(run), pictures=pictures)


def _label_scores(run: RunFolder) -> Table | None:
    """For each of several labels, the images that show it against others."""
    if not run.has("label_scores"):
        return None
    frame = run.table("label_scores")
    if frame.empty:
        return None
    ends = zip(frame["gap"], frame["gap_low"], frame["gap_high"], strict=True)
    frame = frame.assign(gap_with_interval=[score(middle) + in_brackets(low, high) for middle, low, high in ends])
    return table_of(frame, _LABEL_COLUMNS, MOST_CLASSES, link_to(run, "label_scores"), "labels")
