"""Vectors that exist already: formats, matching, bad values, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.vectors import Precomputed, open_vectors
from pipeline.errors import RunError
from tests.making import precomputed

VECTORS = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
IDS = ["d", "b", "a", "c"]


def opened(path: Path, column: str = "embedding", **more: Any) -> Precomputed:
    return open_vectors(precomputed(path, column=column, **more), lambda files: ["0" * 64 for _ in files])


def files(ids: list[str], rows: int | None = 4) -> pd.DataFrame:
    """As the listing stage makes it: sorted by id, `position` in the table's own order."""
    table = pd.DataFrame({"id": ids, "path": [f"/x/{i}.png" for i in ids], "position": range(len(ids))})
    table = table.sort_values("id", ignore_index=True)
    table.attrs["rows"] = rows
    return table


def taken(vectors: Precomputed, table: pd.DataFrame, folder: Path) -> tuple[np.ndarray, dict[int, str]]:
    """The vectors, and row -> reason of those left out."""
    made, unusable = vectors.take(vectors.match(table), folder / "taken.npy", lambda done, total: None)
    return made, {int(row): some.reason for some in unusable for row in some.rows}


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


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4", "int8", "uint8", "int64", "fortran"])
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
    assert unusable == {3: "not finite", 1: "all zero", 2: "not finite"}


def test_what_float32_makes_of_a_value_counts(tmp_path: Path) -> None:
    """A vector that is zero once it is stored has no direction in any later stage."""
    tiny = VECTORS.astype(np.float64).copy()
    tiny[0] = 1e-300
    for normalize in (False, True):
        _, unusable = taken(opened(npy(tmp_path, tiny), normalize=normalize), files(IDS), tmp_path)
        assert unusable == {3: "all zero"}


def test_ids_without_a_vector_are_left_out_and_vectors_without_an_image_ignored(tmp_path: Path) -> None:
    made, unusable = taken(opened(parquet(tmp_path)), files(["a", "new"]), tmp_path)
    np.testing.assert_array_equal(made, VECTORS[[2]])
    assert unusable == {1: "no vector"}


def test_what_does_not_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"v.parquet: no name of a vector \(d, b, a, ...\) is the id or path .* \(x, y\)"
    ):
        opened(parquet(tmp_path)).match(files(["x", "y"]))
    with pytest.raises(RunError, match="4 vectors, the table 5 rows"):
        opened(npy(tmp_path, VECTORS)).match(files(IDS, rows=5))
    with pytest.raises(RunError, match="no order of its own; use dataset=table"):
        opened(npy(tmp_path, VECTORS)).match(files(IDS, rows=None))


def test_a_match_that_is_not_by_id_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip_retrieval(tmp_path / "f", "image_path")
    moved = files(IDS).assign(path=[f"/y/{i}.png" for i in sorted(IDS)])
    with caplog.at_level("INFO"):
        opened(tmp_path / "f").match(moved)
        opened(npy(tmp_path, VECTORS)).match(files(IDS))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "f: 4 of 4 images have a vector, matched by the end of the path: '/x/a.png' is that of '/y/a.png', say",
        ),
        ("INFO", "v.npy: matched by order"),
    ]  # fmt: skip


def test_many_rows_with_faults_are_taken_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.vectors.BLOCK", 8 * 3 * 7)  # seven rows
    many = np.random.default_rng(0).normal(size=(100, 3))
    many[::9] = np.nan
    steps: list[tuple[int, int]] = []
    vectors = opened(npy(tmp_path, many))
    made, (faulty,) = vectors.take(np.arange(100), tmp_path / "t.npy", lambda *step: steps.append(step))
    np.testing.assert_array_equal(made, np.delete(many, np.arange(0, 100, 9), axis=0).astype(np.float32))
    np.testing.assert_array_equal(faulty.rows, np.arange(0, 100, 9))
    assert steps[-1][0] == steps[-1][1]
