"""The entries that images got as tags: the most frequent, hubs, which files of texts describe which group."""

from __future__ import annotations

from pipeline.report import indexes
from pipeline.report.parts import Column, RunFolder, Section, Table, filled, link_to, share, table_of, text
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import counted, look_up, number, score

MOST_TAGS = 30  # rows of the tables; the files hold all
BEST_CATEGORIES = 3  # of a group
_TAG_COLUMNS: list[Column] = [
    ("text", "tag", text),
    ("category", "from", text),
    ("images", "images", number),
    ("share", "of all images", share),
]
_HUB_COLUMNS: list[Column] = [
    ("way", "tags by", lambda way: "CSLS" if way == "csls" else str(way)),
    ("skewness", "skewness", score),
    ("top_text", "most frequent", text),
    ("top_share", "share of all tags that it is", share),
    ("unused", "entries that are no image's tag", share),
]
_CATEGORY_COLUMNS: list[Column] = [
    ("group", "", text),
    ("category", "category", text),
    ("tags", "tags from it", number),
    ("expected", "if as in all images", score),
    ("times", "times as often", score),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where images were tagged."""
    if not run.has("tags"):
        return None
    return filled(
        "tags",
        "Tags",
        k=number(look_up(run.record, "config.tagging.k")),
        tagged=counted(run.metrics.get("tagging/tagged"), "image"),
        best=score(run.metrics.get("tagging/best_score")),
        csls=look_up(run.record, "config.tagging.hub_correction") == "csls",
        min_score=look_up(run.record, "config.tagging.min_score"),
        exactness=indexes.of_tags(run),
        pictures=pictures_of(run, privacy, "tags"),
        tags=_tags(run, privacy),
        hubs=_hubs(run, privacy),
        categories=_categories(run, privacy),
    )


def _tags(run: RunFolder, privacy: Privacy) -> Table | None:
    if privacy.hides("texts") or not run.has("tag_counts") or not len(frame := run.table("tag_counts")):
        return None
    if privacy.hides("categories") or not frame["category"].astype(bool).any():
        frame = frame.drop(columns="category")
    link = "" if privacy.hides("categories") else link_to(run, "tag_counts")
    return table_of(frame, _TAG_COLUMNS, MOST_TAGS, link, "tags")


def _hubs(run: RunFolder, privacy: Privacy) -> Table | None:
    if not run.has("hubness"):
        return None
    frame = run.table("hubness")
    frame = frame.assign(top_text=[privacy.entry(name) for name in frame["top_text"]])
    return table_of(frame, _HUB_COLUMNS, len(frame), "", "rows")


def _categories(run: RunFolder, privacy: Privacy) -> Table | None:
    """For each group the categories that its tags come from more often than those of all images."""
    if privacy.hides("categories") or not run.has("tag_categories"):
        return None
    frame = run.table("tag_categories")
    frame = frame[frame["lift"] > 0]
    best = frame.sort_values("lift", ascending=False, kind="stable").groupby(["kind", "group"], sort=False)
    frame = best.head(BEST_CATEGORIES).sort_index(kind="stable")
    frame = frame.assign(times=2 ** frame["lift"])
    order = frame.groupby(["kind", "group"], sort=False).ngroup()
    frame = frame.assign(order=order).sort_values(["order", "times"], ascending=[True, False], kind="stable")
    link = link_to(run, "tag_categories")
    return table_of(frame, _CATEGORY_COLUMNS, 3 * MOST_TAGS, link, "rows") if len(frame) else None
