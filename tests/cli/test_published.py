"""Published data sets on the command line, in copies that the tests make: whole, broken, and absent."""

from __future__ import annotations

import resource
from pathlib import Path

import pandas as pd
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.releases import (
    CUIS,
    images_in_folder,
    images_in_zip,
    images_with_several_labels,
    rocov2_merged,
    rocov2_tables,
)

QUICK = ("projection=pca", "projection.n_components=2", "encoder.size=8", "k_selection.k_max=6")


def test_rocov2_from_its_zip_with_nothing_but_its_name(cli: Clipscope) -> None:
    root = cli.place / "data" / "ROCOv2"
    names = rocov2_tables(root, 40, concepts={7: "C0000737"})
    images_in_zip(root / "test_images.zip", names[:-3])
    result = cli("dataset=rocov2", *QUICK)
    run = load_run(result.folder)
    assert result.record["dataset"]["facts"] == {
        "layout": "official release",
        "variant": "ROCOv2 test, 40 rows: other than the published ones",
    }
    assert set(run["class_summary"]["class"]) == set(CUIS)  # though an image has no label
    assert run["class_summary"]["count"].sum() == 36
    assert run.points["id"].tolist() == names[:-3]
    assert run.points["path"].str.startswith("zip://test/").all()
    assert run.skipped["reason"].tolist() == ["missing"] * 3
    assert "warning: 3 of 40 images are not there" in result.err
    assert (result.folder / "images" / "sheet.png").is_file()
    again = cli("dataset=rocov2", *QUICK)
    assert again.hits["embedding"] == "hit"


def _of_children() -> float:
    """Seconds of a core that calls have used which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_rocov2_that_is_absent_is_one_line_in_a_second(cli: Clipscope) -> None:
    start = _of_children()
    result = cli("dataset=rocov2", "encoder=openai", status=2)
    assert _of_children() - start < 3  # of a core, as other work must not count: a second where there is none
    (line,) = result.err.strip().splitlines()
    assert "there is no ROCOv2 in" in line and "record 8333645" in line and "test_captions.csv" in line
    assert not cli.folders()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["official", "merged"])
def test_rocov2_of_its_published_size(cli: Clipscope, layout: str) -> None:
    root = cli.place / "data" / "ROCOv2"
    if layout == "official":
        images_in_zip(root / "test_images.zip", rocov2_tables(root, 9827))
    else:
        images_in_folder(root / "test_images" / "test", rocov2_merged(root / "merged_dataset_test.csv", 9827))
    result = cli("dataset=rocov2", *QUICK)
    assert result.record["dataset"]["facts"]["variant"] == (
        "ROCOv2 test, 9,827 rows: the merged table of the clustering work"
    )
    assert result.record["images"]["read"] == 9827
    summary = load_run(result.folder)["class_summary"]
    assert summary["count"].sum() == 9827 and len(summary) == 5


def test_open_images_with_one_label_each(cli: Clipscope, tmp_path: Path) -> None:
    root = images_with_several_labels(tmp_path / "open", 48)
    result = cli(
        "dataset=open_images", f"dataset.root={root}", "dataset.classes=[cat,Dog]",
        "dataset.several_labels=first_wanted", "dataset.limit_per_class=10", *QUICK,
    )  # fmt: skip
    run = load_run(result.folder)
    assert run.points["label"].value_counts().to_dict() == {"Cat": 10, "Dog": 10}
    assert set(run["class_summary"]["class"]) == {"Cat", "Dog"}
    assert not run.has("image_labels") and not run.has("label_scores")
    assert all(left["reason"].endswith("=none") for left in result.record["left_out"])
    assert "8 images have several labels" in result.err


def test_open_images_with_each_label_for_itself(cli: Clipscope, tmp_path: Path) -> None:
    root = images_with_several_labels(tmp_path / "open", 48)
    words = ("dataset=open_images", f"dataset.root={root}", "dataset.several_labels=multi", *QUICK)
    result = cli(*words)
    run = load_run(result.folder)
    scores = run["label_scores"].set_index("label")
    assert scores.loc["Cat", ["present", "absent", "negatives"]].tolist() == [16, 32, 32]
    assert scores.loc["Tree", ["present", "absent", "negatives"]].tolist() == [12, 0, 36]
    assert result.metrics["label_scores/labels"] == 3
    assert result.metrics["label_scores/label/Cat/auc"] == scores.loc["Cat", "auc"]
    out = [left["stage"] for left in result.record["left_out"] if not left["reason"].endswith("=none")]
    assert out == ["class_distances", "label_structure"]
    assert "each label for itself" in result.out
    report = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Each label for itself" in report and "not marked present" in report
    again = cli(*words)
    assert again.hits["label_scores"] == "hit"
    table = root / "validation-annotations-human-imagelabels.csv"
    table.write_text(table.read_text().replace("0000000000000001,verification,/m/01yrx,0", ""))
    changed = cli(*words)
    assert changed.hits["label_scores"] == "miss" and changed.hits["embedding"] == "hit"
    assert load_run(changed.folder)["label_scores"].set_index("label").loc["Cat", "absent"] == 31


def test_images_that_are_turned_are_embedded_anew(cli: Clipscope, tmp_path: Path) -> None:
    root = images_with_several_labels(tmp_path / "open", 24)
    words = ("dataset=open_images", f"dataset.root={root}", "analysis=class_distances", "encoder.size=8")
    first = load_run(cli(*words).folder)
    facts = pd.DataFrame({"ImageID": first.points["id"], "Subset": "validation", "Rotation": [90, *[0] * 23]})
    facts.to_csv(root / "image_ids_and_rotation.csv", index=False)
    result = cli(*words)
    second = load_run(result.folder)
    assert result.hits["embedding"] == "miss"
    different = (first["image_embeddings"] != second["image_embeddings"]).any(axis=1)
    assert different.tolist() == [True, *[False] * 23]
    assert cli(*words, "dataset.upright=false").hits["embedding"] == "hit"


def test_label_scores_need_several_labels(cli: Clipscope, three_classes: Path) -> None:
    result = cli("dataset=folders", f"dataset.root={three_classes}", "stages=[label_scores]", status=2)
    assert "each image has one label at most" in result.err and "dataset.several_labels=multi" in result.err
