"""`analysis=compare`, and what a sweep over encoders ends in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import RECORD, load_run
from tests.cli.command import Clipscope, Result

COMPARISON = {"comparison.csv", "comparison.md", "comparison.tex", "comparison.html", "differences.csv"}
PICTURES = {"comparison.png", "comparison_models.png", "comparison_differences.png"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Clipscope:
    """A sweep over two encoders, and a run of other images."""
    place = tmp_path_factory.mktemp("compare")
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(size=(3, 8)), 20, axis=0)
    for name, apart in (("near", 1.0), ("far", 6.0)):
        np.save(place / f"{name}.npy", apart * centres + random.normal(size=(60, 8)))
    labels = np.repeat(["low", "middle", "high"], 20)
    for name, start in (("ids", 0), ("others", 100)):
        table = pd.DataFrame({"id": [f"{start + i:04d}" for i in range(60)], "label": labels})
        table.to_csv(place / f"{name}.csv", index=False)
    cli = Clipscope(place)
    stages = "class_distances,cluster_metrics,label_structure,significance"
    words = ("encoder=precomputed", "projection=pca", "clustering.k=3", "significance=quick", "dataset=table",
             "k_selection.k_max=3", f"stages=[{stages}]")  # fmt: skip
    cli("-m", *words, f"dataset.path={place}/ids.csv", f"encoder.path={place}/near.npy,{place}/far.npy")
    cli(*words, f"dataset.path={place}/others.csv", f"encoder.path={place}/near.npy")
    return cli


def sweep(done: Clipscope) -> Path:
    return done.sweeps()[0]


def compare(done: Clipscope, *runs: Path, status: int = 0, more: tuple[str, ...] = ()) -> Result:
    return done("analysis=compare", f"runs=[{','.join(map(str, runs))}]", *more, status=status)


def test_a_sweep_over_encoders_ends_in_paired_differences(done: Clipscope) -> None:
    folder = sweep(done)
    assert {file.name for file in folder.iterdir()} >= COMPARISON | PICTURES
    found = pd.read_csv(folder / "differences.csv").set_index("score")
    halves = [load_run(folder / job)["half_label_scores"].query("name == 'ari'")["value"] for job in "01"]
    ari = found.loc["labels/ari"]
    assert ari["difference"] == pytest.approx(ari["value_a"] - ari["value_b"])
    assert ari["count"] == len(halves[0]) > 1 and ari["over"] == "half-samples"
    assert (ari["low"] + ari["high"]) / 2 == pytest.approx(ari["difference"])
    assert found.loc["embedding/silhouette_euclidean/excess", "high"] < 0, "far is better beyond chance"
    assert "embedding/silhouette_euclidean" not in found.index, "other spaces"
    rows = pd.read_csv(folder / "comparison.csv")
    assert rows["same_images"].tolist() == [1, 1] and rows["same_embedding"].tolist() == [1, 2]
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 3 and "other encoders, so other spaces" in page


def test_finished_runs_of_different_days(done: Clipscope) -> None:
    folder = sweep(done)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    result = compare(done, folder / "0", folder / "1", more=("plots.formats=[svg]",))
    assert {file.name for file in result.folder.iterdir()} == COMPARISON | PICTURES | {RECORD} | {
        name.replace("png", "svg") for name in PICTURES
    }
    own, theirs = (pd.read_csv(place / "differences.csv") for place in (result.folder, folder))
    numbers = ["difference", "low", "high", "count"]
    pd.testing.assert_frame_equal(own[numbers], theirs[numbers])
    record = load_run(result.folder).record
    assert record["status"] == "complete" and record["compared"] == [str(folder / job) for job in "01"]
    assert "other encoders" in record["not_compared"][0] and "other encoders" in result.err
    page = (result.folder / "comparison.html").read_text(encoding="utf-8")
    assert f'href="../../multirun/{"/".join(folder.parts[-2:])}/0/report.html"' in page
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == before
    hidden = compare(done, folder, more=("report.hide=[path]",))
    for file in hidden.folder.iterdir():
        assert file.name == RECORD or str(done.place).encode() not in file.read_bytes(), file.name


def test_other_images(done: Clipscope) -> None:
    other = done.folders()[0]
    result = compare(done, sweep(done), other)
    assert "other images (60 images and 60 images, of which 0 have the same id): nothing is compared" in result.err
    assert pd.read_csv(result.folder / "comparison.csv")["same_images"].tolist() == [1, 1, 2]
    assert "<h3>Images 2</h3>" in (result.folder / "comparison.html").read_text(encoding="utf-8")
    count = len(done.folders())
    alone = compare(done, sweep(done) / "0", other, status=2)
    assert "no two have the same images" in alone.err and "of which 0 have the same id" in alone.err
    assert len(done.folders()) == count


def test_older_and_damaged_runs(done: Clipscope, tmp_path: Path) -> None:
    run, older = sweep(done) / "0", tmp_path / "older"
    shutil.copytree(sweep(done) / "1", older)
    record = json.loads((older / RECORD).read_text(encoding="utf-8"))
    record["git"] = {"commit": "b" * 40, "dirty": False}
    (older / RECORD).write_text(json.dumps(record), encoding="utf-8")
    (older / "significance" / "half_scores.parquet").unlink()
    (older / "significance" / "half_scores.csv").unlink()
    result = compare(done, run, older)
    assert "made by other versions: clipscope" in result.err
    notes = pd.read_csv(result.folder / "differences.csv")["note"]
    assert notes.str.contains("has no half-samples").any()
    (older / "images.parquet").write_bytes(b"PAR1 damaged")
    damaged = compare(done, run, older, status=1)
    assert damaged.err.count("error:") == 1 and "Traceback" not in damaged.err
