"""A table of images: CSV, TSV, Parquet or JSON lines. Everything in it is text: an id 000001 stays 000001."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.datasets.candidates import PART, Found, candidates, of_splits, text_frame, texts
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
    del table
    cells["label"], notes = _one_label(cells["label"], settings)
    ids = cells["id"] if names["id"] else cells["image"]
    _unique(ids, names["id"] or names["image"])
    places = text_frame(_places(cells["image"], names["image"], root, settings), ("path", "problem"))
    known = {name: cells[name].mask(cells[name] == "") for name in ("label", "caption", "group", "split")}
    frame = pd.DataFrame({"id": ids, **places, **known, "position": range(len(ids))})
    return Found(candidates(of_splits(frame, settings.splits)), notes=notes, rows=len(frame))


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
    return pd.DataFrame({name: texts(map(_text, table[name])) for name in table.columns})


def _read_json_lines(path: Path) -> pd.DataFrame:
    import pandas as pd

    parts = []
    with path.open(encoding="utf-8-sig") as file:
        lines = (json.loads(line) for line in file if line.strip())
        while rows := list(itertools.islice(lines, PART)):
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is not an object")
            names = list(dict.fromkeys(name for row in rows for name in row))
            parts.append(pd.DataFrame({name: texts(_text(row.get(name)) for row in rows) for name in names}))
    return pd.concat(parts, ignore_index=True).fillna("") if parts else pd.DataFrame()


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


def _texts(table: pd.DataFrame, column: str | None) -> pd.Series:
    import pandas as pd

    return table[column] if column else pd.Series("", index=table.index, dtype="str")


def _one_label(cells: pd.Series, settings: TableDataset) -> tuple[pd.Series, tuple[str, ...]]:
    """Several labels in a cell become one, or none, by the rule; says how often."""
    separator = settings.label_separator
    if separator is None:
        return cells, ()
    chosen = {cell: labels_of(cell, separator) for cell in cells.unique()}
    several = int(cells.isin([cell for cell, parts in chosen.items() if len(parts) > 1]).sum())
    rule = RULES[settings.several_labels]
    kept = {cell: (rule(parts, separator) if parts else None) or "" for cell, parts in chosen.items()}
    name = settings.several_labels.value
    notes = (f"{several} images have several labels; dataset.several_labels = {name}",) if several else ()
    return texts(kept[cell] for cell in cells), notes


def labels_of(cell: str, separator: str) -> list[str]:
    """The labels that stand in a cell, in their order."""
    return [part.strip() for part in cell.split(separator) if part.strip()]


RULES: dict[SeveralLabels, Callable[[list[str], str], str | None]] = {
    SeveralLabels.first: lambda parts, separator: parts[0],
    SeveralLabels.drop: lambda parts, separator: parts[0] if len(parts) == 1 else None,
    SeveralLabels.joined: lambda parts, separator: separator.join(sorted(set(parts))),
}


def _places(images: pd.Series, column: str | None, root: Path, settings: TableDataset) -> Iterator[tuple[str, str]]:
    """Path and problem of each image; a path that leaves the root is never opened."""
    if column is None:  # a table of ids, for vectors that exist already
        yield from [("", "no image named: the table has no column of images")] * len(images)
        return
    home = os.path.normpath(root)
    start = home if home.endswith(os.sep) else home + os.sep
    leaves = f"outside root: the path leaves dataset.root ({root}); dataset.outside_root=true reads it"
    for name in images:  # strings, not Path objects: a million of these take a quarter of a minute
        if not name:
            yield "", "no image named: the cell is empty"
            continue
        whole = name if os.path.splitext(name)[1] else name + settings.extension  # noqa: PTH122
        path = os.path.normpath(os.path.join(home, whole))  # noqa: PTH118
        yield path, "" if settings.outside_root or path.startswith(start) else leaves


def _unique(ids: pd.Series, column: str | None) -> None:
    twice = ids[ids.duplicated()]
    if len(twice):
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise CallError(
            f"dataset.columns.id: '{twice.iloc[0]}'{more} stands in column '{column}' more than once; ids are unique"
        )
    if (ids == "").any():
        raise CallError(f"dataset.columns.id: a row of column '{column}' is empty")
