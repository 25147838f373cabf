"""The jobs of a sweep side by side, as one self-contained HTML page; nothing is computed here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.metrics.catalog import METRICS
from pipeline.metrics.verdict import WORDS, Level, excess_in_words, p_in_words
from pipeline.report.page import encodable, environment
from pipeline.report.privacy import Privacy
from pipeline.report.words import NONE, duration, is_missing, number, plain, score

SEPARATION = "class_distances/separation/all/auc"
"""How well the encoder keeps the classes apart: the one score that compares encoders without clusters."""

_WAYS = {"image_to_text": "image to caption", "text_to_image": "caption to image"}
OF_WORDS = (
    *(f"zero_shot/{name}" for name in ("top1", "top5", "macro", "ece")),
    *(f"retrieval/{way}/recall_at_{k}" for way in _WAYS for k in (1, 5, 10)),
)
"""What texts tell of the images: comparable between encoders and prompts."""

TRUST = ("verdict", "excess", "p", "gap")
"""The verdict on the clusters against clouds without any, and the numbers that it rests on."""

NOT_SETTINGS = frozenset({"job", "status", "reason", "seconds", "report", "model", "k", *TRUST})
"""Columns of a comparison that are neither a varied setting nor a score (scores hold a '/')."""

# Numbers of one space may be compared only where everything that makes the space is the same, and as many images
# count: a clusterer that calls the hard ones noise is not better at the rest.
_MADE_BY = {
    "labels": ("dataset", "noise"),
    "words": ("dataset", "zero_shot"),
    "embedding": ("dataset", "encoder", "noise"),
    "projection": ("dataset", "encoder", "projection", "seed", "noise"),
}
_GROW_WITH_K = frozenset({"nmi", "purity"})
_SPACES = {"projection": "Projection", "embedding": "Embedding", "labels": "Against labels", "words": "By texts"}


@dataclass(frozen=True)
class ScoreColumn:
    """A score: its key in metrics.json, its space and its name in the catalogue."""

    key: str
    space: str
    name: str

    @property
    def label(self) -> str:
        label = METRICS[self.name].label if self.name in METRICS else self.name.replace("_", " ")
        way = self.key.split("/")[1]
        return f"{label}, {_WAYS[way]}" if way in _WAYS else label

    @property
    def better(self) -> str | None:
        return METRICS[self.name].better if self.name in METRICS else None


def score_columns(columns: Sequence[str]) -> list[ScoreColumn]:
    """The scores among a comparison's columns, by space and in the order of the catalogue.

    Known: 'cluster_metrics/<space>/<name>', 'projection/quality/<name>' (a score of the projection), SEPARATION and
    OF_WORDS.
    """
    found = []
    for key in map(str, columns):
        stage, _, rest = key.partition("/")
        space, _, name = rest.partition("/")
        if stage == "cluster_metrics" and space in _SPACES and name:
            found.append(ScoreColumn(key, space, name))
        elif key.startswith("projection/quality/"):
            found.append(ScoreColumn(key, "projection", name))
        elif key == SEPARATION:
            found.append(ScoreColumn(key, "labels", "auc"))
        elif key in OF_WORDS:
            found.append(ScoreColumn(key, "words", key.rsplit("/", 1)[1]))
    spaces, names = list(_SPACES), list(METRICS)
    place = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda it: (spaces.index(it.space), place.get(it.name, len(names)), it.name))


def _settings(rows: pd.DataFrame) -> list[str]:
    """The varied settings: every column that is neither a score nor one of the fixed ones."""
    return [str(name) for name in rows.columns if name not in NOT_SETTINGS and "/" not in str(name)]


def _k(row: Mapping[str, Any]) -> Any:
    return row.get("k", row.get("clustering/k"))


def _comparable(row: Mapping[str, Any], column: ScoreColumn, settings: Sequence[str]) -> tuple[str, ...]:
    """What must be equal for two jobs' scores in this column to be comparable."""
    makers = _MADE_BY[column.space]
    made_by = [plain(row.get(name)) for name in settings if name.split(".")[0].split("@")[0] in makers]
    if column.name in _GROW_WITH_K:
        made_by.append(f"k={number(_k(row))}")
    return tuple(made_by)


def best_jobs(rows: pd.DataFrame, column: ScoreColumn) -> set[int]:
    """Row numbers with the best score among comparable jobs; none where a job has nothing to compare with.

    Jobs are comparable in 'labels' on the same data, in 'embedding' with the same encoder too, in
    'projection' with the same projection and seed too, in 'words' on the same data and classes; scores that grow with
    k only at the same k.
    """
    if column.better is None:
        return set()
    groups: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    settings = _settings(rows)
    for place, row in enumerate(rows.to_dict("records")):
        value = row.get(column.key)
        if not is_missing(value):
            groups.setdefault(_comparable(row, column, settings), []).append((float(value), place))
    pick = max if column.better == "higher" else min
    best: set[int] = set()
    for scores in groups.values():
        values = [value for value, _ in scores]
        if len(set(values)) > 1:  # alone, or all equal: nothing is best
            best |= {place for value, place in scores if value == pick(values)}
    return best


def _cells(
    row: Mapping[str, Any], place: int, columns: Sequence[ScoreColumn], best: Mapping[str, set[int]]
) -> list[dict[str, Any]]:
    return [
        {
            "text": score(row.get(column.key)),
            "best": place in best[column.key],
            "title": f"best of the comparable jobs in this space, at k = {number(_k(row))}",
        }
        for column in columns
    ]


def _setting(value: Any, name: str, privacy: Privacy) -> str:
    return NONE if is_missing(value) else privacy.setting(name, value)


def _report(row: Mapping[str, Any]) -> str:
    report = row.get("report")
    return f"{row.get('job')}/report.html" if is_missing(report) else str(report)  # '': there is none


def _jobs(
    rows: pd.DataFrame, settings: Sequence[str], columns: Sequence[ScoreColumn], privacy: Privacy
) -> list[dict[str, Any]]:
    best = {column.key: best_jobs(rows, column) for column in columns}
    jobs = []
    for place, row in enumerate(rows.to_dict("records")):
        status = str(row.get("status", "complete"))
        jobs.append(
            {
                "job": number(row.get("job", place)),
                "report": _report(row),
                "settings": [_setting(row.get(name), name, privacy) for name in settings],
                "status": status,
                "failed": status != "complete",
                "k": number(_k(row)),
                "seconds": duration(row.get("seconds")),
                "trust": _trust(row),
                "cells": _cells(row, place, columns, best),
            }
        )
    return jobs


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
    counts = {space: sum(column.space == space for column in columns) for space in _SPACES}
    return [{"title": _SPACES[space], "count": count} for space, count in counts.items() if count]


def _overrides(value: Any, privacy: Privacy) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(privacy.override, value))
    return privacy.command(str(value))


def render_comparison(
    rows: pd.DataFrame,
    picture_png: Path | None,
    failures: Sequence[Mapping[str, Any]],
    heading: str,
    hide: Iterable[str] = (),
) -> str:
    """The jobs of a sweep as one HTML page: settings, status and scores by space, and what failed.

    Args:
        rows: a row a job. Columns: 'job' (number; its report is '<job>/report.html' unless a column
            'report' says otherwise), 'status', 'k' (or 'clustering/k'), optional 'seconds', 'reason' and
            'model' (not shown); 'verdict' (a level of pipeline.metrics.verdict), 'excess', 'p' and 'gap', shown
            where any job has a verdict; scores under their keys of metrics.json; every other column without a '/'
            is a varied setting, shown first.
        picture_png: the scores against k, embedded; None or a file that is not there for no picture.
        failures: mappings with 'job', 'overrides' (text or list) and 'reason'; also jobs whose config could
            not be composed and that are no row.
        heading: title of the page.
        hide: 'path' takes paths out of settings, failures and the heading, as in a run's report.

    Returns:
        HTML, everything escaped. The best score of a column is marked only among jobs of one space.
    """
    privacy = Privacy(hide)
    settings = _settings(rows)
    columns = [column for column in score_columns(list(rows.columns)) if rows[column.key].notna().any()]
    picture = None
    if picture_png is not None and Path(picture_png).is_file():
        picture = base64.b64encode(Path(picture_png).read_bytes()).decode("ascii")
    hints = {"higher": "↑", "lower": "↓"}
    html = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            heading=privacy.text(heading),
            settings=settings,
            groups=_groups(columns),
            trust="verdict" in rows and bool(rows["verdict"].notna().any()),
            columns=[{"label": column.label, "hint": hints.get(column.better or "", "")} for column in columns],
            jobs=_jobs(rows, settings, columns, privacy),
            picture=picture,
            failures=[
                {
                    "job": text,
                    "overrides": _overrides(failure.get("overrides") or "", privacy),
                    "reason": privacy.text(failure.get("reason") or NONE),
                }
                for failure in failures
                for text in [NONE if is_missing(failure.get("job")) else str(failure["job"])]
            ],
        )
    )
    return encodable(html)
