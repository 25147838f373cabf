"""Vectors that exist already: formats, matching, bad values, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.vectors import Precomputed, open_vectors
from pipeline.errors import CallError, RunError
from pipeline.schema import PrecomputedEncoder

VECTORS = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
IDS = ["d", "b", "a", "c"]


def opened(path: Path, column: str = "embedding", normalize: bool = False) -> Precomputed:
    given = PrecomputedEncoder(
        name="precomputed", kind="precomputed", normalize=normalize, path=str(path), column=column
    )
    return open_vectors(given, lambda files: ["0" * 64 for _ in files])


def files(ids: list[str], rows: int | None = 4) -> pd.DataFrame:
    """As the listing stage makes it: sorted by id, `position` in the table's own order."""
    table = pd.DataFrame({"id": ids, "path": [f"/x/{i}.png" for i in ids], "position": range(len(ids))})
    table = table.sort_values("id", ignore_index=True)
    table.attrs["rows"] = rows
    return table


def taken(vectors: Precomputed, table: pd.DataFrame, folder: Path) -> tuple[np.ndarray, dict[int, tuple[str, str]]]:
    return vectors.take(vectors.match(table), folder / "taken.npy", lambda done, total: None)


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "v.npy", array)
    return folder / "v.npy"


def parquet(folder: Path, with_ids: bool = True) -> Path:
    columns = {"embedding": [row.tolist() for row in VECTORS]} | ({"id": IDS} if with_ids else {})
    pq.write_table(pa.table(columns), folder / "v.parquet")
    return folder / "v.parquet"


def npz(folder: Path) -> Path:
    np.savez(folder / "v.npz", embedding=VECTORS, ids=np.array(IDS))
    return folder / "v.npz"


def clip_retrieval(folder: Path, column: str = "id") -> Path:
    """Two partitions, as clip-retrieval writes them."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for part in range(2):
        rows = slice(2 * part, 2 * part + 2)
        np.save(folder / "img_emb" / f"img_emb_{part}.npy", VECTORS[rows].astype(np.float16))
        values = IDS[rows] if column == "id" else [f"/x/{i}.png" for i in IDS[rows]]
        pd.DataFrame({column: values}).to_parquet(folder / "metadata" / f"metadata_{part}.parquet")
    return folder


def run_folder(folder: Path) -> Path:
    clip_retrieval(folder / "embeddings")
    return folder


@pytest.mark.parametrize("make", [npz, parquet, clip_retrieval, run_folder])
def test_by_id_whatever_the_format(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "vectors").mkdir()
    made, unusable = taken(opened(make(tmp_path / "vectors")), files(IDS), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2, 1, 3, 0]])
    assert made.dtype == np.float32
    assert not unusable


def test_by_image_path_where_there_are_no_ids(tmp_path: Path) -> None:
    made, _ = taken(opened(clip_retrieval(tmp_path / "f", "image_path")), files(IDS), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2, 1, 3, 0]])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "fortran"])
def test_by_order_whatever_the_type(tmp_path: Path, kind: str) -> None:
    array = np.asfortranarray(VECTORS) if kind == "fortran" else VECTORS.astype(kind)
    made, _ = taken(opened(npy(tmp_path, array)), files(IDS), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2, 1, 3, 0]])  # the table's order, not that of the sorted ids


def test_a_subset_of_the_table_takes_its_own_rows(tmp_path: Path) -> None:
    some = files(IDS).iloc[[1, 3]].reset_index(drop=True)
    some.attrs["rows"] = 4
    made, _ = taken(opened(npy(tmp_path, VECTORS)), some, tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[1, 0]])


def test_unit_length_on_wish(tmp_path: Path) -> None:
    made, _ = taken(opened(npy(tmp_path, VECTORS), normalize=True), files(IDS), tmp_path)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-6)


def test_values_that_are_no_vectors_are_left_out_and_named(tmp_path: Path) -> None:
    bad = VECTORS.astype(np.float64).copy()
    bad[0, 1], bad[1], bad[3, 0] = np.nan, 0, 1e300
    made, unusable = taken(opened(npy(tmp_path, bad)), files(IDS), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2]])
    assert {row: reason for row, (reason, _) in unusable.items()} == {3: "not finite", 1: "all zero", 2: "not finite"}


def test_ids_without_a_vector_are_left_out_and_vectors_without_an_image_ignored(tmp_path: Path) -> None:
    made, unusable = taken(opened(parquet(tmp_path)), files(["a", "new"]), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2]])
    assert unusable[1][0] == "no vector"


def test_what_does_not_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no id of v.parquet \(d, b, a, ...\) is one of the data set's \(x, y, ...\)"):
        opened(parquet(tmp_path)).match(files(["x", "y"]))
    with pytest.raises(RunError, match="4 vectors, the table 5 rows"):
        opened(npy(tmp_path, VECTORS)).match(files(IDS, rows=5))
    with pytest.raises(RunError, match="no order of its own; use dataset=table"):
        opened(npy(tmp_path, VECTORS)).match(files(IDS, rows=None))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.arange(4.0), r"must be a table \(rows, dimensions\), not \(4,\)"),
        (np.zeros((0, 3)), "has no vectors"),
        (np.zeros((3, 0)), "must be a table"),
        (np.array([["a", "b"]]), "must be numbers"),
        (np.zeros((2, 2), complex), "must be numbers"),
    ],
)
def test_shapes_and_types_that_are_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(CallError, match=said):
        opened(npy(tmp_path, array))


def test_pickled_files_are_refused_and_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "v.npy", np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", embedding=np.array([Bomb()], dtype=object))
    for name in ("v.npy", "v.npz"):
        with pytest.raises(CallError, match="pickled objects, which are not loaded"):
            opened(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("empty.npy", "empty.npz", "empty.parquet"):
        (tmp_path / name).touch()
        with pytest.raises(CallError, match=f"{name} cannot be read"):
            opened(tmp_path / name)
    with pytest.raises(CallError, match="no such file"):
        opened(tmp_path / "nothing.npy")
    with pytest.raises(CallError, match=r"vectors are in \.npy, \.npz, \.parquet or a folder"):
        opened(tmp_path / "v.pt")
    with pytest.raises(CallError, match="neither a run folder nor a clip-retrieval folder"):
        opened(tmp_path)
    with pytest.raises(CallError, match=r"encoder.column = vectr: not in v.parquet"):
        opened(parquet(tmp_path), column="vectr")
    pq.write_table(pa.table({"embedding": [[1.0], [1.0, 2.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(CallError, match="differ in length"):
        opened(tmp_path / "ragged.parquet")
