"""A sweep that did not end is gone through again: what is complete stays, the rest is done."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import CallError
from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import three_blobs
from tests.cli.test_runs import _wait
from tests.inference.encoders.clips import TINY_VIT, random_state, save_archive

QUICK = ("projection=none", "stages=[cluster_metrics]")


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Thirty vectors in three classes."""
    three_blobs(tmp_path)
    return ("dataset=table", "dataset.path=ids.csv", "encoder=precomputed", "encoder.path=given.npy", *QUICK)


def said(cli: Clipscope, *words: str, cwd: Path | None = None) -> str:
    return cli("-m", *words, status=2, cwd=cwd).err


@pytest.mark.slow
def test_what_is_complete_stays(cli: Clipscope, given: tuple[str, ...], tmp_path: Path) -> None:
    cli("-m", *given, "clustering.k=2,3,4", cwd=tmp_path)
    (sweep,) = cli.sweeps()
    first = {number: (sweep / number / "run.json").read_bytes() for number in "012"}
    report = (sweep / "1/report.html").read_text(encoding="utf-8")
    os.replace(sweep / "2", tmp_path / "gone")
    (sweep / "1/run.json").write_text(first["1"].decode().replace('"status": "complete"', '"status": "failed"'))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = cli("-m", "sweep.resume=last", "embedding.workers=0", cwd=elsewhere)
    assert "resumed: 1 of 3 jobs is complete and stays as it is; again: 1 (failed), 2 (missing)" in result.out
    assert (sweep / "0/run.json").read_bytes() == first["0"]
    rows = pd.read_csv(sweep / "comparison.csv")
    assert rows["status"].tolist() == ["complete"] * 3
    assert rows["k"].tolist() == [2, 3, 4]
    assert rows["model"].nunique() == 1, "how it was done is no difference between jobs"
    assert (sweep / "1.before-1/report.html").read_text(encoding="utf-8") == report
    assert load_run(sweep / "2").config["dataset"]["path"] == str(tmp_path / "ids.csv"), "where the sweep was typed"
    assert {stage["cache"] for stage in load_run(sweep / "2").record["stages"]} <= {"hit", "off"}

    again = cli("-m", *given, "clustering.k=2,3,4", f"sweep.resume={sweep}", cwd=tmp_path)
    assert "resumed: 3 of 3 jobs are complete and stay as they are\n" in again.out
    assert said(cli, *given, "clustering.k=2,3", f"sweep.resume={sweep}", cwd=tmp_path) == (
        f"error: sweep.resume: clustering.k=2,3: another sweep than the one in {sweep}: it was called with "
        "clustering.k=2,3,4\n"
    )
    near = sweep.with_name(sweep.name[:-1])
    assert f"no such folder; did you mean {sweep}?" in said(cli, f"sweep.resume={near}")
    assert "sweep.resume: goes on with a sweep: add -m" in cli(f"sweep.resume={sweep}", status=2).err


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_missing_weights_and_a_kill(cli: Clipscope, three_classes: Path) -> None:
    """Three encoders by five k: the weights of one are not there, and the sweep is killed in the middle of a job."""
    words = (
        "dataset=folders", f"dataset.root={three_classes}", "encoder=rocov2_finetuned,none,pixels_rgb",
        "clustering.k=2,3,4,5,6", f"paths.checkpoints={cli.place}", *QUICK,
    )  # fmt: skip
    process = cli.start("-m", *words)
    try:
        _wait(lambda: _status(cli, 7) == "running", process, seconds=200)
    finally:
        process.kill()
        process.communicate(timeout=60)
    (sweep,) = cli.sweeps()
    left = [_status(cli, number) for number in range(15)]
    assert left[:5] == ["failed"] * 5
    assert (left[5], left[14]) == ("complete", "")
    assert "killed" in left
    assert not (sweep / "comparison.csv").exists()
    first = (sweep / "5/run.json").read_bytes()

    save_archive(cli.place / "rocov2_finetuned.pt", random_state(TINY_VIT), TINY_VIT)
    process = cli.start("-m", f"sweep.resume={sweep}")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert f"resumed: {left.count('complete')} of 15 jobs" in out
    assert "; again: 0 (failed), 1 (failed), 2 (failed), 3 (failed), 4 (failed), " in out
    assert "(killed)" in out
    assert "14 (missing)" in out
    rows = pd.read_csv(sweep / "comparison.csv", keep_default_na=False)
    assert rows["status"].tolist() == ["complete"] * 15
    assert rows["k"].astype(int).tolist() == [2, 3, 4, 5, 6] * 3
    assert rows["encoder"].tolist() == [n for n in ("rocov2_finetuned", "none", "pixels_rgb") for _ in range(5)]
    assert (sweep / "5/run.json").read_bytes() == first


def _status(cli: Clipscope, number: int) -> str:
    """Of a job of the only sweep; '' where it has no record."""
    try:
        return str(load_run(cli.sweeps()[0] / str(number)).record["status"])
    except (CallError, IndexError):
        return ""
