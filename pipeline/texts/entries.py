"""Entries of a text index: each text once, however many there are. What does not fit into memory waits on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 64  # of the hashes: one at a time is looked through for repetitions
HASH_KEYS = ("clipscope: first", "clipscope: other")  # two 64-bit SipHashes: equal for equal texts alone
MOST_CHARACTERS = 2**26  # held in memory, however few entries they are


def schema() -> pa.Schema:
    """Columns of `texts`."""
    import pyarrow as pa

    return pa.schema(
        {"text": pa.large_string(), "category": pa.string(), "kind": pa.string()}
        | {"count": pa.int64(), "score": pa.float64()}
    )


class Entries:
    """Takes entries in order, and writes those that are the first with their text.

    folder: to work in; chunk_size: entries held in memory, and in a row group of the Parquet file.
    """

    def __init__(self, folder: Path, chunk_size: int) -> None:
        import pyarrow as pa

        shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
        folder.mkdir(parents=True)
        self.folder, self.chunk_size = folder, chunk_size
        self.taken = 0  # entries so far
        self.plain = 0  # of these, texts as they stand: they come first
        self.waiting: list[list[Any]] = [[] for _ in schema()]
        self.characters = 0
        self.raw = pa.ipc.new_stream(str(folder / "raw.arrow"), schema())

    def add(self, texts: Sequence[str], categories: Sequence[str], kind: str) -> None:
        """Texts as they stand; before all that are scored. One that is repeated is counted."""
        self.plain += len(texts)
        n = len(texts)
        self._take(texts, categories, [kind] * n, [1] * n, [np.nan] * n)

    def add_scored(self, rows: Sequence[tuple[str, str, int, float]], kind: str) -> None:
        """(text, category, count, score) of entries that were counted already; those that are there are left out."""
        texts, categories, counts, scores = ([row[i] for row in rows] for i in range(4))
        self._take(texts, categories, [kind] * len(rows), counts, scores)

    def _take(self, *columns: Sequence[Any]) -> None:
        for start in range(0, len(columns[0]), self.chunk_size):  # what is given may be more than a chunk
            for held, given in zip(self.waiting, columns, strict=True):
                held += given[start : start + self.chunk_size]
            self.characters += sum(map(len, columns[0][start : start + self.chunk_size]))
            if len(self.waiting[0]) >= self.chunk_size or self.characters >= MOST_CHARACTERS:
                self._put_down()

    def _put_down(self) -> None:
        import pyarrow as pa

        if not self.waiting[0]:
            return
        self.raw.write_batch(pa.record_batch([*map(pa.array, self.waiting, schema().types)], schema=schema()))
        texts = np.array(self.waiting[0], dtype=object)
        places = np.arange(self.taken, self.taken + len(texts), dtype=np.uint64)
        rows = np.column_stack([*_hashes(texts), places])
        parts = rows[:, 0] % np.uint64(PARTS)
        order = np.argsort(parts, kind="stable")
        ends = np.searchsorted(parts[order], np.arange(PARTS + 1))
        for part in range(PARTS):
            with (self.folder / f"hashes_{part}").open("ab") as file:
                file.write(rows[order[ends[part] : ends[part + 1]]].tobytes())
        self.taken += len(texts)
        self.waiting = [[] for _ in self.waiting]
        self.characters = 0

    def write(self, parquet: Path, arrow: Path) -> dict[str, int]:
        """Two files with the same rows: Parquet, and Arrow to be memory-mapped. Returns how many of each kind there
        are; nothing is written where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._put_down()
        self.raw.close()
        kept: dict[str, int] = {}
        if not self.taken:
            return kept
        times = self._times()
        with pq.ParquetWriter(parquet, schema()) as as_parquet, pa.ipc.new_file(str(arrow), schema()) as as_arrow:
            for table in self._chunks(times):
                as_parquet.write_table(table, row_group_size=self.chunk_size)
                as_arrow.write_table(table)
                for found in pc.value_counts(table["kind"]).to_pylist():
                    kept[found["values"]] = kept.get(found["values"], 0) + found["counts"]
        shutil.rmtree(self.folder)
        return kept

    def _times(self) -> np.ndarray:
        """(taken,) uint32 on disk: how often an entry's text occurs if it is the first with it, 0 if not."""
        times = np.lib.format.open_memmap(self.folder / "times.npy", "w+", np.uint32, (self.taken,))
        for part in range(PARTS):
            rows = np.fromfile(self.folder / f"hashes_{part}", np.uint64).reshape(-1, 3)
            if not len(rows):
                continue
            rows = rows[np.lexsort(rows.T[::-1])]
            new = np.ones(len(rows), bool)
            new[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
            occurred = np.add.reduceat((rows[:, 2] < self.plain).astype(np.uint32), np.flatnonzero(new))
            times[rows[new, 2].astype(np.int64)] = np.maximum(occurred, 1)  # what is scored was counted elsewhere
        return times

    def _chunks(self, times: np.ndarray) -> Iterator[pa.Table]:
        """The entries that are kept, about chunk_size at a time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        start, waiting = 0, []
        with pa.OSFile(str(self.folder / "raw.arrow")) as file, pa.ipc.open_stream(file) as raw:
            for batch in raw:
                times_here = pa.array(times[start : start + len(batch)].astype(np.int64))
                start += len(batch)
                counts = pc.multiply(batch["count"], times_here)
                batch = batch.set_column(3, batch.schema.field("count"), counts)
                waiting.append(batch.filter(pc.greater(times_here, 0)))
                if sum(map(len, waiting)) >= self.chunk_size:
                    yield pa.Table.from_batches(waiting).combine_chunks()
                    waiting = []
        if sum(map(len, waiting)):
            yield pa.Table.from_batches(waiting).combine_chunks()


def _hashes(texts: np.ndarray) -> list[np.ndarray]:
    import pandas as pd

    return [pd.util.hash_array(texts, hash_key=key, categorize=False) for key in HASH_KEYS]
