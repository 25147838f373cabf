"""The table that every data set makes: a row per image that could be looked at."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import CallError, one_of

if TYPE_CHECKING:
    import pandas as pd  # imported where a table is made: a wrong path is answered without it
    import pyarrow as pa

COLUMNS = ("id", "path", "label", "caption", "group", "split", "problem", "position")
PART = 10_000  # texts that are Python's at a time


@dataclass(frozen=True)
class Found:
    """table: columns COLUMNS as text (missing: not known), sorted by id, ids unique; `problem` says why a row cannot be
    read although it was found ('reason: detail'), else it is empty. ignored: how many files of which ending are no
    images. notes: what the user should know of what was left out. rows: how many the source has, `position` counts them
    from 0; vectors without ids are matched by it. None: the source has no order of its own. facts: what the run record
    says of the data set besides. labels: where an image has several, a row for each that was judged: columns id, label,
    present (bool); None where one label an image is all there is."""

    table: pd.DataFrame
    ignored: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    labels: pd.DataFrame | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted; empty where there are none."""
        return tuple(sorted(self.table["label"].dropna().unique()))


def candidates(rows: Iterable[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """The table of rows that give at least id and path, as a row each or as a frame: missing columns and cells are
    filled up. Raises CallError where two rows have one id, and for text that cannot be written down."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(COLUMNS), dtype=object)
    unknown = pa.nulls(len(given), pa.large_string())
    cells = {name: _in_arrow(given[name]) if name in given else pa.chunked_array([unknown]) for name in COLUMNS[:-1]}
    positions = given["position"].fillna(-1).astype(int) if "position" in given else np.full(len(given), -1)
    table = pa.table({**cells, "position": pa.array(positions, pa.int64())})
    table = table.set_column(COLUMNS.index("problem"), "problem", pc.fill_null(cells["problem"], ""))
    return _by_id(table).to_pandas()


def _by_id(table: pa.Table) -> pa.Table:
    """The rows in the order of their ids: that of UTF-8's bytes is that of code points."""
    import pyarrow.compute as pc

    if _increases(table.column("id")):
        return table
    table = table.take(pc.sort_indices(table.column("id")))
    ids = table.column("id")
    twice = pc.index(pc.equal(ids[1:], ids[:-1]), True).as_py()
    if twice >= 0:
        raise CallError(f"dataset: two images have the id {ids[twice].as_py()!r}; ids must be unique")
    return table


def _increases(ids: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return len(ids) == 0 or pc.all(pc.greater(ids[1:], ids[:-1])).as_py() is not False


def _in_arrow(cells: pd.Series) -> pa.ChunkedArray:
    import pandas as pd
    import pyarrow as pa

    compact = isinstance(cells.dtype, pd.StringDtype) and cells.dtype.storage == "pyarrow"
    if not compact:
        cells = texts(None if missing else cell for cell, missing in zip(cells, cells.isna(), strict=True))
    return pa.chunked_array(pa.array(cells.array, pa.large_string()))


def texts(cells: Iterable[str | None]) -> pd.Series:
    """A column of texts as `text_frame` keeps them."""
    return text_frame(((cell,) for cell in cells), ("text",))["text"].rename(None)


def text_frame(rows: Iterable[Sequence[str | None]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows of texts, None where one is missing, kept as Arrow has them: Python's own take several times their bytes.
    Raises CallError for characters that UTF-8 does not have."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.large_string()) for name in columns])
    parts, waiting = [], iter(rows)
    try:
        while part := list(itertools.islice(waiting, PART)):
            cells = [pa.array(column, pa.large_string()) for column in zip(*part, strict=True)]
            parts.append(pa.record_batch(cells, schema=schema))
    except UnicodeEncodeError as error:
        text = str(error.object).encode("utf-8", "backslashreplace").decode()
        raise CallError(f"dataset: a text is not valid UTF-8: {text[:80]}") from error
    return pa.Table.from_batches(parts, schema).to_pandas()


def of_splits(rows: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """The rows of these splits, all where none is named. Raises CallError for one that no row has."""
    known = rows["split"].dropna().unique().tolist()
    for split in splits:
        if split not in known:
            raise CallError(f"dataset.splits: no row of split '{split}'{one_of(split, known)}")
    return rows[rows["split"].isin(splits)] if splits else rows


def subset(found: Found, limit: int, seed: int) -> Found:
    """`limit` rows, the classes in proportion (largest remainders), the same ones for the same seed."""
    import pandas as pd

    codes, names = pd.factorize(found.table["label"].fillna(""), sort=True)
    random = np.random.default_rng(seed)
    wanted = shares(np.bincount(codes, minlength=len(names)), limit)
    chosen = [random.permutation(np.flatnonzero(codes == c))[: wanted[c]] for c in range(len(names))]
    return _of_rows(found, np.concatenate(chosen))


def subset_per_class(found: Found, limit: int, seed: int) -> Found:
    """At most `limit` rows of each class, the same ones for the same seed; rows without a label are one class.

    Where an image has several labels it counts for each of them, and is taken as long as one has room.
    """
    order = np.random.default_rng(seed).permutation(len(found.table))
    labels = _labels_of_rows(found)
    taken: Counter[Any] = Counter()
    chosen = []
    for row in order:
        if any(taken[label] < limit for label in labels[row]):
            chosen.append(row)
            taken.update(labels[row])
    return _of_rows(found, np.array(chosen, int))


def _labels_of_rows(found: Found) -> list[tuple[Any, ...]]:
    """What stands for the labels that each row has, one thing where it has none."""
    if found.labels is None:
        return [(code,) for code in found.table["label"].factorize()[0].tolist()]
    present = found.labels[found.labels["present"]].groupby("id")["label"].agg(tuple)
    return [present.get(name, (None,)) for name in found.table["id"]]


def _of_rows(found: Found, rows: np.ndarray) -> Found:
    """Some of the rows, in their order, with the labels that are theirs."""
    table = found.table.iloc[np.sort(rows)].reset_index(drop=True)
    labels = found.labels
    if labels is not None:
        labels = labels[labels["id"].isin(table["id"])].reset_index(drop=True)
    return replace(found, table=table, labels=labels)


def shares(counts: np.ndarray, total: int) -> np.ndarray:
    """`total` split in proportion to `counts`: (C,) int, never above `counts`; every class at least one if it fits.

    >>> shares(np.array([70, 20, 10]), 10).tolist()
    [7, 2, 1]
    >>> shares(np.array([98, 1, 1]), 10).tolist()
    [8, 1, 1]
    """
    total = min(total, int(counts.sum()))
    exact = counts * (total / max(1, total and counts.sum()))
    whole = np.floor(exact).astype(int)
    if total >= len(counts):
        whole = np.maximum(whole, np.minimum(counts, 1))
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    while whole.sum() < total:
        for c in order:
            if whole.sum() < total and whole[c] < counts[c]:
                whole[c] += 1
    while whole.sum() > total:  # the ones given to small classes come from the largest
        whole[np.argmax(whole)] -= 1
    return whole
