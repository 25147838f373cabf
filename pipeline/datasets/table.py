"""A table of images: CSV, TSV, Parquet or JSON lines. Everything in it is text: an id 000001 stays 000001."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.datasets.candidates import Found, candidates, of_splits
from pipeline.errors import CallError, nearest, one_of
from pipeline.schema import SeveralLabels, TableDataset

if TYPE_CHECKING:
    import pandas as pd

FIELDS = ("image", "id", "label", "caption", "group", "split")


def find(settings: TableDataset, data: Path) -> Found:
    """Candidates of the table's rows. An id is the id column, else the image column; `position` is the row's number.

    Raises CallError for a table that cannot be read, a column that is not there, and ids that are not unique.
    """
    import pandas as pd

    path = Path(settings.path)
    table = read_table(path, "dataset.path")
    names = {name: _column(table, name, getattr(settings.columns, name)) for name in FIELDS}
    if names["image"] is None and names["id"] is None:
        raise CallError(f"dataset.columns.image: {path.name} has no column 'image' or 'id'; it has {_listed(table)}")
    root = Path(settings.root) if settings.root else path.parent
    cells = {name: _texts(table, column) for name, column in names.items()}
    notes = _one_label(cells, settings)
    ids = cells["id"] if names["id"] else cells["image"]
    _unique(ids, names["id"] or names["image"])
    paths, problems = _places(cells["image"], names["image"], root, settings)
    frame = pd.DataFrame(
        {"id": ids, "path": paths, "problem": problems, "position": range(len(table))}
        | {name: _or_none(cells[name]) for name in ("label", "caption", "group", "split")},
        dtype=object,
    )
    return Found(candidates(of_splits(frame, settings.splits)), notes=notes, rows=len(table))


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
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise CallError(
            f"{key}: {path.name} is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8: iconv -f latin1 -t utf-8 <it>"
        ) from error
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


def _texts(table: pd.DataFrame, column: str | None) -> list[str]:
    return table[column].tolist() if column else [""] * len(table)


def _or_none(cells: list[str]) -> list[str | None]:
    return [cell or None for cell in cells]


def _one_label(cells: dict[str, list[str]], settings: TableDataset) -> tuple[str, ...]:
    """Several labels in a cell become one, or none, by the rule; says how often."""
    separator = settings.label_separator
    if separator is None:
        return ()
    chosen = {cell: labels_of(cell, separator) for cell in set(cells["label"])}
    several = sum(len(chosen[cell]) > 1 for cell in cells["label"])
    rule = RULES[settings.several_labels]
    kept = {cell: (rule(parts, separator) if parts else None) or "" for cell, parts in chosen.items()}
    cells["label"] = [kept[cell] for cell in cells["label"]]
    name = settings.several_labels.value
    return (f"{several} images have several labels; dataset.several_labels = {name}",) if several else ()


def labels_of(cell: str, separator: str) -> list[str]:
    """The labels that stand in a cell, in their order."""
    return [part.strip() for part in cell.split(separator) if part.strip()]


RULES: dict[SeveralLabels, Callable[[list[str], str], str | None]] = {
    SeveralLabels.first: lambda parts, separator: parts[0],
    SeveralLabels.drop: lambda parts, separator: parts[0] if len(parts) == 1 else None,
    SeveralLabels.joined: lambda parts, separator: separator.join(sorted(set(parts))),
}


def _places(images: list[str], column: str | None, root: Path, settings: TableDataset) -> tuple[list[str], list[str]]:
    """Path and problem of each image; a path that leaves the root is never opened."""
    if column is None:  # a table of ids, for vectors that exist already
        return [""] * len(images), ["no image named: the table has no column of images"] * len(images)
    home = os.path.normpath(root)
    # strings, not Path objects: a million of these take a quarter of a minute
    names = [name if not name or os.path.splitext(name)[1] else name + settings.extension for name in images]  # noqa: PTH122
    paths = [os.path.normpath(os.path.join(home, name)) if name else "" for name in names]  # noqa: PTH118
    start = home if home.endswith(os.sep) else home + os.sep
    leaves = f"outside root: the path leaves dataset.root ({root}); dataset.outside_root=true reads it"
    problems = [
        ""
        if path and (settings.outside_root or path.startswith(start))
        else leaves
        if path
        else "no image named: the cell is empty"
        for path in paths
    ]
    return paths, problems


def _unique(ids: list[str], column: str | None) -> None:
    counts = Counter(ids)
    twice = [name for name, count in counts.items() for _ in range(count - 1)] if len(counts) < len(ids) else []
    if twice:
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise CallError(
            f"dataset.columns.id: '{twice[0]}'{more} stands in column '{column}' more than once; ids are unique"
        )
    if "" in counts:
        raise CallError(f"dataset.columns.id: a row of column '{column}' is empty")
