"""`dataset=table` and `encoder=precomputed` on the command line, with and without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope

FAST = ("projection=pca", "clustering.k=3")


@pytest.fixture
def table(tmp_path: Path, three_classes: Path) -> Path:
    """The images of `three_classes` as a table in no particular order, ids with leading zeros."""
    files = sorted(three_classes.rglob("*.png"), reverse=True)
    rows = [
        {"id": f"{i:04d}", "image": str(file.relative_to(three_classes).with_suffix("")), "kind": file.parent.name,
         "caption": f"A {file.parent.name} & <b>bold</b>"}
        for i, file in enumerate(files)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "items.csv", index=False)
    return tmp_path / "items.csv"


@pytest.fixture
def words(table: Path, three_classes: Path) -> tuple[str, ...]:
    return (
        "dataset=table", f"dataset.path={table}", f"dataset.root={three_classes}", "dataset.extension=.png",
        "dataset.columns.label=kind", "encoder.size=8",
    )  # fmt: skip


def test_a_table_with_captions(cli: Clipscope, words: tuple[str, ...]) -> None:
    result = cli(*words, *FAST)
    run = load_run(result.folder)
    assert run["images"]["id"].tolist() == [f"{i:04d}" for i in range(24)]
    assert set(run["images"]["label"]) == {"cats (2)", "dogs", "Bäume"}
    assert run.record["images"]["captioned"] is True
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page


def test_vectors_of_a_run_give_the_same_numbers_without_any_image(
    cli: Clipscope, words: tuple[str, ...], table: Path, three_classes: Path
) -> None:
    first = cli(*words, *FAST)
    three_classes.rename(three_classes.parent / "gone")
    given = [word for word in words if not word.startswith(("encoder", "dataset.root", "dataset.extension"))]
    second = cli(*given, "encoder=precomputed", f"encoder.path={first.folder}", *FAST)
    same = [key for key in first.metrics if key.startswith(("class_distances", "cluster_metrics", "clustering"))]
    assert len(same) > 40
    for key in same:
        assert second.metrics[key] == pytest.approx(first.metrics[key], rel=1e-4), key
    assert "can no longer be read" in second.err


def test_a_table_of_ids_and_vectors_in_its_order(cli: Clipscope, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(centre, 1, (20, 16)) for centre in (-4, 0, 4)]).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    order = random.permutation(60)
    labels = np.repeat(["low", "middle", "high"], 20)
    pd.DataFrame({"id": [f"{i:06d}" for i in order], "label": labels}).to_csv(tmp_path / "items.csv", index=False)
    words = ("dataset=table", f"dataset.path={tmp_path}/items.csv", "encoder=precomputed")
    result = cli(*words, f"encoder.path={tmp_path}/vectors.npy", *FAST)
    run = load_run(result.folder)
    place = {f"{i:06d}": row for row, i in enumerate(order)}
    np.testing.assert_array_equal(run["image_embeddings"], vectors[[place[i] for i in run["images"]["id"]]])
    assert run.metrics["cluster_metrics/labels/ari"] == 1
    assert not run.pictures or "sheet" not in {name for _, name, _ in run.pictures}
    assert not result.err
    assert cli(*words, f"encoder.path={tmp_path}/vectors.npy", *FAST).hits["embedding"] == "hit"


def test_missing_settings_and_columns(cli: Clipscope, table: Path) -> None:
    assert "dataset.path: must be given" in cli("dataset=table", status=2).err
    words = ("dataset=table", f"dataset.path={table}")
    assert "did you mean kind?" in cli(*words, "dataset.columns.label=kinds", status=2).err
    assert "did you mean label?" in cli(*words, "dataset.columns.lable=kind", status=2).err
    assert "encoder.path: must be given" in cli(*words, "encoder=precomputed", status=2).err


def test_no_image_where_the_table_says(cli: Clipscope, table: Path) -> None:
    result = cli("dataset=table", f"dataset.path={table}", "encoder.size=8", status=1)
    assert "none of the 24 images could be read (24 missing)" in result.err
