"""What the sections of a report are made of: tables, pictures, and how cells are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from pipeline.report.words import NONE, is_missing, number, score

Format = Callable[[Any], str]
Column = tuple[str, str, Format]  # name in the frame, heading, how it is written

MOST_CLASSES = 60  # rows of a table of classes or labels; the files hold all
MOST_CLUSTERS = 100
SPACES = {"projection": "Projection", "embedding": "Embedding", "labels": "Against labels"}


class RunFolder(Protocol):
    """What a report needs of a run; `pipeline.run_dir.Run` has it."""

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> dict[str, float]: ...

    @property
    def tables(self) -> Mapping[str, Path]: ...

    @property
    def pictures(self) -> list[tuple[str, str, Path]]: ...

    @property
    def skipped(self) -> pd.DataFrame: ...

    def has(self, name: str) -> bool: ...

    def table(self, name: str) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Table:
    """A table as the template draws it: texts only. `numeric` columns stand to the right."""

    heads: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    link: str = ""  # file with the whole table, relative to the run folder


@dataclass(frozen=True)
class Picture:
    """An embedded picture: `source` is a data URI."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report. key: its anchor, and the name of the template that draws it (templates/sections), which
    gets `content` as `it`."""

    key: str
    title: str
    content: dict[str, Any] = field(default_factory=dict)


def filled(key: str, title: str, **content: Any) -> Section | None:
    """The section, None where all of its content is empty."""
    return Section(key, title, content) if any(content.values()) else None


def text(value: Any) -> str:
    """Text as it is, a dash where there is none."""
    return NONE if is_missing(value) or value == "" else str(value)


def share(value: Any) -> str:
    """A share of 1 as a percentage."""
    return NONE if is_missing(value) else f"{100 * float(value):.0f} %"


def in_brackets(low: Any, high: Any) -> str:
    """The ends of an interval, to stand behind a number; '' where they are not known."""
    return "" if is_missing(low) or is_missing(high) else f" ({score(low)} to {score(high)})"


def span(low: float, high: float) -> str:
    """A range in brackets, open where it has no end: '[-1, 1]', '[0, ∞)'; it does not break over lines."""
    return f"[{number(low, 1)},\u00a0{number(high, 1)}{')' if high == float('inf') else ']'}"


def direction(better: str | None) -> str:
    """Which direction is better, in a word."""
    return {"higher": "higher\u00a0↑", "lower": "lower\u00a0↓"}.get(better or "", NONE)


def span_of(info: Any) -> str:
    """The range of a measure of the catalogue."""
    return "any" if info.low == -float("inf") else span(info.low, info.high)


def table_of(frame: pd.DataFrame, columns: Sequence[Column], most: int, link: str, what: str) -> Table:
    """The first `most` rows of a frame, of the columns that it has; `what` these rows are, in words."""
    columns = [column for column in columns if column[0] in frame]
    shown = frame.head(most)
    rows = [
        [write(value) for value, (_, _, write) in zip(row, columns, strict=True)]
        for row in shown[[name for name, _, _ in columns]].itertuples(index=False, name=None)
    ]
    numeric = frozenset(place for place, (_, _, write) in enumerate(columns) if write is not text)
    note = f"The first {number(most)} of {number(len(frame))} {what}." if len(frame) > most else ""
    return Table([heading for _, heading, _ in columns], rows, numeric, note, link)


def link_to(run: RunFolder, name: str) -> str:
    """Where the whole table lies, from the run folder: its CSV where there is one."""
    path = run.tables.get(name)
    if path is None:
        return ""
    path = Path(path)
    table = path.with_suffix(".csv")
    try:
        return (table if table.exists() else path).relative_to(run.folder).as_posix()
    except ValueError:
        return path.name


def named_table(run: RunFolder, name: str, columns: list[Column], most: int, what: str) -> Table | None:
    """The same of a table of the run by its name; None where it is not there or has no rows."""
    if not run.has(name):
        return None
    frame = run.table(name)
    return table_of(frame, columns, most, link_to(run, name), what) if len(frame) else None
