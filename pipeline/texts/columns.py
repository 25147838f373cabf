"""The cells of a column of a table, in portions: CSV, TSV, Parquet or JSON lines. Everything in it is text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import CallError, RunError, one_of

ROWS = 50_000  # read at a time

Cells = tuple[list[str], ...]  # of each wanted column


def must_have(path: Path, column: str, category_column: str | None) -> None:
    """Raises CallError where the table cannot be read or has no such column, or one that holds no text."""
    if path.suffix.lower() not in READERS:
        raise CallError(f"text.path: {path.name}: tables end in {', '.join(READERS)}")
    try:
        known = _known(path)
    except Exception as error:  # of whichever library reads it
        raise CallError(f"text.path: {_said(path, error)}") from error
    for key, name in (("column", column), ("category_column", category_column)):
        if name is not None and name not in known:
            raise CallError(f"text.{key} = {name}: {path.name} has no such column{one_of(name, known)}")
        if name is not None and known[name]:
            raise CallError(f"text.{key} = {name}: holds {known[name]}, which is no text")


def cells(path: Path, column: str, category_column: str | None) -> Iterator[tuple[list[str], list[str]]]:
    """(texts, their categories) of some rows at a time, '' where a cell is missing. Raises RunError."""
    names = [column] if category_column is None else [column, category_column]
    try:
        for found in READERS[path.suffix.lower()](path, names):
            texts = found[0]
            yield texts, [""] * len(texts) if category_column is None else found[1]
    except Exception as error:  # of whichever library reads it
        raise RunError(f"text.path: {_said(path, error)}") from error


def _said(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"{path.name} is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8: iconv -f latin1 -t utf-8 <it>"
    return f"{path.name} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}"


def _known(path: Path) -> dict[str, str]:
    """Column -> its type where that is no text and cannot be shown as such, else ''."""
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq
        import pyarrow.types as t

        odd = (t.is_nested, t.is_binary, t.is_large_binary, t.is_fixed_size_binary)
        return {f.name: str(f.type) if any(is_odd(f.type) for is_odd in odd) else "" for f in pq.read_schema(path)}
    if path.suffix.lower() == ".jsonl":
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "{}")
        return dict.fromkeys(_object(first), "")
    import pandas as pd

    head = pd.read_csv(path, sep=_separator(path), dtype=str, nrows=0, encoding="utf-8-sig")
    return dict.fromkeys(map(str, head.columns), "")


def _of_csv(path: Path, names: list[str]) -> Iterator[Cells]:
    import pandas as pd

    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    wanted = sorted(set(names))  # one column may be both
    with pd.read_csv(path, sep=_separator(path), usecols=wanted, chunksize=ROWS, **options) as parts:
        for part in parts:
            yield tuple(part[name].tolist() for name in names)


def _of_parquet(path: Path, names: list[str]) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=sorted(set(names))):
            yield tuple([_text(cell) for cell in batch.column(name).to_pylist()] for name in names)


def _of_json_lines(path: Path, names: list[str]) -> Iterator[Cells]:
    with path.open(encoding="utf-8-sig") as file:
        rows: list[dict[str, Any]] = []
        for line in file:
            if line.strip():
                rows.append(_object(line))
            if len(rows) == ROWS:
                yield tuple([_text(row.get(name)) for row in rows] for name in names)
                rows = []
        yield tuple([_text(row.get(name)) for row in rows] for name in names)


def _object(line: str) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("a line is not an object")
    return found


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


READERS: dict[str, Callable[[Path, list[str]], Iterator[Cells]]] = {
    ".csv": _of_csv,
    ".tsv": _of_csv,
    ".parquet": _of_parquet,
    ".jsonl": _of_json_lines,
}
