"""dataset=open_images: folders and tables of all versions, classes, the rules for several labels, turned images."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pipeline.datasets
from inference.images import ImageFile, thumbnail
from pipeline.datasets.candidates import Found
from pipeline.datasets.open_images import find
from pipeline.errors import CallError
from pipeline.schema import ManyLabels, OpenImagesDataset
from tests.making import ROOT, cells_of
from tests.releases import images_in_folder, write_table

CAT, DOG, ANIMAL, CAR = "/m/01yrx", "/m/0bt9lr", "/m/0jbk", "/m/0k4j"
NAMES = [(CAT, "Cat"), (DOG, "Dog"), (ANIMAL, "Animal"), (CAR, "Car")]
HEADER = ("ImageID", "Source", "LabelName", "Confidence")
IDS = [f"{i:016x}" for i in range(8)]
# 0: cat, animal; 1: dog, animal; 2: all three; 3: animal, no cat; 4: car; 5: no car; 6: a machine's cat; 7: unknown
ROWS = [
    (IDS[0], "verification", CAT, 1), (IDS[0], "verification", ANIMAL, 1),
    (IDS[1], "verification", DOG, 1), (IDS[1], "crowdsource-verification", ANIMAL, 1),
    (IDS[2], "verification", ANIMAL, 1), (IDS[2], "verification", DOG, 1), (IDS[2], "verification", CAT, 1),
    (IDS[3], "verification", ANIMAL, 1), (IDS[3], "verification", CAT, 0),
    (IDS[4], "verification", CAR, 1), (IDS[4], "verification", CAT, 0),
    (IDS[5], "verification", CAR, 0),
    (IDS[6], "machine", CAT, 0.8), (IDS[6], "machine", DOG, 0.4),
    ("ffffffffffffffff", "verification", CAT, 1),
]  # fmt: skip


def settings(root: Path | None, **given: Any) -> OpenImagesDataset:
    usual: dict[str, Any] = {
        "labels": None, "classes_table": None, "image_ids": None, "classes": [], "machine_threshold": None,
        "several_labels": ManyLabels.most_specific, "upright": True, "download": False, "base_url": "",
        "download_split": None, "limit": None, "limit_per_class": None,
    }  # fmt: skip
    return OpenImagesDataset(
        name="open_images", source="open_images", sample_seed=0, max_unreadable=0.5, pixel_size=8,
        root=None if root is None else str(root), **{**usual, **given},
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with eight images and the tables beside it."""
    write_table(tmp_path / "validation-annotations-human-imagelabels.csv", [HEADER, *ROWS])
    write_table(tmp_path / "class-descriptions.csv", [("LabelName", "DisplayName"), *NAMES])
    return images_in_folder(tmp_path / "images", IDS)


def labels(found: Found) -> dict[int, Any]:
    """Number of the image -> label."""
    return {int(name, 16): label for name, label in cells_of(found.table[["id", "label"]])}


def listed(root: Path | None, **given: Any) -> Found:
    return find(settings(root, **given), Path("/nowhere"))


def test_the_rarest_label_is_the_most_specific(root: Path) -> None:
    found = listed(root)
    # 2 images show a cat, 2 a dog, 4 an animal: of equally rare ones the first id
    assert labels(found) == {0: "Cat", 1: "Dog", 2: "Cat", 3: "Animal", 4: "Car", 5: None, 6: None, 7: None}
    assert found.notes == (
        "3 images have several labels; dataset.several_labels = most_specific",
        "3 images have no label",
    )
    assert found.labels is None
    assert found.table["path"][0] == str(root / f"{IDS[0]}.jpg")
    assert found.facts["label_tables"] == ["validation-annotations-human-imagelabels.csv"]


def test_classes_by_name_or_id_and_only_their_images(root: Path) -> None:
    found = listed(root, classes=["dog", CAT], several_labels=ManyLabels.first_wanted)
    assert labels(found) == {0: "Cat", 1: "Dog", 2: "Dog"}
    assert "5 of 8 images are left out: they show none of dataset.classes" in found.notes
    assert labels(listed(root, classes=["CAT", "Dog"], several_labels=ManyLabels.first_wanted))[2] == "Cat"
    assert labels(listed(root, classes=["Cat", "Dog"], several_labels=ManyLabels.drop)) == {0: "Cat", 1: "Dog", 2: None}
    assert listed(root, classes=["Car"]).notes == ("7 of 8 images are left out: they show none of dataset.classes",)


def test_several_labels_each_for_itself(root: Path) -> None:
    found = listed(root, several_labels=ManyLabels.multi)
    assert found.classes == () and len(found.table) == 8
    assert found.labels is not None
    judged = {(int(row.id, 16), row.label): row.present for row in found.labels.itertuples()}
    assert judged[2, "Cat"] and judged[2, "Dog"] and judged[2, "Animal"]
    assert judged[3, "Cat"] is False and judged[5, "Car"] is False
    assert (6, "Cat") not in judged
    of_cats = listed(root, several_labels=ManyLabels.multi, classes=["Cat"])
    assert [int(name, 16) for name in of_cats.table["id"]] == [0, 2, 3, 4]  # two were verified to show none
    assert of_cats.notes == ("4 of 8 images are left out: they were not judged for any of dataset.classes",)


def test_machine_labels_from_a_threshold_on(root: Path) -> None:
    assert labels(listed(root))[6] is None
    assert labels(listed(root, machine_threshold=0.8))[6] == "Cat"
    assert labels(listed(root, machine_threshold=0.81))[6] is None
    # of what people judged a machine's opinion does not count
    machine = [HEADER, (IDS[3], "machine", CAT, 0.99), (IDS[7], "machine", DOG, 0.9)]
    write_table(root.parent / "validation-annotations-machine-imagelabels.csv", machine)
    found = labels(listed(root, machine_threshold=0.5))
    assert found[3] == "Animal" and found[7] == "Dog"
    assert labels(listed(root))[7] is None


@pytest.mark.parametrize(
    "header",
    [HEADER, ("ImageID", "LabelName", "Confidence"), ("image_id", "source", "label_name", "confidence"),
     ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax")],
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_headers_old_and_new(root: Path, header: tuple[str, ...], mark: bytes) -> None:
    table = root.parent / "validation-annotations-human-imagelabels.csv"
    plain = {name.lower().replace("_", ""): i for i, name in enumerate(HEADER)}
    people = [row for row in ROWS if row[1] != "machine"]
    rows = [
        [row[plain[n]] if (n := name.lower().replace("_", "")) in plain else 0.5 for name in header] for row in people
    ]
    write_table(table, [header, *rows], start=mark, newline="\r\n")
    assert labels(listed(root)) == {0: "Cat", 1: "Dog", 2: "Cat", 3: "Animal", 4: "Car", 5: None, 6: None, 7: None}


@pytest.mark.parametrize("header", [("LabelName", "DisplayName"), ("id", "name"), None])
def test_class_names_with_any_header(root: Path, header: tuple[str, str] | None) -> None:
    write_table(root.parent / "class-descriptions.csv", [*([header] if header else []), *NAMES], start=b"\xef\xbb\xbf")
    assert listed(root).classes == ("Animal", "Car", "Cat", "Dog")


def test_without_names_the_ids_are_the_labels(root: Path) -> None:
    (root.parent / "class-descriptions.csv").unlink()
    assert listed(root).classes == tuple(sorted((ANIMAL, CAR, CAT, DOG)))
    assert listed(root, classes=[CAR]).classes == (CAR,)


def test_classes_of_one_name_are_told_apart(root: Path) -> None:
    write_table(root.parent / "class-descriptions.csv", [*NAMES[:3], (CAR, "Cat")])
    assert f"Cat ({CAT})" in listed(root).classes and f"Cat ({CAR})" in listed(root).classes
    assert f"several classes are called 'Cat': say one of {CAT}, {CAR}" in refused(root, classes=["Cat"])[0]


def test_tables_packed_given_or_several(root: Path) -> None:
    table = root.parent / "validation-annotations-human-imagelabels.csv"
    packed = root / "train-annotations-human-imagelabels.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert labels(listed(root))[0] == "Cat"
    first = write_table(root.parent / "a.csv", [HEADER, *ROWS[:2]])
    second = write_table(root.parent / "b.csv", [HEADER, *ROWS[2:4]])
    assert set(labels(listed(root, labels=str(first))).values()) == {"Cat", None}
    assert labels(listed(root, labels=[str(first), str(second)]))[1] == "Dog"


def test_one_folder_below_and_names_twice(root: Path) -> None:
    for split in ("train", "validation"):
        (root / split).mkdir()
    (root / f"{IDS[0]}.jpg").rename(root / "train" / f"{IDS[0]}.jpg")
    (root / "validation" / f"{IDS[1]}.JPG").write_bytes((root / f"{IDS[1]}.jpg").read_bytes())
    (root / "notes.txt").touch()
    found = listed(root)
    assert cells_of(found.table["split"])[:2] == ["train", None]
    assert found.table["path"][0] == str(root / "train" / f"{IDS[0]}.jpg")
    assert "1 images lie in two folders: the first is taken" in found.notes
    assert found.ignored == {".txt": 1}


def test_people_who_disagree_and_rows_that_make_no_sense(root: Path) -> None:
    rows = [
        *ROWS,
        (IDS[4], "verification", CAR, 0),
        (IDS[7], "verification", CAR, 0.5),
        (IDS[7], "verification", CAR, "?"),
    ]
    table = write_table(root.parent / "validation-annotations-human-imagelabels.csv", [HEADER, *rows])
    with table.open("a") as file:
        file.write("half a line\n")
    found = listed(root)
    assert labels(found)[4] is None
    assert "1 labels were found both present and absent by people: they do not count" in found.notes
    assert "3 rows of the image-labels tables make no sense: they do not count" in found.notes


def refused(root: Path | None, **given: Any) -> list[str]:
    with pytest.raises(CallError) as caught:
        listed(root, **given)
    assert not any("\n" in line for line in caught.value.problems)
    return list(caught.value.problems)


def test_wrong_classes_are_said_all_at_once(root: Path) -> None:
    said = refused(root, classes=["Cst", "dogg", "cat", CAT])
    assert said[0] == "dataset.classes: no class 'Cst'; did you mean Cat? (of 4 names)"
    assert "did you mean Dog?" in said[1]
    assert said[2] == "dataset.classes: Cat is named twice"
    (root.parent / "class-descriptions.csv").unlink()
    assert "there is no table of class names" in refused(root, classes=["Cat"])[0]
    assert refused(root, classes=["/m/none"]) == ["dataset.classes: of the 8 images in the folder none shows /m/none"]


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    assert "dataset.root: no such folder: /nowhere/open_images" in refused(None)[0]
    (tmp_path / "empty").mkdir()
    assert "no images in" in refused(tmp_path / "empty")[0]
    assert (
        "dataset.several_labels = first_wanted: needs dataset.classes"
        in refused(root, several_labels=ManyLabels.first_wanted)[0]
    )
    assert "dataset.labels: no such file" in refused(root, labels=str(tmp_path / "no.csv"))[0]
    assert "dataset.labels = {'a': 1}: a table, or several" in refused(root, labels={"a": 1})[0]
    assert "dataset.classes_table: no such file" in refused(root, classes_table=str(tmp_path / "no.csv"))[0]
    write_table(tmp_path / "odd.csv", [("a", "b"), (1, 2)])
    assert "odd.csv has no column 'ImageID'; it has a, b" in refused(root, labels=str(tmp_path / "odd.csv"))[0]
    (tmp_path / "empty.csv").touch()
    assert "dataset.labels: empty.csv cannot be read" in refused(root, labels=str(tmp_path / "empty.csv"))[0]
    (root.parent / "validation-annotations-human-imagelabels.csv").unlink()
    assert "dataset.labels: no table of image labels" in refused(root)[0]


FACTS = ("ImageID", "Subset", "OriginalURL", "Title", "Rotation")


def test_images_are_turned_as_the_table_says(root: Path) -> None:
    corner = np.zeros((40, 80, 3), np.uint8)
    corner[:20, :40] = 255  # white at the top left
    for number in range(4):
        Image.fromarray(corner).save(root / f"{IDS[number]}.jpg", quality=95)
    facts = [(IDS[0], "train", "u", 'a "title"\nof two lines', ""), (IDS[1], "validation", "u", "t", "90.0"),
             (IDS[2], "test", "u", "t", "180"), (IDS[3], "", "u", "t", 270.0), (IDS[4], "", "u", "t", "nan"),
             ("f" * 16, "", "u", "t", 90)]  # fmt: skip
    write_table(root.parent / "image_ids_and_rotation.csv", [FACTS, *facts])
    found = listed(root)
    assert cells_of(found.table["split"])[:5] == ["train", "validation", "test", None, None]
    assert any(note.startswith("3 images were turned upright") for note in found.notes)
    white = {  # rows and columns of the half where white is, after so many degrees counter-clockwise
        0: (0, 0), 1: (1, 0), 2: (1, 1), 3: (0, 1)
    }  # fmt: skip
    for number, (down, across) in white.items():
        place = found.table["path"][number]
        turned = number in (1, 3)
        for pixels in (
            ImageFile(place).gray(),
            ImageFile(place).rgb()[..., 0],
            np.asarray(ImageFile(place).picture())[..., 0],
            ImageFile(place).tensor().numpy()[0],
            thumbnail(place)[..., 0],
        ):  # type: ignore[union-attr]
            height, width = pixels.shape
            assert (height, width) == ((80, 40) if turned else (40, 80))
            quarters = pixels.reshape(2, height // 2, 2, width // 2).mean(axis=(1, 3))
            assert np.argwhere(quarters > 200).tolist() == [[down, across]]
        assert ImageFile(place).announced_size() == ((40, 80) if turned else (80, 40))
    as_is = listed(root, upright=False)
    assert as_is.table["path"].str.startswith("/").all()
    assert any(note.startswith("3 images do not lie upright") for note in as_is.notes)


def test_a_stated_turn_stands_in_place_of_what_exif_says(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(root / f"{IDS[0]}.jpg", exif=exif)
    write_table(root.parent / "image_ids.csv", [FACTS, (IDS[0], "", "u", "t", 180)])
    assert ImageFile(root / f"{IDS[0]}.jpg").gray().shape == (80, 40)
    assert ImageFile(listed(root).table["path"][0]).gray().shape == (40, 80)


def test_a_limit_for_each_class(root: Path) -> None:
    def taken(**given: Any) -> Found:
        return pipeline.datasets.find(settings(root, **given), Path("/nowhere"))

    counts = taken(limit_per_class=1).table["label"].value_counts(dropna=False)
    assert set(counts) == {1} and len(counts) == 5
    assert taken(limit_per_class=1).table.equals(taken(limit_per_class=1).table)
    of_labels = taken(limit_per_class=2, several_labels=ManyLabels.multi)
    assert of_labels.labels is not None
    assert set(of_labels.labels["id"]) <= set(of_labels.table["id"])
    # an image is taken as long as one of its labels has room, so a frequent one may go above
    assert (of_labels.labels[of_labels.labels["present"]]["label"].value_counts() >= 1).all()
    assert len(taken(limit_per_class=100).table) == 8


PEAK = """
import resource, sys
from pathlib import Path
import pandas, pyarrow.csv
from pipeline.datasets.open_images_tables import image_labels
ids = [f"{i * 1000:016x}" for i in range(1000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = len(image_labels([Path(sys.argv[1])], None, ids).frame)
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(rows, more / (2**20 if sys.platform == "darwin" else 2**10))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    peaks = []
    for number, copies in enumerate((1, 4)):  # 1 million rows and 4 million, 40 MB and 160 MB
        table = tmp_path / f"{number}-imagelabels.csv"
        with table.open("w") as file:
            file.write("ImageID,Source,LabelName,Confidence\n")
            for copy in range(copies):
                first = 10_000_000 * copy
                file.writelines(f"{first + i:016x},verification,/m/0{i % 7000:04x},1\n" for i in range(1_000_000))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(table)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        rows, peak = done.stdout.split()
        assert int(rows) == 1000
        peaks.append(float(peak))
    assert peaks[1] < peaks[0] + 40, peaks  # MiB
