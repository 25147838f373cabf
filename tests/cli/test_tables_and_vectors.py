"""`dataset=table` and `encoder=precomputed` on the command line, with and without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope, Result

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
    assert "duplicates stand in more than one label" in result.err  # two of the made up vectors are that near
    assert len(result.err.splitlines()) == 1
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


IDS = [f"{i:04d}" for i in range(30)]
RANDOM = np.random.default_rng(0)
GIVEN = np.concatenate([RANDOM.normal(centre, 1, (10, 8)) for centre in (-4, 0, 4)])


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """A table of thirty ids in three classes; its vectors are `encoder.path`."""
    labels = np.repeat(["low", "middle", "high"], 10)
    pd.DataFrame({"id": IDS, "label": labels}).to_csv(tmp_path / "ids.csv", index=False)
    return ("dataset=table", f"dataset.path={tmp_path}/ids.csv", "encoder=precomputed", *FAST)


def npy(folder: Path, array: np.ndarray) -> str:
    np.save(folder / "given.npy", array)
    return f"encoder.path={folder}/given.npy"


def npz(folder: Path, ids: list[str]) -> str:
    np.savez(folder / "given.npz", embedding=GIVEN[: len(ids)], ids=np.array(ids))
    return f"encoder.path={folder}/given.npz"


def quiet(result: Result) -> None:
    """What went wrong is the user's to mend: said in a line, without a traceback anywhere."""
    assert "Traceback" not in result.out + result.err
    for file in result.folder.glob("run.log"):
        assert "Traceback" not in file.read_text(encoding="utf-8")


def test_rows_that_are_no_vectors_are_named(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    bad = GIVEN.copy()
    bad[3, 2], bad[7, 0], bad[11] = np.nan, np.inf, 0
    result = cli(*given, npy(tmp_path, bad))
    assert "3 images could not be read (2 not finite, 1 all zero); see skipped.csv" in result.err
    skipped = load_run(result.folder).skipped
    assert dict(zip(skipped["id"], skipped["reason"], strict=True)) == {
        "0003": "not finite", "0007": "not finite", "0011": "all zero"
    }  # fmt: skip
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "0007" in page
    again = cli(*given, npy(tmp_path, bad), "report.hide=[id]")
    page = (again.folder / "report.html").read_text(encoding="utf-8")
    assert "0007" not in page


@pytest.mark.parametrize(
    ("array", "status", "said"),
    [
        (np.full((30, 4), np.nan), 1, "none of the 30 images could be read (30 not finite)"),
        (np.zeros((30, 4)), 1, "none of the 30 images could be read (30 all zero)"),
        (GIVEN[:29], 1, "given.npy has 29 vectors, the table 30 rows"),
        (np.zeros((0, 4)), 2, "given.npy has no vectors"),
        (np.zeros((30, 2, 2)), 2, "must be a table of vectors (rows, dimensions), not (30, 2, 2)"),
        (GIVEN.astype(complex), 2, "must hold real numbers, not complex128"),
        (GIVEN * 1e30, 1, "too far from 1 for distances"),
    ],
)
def test_vectors_that_cannot_be_used(
    cli: Clipscope, given: tuple[str, ...], tmp_path: Path, array: np.ndarray, status: int, said: str
) -> None:
    result = cli(*given, npy(tmp_path, array), status=status)
    assert said in result.err
    assert result.err.count("error:") == 1
    quiet(result)


def test_a_class_none_of_whose_vectors_can_be_used(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    """The others are looked at all the same."""
    result = cli(*given, npy(tmp_path, np.where(np.arange(30)[:, None] < 10, np.nan, GIVEN)))
    assert "class 'low': none of its images could be read; see skipped.csv" in result.err
    assert result.metrics["images/read"] == 20


@pytest.mark.parametrize(
    ("ids", "status", "said"),
    [
        ([f"x{i}" for i in range(30)], 1, "no name of a vector (x0, x1, x2, ...) is the id or path of an image"),
        ([*IDS[:25], *"abcde"], 0, "warning: 5 images could not be read (5 no vector)"),
        ([*IDS[:10], *(f"x{i}" for i in range(20))], 1, "20 of 30 images could not be read (20 no vector), more than"),
        ([*IDS[:29], IDS[0]], 1, "the name '0000' stands at several vectors"),
        ([f"/old/place/{name}.jpg" for name in IDS], 0, "matched by the end of the id without the extension"),
    ],
)
def test_names_that_fit_or_do_not(
    cli: Clipscope, given: tuple[str, ...], tmp_path: Path, ids: list[str], status: int, said: str
) -> None:
    max_unreadable = "dataset.max_unreadable=0.2"
    result = cli(*given, npz(tmp_path, ids), max_unreadable, status=status)
    assert said in result.err
    quiet(result)


def test_damaged_and_pickled_files(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    rows = [row.tolist() for row in GIVEN]
    pq.write_table(pa.table({"embedding": rows, "id": IDS}), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:900])
    np.save(tmp_path / "pickled.npy", np.array([{1: 2}], dtype=object), allow_pickle=True)
    pq.write_table(pa.table({"embedding": [[1.0], *rows[1:]]}), tmp_path / "ragged.parquet")
    for name, said in (
        ("cut.parquet", "encoder.path: cut.parquet cannot be read: Parquet magic bytes not found"),
        ("pickled.npy", "encoder.path: pickled.npy holds pickled objects, which are not loaded"),
        ("ragged.parquet", "encoder.path: ragged.parquet holds lists of from 1 to 8 numbers in column 'embedding'"),
        ("nothing.npy", "encoder.path: no such file"),
    ):
        result = cli(*given, f"encoder.path={tmp_path}/{name}", status=2)
        assert said in result.err
        quiet(result)
    misspelt = cli(*given, f"encoder.path={tmp_path}/whole.parquet", "encoder.column=embeding", status=2)
    assert "did you mean embedding?" in misspelt.err


@pytest.mark.parametrize("clusterer", ["kmeans", "spherical_kmeans", "gmm", "agglomerative", "hdbscan"])
def test_vectors_that_are_all_the_same(cli: Clipscope, given: tuple[str, ...], tmp_path: Path, clusterer: str) -> None:
    """Nothing can be said of them, and nothing is: no score, no number that is none, no warning of a library."""
    same = npy(tmp_path, np.tile(RANDOM.normal(size=8), (30, 1)))
    words = [word for word in given if not word.startswith(("projection", "clustering"))]
    k = [] if clusterer == "hdbscan" else ["clustering.k=3"]
    result = cli(*words, same, "projection=none", f"clustering={clusterer}", *k)
    assert "all vectors are the same" in result.err
    assert result.metrics["class_distances/separation/all/auc"] == 0.5
    assert not [key for key in result.metrics if key.startswith(("cluster_metrics/emb", "cluster_metrics/proj"))]
    assert "Warning" not in (result.folder / "run.log").read_text(encoding="utf-8")
    assert (result.folder / "clustering/map.png").is_file()


def test_so_few_rows_that_settings_are_lowered(cli: Clipscope, tmp_path: Path) -> None:
    pd.DataFrame({"id": IDS[:5], "label": list("abcde")}).to_csv(tmp_path / "five.csv", index=False)
    words = ("dataset=table", f"dataset.path={tmp_path}/five.csv", "encoder=precomputed", npy(tmp_path, GIVEN[::6]))
    result = cli(*words, "projection=tsne", "clustering.k=2")
    assert "t-SNE: perplexity lowered from 30 to 1.333, as there are 5 rows" in result.err
    assert "k_selection.k_max = 20 lowered to 4: there are 5 images" in result.err
    assert "classes of one image have no pairs" in result.err
    quiet(result)


def reason(result: Result, stage: str) -> str:
    """Why the run did not do it."""
    return {entry["stage"]: str(entry["reason"]) for entry in result.record["left_out"]}[stage]


def test_vectors_of_texts_are_checked_and_recorded(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "texts.npz", embedding=GIVEN[:2], texts=np.array(["a dog", "a cat"]))
    given = (*given, npy(tmp_path, GIVEN))
    result = cli(*given, f"encoder.text_path={tmp_path}/texts.npz")
    told = result.record["encoder"]["text_vectors"]
    assert (told["path"], told["count"]) == (f"{tmp_path}/texts.npz", 2)
    assert told["fingerprint"]
    assert "2 of" in (result.folder / "report.html").read_text(encoding="utf-8")
    assert reason(result, "zero_shot").startswith("encoder.logit_scale: needed for probabilities")
    scaled = cli(*given, f"encoder.text_path={tmp_path}/texts.npz", "encoder.logit_scale=100")
    assert "texts.npz has no vector for the text 'a photo of" in reason(scaled, "zero_shot")
    hidden = cli(*given, f"encoder.text_path={tmp_path}/texts.npz", "report.hide=[path]")
    assert str(tmp_path) not in (hidden.folder / "report.html").read_text(encoding="utf-8")
    assert cli(*given).hits["embedding"] == "hit", "texts change no vector of an image"
    np.savez(tmp_path / "wrong.npz", embedding=GIVEN[:2, :5], texts=np.array(["a dog", "a cat"]))
    assert "those of images have 8" in cli(*given, f"encoder.text_path={tmp_path}/wrong.npz", status=2).err
    assert "has no effect without encoder.text_path" in cli(*given, "encoder.logit_scale=100", status=2).err


def test_paths_are_those_of_the_call(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    npy(tmp_path, GIVEN)
    np.save(tmp_path / "texts.npy", GIVEN[:1])
    (tmp_path / "texts.txt").write_text("a dog\n")
    words = ("encoder.path=given.npy", "encoder.text_path=texts.npy", "encoder.text_names=texts.txt")
    encoder = load_run(cli(*given, *words, cwd=tmp_path).folder).config["encoder"]
    assert [encoder[key] for key in ("path", "text_path", "text_names")] == [
        str(tmp_path / name) for name in ("given.npy", "texts.npy", "texts.txt")
    ]


def test_the_images_are_said_and_checked_whatever_is_asked_for(
    cli: Clipscope, given: tuple[str, ...], tmp_path: Path
) -> None:
    bad = np.where(np.arange(30)[:, None] % 2, np.nan, GIVEN)
    result = cli(*given, npy(tmp_path, bad), "stages=[k_selection]")
    assert "15 images, 3 classes, 15 skipped" in result.out
    cli(*given, npy(tmp_path, bad), "stages=[k_selection]", "dataset.max_unreadable=0.4", status=1)
