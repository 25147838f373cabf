"""Runs side by side, as one self-contained HTML page; nothing is computed here."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.comparison.scores import SPACES, ScoreColumn, best_rows, score_columns
from pipeline.metrics.verdict import WORDS, Level, excess_in_words, p_in_words
from pipeline.report.page import encodable, environment
from pipeline.report.words import NONE, duration, is_missing, number, score

if TYPE_CHECKING:
    from pipeline.comparison.sheets import Sheet

TRUST = ("verdict", "excess", "p", "gap")
"""The verdict on the clusters against clouds without any, and the numbers that it rests on."""

NOT_SETTINGS = frozenset({"job", "run", "status", "reason", "seconds", "report", "model", "k", "images", "overrides"})
"""Columns of a comparison that are neither a setting nor a score (scores hold a '/'); same_... and TRUST are others."""

FIXED = ("dataset", "encoder", "projection")  # settings that are left out where all rows have the same

CAPTIONS = {
    "comparison": "A panel for each score, a line for each model. Each panel names its space. Shaded: the range of "
    "clouds without clusters through the same steps, in the colour of the model; dotted: their mean.",
    "comparison_models": "Scores that may be compared between encoders on the same images, with 95 % intervals over "
    "half-samples (over images for shares that are right); hollow dots have none.",
    "comparison_differences": "Paired differences, first less second: what chance does to both alike cancels. An "
    "interval that leaves out the line at zero is a difference beyond chance; of many, one in twenty is so by chance.",
}
_TITLES = {
    "comparison": "Scores against k",
    "comparison_models": "Models side by side",
    "comparison_differences": "Paired differences",
}


@dataclass(frozen=True)
class Page:
    """What stands on the page beside the table of runs. pictures: name -> PNG file; sheets: the tables in words;
    refused: what was not compared and why; protocol: of all runs."""

    heading: str
    pictures: Mapping[str, Path] = field(default_factory=dict)
    sheets: Sequence[Sheet] = ()
    refused: Sequence[str] = ()
    protocol: str = ""


def render_comparison(rows: pd.DataFrame, page: Page) -> str:
    """The runs as one HTML page: settings, status and scores by space, differences, and what failed.

    Args:
        rows: a row a run. Columns: 'job' (number; its report is '<job>/report.html' unless a column
            'report' says otherwise), 'run' (its name, where it is not the number), 'status', 'k', optional 'seconds',
            'reason', 'overrides' and 'model' (not shown); TRUST, shown where any run has a verdict; same_images,
            same_embedding and so on: numbers that are equal where scores compare; scores under their keys of
            metrics.json; every other column without a '/' is a setting, shown first.
        page: the rest.

    Returns:
        HTML, everything escaped. The best score of a column is marked only among rows that compare; rows of different
        images stand in tables of their own.
    """
    settings = _settings(rows)
    columns = [column for column in score_columns(list(rows.columns)) if rows[column.key].notna().any()]
    hints = {"higher": "↑", "lower": "↓"}
    blocks = _blocks(rows)
    html = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            heading=page.heading,
            count=len(rows),
            settings=settings,
            groups=_groups(columns),
            trust="verdict" in rows and bool(rows["verdict"].notna().any()),
            columns=[{"label": column.label, "hint": hints.get(column.better or "", "")} for column in columns],
            blocks=[
                {"name": name, "jobs": _jobs(part.reset_index(drop=True), settings, columns)} for name, part in blocks
            ],
            pictures={name: _picture(name, file) for name, file in page.pictures.items() if Path(file).is_file()},
            sheets={sheet.title: sheet for sheet in page.sheets},
            refused=page.refused,
            protocol=page.protocol,
            failures=_failures(rows),
        )
    )
    return encodable(html)


def _settings(rows: pd.DataFrame) -> list[str]:
    """The settings: every column that is neither a score nor one of the others."""
    found = [
        str(name)
        for name in rows.columns
        if name not in NOT_SETTINGS and name not in TRUST and "/" not in str(name) and not str(name).startswith("same_")
    ]
    return [name for name in found if name != "clustering.k" and (name not in FIXED or _varies(rows[name]))]


def _varies(values: pd.Series) -> bool:
    return bool(values.nunique(dropna=False) > 1)


def _blocks(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of the same images together; those that came to no images go with the first."""
    if "same_images" not in rows or rows["same_images"].nunique() < 2:
        return [("", rows)]
    of = rows["same_images"].fillna(rows["same_images"].min())
    return [(f"Images {number(name)}", part) for name, part in rows.groupby(of, sort=True)]


def _failures(rows: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "job": number(row.get("job")),
            "overrides": str(row.get("overrides") or ""),
            "reason": NONE if is_missing(row.get("reason")) else str(row["reason"]) or NONE,
        }
        for row in rows.to_dict("records")
        if row.get("status", "complete") != "complete"
    ]


def _picture(name: str, file: Path) -> dict[str, str]:
    return {
        "data": base64.b64encode(Path(file).read_bytes()).decode("ascii"),
        "caption": CAPTIONS[name],
        "title": _TITLES[name],
    }


def _jobs(rows: pd.DataFrame, settings: Sequence[str], columns: Sequence[ScoreColumn]) -> list[dict[str, Any]]:
    best = {column.key: best_rows(rows, column) for column in columns}
    jobs = []
    for place, row in enumerate(rows.to_dict("records")):
        status = str(row.get("status", "complete"))
        jobs.append(
            {
                "job": str(row["run"]) if not is_missing(row.get("run")) else number(row.get("job", place)),
                "report": _report(row),
                "settings": [_setting(row.get(name)) for name in settings],
                "status": status,
                "failed": status != "complete",
                "k": number(row.get("k")),
                "seconds": duration(row.get("seconds")),
                "trust": _trust(row),
                "cells": _cells(row, place, columns, best),
            }
        )
    return jobs


def _setting(value: Any) -> str:
    return NONE if is_missing(value) else str(value)


def _report(row: Mapping[str, Any]) -> str:
    report = row.get("report")
    return f"{row.get('job')}/report.html" if is_missing(report) else str(report)  # '': there is none


def _cells(
    row: Mapping[str, Any], place: int, columns: Sequence[ScoreColumn], best: Mapping[str, set[int]]
) -> list[dict[str, Any]]:
    return [
        {
            "text": score(row.get(column.key)),
            "best": place in best[column.key],
            "title": f"best of those that compare in this space, at k = {number(row.get('k'))}",
        }
        for column in columns
    ]


def _trust(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells of the verdict."""
    if is_missing(row.get("verdict")):
        return {"level": "", "words": NONE, "excess": NONE, "p": NONE, "gap": NONE}
    level: Level = row["verdict"]
    return {
        "level": level,
        "words": WORDS[level],
        "excess": excess_in_words("silhouette", row["excess"]) or NONE,
        "p": p_in_words(row["p"]) or NONE,
        "gap": score(row["gap"]),
    }


def _groups(columns: Sequence[ScoreColumn]) -> list[dict[str, Any]]:
    """Neighbouring columns of one space, for the upper row of headings."""
    counts = {space: sum(column.space == space for column in columns) for space in SPACES}
    return [{"title": SPACES[space], "count": count} for space, count in counts.items() if count]
