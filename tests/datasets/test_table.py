"""Tables of images: formats, columns, ids that stay text, several labels, paths that stay inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.datasets.candidates import Found
from pipeline.datasets.table import find
from pipeline.errors import CallError
from pipeline.schema import ColumnSettings, SeveralLabels, TableDataset
from tests.making import cells_of

ROWS = [
    {"id": "000002", "image": "b.png", "label": "NA", "caption": 'a "cat", grey\nand small', "split": "test"},
    {"id": "000001", "image": "sub/a.png", "label": "001", "caption": "", "split": "train"},
    {"id": "1e5", "image": "c", "label": "", "caption": "=2+2", "split": "test"},
]


def settings(path: Path, columns: dict[str, str] | None = None, **other: Any) -> TableDataset:
    names = dict.fromkeys(("image", "id", "label", "caption", "group", "split"), None) | (columns or {})
    given = {
        "root": None, "outside_root": False,
        "extension": "", "label_separator": None, "several_labels": SeveralLabels.first, "splits": [],
    } | other  # fmt: skip
    return TableDataset(
        name="table", source="table", limit=None, limit_per_class=None, sample_seed=0, max_unreadable=0.5, pixel_size=8,
        path=str(path), columns=ColumnSettings(**names), **given,
    )  # fmt: skip


def written(folder: Path, ending: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = folder / f"items{ending}"
    table = pd.DataFrame(rows)
    if ending == ".parquet":
        table.to_parquet(path)
    elif ending == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    else:
        table.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",", encoding="utf-8-sig")
    return path


def found(folder: Path, rows: list[dict[str, Any]], columns: dict[str, str] | None = None, **other: Any) -> Found:
    return find(settings(written(folder, ".csv", rows), columns, **other), folder)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_every_format_gives_the_same_text(tmp_path: Path, ending: str) -> None:
    table = find(settings(written(tmp_path, ending), extension=".jpg"), tmp_path).table
    assert table["id"].tolist() == ["000001", "000002", "1e5"]
    assert cells_of(table["label"]) == ["001", "NA", None]
    assert cells_of(table["caption"]) == [None, 'a "cat", grey\nand small', "=2+2"]
    assert table["path"].tolist() == [str(tmp_path / name) for name in ("sub/a.png", "b.png", "c.jpg")]
    assert table["position"].tolist() == [1, 0, 2]
    assert (table["problem"] == "").all()


def test_named_columns_and_root(tmp_path: Path) -> None:
    rows = [{"file": "x.png", "modality": "CT", "patient": "p1"}]
    table = found(tmp_path, rows, {"image": "file", "label": "modality", "group": "patient"}, root="/data").table
    assert table.loc[0, ["id", "path", "label", "group"]].tolist() == ["x.png", "/data/x.png", "CT", "p1"]


def test_splits(tmp_path: Path) -> None:
    listed = found(tmp_path, ROWS, splits=["test"])
    assert listed.table["id"].tolist() == ["000002", "1e5"]
    assert listed.rows == 3
    with pytest.raises(CallError, match="no row of split 'tset'; did you mean test"):
        found(tmp_path, ROWS, splits=["tset"])


@pytest.mark.parametrize(
    ("rule", "labels"), [("first", ["b", "a", None]), ("drop", [None, "a", None]), ("joined", ["a;b", "a", None])]
)
def test_several_labels(tmp_path: Path, rule: str, labels: list[str | None]) -> None:
    rows = [{"id": str(i), "image": "x.png", "label": label} for i, label in enumerate(["b; a", "a;", " ; "])]
    listed = found(tmp_path, rows, label_separator=";", several_labels=SeveralLabels(rule))
    assert cells_of(listed.table["label"]) == labels
    assert listed.notes == (f"1 images have several labels; dataset.several_labels = {rule}",)


@pytest.mark.parametrize("image", ["../secret.png", "/etc/passwd", "a/../../b.png"])
def test_no_path_leaves_the_root(tmp_path: Path, image: str) -> None:
    table = found(tmp_path, [{"id": "1", "image": image}]).table
    assert table.loc[0, "problem"].startswith("outside root: ")


def test_paths_leave_the_root_where_that_is_allowed(tmp_path: Path) -> None:
    rows = [{"id": "1", "image": "../other/x.png"}, {"id": "2", "image": "/far/y.png"}]
    table = found(tmp_path, rows, outside_root=True).table
    assert table["path"].tolist() == [str(tmp_path.parent / "other/x.png"), "/far/y.png"]
    assert table["problem"].tolist() == ["", ""]


def test_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes("image,label\na.png,é\n".encode("latin-1"))
    with pytest.raises(CallError, match=r"items.csv is not UTF-8 \(byte 0xe9\); save it as UTF-8"):
        find(settings(tmp_path / "items.csv"), tmp_path)


def test_an_absolute_path_inside_the_root_is_fine(tmp_path: Path) -> None:
    table = found(tmp_path, [{"id": "1", "image": str(tmp_path / "x.png")}]).table
    assert table.loc[0, ["path", "problem"]].tolist() == [str(tmp_path / "x.png"), ""]


def test_an_empty_image_cell_is_a_problem_of_that_row(tmp_path: Path) -> None:
    table = found(tmp_path, [{"id": "1", "image": ""}, {"id": "2", "image": "x.png"}]).table
    assert table["problem"].tolist() == ["no image named: the cell is empty", ""]


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([{"id": "1", "image": "a"}, {"id": "1", "image": "b"}], {}, "'1' stands in column 'id' more than once"),
        ([{"image": "a"}, {"image": "a"}, {"image": "a"}], {}, "'a' and 1 more stands in column 'image'"),
        ([{"id": "", "image": "a"}], {}, "a row of column 'id' is empty"),
        (
            [{"id": "1", "image": "a"}],
            {"label": "imag"},
            "dataset.columns.label = imag: no such column; did you mean image",
        ),
        ([{"file": "a"}], {}, "no column 'image' or 'id'; it has file"),
    ],
)
def test_what_is_refused(tmp_path: Path, rows: list[dict[str, Any]], columns: dict[str, str], said: str) -> None:
    with pytest.raises(CallError, match=said):
        found(tmp_path, rows, columns)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "a.csv cannot be read"),
        ("a.csv", b"id,image\n", "a.csv has no rows"),
        ("a.csv", b'id,image\n1,"x\n', "a.csv"),
        ("a.csv", b"id,image\n1,\xff\xfe\n", "a.csv is not UTF-8"),
        ("a.parquet", b"PAR1 no", "a.parquet cannot be read"),
        ("a.jsonl", b"{broken\n", "a.jsonl cannot be read"),
        ("a.jsonl", b"[1, 2]\n", "a line is not an object"),
        ("a.xlsx", b"PK", "tables end in .csv, .tsv, .parquet, .jsonl"),
    ],
)
def test_damaged_tables(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CallError, match=said):
        find(settings(tmp_path / name), tmp_path)


def test_a_missing_table_names_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, ".csv")
    with pytest.raises(CallError, match=r"did you mean items\.csv"):
        find(settings(tmp_path / "item.csv"), tmp_path)
