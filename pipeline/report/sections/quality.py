"""What the data set is made of, and what to know before its numbers are believed."""

from __future__ import annotations

from typing import Any

from pipeline.report.parts import Column, RunFolder, Section, Table, filled, link_to, table_of, text
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import look_up, number, score

MOST_DUPLICATES = 40  # rows of the table; the file holds all
_FINDING_COLUMNS: list[Column] = [
    ("name", "", lambda name: str(name).replace("_", " ")),
    ("value", "", number),
    ("detail", "", text),
]
_DUPLICATE_COLUMNS: list[Column] = [
    ("duplicate_group", "group", lambda group: number(group + 1)),
    ("kind", "", text),
    ("id", "image", text),
    ("label", "label", text),
    ("group", "belongs to", text),
    ("split", "split", text),
    ("cosine", "nearest cosine", score),
    ("crosses", "in more than one", text),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where the data were looked at, or their source knows something of them."""
    near = look_up(run.record, "config.data_quality.near_duplicate") if run.has("data_quality") else None
    return filled(
        "quality",
        "The data",
        facts=_facts(run, privacy),
        findings=_findings(run),
        duplicates=_duplicates(run, privacy),
        near=near,
        pictures=pictures_of(run, privacy, "quality"),
    )


def _facts(run: RunFolder, privacy: Privacy) -> list[tuple[str, str]]:
    """What the source said of the data set, as (what, value): which variant, how many shards, whose labels."""
    facts = look_up(run.record, "dataset.facts", {})
    return [
        (name.replace("_", " "), _value(name, value, privacy))
        for name, value in facts.items()
        if value not in (None, "", [])
    ]


def _value(name: str, value: Any, privacy: Privacy) -> str:
    if isinstance(value, int | float):
        return number(value)
    return privacy.setting(f"dataset.facts.{name}", ", ".join(map(str, value)) if isinstance(value, list) else value)


def _findings(run: RunFolder) -> Table | None:
    if not run.has("data_quality"):
        return None
    return table_of(run.table("data_quality"), _FINDING_COLUMNS, 100, link_to(run, "data_quality"), "findings")


def _duplicates(run: RunFolder, privacy: Privacy) -> Table | None:
    """Images that there are more than once, those first whose group crosses classes, groups or splits."""
    if not run.has("duplicates") or not len(frame := run.table("duplicates")):
        return None
    frame = frame.assign(harmless=frame["crosses"].eq("")).sort_values(["harmless", "duplicate_group"], kind="stable")
    frame = privacy.table(frame.dropna(axis="columns", how="all"))
    link = "" if {"path", "id"} & privacy.hide else link_to(run, "duplicates")
    return table_of(frame, _DUPLICATE_COLUMNS, MOST_DUPLICATES, link, "images")
