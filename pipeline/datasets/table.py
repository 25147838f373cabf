"""A table of images: CSV, TSV, Parquet or JSON lines. Everything in it is text: an id 000001 stays 000001."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.datasets.candidates import Found, candidates
from pipeline.errors import CallError, nearest, one_of
from pipeline.schema import SeveralLabels, TableDataset

if TYPE_CHECKING:
    import pandas as pd

FIELDS = ("image", "id", "label", "caption", "group", "split")


def find(settings: TableDataset, data: Path) -> Found:
    """Candidates of the table's rows. An id is the id column, else the image column; `position` is the row's number.

    Raises CallError for a table that cannot be read, a column that is not there, and ids that are not unique.
    """
    path = Path(settings.path)
    table = read_table(path, "dataset.path")
    names = {name: _column(table, name, getattr(settings.columns, name)) for name in FIELDS}
    if names["image"] is None and names["id"] is None:
        raise CallError(f"dataset.columns.image: {path.name} has no column 'image' or 'id'; it has {_listed(table)}")
    root = Path(settings.root) if settings.root else path.parent
    values = {name: table[column].tolist() if column else [None] * len(table) for name, column in names.items()}
    notes = _one_label(values, settings)
    rows = [_row(i, {name: values[name][i] for name in FIELDS}, root, settings) for i in range(len(table))]
    wanted = _of_splits(rows, settings.splits)
    _unique([row["id"] for row in rows], names["id"] or names["image"])
    return Found(candidates(wanted), notes=notes, rows=len(rows))


def read_table(path: Path, key: str) -> pd.DataFrame:
    """All cells as text, missing ones ''. `key`: the setting to name in errors. Raises CallError."""
    import pandas as pd

    if not path.is_file():
        raise CallError(f"{key}: no such file: {path}{nearest(path.name, _siblings(path))}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CallError(f"{key}: {path.name}: tables end in {', '.join(READERS)}")
    try:
        table = reader(path)
    except (ValueError, OSError, KeyError, pd.errors.ParserError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CallError(f"{key}: {path.name} cannot be read: {first}") from error
    if not len(table):
        raise CallError(f"{key}: {path.name} has no rows")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    nested = [field.name for field in schema if str(field.type).startswith(("list", "large_list", "fixed_size_list"))]
    table = pd.read_parquet(path, columns=[name for name in schema.names if name not in nested])
    return pd.DataFrame({name: [_text(value) for value in table[name]] for name in table.columns}, dtype=object)


def _read_json_lines(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not an object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame({name: [_text(row.get(name)) for row in rows] for name in names}, dtype=object)


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
}


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _siblings(path: Path) -> list[str]:
    return [place.name for place in path.parent.iterdir()] if path.parent.is_dir() else []


def _column(table: pd.DataFrame, name: str, wanted: str | None) -> str | None:
    if wanted is None:
        return name if name in table.columns else None
    if wanted not in table.columns:
        raise CallError(f"dataset.columns.{name} = {wanted}: no such column{one_of(wanted, map(str, table.columns))}")
    return wanted


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns))


def _one_label(values: dict[str, list[Any]], settings: TableDataset) -> tuple[str, ...]:
    """Several labels in a cell become one, or none, by the rule; says how often."""
    if settings.label_separator is None:
        return ()
    several = 0
    for i, cell in enumerate(values["label"]):
        parts = [part.strip() for part in (cell or "").split(settings.label_separator) if part.strip()]
        several += len(parts) > 1
        values["label"][i] = RULES[settings.several_labels](parts, settings.label_separator) if parts else None
    rule = settings.several_labels.value
    return (f"{several} images have several labels; dataset.several_labels = {rule}",) if several else ()


RULES: dict[SeveralLabels, Callable[[list[str], str], str | None]] = {
    SeveralLabels.first: lambda parts, separator: parts[0],
    SeveralLabels.drop: lambda parts, separator: parts[0] if len(parts) == 1 else None,
    SeveralLabels.joined: lambda parts, separator: separator.join(sorted(set(parts))),
}


def _row(position: int, cells: dict[str, Any], root: Path, settings: TableDataset) -> dict[str, Any]:
    row = {name: cells[name] or None for name in ("label", "caption", "group", "split")}
    image = cells["image"]
    row["id"] = cells["id"] if cells["id"] is not None else image
    row["position"] = position
    if image is None:  # a table of ids, for vectors that exist already
        return {**row, "path": "", "problem": "the table names no image file"}
    if not image:
        return {**row, "path": "", "problem": "the image column is empty"}
    name = image if Path(image).suffix or not settings.extension else f"{image}{settings.extension}"
    path = os.path.normpath(root / name)
    if os.path.commonpath([path, os.path.normpath(root)]) != os.path.normpath(root):
        return {**row, "path": path, "problem": f"the path leaves dataset.root ({root})"}
    return {**row, "path": path}


def _of_splits(rows: list[dict[str, Any]], splits: list[str]) -> list[dict[str, Any]]:
    if not splits:
        return rows
    known = list(dict.fromkeys(row["split"] for row in rows if row["split"]))
    for split in splits:
        if split not in known:
            raise CallError(f"dataset.splits: no row of split '{split}'{one_of(split, known)}")
    return [row for row in rows if row["split"] in splits]


def _unique(ids: list[str], column: str | None) -> None:
    seen: set[str] = set()
    twice = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if twice:
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise CallError(
            f"dataset.columns.id: '{twice[0]}'{more} stands in column '{column}' more than once; ids are unique"
        )
    if "" in seen:
        raise CallError(f"dataset.columns.id: a row of column '{column}' is empty")
