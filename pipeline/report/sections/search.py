"""What each query found."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.report.parts import Column, Picture, RunFolder, Section, Table, filled, link_to, table_of, text
from pipeline.report.pictures import picture_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import number, score

MOST_QUERIES = 50  # that are shown; the file holds all
MOST_HITS = 50  # of a query
_COLUMNS: list[Column] = [
    ("rank", "rank", number),
    ("score", "cosine", score),
    ("id", "image", text),
    ("label", "label", text),
    ("caption", "caption", text),
]


@dataclass(frozen=True)
class Query:
    """words: what was asked; picture, table: what was found."""

    words: str
    picture: Picture | None
    table: Table


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there were queries."""
    if not run.has("hits"):
        return None
    queries = [_query(run, privacy, int(place), of) for place, of in run.table("hits").groupby("query")]
    note = f"The first {MOST_QUERIES} of {number(len(queries))} queries." if len(queries) > MOST_QUERIES else ""
    link = "" if {"path", "id", "caption"} & privacy.hide else link_to(run, "hits")
    return filled("search", "Search", queries=queries[:MOST_QUERIES], note=note, link=link)


def _query(run: RunFolder, privacy: Privacy, place: int, hits: pd.DataFrame) -> Query:
    words = privacy.text(hits["query_text"].iloc[0])
    found = privacy.table(hits.dropna(axis="columns", how="all"))
    table = table_of(found, _COLUMNS, MOST_HITS, "", "images")
    return Query(words, picture_of(run, privacy, "search", f"query_{place:02d}"), table)
