"""Pictures and report again: from the folder alone, in another look, with nothing computed and nothing lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline import runner, schema
from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import class_folders
from tests.making import config as any_config

pytestmark = pytest.mark.slow  # each redraws a whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a finished run; its images lie beside it."""
    place = tmp_path_factory.mktemp("redraw")
    images = class_folders(place / "images", {"a": 12, "b": 12})
    Clipscope(place)(
        "dataset=folders", f"dataset.root={images}", "encoder.size=8", "projection=none",
        "stages=[class_distances,cluster_metrics,significance]", "significance=quick", "report.hide=[path]",
    )  # fmt: skip
    return place


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The run copied away from its cache; the images are where they were."""
    (folder,) = finished.glob("outputs/2*/*")
    return Path(shutil.copytree(folder, tmp_path / "copied"))


@pytest.fixture
def cli(tmp_path: Path) -> Clipscope:
    return Clipscope(tmp_path)


def numbers(folder: Path) -> dict[str, tuple[int, bytes]]:
    kept = [file for file in sorted(folder.rglob("*")) if file.suffix in (".parquet", ".npy", ".csv")]
    kept.append(folder / "metrics.json")
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes()) for file in kept}


def test_other_formats_sizes_and_colours(copied: Path, cli: Clipscope) -> None:
    before, record = numbers(copied), load_run(copied).record
    report = (copied / "report.html").read_text(encoding="utf-8")
    words = ["plots.formats=[png,pdf,svg]", "plots.width_mm=85", "plots.dpi=100", "plots.palette=okabe_ito"]
    result = cli("analysis=redraw", f"run={copied}", *words)
    assert str(copied / "report.html") in result.out
    assert numbers(copied) == before
    pictures = sorted(copied.glob("*/*.png"))
    assert len(pictures) >= 8
    for file in pictures:
        assert file.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in file.with_suffix(".svg").read_text(encoding="utf-8")
        assert width(file) <= round(85 / 25.4 * 100) + 1, file.name
    assert width(copied / "class_distances/within_between.png") == pytest.approx(85 / 25.4 * 100, abs=1)
    assert "#0072b2" in (copied / "class_distances/within_between.svg").read_text(encoding="utf-8").lower()
    after = load_run(copied).record
    assert after.pop("redrawn")["plots"] == {
        "formats": ["png", "pdf", "svg"], "dpi": 100, "width_mm": 85.0, "palette": "okabe_ito"
    }  # fmt: skip
    assert after == record
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert page != report
    assert "width_mm = 85" in page
    assert not list(copied.glob(".redraw*")) + list(copied.glob("*.tmp"))
    assert not list(cli.place.glob("outputs/*")), "no folder for a run that is none"


def test_the_same_look_gives_the_same_bytes(copied: Path, cli: Clipscope) -> None:
    """There is one way of drawing: what a run draws, a redraw draws."""
    before = {file.name: file.read_bytes() for file in copied.glob("*/*.png")}
    cli("analysis=redraw", f"run={copied}")
    assert {file.name: file.read_bytes() for file in copied.glob("*/*.png")} == before


def test_what_the_call_does_not_name_is_as_the_run_has_it(copied: Path, cli: Clipscope) -> None:
    plots = {"formats": ["svg"], "dpi": 77, "width_mm": 85.0, "palette": "okabe_ito"}
    config = load_run(copied).config
    edit(copied, config=config | {"plots": plots})
    cli("analysis=redraw", f"run={copied}", "plots.dpi=99")
    assert load_run(copied).record["redrawn"]["plots"] == plots | {"dpi": 99}
    assert width(copied / "clustering/map.png") == int(85 / 25.4 * 99)
    cli("analysis=redraw", f"run={copied}", "plots.formats=[pdf]")
    assert load_run(copied).record["redrawn"]["plots"] == plots | {"dpi": 99, "formats": ["pdf"]}, "the latest look"
    assert load_run(copied).config["plots"] == plots


def test_a_setting_that_an_older_run_did_not_know_is_the_configs(copied: Path, cli: Clipscope) -> None:
    config = load_run(copied).config
    edit(copied, config=config | {"plots": {"formats": ["png"], "dpi": 60}})
    cli("analysis=redraw", f"run={copied}")
    assert load_run(copied).record["redrawn"]["plots"] == {
        "formats": ["png"], "dpi": 60, "width_mm": 180.0, "palette": "petroff10"
    }  # fmt: skip


def test_points_are_pixels_in_a_vector_picture(copied: Path, cli: Clipscope) -> None:
    cli("analysis=redraw", f"run={copied}", "plots.formats=[svg]")
    drawn = (copied / "clustering/map.svg").read_text(encoding="utf-8")
    assert "<image" in drawn
    assert len(re.findall('<use xlink:href="#(?!DejaVu)', drawn)) < 20  # no points beside letters and legend


def test_what_was_hidden_stays_hidden(copied: Path, cli: Clipscope, finished: Path) -> None:
    cli("analysis=redraw", f"run={copied}", "report.hide=[images]")
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert str(finished) not in page
    assert "Cluster 0: members" not in page
    assert load_run(copied).config["report"]["hide"] == ["path"]
    cli("analysis=redraw", f"run={copied}")
    assert "Cluster 0: members" not in (copied / "report.html").read_text(encoding="utf-8"), "nor does it come back"


def test_pictures_of_images_that_are_gone_stay(copied: Path, cli: Clipscope, finished: Path) -> None:
    sheet = (copied / "images/sheet.png").read_bytes()
    (finished / "images").rename(finished / "away")
    try:
        result = cli("analysis=redraw", f"run={copied}", "plots.width_mm=85")
    finally:
        (finished / "away").rename(finished / "images")
    assert "images: images can no longer be read; left as they were: sheet" in result.err
    assert (copied / "images/sheet.png").read_bytes() == sheet
    assert width(copied / "clustering/map.png") < 600


def test_the_cache_is_not_written_through(finished: Path, tmp_path: Path, cli: Clipscope) -> None:
    """A big picture in a run folder may be a hard link into the cache."""
    (folder,) = finished.glob("outputs/2*/*")
    linked = tmp_path / "linked"
    shutil.copytree(folder, linked, copy_function=os.link)
    cli("analysis=redraw", f"run={linked}", "plots.width_mm=85")
    assert width(folder / "clustering/map.png") > 600


def width(file: Path) -> int:
    with Image.open(file) as image:
        return image.width


def edit(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(record | changes), encoding="utf-8")


def test_a_failed_run_is_drawn_as_far_as_it_came(copied: Path, cli: Clipscope) -> None:
    shutil.rmtree(copied / "clustering")
    shutil.rmtree(copied / "cluster_metrics")
    edit(copied, status="failed", reason="clustering: out of memory")
    cli("analysis=redraw", f"run={copied}", "plots.width_mm=85")
    assert load_run(copied).record["status"] == "failed"
    assert not (copied / "clustering").exists()
    assert "out of memory" in (copied / "report.html").read_text(encoding="utf-8")


def test_numbers_of_another_version_cost_their_stage_only(copied: Path, cli: Clipscope) -> None:
    import pandas as pd

    table = pd.read_parquet(copied / "class_distances/class_overall.parquet").drop(columns="centered")
    table.to_parquet(copied / "class_distances/class_overall.parquet")
    result = cli("analysis=redraw", f"run={copied}", "plots.width_mm=85", status=1)
    assert "class_distances: cannot be drawn from this run: KeyError" in result.err
    assert width(copied / "clustering/map.png") < 600


def test_dry_run_writes_nothing(copied: Path, cli: Clipscope) -> None:
    before = {file: file.stat().st_mtime_ns for file in copied.rglob("*")}
    assert "would draw again (images, class_distances" in cli("analysis=redraw", f"run={copied}", "dry_run=true").out
    assert {file: file.stat().st_mtime_ns for file in copied.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "run: analysis=redraw needs run=<folder of a finished run>"),
        (["run=nowhere"], "not a run folder: it has no run.json"),
        (["run=x", "clustering.k=5"], "clustering.k: has no effect with analysis=redraw"),
        (["run=x", "plots.palette=petroff"], "plots.palette"),
        (["run=x", "plots.width_mm=10"], "plots.width_mm = 10.0: must be from 60"),
    ],
)
def test_wrong_calls(cli: Clipscope, words: list[str], said: str) -> None:
    assert said in cli("analysis=redraw", *words, status=2).err


def test_a_run_is_for_redraw_only(cli: Clipscope) -> None:
    assert "only analysis=redraw takes it; from_run=... builds on a finished run" in cli("run=x", status=2).err


def test_a_running_run_is_left_alone(copied: Path, cli: Clipscope) -> None:
    edit(copied, status="running", process={"pid": os.getpid(), "host": os.uname().nodename})
    assert "still running" in cli("analysis=redraw", f"run={copied}", status=2).err


def test_a_killed_run_can_be_drawn_and_goes_on_saying_running(copied: Path, cli: Clipscope) -> None:
    edit(copied, status="running", process={"pid": 2**22 + 1, "host": os.uname().nodename})
    cli("analysis=redraw", f"run={copied}")
    assert json.loads((copied / "run.json").read_text(encoding="utf-8"))["status"] == "running"
    assert load_run(copied).record["status"] == "killed"


def test_a_folder_that_cannot_be_written(copied: Path, cli: Clipscope, not_root: None) -> None:
    copied.chmod(0o555)
    try:
        assert "run: cannot write in" in cli("analysis=redraw", f"run={copied}", status=2).err
    finally:
        copied.chmod(0o755)


def test_not_in_a_sweep(copied: Path, cli: Clipscope) -> None:
    result = cli("-m", "analysis=redraw", f"run={copied}", "plots.width_mm=85,120", status=1)
    (folder,) = cli.sweeps()
    assert "no job of a sweep" in json.loads((folder / "0" / "run.json").read_text(encoding="utf-8"))["reason"]
    assert result.status == 1


def test_a_sweep_is_drawn_job_by_job(copied: Path, cli: Clipscope, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    copied.rename(tmp_path / "sweep" / "0")
    said = cli("analysis=redraw", f"run={tmp_path}/sweep", status=2).err
    assert f"a sweep; its 1 jobs are drawn one by one, as in run={tmp_path}/sweep/0" in said
    cli("analysis=redraw", f"run={tmp_path}/sweep/0", "plots.width_mm=85")
    assert width(tmp_path / "sweep/0/clustering/map.png") < 600


def test_a_config_comes_back_from_its_record() -> None:
    selection = schema.KSelectionSettings(2, 20, schema.SelectionSpace.projection, 10, 0)
    config = any_config(report=schema.ReportSettings([schema.Hidden.caption]), k_selection=selection)
    back = schema.restored(schema.plain(config))
    for f in dataclasses.fields(config):
        if f.name not in ("tagging", "robustness", "training"):  # left open by the maker of configs
            assert getattr(back, f.name) == getattr(config, f.name)
    older = schema.plain(config)
    del older["class_distances"], older["plots"]["palette"]
    older["dataset"]["forgotten"] = 1
    found = schema.restored(older)
    assert found.class_distances.save_pairs is None
    assert found.plots.palette is None
    assert isinstance(found.dataset, type(config.dataset))


def test_interrupted(copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.pictures.draw", stop)
    redraw = schema.AnalysisSettings("redraw", [], True)
    assert runner.run(any_config(analysis=redraw, run=str(copied)), "python run.py") == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (copied / ".redraw").exists()
