"""Parquet files that hold images as bytes. They are read in place; listing them leaves the images alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.places import HELD
from pipeline.datasets.arrow_columns import Names, Part, frame_of, named_outside, names_of
from pipeline.datasets.candidates import Found, candidates, of_splits
from pipeline.datasets.patterns import files_of
from pipeline.errors import CallError
from pipeline.schema import ColumnSettings, ParquetDataset

if TYPE_CHECKING:
    import pandas as pd


def find(settings: ParquetDataset, data: Path) -> Found:
    """Candidates of all rows of the files. An id is that of the id column, else file and row; `position` is the row's
    number, counted through all files. Raises CallError."""
    files = files_of(settings.path, ".parquet", "dataset.path")
    frame, notes = frame_of_files(files, settings.columns, {})
    table = candidates(of_splits(frame, settings.splits))
    return Found(table, notes=notes, rows=len(frame), facts={"files": len(files), "rows": len(frame)})


def frame_of_files(
    files: Sequence[Path], columns: ColumnSettings, splits: Mapping[Path, str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The candidates of all rows and what the user should know. splits: of whole files. Raises CallError."""
    common = Path(os.path.commonpath([file.parent for file in files]))
    parts = [
        _part(file, f"{file.relative_to(common).with_suffix('').as_posix()}/", columns, splits.get(file))
        for file in files
    ]
    frame = frame_of(parts)
    if not len(frame):
        raise CallError(f"dataset.path: no row in {', '.join(file.name for file in files[:3])}")
    return frame, _notes(parts, frame)


def _part(file: Path, name: str, columns: ColumnSettings, split: str | None) -> Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False)
        names = names_of(opened.schema_arrow, columns, file.name)
        cells = opened.read(columns=names.wanted)
        return Part("parquet", file, name, names, cells, _outside(opened, names), split)
    except (pa.ArrowException, OSError) as error:
        raise CallError(f"dataset.path: {file.name} cannot be read: {(str(error).splitlines() or [''])[0]}") from error


def _outside(opened: Any, names: Names) -> list[str | None]:
    """For each row the file that it names instead of holding bytes. Without the images, where no cell is empty."""
    import pyarrow as pa

    facts = opened.metadata
    groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
    leaves = [g.column(i) for g in groups for i in range(g.num_columns)]
    ours = [leaf for leaf in leaves if leaf.path_in_schema == f"{names.image}.bytes"]
    if all(leaf.statistics is not None and leaf.statistics.null_count == 0 for leaf in ours):
        return [None] * facts.num_rows
    found: list[str | None] = []
    for batch in opened.iter_batches(64, columns=[names.image], use_threads=False):
        found += named_outside(pa.chunked_array([batch.column(0)]))
    return found


def _notes(parts: Sequence[Part], frame: pd.DataFrame) -> tuple[str, ...]:
    """Row groups can only be read from their start: in another order than the rows' that takes long."""
    if frame["id"].is_monotonic_increasing or all(part.file.stat().st_size <= HELD for part in parts):
        return ()
    return (
        "the ids are not in the order of the rows, so that images are read back and forth: without "
        "dataset.columns.id, or with files sorted by it, reading is faster",
    )
