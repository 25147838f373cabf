"""Files of vectors, good and bad. Each mistake is a line that names the file, and nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.vector_files import Source, read
from pipeline.datasets.vectors import IMAGES
from pipeline.errors import CallError

VECTORS = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
IDS = ["d", "b", "a", "c"]


def opened(path: Path, column: str = "embedding") -> Source:
    return read(path, column, IMAGES)


def values(source: Source) -> np.ndarray:
    return source.rows(np.arange(source.count))


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "v.npy", array)
    return folder / "v.npy"


def parquet(folder: Path, column: pa.Array, **more: object) -> Path:
    pq.write_table(pa.table({"embedding": column, **more}), folder / "v.parquet")
    return folder / "v.parquet"


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 3), pa.list_(pa.int8())]
)
def test_lists_of_every_kind_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    rows = [row.tolist() if pa.types.is_floating(kind.value_type) else row.astype(int).tolist() for row in VECTORS]
    if kind.value_type == pa.float16():
        rows = [list(np.float16(row)) for row in rows]
    source = opened(parquet(tmp_path, pa.array(rows, kind), id=IDS))
    np.testing.assert_array_equal(values(source), VECTORS)
    assert source.names == IDS


def test_row_groups_stay_apart_and_in_order(tmp_path: Path) -> None:
    table = pa.table({"embedding": VECTORS.tolist(), "id": [7, 8, 9, 10]})
    pq.write_table(table, tmp_path / "v.parquet", row_group_size=1)
    source = opened(tmp_path / "v.parquet")
    np.testing.assert_array_equal(values(source), VECTORS)
    assert source.names == ["7", "8", "9", "10"]


@pytest.mark.parametrize("width", [None, 3])
def test_missing_lists_and_numbers_are_not_finite_rows(tmp_path: Path, width: int | None) -> None:
    kind = pa.list_(pa.float32(), width) if width else pa.list_(pa.float32())
    rows = [[1.0, 2.0, 3.0], None, [4.0, None, 6.0], [7.0, 8.0, 9.0]]
    found = values(opened(parquet(tmp_path, pa.array(rows, kind))))
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False, False, True])
    np.testing.assert_array_equal(found[3], [7, 8, 9])


def test_pandas_writes_what_is_read(tmp_path: Path) -> None:
    pd.DataFrame({"id": IDS, "embedding": list(VECTORS)}).to_parquet(tmp_path / "v.parquet")
    np.testing.assert_array_equal(values(opened(tmp_path / "v.parquet")), VECTORS)


def test_the_only_array_of_an_archive_needs_no_name(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "v.npz", whatever=VECTORS)
    source = opened(tmp_path / "v.npz")
    np.testing.assert_array_equal(values(source), VECTORS)
    assert source.names is None


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.arange(4.0), r"must be a table of vectors \(rows, dimensions\), not \(4,\)"),
        (np.array(3.0), r"not \(\)"),
        (np.zeros((2, 3, 4)), r"not \(2, 3, 4\)"),
        (np.zeros((3, 0)), r"not \(3, 0\)"),
        (np.zeros((0, 3)), "has no vectors"),
        (np.array([["a", "b"]]), "must hold real numbers, not <U1"),
        (np.zeros((2, 2), complex), "must hold real numbers, not complex128"),
        (np.zeros((2, 2), bool), "must hold real numbers, not bool"),
        (np.zeros((2, 2), "M8[s]"), "must hold real numbers, not datetime64"),
        (np.zeros(2, [("x", "f4")]), r"not \(2,\)"),
    ],
)
def test_shapes_and_types_that_are_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(CallError, match=f"encoder.path: v.npy .*{said}"):
        opened(npy(tmp_path, array))


def test_pickled_files_are_refused_and_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "v.npy", np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", embedding=np.array([Bomb()], dtype=object))
    np.savez(tmp_path / "ids.npz", embedding=VECTORS, ids=np.array([Bomb()] * 4, dtype=object))
    for name in ("v.npy", "v.npz", "ids.npz"):
        with pytest.raises(CallError, match=r"pickled objects, which are not loaded"):
            opened(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("ending", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
def test_files_that_were_cut_off(tmp_path: Path, ending: str, kept: float) -> None:
    file = tmp_path / f"v.{ending}"
    large = np.random.default_rng(0).normal(size=(50, 40))
    if ending == "npy":
        np.save(file, large)
    elif ending == "npz":
        np.savez_compressed(file, embedding=large)
    else:
        pq.write_table(pa.table({"embedding": large.tolist()}), file)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(CallError, match=f"encoder.path: v.{ending} cannot be read: ") as error:
        opened(file)
    assert len(error.value.problems) == 1
    assert "\n" not in str(error.value)


def test_a_damaged_archive(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "v.npz", embedding=np.random.default_rng(0).normal(size=(50, 40)))
    data = bytearray((tmp_path / "v.npz").read_bytes())
    data[200:260] = bytes(60)
    (tmp_path / "v.npz").write_bytes(data)
    with pytest.raises(CallError, match=r"v.npz cannot be read"):
        opened(tmp_path / "v.npz")


def test_names_that_are_wrong(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", embedding=VECTORS, ids=np.array(IDS[:3]))
    np.savez(tmp_path / "square.npz", embedding=VECTORS, ids=np.array([IDS]))
    np.savez(tmp_path / "two.npz", vectors=VECTORS, others=VECTORS)
    with pytest.raises(CallError, match=r"few.npz has 4 vectors, but 3 names for them"):
        opened(tmp_path / "few.npz")
    with pytest.raises(CallError, match=r"no list of texts in 'ids', but <U1 \(1, 4\)"):
        opened(tmp_path / "square.npz")
    with pytest.raises(CallError, match=r"encoder.column: two.npz has no array 'vector'; did you mean vectors\?"):
        opened(tmp_path / "two.npz", "vector")


def test_columns_that_are_wrong(tmp_path: Path) -> None:
    file = parquet(tmp_path, pa.array(VECTORS.tolist()), label=IDS)
    with pytest.raises(
        CallError, match=r"encoder.column: v.parquet has no column 'embeding'; did you mean embedding\?"
    ):
        opened(file, "embeding")
    with pytest.raises(
        CallError, match=r"encoder.column: v.parquet holds string in column 'label', not a list of numbers"
    ):
        opened(file, "label")
    with pytest.raises(CallError, match=r"holds lists of from 1 to 2 numbers in column 'embedding'"):
        opened(parquet(tmp_path, pa.array([[1.0], [1.0, 2.0]])))
    with pytest.raises(CallError, match=r"holds lists of no numbers"):
        opened(parquet(tmp_path, pa.array([[], []], pa.list_(pa.float32()))))
    with pytest.raises(CallError, match=r"holds lists of no numbers"):
        opened(parquet(tmp_path, pa.array([None, None], pa.list_(pa.float32()))))
    with pytest.raises(CallError, match=r"has no vectors"):
        opened(parquet(tmp_path, pa.array([], pa.list_(pa.float32()))))
    with pytest.raises(CallError, match=r"must hold real numbers"):
        opened(parquet(tmp_path, pa.array([["a"], ["b"]])))


def test_names_of_files_that_lie(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", embedding=VECTORS)
    (tmp_path / "v.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "v.npy").rename(tmp_path / "array.npz")
    with pytest.raises(CallError, match=r"archive.npy is an npz archive by its content"):
        opened(tmp_path / "archive.npy")
    with pytest.raises(CallError, match=r"array.npz cannot be read: it is no npz archive"):
        opened(tmp_path / "array.npz")
    (tmp_path / "table.parquet").write_text("id,embedding\n")
    with pytest.raises(CallError, match=r"table.parquet cannot be read"):
        opened(tmp_path / "table.parquet")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"encoder.path: no such file: .*nothing.npy"):
        opened(tmp_path / "nothing.npy")
    with pytest.raises(CallError, match=r"v.pt is neither a folder nor one of \.npy, \.npz, \.parquet"):
        opened(tmp_path / "v.pt")
    with pytest.raises(
        CallError, match=r"neither a run folder nor a clip-retrieval folder .*: it has no img_emb/\*.npy"
    ):
        opened(tmp_path)


def test_folders_whose_parts_do_not_fit(tmp_path: Path) -> None:
    for part, rows in enumerate((3, 1)):
        for place in ("img_emb", "metadata"):
            (tmp_path / place).mkdir(exist_ok=True)
        np.save(tmp_path / "img_emb" / f"img_emb_{part}.npy", VECTORS[:rows])
        pd.DataFrame({"image_path": IDS[:2]}).to_parquet(tmp_path / "metadata" / f"metadata_{part}.parquet")
    with pytest.raises(CallError, match=r"has 3 vectors in img_emb_0.npy, but 2 rows in metadata_0.parquet"):
        opened(tmp_path)
    (tmp_path / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(CallError, match=r"has 4 vectors, but 2 names for them"):
        opened(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", VECTORS[:, :2])
    (tmp_path / "metadata" / "metadata_0.parquet").unlink()
    with pytest.raises(CallError, match=r"has vectors of different dimensions: 2, 3"):
        opened(tmp_path)
    (tmp_path / "img_emb" / "img_emb_1.npy").write_bytes(b"no array")
    with pytest.raises(CallError, match=r"img_emb/img_emb_1.npy cannot be read: it does not begin as an npy file does"):
        opened(tmp_path)
