"""Parquet files with images inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.places import read_bytes
from pipeline.datasets import find
from pipeline.datasets.candidates import Found
from pipeline.errors import CallError
from tests.making import cells_of, dataset

LABELS = ["ct", "", None, "mr"]


def written(file: Path, rows: int = 4, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    given = {"image": [f"{file.stem} {i}".encode() for i in range(rows)], "label": (LABELS * rows)[:rows], **columns}
    pq.write_table(pa.table({name: cells for name, cells in given.items() if cells is not None}), file)
    return file


def listed(path: Path | str, **settings: Any) -> Found:
    return find(dataset("parquet", path=str(path), **settings), Path("unused"))


def refusal(path: Path | str, **settings: Any) -> str:
    with pytest.raises(CallError) as caught:
        listed(path, **settings)
    assert caught.value.status == 2
    return caught.value.problems[0]


def column(found: Found, name: str) -> list[str | None]:
    return cells_of(found.table[name])


def contents(found: Found) -> list[bytes]:
    return [read_bytes(path) for path in found.table["path"]]


def test_a_file_a_folder_and_a_pattern(tmp_path: Path) -> None:
    written(tmp_path / "b.parquet")
    written(tmp_path / "x/a.parquet", 2)
    found = listed(tmp_path)
    assert column(found, "id") == [*(f"b/000000{i}" for i in range(4)), "x/a/0000000", "x/a/0000001"]
    assert contents(found) == [b"b 0", b"b 1", b"b 2", b"b 3", b"a 0", b"a 1"]
    assert column(found, "label") == ["ct", None, None, "mr", "ct", None]
    assert found.table["position"].tolist() == list(range(6)) and found.rows == 6
    assert found.facts == {"files": 2, "rows": 6}
    assert listed(tmp_path / "b.parquet").table["id"].tolist() == [f"b/000000{i}" for i in range(4)]
    assert len(listed(tmp_path / "**/{a,b}.parquet").table) == 6


def test_columns_of_other_names_and_types(tmp_path: Path) -> None:
    written(
        tmp_path / "a.parquet", image=None, label=None, data=[b"0", b"1", b"2", b"3"], modality=[1, 2, None, 3],
        uid=[9, 8, 7, 6], words=pa.array(["one", None, "", "two"]).dictionary_encode(), who=[1.5, 2.0, 3.0, None],
    )  # fmt: skip
    columns = {"label": "modality", "id": "uid", "caption": "words", "group": "who"}
    found = listed(tmp_path / "a.parquet", columns=columns)
    assert column(found, "id") == ["6", "7", "8", "9"]
    assert contents(found) == [b"3", b"2", b"1", b"0"]
    assert column(found, "label") == ["3", None, "2", "1"]
    assert column(found, "caption") == ["two", None, None, "one"]
    assert column(found, "group") == [None, "3", "2", "1.5"]
    assert found.table["position"].tolist() == [3, 2, 1, 0]


def test_structs_as_hugging_face_writes_them(tmp_path: Path) -> None:
    (tmp_path / "beside.png").write_bytes(b"beside")
    cells = [
        {"bytes": b"inside", "path": "x.png"},
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": "gone.png"},
        {"bytes": None, "path": None},
        None,
    ]
    found = listed(written(tmp_path / "a.parquet", 5, image=cells))
    assert [read_bytes(path) for path in found.table["path"][:2]] == [b"inside", b"beside"]
    assert column(found, "path")[1] == str(tmp_path / "beside.png")
    assert column(found, "problem") == [
        "", "", "missing: its cell has no bytes, and the file that it names is not there", "", "",
    ]  # fmt: skip
    assert column(found, "path")[3].startswith("parquet://3/image::")


def test_splits(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", split=["train", "test", "test", None])
    assert column(listed(tmp_path, splits=["test"]), "id") == ["a/0000001", "a/0000002"]
    assert column(listed(tmp_path), "split") == ["train", "test", "test", None]
    assert refusal(tmp_path, splits=["tset"]) == (
        "dataset.splits: no row of split 'tset'; did you mean test? Known: train, test"
    )


def test_wrong_calls(tmp_path: Path) -> None:
    file = written(tmp_path / "a.parquet", name=["x"] * 4, nested=[[1]] * 4)
    assert refusal(tmp_path / "b.parquet").endswith("b.parquet; did you mean a.parquet?")
    assert refusal(file, columns={"label": "lable"}).startswith(
        "dataset.columns.label = lable: a.parquet has no such column; did you mean label? Known: image, label"
    )
    assert refusal(file, columns={"image": "name"}) == (
        "dataset.columns.image = name: holds string, not bytes of images"
    )
    assert refusal(file, columns={"label": "nested"}).startswith("dataset.columns.label = nested: holds list<")
    assert "for a table of paths use dataset=table" in refusal(written(tmp_path / "c.parquet", image=["a.png"] * 4))
    several = written(tmp_path / "d.parquet", image=None, x=[b""] * 4, y=[b""] * 4)
    assert refusal(several).endswith("has several columns of bytes, name one: x, y")
    assert refusal(written(tmp_path / "e.parquet", id=["1", "1", "2", "3"])) == (
        "dataset: two images have the id '1'; ids must be unique"
    )
    assert "row 2 of f.parquet has none" in refusal(written(tmp_path / "f.parquet", id=["0", "1", None, "3"]))
    empty = pa.table({"image": pa.array([], pa.binary())})
    pq.write_table(empty, tmp_path / "g.parquet")
    assert refusal(tmp_path / "g.parquet") == "dataset.path: no row in g.parquet"
    (tmp_path / "h.parquet").write_bytes(file.read_bytes()[:-100])
    assert refusal(tmp_path / "h.parquet").startswith("dataset.path: h.parquet cannot be read: ")
    other = written(tmp_path / "x::y/a.parquet")
    assert "must not have '::'" in refusal(other)


def test_ids_out_of_order_in_large_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "a.parquet", id=["3", "1", "2", "0"])
    assert listed(file).notes == ()
    monkeypatch.setattr("pipeline.datasets.parquet_images.HELD", 10)
    assert listed(file).notes[0].startswith("the ids are not in the order of the rows")
