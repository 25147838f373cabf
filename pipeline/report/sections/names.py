"""What clusters and classes are called, and whether that is more than chance."""

from __future__ import annotations

import math

from pipeline.report import naming
from pipeline.report.parts import (
    MOST_CLUSTERS,
    Column,
    RunFolder,
    Section,
    Table,
    filled,
    in_brackets,
    link_to,
    table_of,
    text,
)
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import score

_COLUMNS: list[Column] = [
    ("group", "", text),
    ("names", "names, the best first", text),
    ("nearer", "nearer than other images by (95 %)", str),
    ("ahead", "ahead of the next group by", str),
    ("worse", "other entries that are worse", lambda value: f"{math.floor(1000 * value) / 10:.1f} %"),
    ("in_words", "", text),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where groups were named."""
    if not run.has("group_names"):
        return None
    kinds = {"Clusters": "cluster", "Classes": "class"}
    return filled(
        "names",
        "Names",
        answers=[said for kind in kinds.values() if (said := naming.answer(run, kind))],
        pictures=pictures_of(run, privacy, "names"),
        tables=[(title, table) for title, kind in kinds.items() if (table := _table(run, privacy, kind))],
    )


def _table(run: RunFolder, privacy: Privacy, kind: str) -> Table | None:
    """A row for each group: numbers are of its first name."""
    first = naming.firsts(run, kind)
    if first.empty:
        return None
    rows = first.to_dict("records")
    names = naming.short_lists(run, kind, privacy.entry)
    first = first.assign(
        names=[names[row["group"]] for row in rows],
        nearer=[score(row["difference"]) + in_brackets(row["low"], row["high"]) for row in rows],
        ahead=[score(row["margin"]) + (f" ({row['runner_up']})" if row["runner_up"] else "") for row in rows],
        in_words=[naming.in_words(row) for row in rows],
    )
    link = "" if privacy.hides("texts") else link_to(run, "group_names")
    return table_of(first, _COLUMNS, MOST_CLUSTERS, link, "groups")
