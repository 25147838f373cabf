"""dataset=rocov2: both layouts, images in folders or zip files, and what is said where something is missing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from inference.images import ImageFile
from pipeline.datasets.candidates import Found
from pipeline.datasets.rocov2 import find
from pipeline.errors import CallError
from pipeline.schema import ReleaseLayout, Rocov2Dataset, SeveralLabels
from tests.making import cells_of
from tests.releases import CUIS, images_in_folder, images_in_zip, rocov2_merged, rocov2_name, rocov2_tables, write_table

COUNT = 15
CT, XRAY, PET = "C0040405", "C1306645", "C0032743"


def settings(**given: Any) -> Rocov2Dataset:
    usual: dict[str, Any] = {
        "root": None, "layout": ReleaseLayout.auto, "table": None, "splits": ["test"],
        "several_labels": SeveralLabels.first,
    }  # fmt: skip
    return Rocov2Dataset(
        name="rocov2", source="rocov2", limit=None, limit_per_class=None, sample_seed=0, max_unreadable=0.5,
        pixel_size=8, **{**usual, **given},
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the data set is looked for by default."""
    return tmp_path / "ROCOv2"


def found(root: Path, **given: Any) -> Found:
    return find(settings(**given), root.parent)


def of(found: Found, number: int, split: str = "test") -> dict[str, Any]:
    rows = found.table[found.table["id"] == rocov2_name(number, split)].to_dict("records")
    assert len(rows) == 1
    return rows[0]


def test_the_official_release_with_unpacked_images(root: Path) -> None:
    images_in_folder(root / "test_images" / "test", rocov2_tables(root, COUNT))
    listed = found(root)
    assert listed.table["id"].tolist() == [rocov2_name(i) for i in range(COUNT)]
    assert set(listed.classes) == set(CUIS)
    row = of(listed, 1)
    assert row["label"] == "Plain x-ray" and row["split"] == "test" and pd.isna(row["group"])
    assert row["caption"] == "Scan 1, axial view (arrow)"
    assert row["path"] == str(root / "test_images" / "test" / f"{rocov2_name(1)}.jpg")
    assert listed.notes == ()
    assert listed.facts == {
        "layout": "official release",
        "variant": "ROCOv2 test, 15 rows: other than the published ones",
    }


@pytest.mark.parametrize("place", ["test", "test_images", "test_images/test", "test_images/a", "images", ""])
def test_wherever_unpacking_has_put_the_images(root: Path, place: str) -> None:
    images_in_folder(root / place, rocov2_tables(root, 3))
    assert [Path(path).parent for path in found(root).table["path"]] == [root / place] * 3


@pytest.mark.parametrize("inside", ["", "test/", "some/where/else/"])
def test_images_straight_from_the_zip(root: Path, inside: str) -> None:
    images_in_zip(root / "test_images.zip", rocov2_tables(root, 4), inside)
    table = found(root).table
    assert table["path"][2] == f"zip://{inside}{rocov2_name(2)}.jpg::{root / 'test_images.zip'}"
    assert ImageFile(table["path"][2]).gray().shape == (12, 12)
    assert sorted(file.name for file in root.iterdir()) == [
        "cui_mapping.csv", "test_captions.csv", "test_concepts.csv", "test_concepts_manual.csv", "test_images.zip",
    ]  # fmt: skip


def test_what_a_folder_lacks_is_taken_from_the_zip(root: Path) -> None:
    names = rocov2_tables(root, 4)
    images_in_folder(root / "test", names[:2])
    images_in_zip(root / "test_images.zip", names)
    paths = found(root).table["path"].tolist()
    assert [path.startswith("zip://") for path in paths] == [False, False, True, True]


def test_several_splits(root: Path) -> None:
    for split in ("train", "valid", "test"):
        images_in_folder(root / f"{split}_images", rocov2_tables(root, 5, split))
    listed = found(root, splits=["train", "valid", "test"])
    assert listed.table["split"].value_counts().to_dict() == {"train": 5, "valid": 5, "test": 5}
    assert listed.facts["variant"].startswith(
        "ROCOv2 test, 5 rows: other than the published ones; ROCOv2 train, 5 rows;"
    )
    assert of(listed, 3, "train")["path"] == str(root / "train_images" / f"{rocov2_name(3, 'train')}.jpg")
    assert len(found(root, splits=["valid"]).table) == 5


def test_the_merged_table(root: Path) -> None:
    images_in_folder(root / "test_images", rocov2_merged(root / "merged_dataset_test.csv", COUNT))
    listed = found(root)
    assert listed.facts["layout"] == "merged table"
    assert listed.table["id"].tolist() == [rocov2_name(i) for i in range(COUNT)]  # as in the official release
    assert listed.table["split"].unique().tolist() == ["test"]
    assert of(listed, 4)["label"] == "angiogram"


def test_a_merged_table_elsewhere(root: Path, tmp_path: Path) -> None:
    names = rocov2_merged(tmp_path / "copies" / "mine.csv", 6)
    images_in_folder(tmp_path / "copies" / "test", names)
    assert len(found(root, table=str(tmp_path / "copies" / "mine.csv")).table) == 6
    images_in_folder(root / "test", names[:3])
    given = settings(table=str(tmp_path / "copies" / "mine.csv"), root=str(root))
    assert find(given, tmp_path).notes == ("3 of 6 images are not there",)


def test_where_both_layouts_are_there_a_note_says_which_was_read(root: Path) -> None:
    images_in_folder(root / "test", rocov2_tables(root, 8))
    rocov2_merged(root / "merged_dataset_test.csv", 6)
    listed = found(root)
    assert len(listed.table) == 8
    assert "both layouts of ROCOv2 are there: the official release is read" in listed.notes[0]
    merged = found(root, layout=ReleaseLayout.merged)
    assert len(merged.table) == 6 and merged.notes == ()
    (root / "test_concepts_manual.csv").unlink()
    assert found(root).facts["layout"] == "merged table"


@pytest.mark.parametrize(
    ("rows", "version"),
    [(9972, "the first version"), (9927, "the later version"), (9827, "the merged table of"), (9826, "other than")],
)
def test_versions_are_told_apart_by_their_rows(root: Path, rows: int, version: str) -> None:
    images_in_folder(root / "test", rocov2_tables(root, rows)[:1])
    assert found(root).facts["variant"].startswith(f"ROCOv2 test, {rows:,} rows: {version}")


@pytest.mark.parametrize(
    ("rule", "label"), [("first", "Plain x-ray"), ("drop", None), ("joined", "Plain x-ray;X-Ray Computed Tomography")]
)
def test_several_modalities_and_none(root: Path, rule: str, label: str | None) -> None:
    concepts = {0: f"{XRAY};{CT}", 1: "C0000737", 2: "", 3: PET, 4: f"C0000737;{CT}", 5: f"{CT};{CT}"}
    images_in_folder(root / "test", rocov2_tables(root, 7, concepts=concepts))
    listed = found(root, several_labels=SeveralLabels(rule))
    labels = cells_of(listed.table["label"])
    assert labels[:6] == [label, None, None, "Positron-Emission Tomography", *["X-Ray Computed Tomography"] * 2]
    assert listed.notes == (
        "2 images of test have no modality among their manual concepts: unlabelled",
        f"1 images of test have several modalities; dataset.several_labels = {rule}",
    )


def test_marks_line_ends_quotes_and_capitals(root: Path) -> None:
    names = [rocov2_name(i) for i in range(3)]
    captions = ['two\nlines, "quoted"', "plain", "=1+1 <b>"]
    rows = [("id", "CAPTION"), *zip(names, captions, strict=True)]
    write_table(root / "test_captions.csv", rows, start=b"\xef\xbb\xbf", newline="\r\n")
    write_table(root / "test_concepts_manual.csv", [("ID ", "CUIs"), *((name, CT) for name in names)], newline="\r\n")
    images_in_folder(root / "test", names)
    listed = found(root)
    assert listed.table["caption"].tolist() == captions
    assert set(listed.table["label"]) == {"X-Ray Computed Tomography"}


def test_images_that_are_missing_are_listed_where_they_should_be(root: Path) -> None:
    names = rocov2_tables(root, 5)
    images_in_folder(root / "test", names[:3])
    listed = found(root)
    assert len(listed.table) == 5
    assert listed.notes == ("2 of 5 images are not there",)
    assert of(listed, 4)["path"] == str(root / "test_images" / f"{names[4]}.jpg")


def test_names_are_looked_up_and_never_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    names = ["../../secret", "fine"]
    write_table(root / "test_captions.csv", [("ID", "Caption"), *((name, "c") for name in names)])
    write_table(root / "test_concepts_manual.csv", [("ID", "CUIs"), *((name, CT) for name in names)])
    images_in_folder(root / "test", ["fine"])
    table = found(root).table
    assert table.loc[table["id"] == "../../secret", ["path", "problem"]].to_numpy().tolist() == [
        ["", "file name: the name of an image cannot be a path"]
    ]


def refused(root: Path, **given: Any) -> str:
    with pytest.raises(CallError) as caught:
        found(root, **given)
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


def test_absent_data_are_one_message_within_a_second(root: Path) -> None:
    start = time.monotonic()
    said = refused(root)
    assert time.monotonic() - start < 1
    assert said.startswith(f"dataset=rocov2: there is no ROCOv2 in {root}. Download test_images.zip")
    for part in (
        "test_captions.csv, test_concepts_manual.csv",
        "record 8333645",
        "merged_dataset_test.csv",
        "test_images",
    ):
        assert part in said
    assert "train_captions.csv" in refused(root, splits=["train"])


def test_what_is_missing_of_a_release_is_named(root: Path) -> None:
    rocov2_tables(root, 3)
    (root / "test_concepts_manual.csv").unlink()
    assert f"not complete in {root}: no test_concepts_manual.csv." in refused(root)
    assert "no merged_dataset_test.csv." in refused(root, layout=ReleaseLayout.merged)
    assert "no train_captions.csv, train_concepts_manual.csv, test_concepts_manual.csv." in refused(
        root, splits=["train", "test"]
    )


def test_no_image_at_all_says_where_was_looked(root: Path) -> None:
    rocov2_tables(root, 3)
    said = refused(root)
    assert "none of the 3 images is there; looked in test/, test_images/, test_images.zip" in said


def test_bad_tables_and_archives_are_named(root: Path) -> None:
    names = rocov2_tables(root, 3)
    (root / "test_images.zip").write_bytes(b"PK\3\4 half of it")
    assert "test_images.zip is damaged, download it again" in refused(root)
    write_table(root / "test_captions.csv", [("ID", "Caption"), (names[0], "a"), (names[0], "b")])
    assert f"test_captions.csv: '{names[0]}' stands in column 'ID' more than once" in refused(root)
    write_table(root / "test_captions.csv", [("ID", "Caption"), ("", "a")])
    assert "test_captions.csv: a row of column 'ID' is empty" in refused(root)
    write_table(root / "test_captions.csv", [("ID", "Text"), (names[0], "a")])
    assert "test_captions.csv has no column 'Caption'" in refused(root)
    (root / "test_captions.csv").write_bytes(b"ID,Caption\nx,caf\xe9\n")
    assert "test_captions.csv cannot be read" in refused(root) or "UTF-8" in refused(root)
    (root / "test_captions.csv").write_bytes(b"")
    assert "test_captions.csv" in refused(root)


def test_unknown_splits_are_refused_with_the_nearest(root: Path) -> None:
    assert "no split 'vali'; did you mean valid?" in refused(root, splits=["vali"])
    assert "dataset.splits" in refused(root, splits=[])


def test_concepts_without_a_caption_are_counted(root: Path) -> None:
    names = rocov2_tables(root, 4)
    images_in_folder(root / "test", names)
    write_table(root / "test_captions.csv", [("ID", "Caption"), *((name, "c") for name in names[:3])])
    assert found(root).notes == ("1 rows of test_concepts_manual.csv have no row in test_captions.csv: left out",)
