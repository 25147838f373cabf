"""Files of vectors: npy, npz, Parquet, and folders in clip-retrieval's layout (a run of ours has one). Nothing in them
is ever unpickled."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import CallError, one_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Side:
    """What is read: the vectors of images or of texts. setting: names the file, and stands before every error; names:
    arrays or columns that may hold their names, the first that is there does; naming: the setting to blame where none
    is there, '' where they can do without; folder, plural: clip-retrieval's folder of them, and what they are."""

    setting: str
    names: tuple[str, ...]
    naming: str
    folder: str
    plural: str


@dataclass(frozen=True)
class Source:
    """parts: (n_i, d) arrays that follow each other, memory-mapped where the format allows; names: of all rows ('': has
    none), or None; files: what they were read from."""

    parts: tuple[np.ndarray, ...]
    names: list[str] | None
    files: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return sum(len(part) for part in self.parts)

    @property
    def dimension(self) -> int:
        """How long each is."""
        return int(self.parts[0].shape[1])

    def rows(self, wanted: np.ndarray) -> np.ndarray:
        """(len(wanted), d) float64, of rows counted through all parts."""
        made = np.empty((len(wanted), self.dimension))
        start = 0
        for part in self.parts:
            inside = (wanted >= start) & (wanted < start + len(part))
            made[inside] = part[wanted[inside] - start]
            start += len(part)
        return made


def faults(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, d) vectors -> (m,) bool twice: not finite, and all zero, once they are float32."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        stored = vectors.astype(np.float32)
    return ~np.asarray(np.isfinite(stored).all(axis=1)), ~np.asarray(stored.any(axis=1))


def unit(vectors: np.ndarray) -> np.ndarray:
    """(m, d) vectors, none all zero, scaled to length 1."""
    made: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return made


def read(path: Path, column: str, side: Side) -> Source:
    """The vectors in a file or folder, checked for shape and type. column: of a Parquet file or npz archive. Raises
    CallError."""
    try:
        source = _open(path, column, side)
        _check(source)
    except _Refused as error:
        raise CallError(f"{error.setting or side.setting}: {path.name} {error}") from error
    return source


class _Refused(Exception):
    """What is wrong with a file, to follow its name; `setting`: another than the one which names the file."""

    def __init__(self, reason: str, setting: str = "") -> None:
        super().__init__(reason)
        self.setting = setting


def _open(path: Path, column: str, side: Side) -> Source:
    if path.is_dir():
        return _folder(path, side)
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise _Refused(f"is neither a folder nor one of {', '.join(OPENERS)}")
    if not path.is_file():
        raise CallError(f"{side.setting}: no such file: {path}")
    with _in_our_words():
        return opener(path, column, side)


@contextlib.contextmanager
def _in_our_words(file: str = "") -> Iterator[None]:
    """Whatever a library raises over a damaged file, which can be anything, becomes a line. file: in a folder."""
    try:
        yield
    except _Refused as error:
        raise _Refused(f"{file} {error}".strip(), error.setting) from error
    except MemoryError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        pickled = "object arrays" in first.lower()
        why = (
            "holds pickled objects, which are not loaded: save plain numbers" if pickled else f"cannot be read: {first}"
        )
        raise _Refused(f"{file} {why}".strip()) from error


def _check(source: Source) -> None:
    for part in source.parts:
        if part.ndim != 2 or not part.shape[1]:
            raise _Refused(f"must be a table of vectors (rows, dimensions), not {part.shape}")
        if not np.issubdtype(part.dtype, np.number) or np.issubdtype(part.dtype, np.complexfloating):
            raise _Refused(f"must hold real numbers, not {part.dtype}")
    widths = sorted({part.shape[1] for part in source.parts})
    if len(widths) > 1:
        raise _Refused(f"has vectors of different dimensions: {', '.join(map(str, widths))}")
    if not source.count:
        raise _Refused("has no vectors")
    if source.names is not None and len(source.names) != source.count:
        raise _Refused(f"has {source.count:,} vectors, but {len(source.names):,} names for them")


def _npy(path: Path, column: str, side: Side) -> Source:
    return Source((_array(path),), None, (str(path),))


def _array(path: Path) -> np.ndarray:
    """The array of an npy file."""
    with path.open("rb") as file:
        begins = file.read(6)
    if begins.startswith(b"PK"):
        raise _Refused("is an npz archive by its content: name it so")
    if begins != b"\x93NUMPY":
        raise _Refused("cannot be read: it does not begin as an npy file does")
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped; pickled and damaged ones are refused here again
        found = np.load(path, allow_pickle=False)
    return found


def _npz(path: Path, column: str, side: Side) -> Source:
    if not zipfile.is_zipfile(path):
        raise _Refused("cannot be read: it is no npz archive, or the end of it is missing")
    with np.load(path, allow_pickle=False) as archive:
        chosen = column if column in archive.files else archive.files[0] if len(archive.files) == 1 else None
        if chosen is None:
            raise _Refused(f"has no array '{column}'{one_of(column, archive.files)}", "encoder.column")
        naming = _naming(side, [name for name in archive.files if name != chosen])
        names = archive[naming] if naming else None
        if names is not None and (names.ndim != 1 or names.dtype.kind not in "USiu"):
            raise _Refused(f"has no list of texts in '{naming}', but {names.dtype} {names.shape}", side.naming)
        return Source((archive[chosen],), None if names is None else names.astype(str).tolist(), (str(path),))


def _naming(side: Side, known: Sequence[str]) -> str | None:
    """Which array or column holds the names."""
    found = next((name for name in side.names if name in known), None)
    if found is None and side.naming:
        wanted = " or ".join(f"'{name}'" for name in side.names)
        raise _Refused(f"has no {wanted} that holds the {side.plural}{one_of(side.names[0], known)}", side.naming)
    return found


def _parquet(path: Path, column: str, side: Side) -> Source:
    import pyarrow.parquet as pq

    known = pq.read_schema(path).names
    if column not in known:
        raise _Refused(f"has no column '{column}'{one_of(column, known)}", "encoder.column")
    naming = _naming(side, [name for name in known if name != column])
    table = pq.read_table(path, columns=[column, *([naming] if naming else [])])
    parts = _matrices(table[column], column)
    return Source(parts, _texts(table[naming]) if naming else None, (str(path),))


def _matrices(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, ...]:
    """A column of lists of one length as (n_i, d) arrays, a missing list as NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise _Refused(f"holds {column.type} in column '{name}', not a list of numbers in each row", "encoder.column")
    if not len(column):
        raise _Refused("has no vectors")
    bounds = pc.min_max(pc.list_value_length(column)).as_py()
    if not bounds["max"] or bounds["min"] != bounds["max"]:
        lengths = f"from {bounds['min']} to {bounds['max']} numbers" if bounds["max"] else "no numbers"
        raise _Refused(f"holds lists of {lengths} in column '{name}': vectors are equally long")
    return tuple(_matrix(chunk, bounds["max"]) for chunk in column.chunks if len(chunk))


def _matrix(chunk: pa.Array, width: int) -> np.ndarray:
    given = chunk.drop_null().flatten().to_numpy(zero_copy_only=False)
    vectors: np.ndarray = given.reshape(-1, width)
    if not chunk.null_count:
        return vectors
    made = np.full((len(chunk), width), np.nan)
    made[chunk.is_valid().to_numpy(zero_copy_only=False)] = vectors
    return made


def _texts(column: pa.ChunkedArray) -> list[str]:
    """A column as texts, '' where it has none."""
    import pyarrow as pa

    found: list[str] = column.cast(pa.string()).fill_null("").to_numpy().tolist()
    return found


def _folder(path: Path, side: Side) -> Source:
    """clip-retrieval's layout: `img_emb/*.npy` or `text_emb/*.npy` with `metadata/*.parquet`, in `embeddings/` of a run
    of ours."""
    root = path / "embeddings" if (path / "embeddings" / "img_emb").is_dir() else path
    arrays, tables = (
        sorted((root / place).glob(f"*.{e}")) for place, e in ((side.folder, "npy"), ("metadata", "parquet"))
    )
    if not arrays:
        raise _Refused(
            f"is neither a run folder nor a clip-retrieval folder with vectors of {side.plural}: it has no "
            f"{side.folder}/*.npy"
        )
    parts, named = [], []
    for file in arrays:
        with _in_our_words(f"{side.folder}/{file.name}"):
            parts.append(_array(file))
    for file in tables:
        with _in_our_words(f"metadata/{file.name}"):
            named.append(_column(file, side))
    for array, part, table, names in zip(arrays, parts, tables, named, strict=False):
        if len(arrays) == len(tables) and names is not None and part.ndim and len(part) != len(names):
            raise _Refused(f"has {len(part):,} vectors in {array.name}, but {len(names):,} rows in {table.name}")
    names = [name for some in named for name in some or ()] if named and None not in named else None
    return Source(tuple(parts), names, tuple(map(str, [*arrays, *tables])))


def _column(file: Path, side: Side) -> list[str] | None:
    import pyarrow.parquet as pq

    naming = _naming(side, pq.read_schema(file).names)
    return _texts(pq.read_table(file, columns=[naming])[naming]) if naming else None


OPENERS: dict[str, Callable[[Path, str, Side], Source]] = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
