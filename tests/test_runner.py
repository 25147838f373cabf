"""How a run ends when something breaks that nobody foresaw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import runner, schema
from pipeline.run_dir import load_run
from pipeline.stages import class_distances, images
from tests.cli.data import class_folders
from tests.making import image_settings


@pytest.fixture
def config(tmp_path: Path) -> schema.Config:
    root = class_folders(tmp_path / "images", {"a": 4, "b": 4})
    folders = {name: str(tmp_path / name) for name in ("data", "checkpoints", "outputs", "cache")}
    stages = ["class_distances"]
    return schema.Config(
        dataset=schema.FoldersDataset(
            name="folders", source="folders", limit=None, limit_per_class=None, sample_seed=0, max_unreadable=0.5,
            pixel_size=8, root=str(root), pairs=[], recursive=False, group=None, splits=[],
        ),
        encoder=schema.PixelsEncoder(
            name="none", kind="pixels", normalize=False, size=8, color=schema.Color.gray, antialias=False,
            scaling=schema.Scaling.none,
        ),
        projection=schema.NoProjection(name="none"),
        clustering=schema.KmeansClustering(name="kmeans", k=2, n_init=1, seed=0),
        analysis=schema.AnalysisSettings(name="class_distances", stages=stages, strict=True),
        stages=stages,
        seed=0,
        cache=schema.CacheUse.use,
        dry_run=False,
        paths=schema.PathSettings(**folders),
        embedding=schema.EmbeddingSettings(workers=0, timeout=60.0),
        images=image_settings(),
        run=None,
        from_run=None,
        class_distances=schema.ClassDistanceSettings(centered=True, save_pairs=False),
        plots=schema.PlotSettings(
            formats=[schema.PictureFormat.png], dpi=50, width_mm=180.0, palette=schema.Palette.petroff10
        ),
        report=schema.ReportSettings(hide=[]),
    )  # fmt: skip


def only_run(config: schema.Config) -> Any:
    (record,) = Path(config.paths.outputs).glob("*/*/run.json")
    return load_run(record.parent)


def broken(error: BaseException) -> Any:
    def run(*arguments: Any, **more: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("boom\nmore"), "class_distances: RuntimeError: boom (traceback in run.log)"),
        (MemoryError(), "class_distances: out of memory"),
        (OSError(28, "No space left on device", "/x/y"), "class_distances: No space left on device /x/y"),
    ],
)
def test_an_unforeseen_error_is_a_line_and_a_log(
    config: schema.Config, monkeypatch: pytest.MonkeyPatch, capsys: Any, error: Exception, reason: str
) -> None:
    stage = class_distances.STAGE
    monkeypatch.setattr(class_distances, "STAGE", replace(stage, run=broken(error)))
    assert runner.run(config, "python run.py") == 1
    run = only_run(config)
    assert run.record["status"] == "failed"
    assert run.record["reason"] == reason
    assert run.has("images")
    assert (run.folder / "report.html").is_file()
    assert "Traceback" not in capsys.readouterr().err
    if isinstance(error, RuntimeError):
        assert "Traceback" in (run.folder / "run.log").read_text(encoding="utf-8")


def test_a_failed_stage_is_computed_when_the_fault_is_gone(
    config: schema.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = class_distances.STAGE
    with monkeypatch.context() as patch:
        patch.setattr(class_distances, "STAGE", replace(stage, run=broken(RuntimeError())))
        assert runner.run(config, "") == 1
    assert runner.run(config, "") == 0


def test_numbers_survive_pictures_that_cannot_be_drawn(config: schema.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = class_distances.STAGE
    monkeypatch.setattr(class_distances, "STAGE", replace(stage, draw=broken(ValueError("ink"))))
    assert runner.run(config, "") == 0
    run = only_run(config)
    assert run.has("class_summary")
    assert "class_distances/within/all/mean" in run.metrics
    assert run.record["status"] == "complete"
    said = "class_distances: its pictures could not be drawn: ValueError: ink (traceback in run.log)"
    assert said in run.record["warnings"]
    assert "Traceback" in (run.folder / "run.log").read_text(encoding="utf-8")


def test_a_report_that_fails_does_not_lose_the_run(config: schema.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.build.render", broken(RuntimeError("no paper")))
    assert runner.run(config, "") == 1
    run = only_run(config)
    assert run.record["status"] == "failed"
    assert run.record["reason"].startswith("report: RuntimeError: no paper")
    assert run.has("class_summary")


def test_pictures_with_gaps_are_not_kept(
    config: schema.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Images that vanish between embedding and drawing are drawn as gaps; next time they are there again."""
    check = images.STAGE.check

    def hide(made: Any, config: schema.Config) -> list[str]:
        (tmp_path / "images").rename(tmp_path / "away")
        assert check is not None
        return check(made, config)

    with monkeypatch.context() as patch:
        patch.setattr(images, "STAGE", replace(images.STAGE, check=hide))
        assert runner.run(config, "") == 0
    run = only_run(config)
    assert any("can no longer be read" in line for line in run.record["warnings"])
    assert (run.folder / "images" / "sheet.png").is_file()
    assert not list(Path(config.paths.cache).glob("images.pictures/*/key.json"))


def test_what_no_stage_needs_any_more_leaves_memory(config: schema.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, set[str]] = {}
    forget = runner.Going._forget

    def spied(going: Any, stage: Any) -> None:
        forget(going, stage)
        held[stage.name] = set(going.made)

    monkeypatch.setattr(runner.Going, "_forget", spied)
    assert runner.run(config, "") == 0
    assert "found" not in held["encoder"]
    assert not held["embedding"] & {"files", "encoder", "found"}
    assert not held["images"] & {"candidates", "reading", "files"}
    assert only_run(config).record["status"] == "complete"
