"""The table that every data set makes: a row per image that could be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import CallError, one_of

if TYPE_CHECKING:
    import pandas as pd  # imported where a table is made: a wrong path is answered without it

COLUMNS = ("id", "path", "label", "caption", "group", "split", "problem", "position")


@dataclass(frozen=True)
class Found:
    """table: columns COLUMNS as text (None: not known), sorted by id, ids unique; `problem` says why a row cannot be
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
    filled up. Raises CallError where two rows have one id."""
    import pandas as pd

    given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(COLUMNS))
    ids = given["id"].to_numpy(dtype=object)
    order = np.argsort(ids, kind="stable") if len(ids) else np.empty(0, int)
    twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(twice):
        raise CallError(f"dataset: two images have the id {ids[order][twice[0]]!r}; ids must be unique")
    table = pd.DataFrame({name: _cells(given, name)[order] for name in COLUMNS}, dtype=object)
    return table.astype({"position": int})


def _cells(given: pd.DataFrame, name: str) -> np.ndarray:
    """A column of COLUMNS: text or None; a position is a whole number, -1 where it is not known."""
    missing: Any = {"problem": "", "position": -1}.get(name)
    if name not in given:
        cells = np.full(len(given), missing, dtype=object)
    else:
        cells = given[name].to_numpy(dtype=object, copy=True)
        cells[given[name].isna().to_numpy()] = missing
    return cells


def of_splits(rows: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """The rows of these splits, all where none is named. Raises CallError for one that no row has."""
    known = rows["split"].dropna().unique().tolist()
    for split in splits:
        if split not in known:
            raise CallError(f"dataset.splits: no row of split '{split}'{one_of(split, known)}")
    return rows[rows["split"].isin(splits)] if splits else rows


def subset(found: Found, limit: int, seed: int) -> Found:
    """`limit` rows, the classes in proportion (largest remainders), the same ones for the same seed."""
    labels = found.table["label"].fillna("").to_numpy(dtype=object)
    names, codes = np.unique(labels.astype(str), return_inverse=True)
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
    taken: Counter[str | None] = Counter()
    chosen = []
    for row in order:
        if any(taken[label] < limit for label in labels[row]):
            chosen.append(row)
            taken.update(labels[row])
    return _of_rows(found, np.array(chosen, int))


def _labels_of_rows(found: Found) -> list[tuple[str | None, ...]]:
    """The labels that each row has, (None,) where it has none."""
    if found.labels is None:
        return [(label,) for label in found.table["label"]]
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
