"""Sweeps share the cache, go on over failing jobs and end in a comparison."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import class_folders
from tests.cli.test_runs import _stage, _wait


@pytest.fixture
def words(three_classes: Path) -> tuple[str, ...]:
    return ("-m", "dataset=folders", f"dataset.root={three_classes}", "encoder.size=8")


def test_a_grid_over_k_and_projections(cli: Clipscope, words: tuple[str, ...]) -> None:
    result = cli(*words, "clustering.k=2,3,4", "projection=pca,none")
    folder = cli.sweeps()[0]
    rows = pd.read_csv(folder / "comparison.csv")
    assert rows["job"].tolist() == list(range(6))
    assert rows["k"].tolist() == [2, 2, 3, 3, 4, 4]
    assert rows["projection"].fillna("none").tolist() == ["pca", "none"] * 3
    assert set(rows["status"]) == {"complete"}
    for row in rows.to_dict("records"):
        metrics = load_run(folder / str(row["job"])).metrics
        assert row["cluster_metrics/labels/ari"] == pytest.approx(metrics["cluster_metrics/labels/ari"])
    for name in ("comparison.png", "comparison.md", "comparison.tex", "differences.csv"):
        assert (folder / name).is_file()
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert all(f'href="{job}/report.html"' in page for job in range(6))
    assert "comparison: " in result.out
    later = load_run(folder / "5").record
    assert {s["name"]: s["cache"] for s in later["stages"]}["embedding"] == "hit"
    assert later["sweep"] == {"job": 5, "overrides": later["sweep"]["overrides"]}
    assert "clustering.k=4" in later["sweep"]["overrides"]


def test_the_comparison_looks_as_the_jobs_pictures_do(cli: Clipscope, words: tuple[str, ...]) -> None:
    look = ("plots.width_mm=85", "plots.dpi=60", "plots.formats=[svg]", "plots.palette=okabe_ito")
    cli(*words, "clustering.k=2,3", "projection=none", "stages=[cluster_metrics]", *look)
    folder = cli.sweeps()[0]
    with Image.open(folder / "comparison.png") as picture:
        assert picture.width <= 85 / 25.4 * 60 + 1
    drawn = (folder / "comparison.svg").read_text(encoding="utf-8")
    assert "#0072b2" in drawn.lower()


def test_failing_jobs_are_listed_and_do_not_stop_the_others(cli: Clipscope, words: tuple[str, ...]) -> None:
    result = cli(*words, "clustering.k=x,1,3,999", "projection=foo,pca", status=1)
    rows = pd.read_csv(cli.sweeps()[0] / "comparison.csv").set_index("job")
    assert len(rows) == 8
    assert rows["status"].value_counts().to_dict() == {"failed": 7, "complete": 1}
    assert rows.loc[5, "status"] == "complete"
    assert "clustering.k = x: must be a whole number" in rows.loc[1, "reason"]
    assert "clustering.k = 1: must be at least 2" in rows.loc[3, "reason"]
    assert "projection=foo: no such choice" in rows.loc[4, "reason"]
    assert "clustering.k = 999: more clusters than images (24)" in rows.loc[7, "reason"]
    assert "error: job 0 (" in result.err and ") and 3 more (2, 4, 6): failed: projection=foo" in result.err
    assert "Traceback" not in result.err
    page = (cli.sweeps()[0] / "comparison.html").read_text(encoding="utf-8")
    assert "more clusters than images" in page


def test_a_wrong_setting_of_all_jobs_is_a_wrong_call(cli: Clipscope, words: tuple[str, ...]) -> None:
    result = cli(*words, "clustering.k=2,3", "clustering.kk=5", status=2)
    assert "clustering.kk: no such setting" in result.err
    assert not cli.sweeps()


def test_an_interrupted_sweep_is_compared_as_far_as_it_came(cli: Clipscope, tmp_path: Path) -> None:
    many = class_folders(tmp_path / "many", {"a": 100, "b": 100}, side=8)
    process = cli.start(
        "-m", "dataset=folders", f"dataset.root={many}", "encoder.size=16", "projection=none,umap", "clustering.k=2,3"
    )
    jobs = lambda number: list(cli.place.glob(f"outputs/multirun/*/*/{number}"))  # noqa: E731
    _wait(lambda: any(_stage(folder, "class_distances") == "done" for folder in jobs(2)), process)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    rows = pd.read_csv(cli.sweeps()[0] / "comparison.csv")
    assert rows["status"].tolist()[:2] == ["complete", "complete"]
    assert rows["status"].tolist()[-1] == "interrupted"
    assert "Traceback" not in err
