"""Vectors that exist already: npy, npz, a Parquet column, a clip-retrieval folder, or a run folder of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import CallError, RunError, one_of
from pipeline.schema import PrecomputedEncoder

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 2**26  # bytes of vectors held at a time while they are brought into order
EXAMPLES = 3  # ids named in a message

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """parts: (n_i, d) arrays that follow each other, memory-mapped where the format allows; ids: of all rows, or None;
    files: what they were read from."""

    parts: tuple[np.ndarray, ...]
    ids: tuple[str, ...] | None
    files: tuple[str, ...]


class Precomputed:
    """Given vectors as the record and the embedding stage see them. Nothing in them is changed but the order, the type
    (float32) and, if wanted, the length."""

    def __init__(self, source: Source, path: Path, normalize: bool, fingerprint: str) -> None:
        self.parts, self.ids, self.path, self.normalize = source.parts, source.ids, path, normalize
        self.count = sum(len(part) for part in source.parts)
        self.name = "precomputed"
        self.model = path.name
        self.dimension = int(source.parts[0].shape[1])
        self.dtype = "float32"
        self.precision = f"as given ({source.parts[0].dtype}), stored as float32"
        self.preprocessing = "not known: the vectors were made elsewhere"
        self.image_fingerprint = fingerprint

    def load(self) -> Precomputed:
        """Itself: there is nothing to load."""
        return self

    def match(self, files: pd.DataFrame) -> np.ndarray:
        """(len(files),) int64: the row of each file's vector, -1 for none. By id where the vectors have ids (a run's
        or clip-retrieval's ids, else its image paths), else by order. Raises RunError where neither fits."""
        if self.ids is None:
            return self._by_order(files)
        place = {name: i for i, name in enumerate(self.ids)}
        if len(place) < len(self.ids):
            raise RunError(f"encoder.path: {self.path.name} has {len(self.ids) - len(place)} ids more than once")
        for column in ("id", "path"):
            found = np.array([place.get(name, -1) for name in files[column]], np.int64)
            if (found >= 0).any():
                return found
        theirs, ours = ", ".join(self.ids[:EXAMPLES]), ", ".join(files["id"][:EXAMPLES])
        raise RunError(
            f"encoder.path: no id of {self.path.name} ({theirs}, ...) is one of the data set's ({ours}, ...)"
        )

    def _by_order(self, files: pd.DataFrame) -> np.ndarray:
        rows = files.attrs.get("rows")
        if rows is None:
            raise RunError(
                f"encoder.path: {self.path.name} has no ids, and the data set no order of its own; use dataset=table"
            )
        if rows != self.count:
            raise RunError(f"encoder.path: {self.path.name} has {self.count:,} vectors, the table {rows:,} rows")
        return files["position"].to_numpy(np.int64)

    def take(
        self, found: np.ndarray, target: Path, progress: Progress
    ) -> tuple[np.ndarray, dict[int, tuple[str, str]]]:
        """Vectors in the order of `found`, written to `target`: (m, d) float32, and why the rows left out were."""
        unusable: dict[int, tuple[str, str]] = {}
        for row in np.flatnonzero(found < 0):
            unusable[int(row)] = ("no vector", f"{self.path.name} has none with this id")
        kept = np.flatnonzero(found >= 0)
        step = max(1, BLOCK // (8 * self.dimension))
        for start in range(0, len(kept), step):  # first look, then write: the number of good rows is known only then
            rows = kept[start : start + step]
            unusable.update(self._faults(rows, self._rows(found[rows])))
            progress(min(start + step, len(kept)), 2 * len(kept))
        good = np.array([row for row in kept if int(row) not in unusable], np.int64)
        if not len(good):
            return np.empty((0, self.dimension), np.float32), unusable
        made = np.lib.format.open_memmap(target, "w+", np.float32, (len(good), self.dimension))
        for start in range(0, len(good), step):
            made[start : start + step] = self._scaled(self._rows(found[good[start : start + step]]))
            progress(len(kept) + min(start + step, len(good)), 2 * len(kept))
        made.flush()
        return np.load(target, mmap_mode="r"), unusable

    def _rows(self, wanted: np.ndarray) -> np.ndarray:
        """(len(wanted), d) float64."""
        made = np.empty((len(wanted), self.dimension))
        start = 0
        for part in self.parts:
            inside = (wanted >= start) & (wanted < start + len(part))
            made[inside] = part[wanted[inside] - start]
            start += len(part)
        return made

    def _faults(self, rows: np.ndarray, vectors: np.ndarray) -> dict[int, tuple[str, str]]:
        largest = np.abs(vectors).max(axis=1)
        finite = np.isfinite(vectors).all(axis=1) & (largest <= np.finfo(np.float32).max)
        faults = {int(row): ("not finite", "the vector has NaN or infinite values") for row in rows[~finite]}
        faults |= {int(row): ("all zero", "the vector has no direction") for row in rows[finite & (largest == 0)]}
        return faults

    def _scaled(self, vectors: np.ndarray) -> np.ndarray:
        if not self.normalize:
            return vectors
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def open_vectors(settings: PrecomputedEncoder, content_hashes: Callable[[Sequence[str]], list[str]]) -> Precomputed:
    """The vectors that `settings` name, checked for shape and type. Raises CallError."""
    path = Path(settings.path)
    source = _open(path, settings.column)
    for part in source.parts:
        if part.ndim != 2 or not part.shape[1]:
            raise CallError(f"encoder.path: {path.name}: vectors must be a table (rows, dimensions), not {part.shape}")
        if not np.issubdtype(part.dtype, np.number) or np.issubdtype(part.dtype, np.complexfloating):
            raise CallError(f"encoder.path: {path.name}: vectors must be numbers, not {part.dtype}")
    widths = {part.shape[1] for part in source.parts}
    if len(widths) > 1:
        raise CallError(f"encoder.path: {path.name}: parts of different dimensions: {sorted(widths)}")
    if not sum(len(part) for part in source.parts):
        raise CallError(f"encoder.path: {path.name} has no vectors")
    hashes = ":".join(content_hashes(source.files))
    return Precomputed(source, path, settings.normalize, f"precomputed:{settings.column}:{hashes}")


def _open(path: Path, column: str) -> Source:
    if path.is_dir():
        return _folder(path)
    openers = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
    if path.suffix.lower() not in openers:
        raise CallError(f"encoder.path: {path.name}: vectors are in {', '.join(openers)} or a folder")
    try:
        return openers[path.suffix.lower()](path, column)
    except FileNotFoundError as error:
        raise CallError(f"encoder.path: no such file: {path}") from error
    except (OSError, ValueError, EOFError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        pickled = "pickle" in first.lower()
        why = (
            "holds pickled objects, which are not loaded: save plain numbers" if pickled else f"cannot be read: {first}"
        )
        raise CallError(f"encoder.path: {path.name} {why}") from error


def _npy(path: Path, column: str) -> Source:
    try:
        return Source((np.load(path, mmap_mode="r", allow_pickle=False),), None, (str(path),))
    except ValueError:  # an empty array cannot be mapped; pickled ones are refused here again
        return Source((np.load(path, allow_pickle=False),), None, (str(path),))


def _npz(path: Path, column: str) -> Source:
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        chosen = column if column in names else names[0] if len(names) == 1 else None
        if chosen is None:
            raise CallError(f"encoder.column = {column}: not in {path.name}{one_of(column, names)}")
        ids = tuple(map(str, archive["ids"].tolist())) if "ids" in names and chosen != "ids" else None
        return Source((archive[chosen],), _as_many(ids, len(archive[chosen]), path), (str(path),))


def _parquet(path: Path, column: str) -> Source:
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    if column not in schema.names:
        raise CallError(f"encoder.column = {column}: not in {path.name}{one_of(column, schema.names)}")
    table = pq.read_table(path, columns=[column] + (["id"] if "id" in schema.names else []))
    rows = table[column].combine_chunks()
    lengths = {len(value) for value in rows.to_pylist()[:1]} if len(rows) else set()
    width = next(iter(lengths), 0)
    flat = rows.flatten().to_numpy(zero_copy_only=False)
    if rows.null_count or width == 0 or len(flat) != width * len(rows):
        raise CallError(
            f"encoder.path: {path.name}: the vectors of column '{column}' differ in length, or some are missing"
        )
    ids = tuple(str(value) for value in table["id"].to_pylist()) if "id" in schema.names else None
    return Source((flat.reshape(len(rows), width),), ids, (str(path),))


def _folder(path: Path) -> Source:
    """clip-retrieval's layout, `img_emb/*.npy` with `metadata/*.parquet`; of a run of ours it is in `embeddings/`."""
    import pandas as pd

    root = path / "embeddings" if (path / "embeddings" / "img_emb").is_dir() else path
    arrays = sorted((root / "img_emb").glob("*.npy"))
    if not arrays:
        raise CallError(f"encoder.path: {path}: neither a run folder nor a clip-retrieval folder (no img_emb/*.npy)")
    parts = tuple(part for file in arrays for part in _npy(file, "").parts)
    tables = sorted((root / "metadata").glob("*.parquet"))
    ids = None
    if tables:
        metadata = pd.concat([pd.read_parquet(file) for file in tables], ignore_index=True)
        column = next((name for name in ("id", "image_path") if name in metadata), None)
        ids = tuple(map(str, metadata[column])) if column else None
    count = sum(len(part) for part in parts)
    return Source(parts, _as_many(ids, count, path), tuple(map(str, [*arrays, *tables])))


def _as_many(ids: tuple[str, ...] | None, count: int, path: Path) -> tuple[str, ...] | None:
    if ids is not None and len(ids) != count:
        raise CallError(f"encoder.path: {path.name} has {count:,} vectors, but {len(ids):,} ids")
    return ids
