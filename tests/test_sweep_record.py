"""Which jobs of a sweep are done, what is kept of those that are not, and which folder is meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import record as facts_of
from pipeline.errors import CallError
from pipeline.run_dir import RECORD, write_json
from pipeline.sweep_record import begin, end, make_room, standing, sweep_to_resume
from pipeline.sweep_words import load_sweep, words_of_the_job

CONFIG = {"seed": 0, "clustering": {"k": 3}, "embedding": {"workers": 2}, "paths": {"outputs": "/a", "data": "/d"}}
GONE = {"pid": 2**30, "host": facts_of.process()["host"], "started": "1"}


def job(folder: Path, status: str = "complete", **more: Any) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / RECORD, {"status": status, "config": CONFIG, "process": GONE, **more})
    return folder


def sweep(outputs: Path, time: str = "10-00-00-000000", over: bool = True) -> Path:
    folder = outputs / "multirun" / "2026-11-21" / time
    begin(folder, "python run.py -m clustering.k=2,3", ["clustering.k=2,3", "embedding.workers=2"], ["hydra.mode=x"])
    if over:
        end(folder, "failed")
    return folder


def test_a_complete_job_of_equal_settings_is_done(tmp_path: Path) -> None:
    there = job(tmp_path / "0")
    assert standing(there, CONFIG).done
    how = {**CONFIG, "embedding": {"workers": 0}, "paths": {"outputs": "/b", "data": "/d"}}
    assert standing(there, how).done, "workers and places of results make no other job"


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({**CONFIG, "clustering": {"k": 4}}, "clustering.k changed since"),
        ({**CONFIG, "paths": {"outputs": "/a", "data": "/e"}}, "paths.data changed since"),
        ({**CONFIG, "new": {"a": 1, "b": 2, "c": 3, "d": 4}}, "new.a, new.b, new.c and 1 more changed since"),
        (None, "other settings"),
    ],
)
def test_a_complete_job_of_other_settings_runs_again(tmp_path: Path, now: dict[str, Any] | None, why: str) -> None:
    found = standing(job(tmp_path / "0"), now)
    assert (found.done, found.why) == (False, why)


@pytest.mark.parametrize(
    ("status", "why"), [("failed", "failed"), ("interrupted", "interrupted"), ("running", "killed")]
)
def test_what_did_not_end_well_runs_again(tmp_path: Path, status: str, why: str) -> None:
    found = standing(job(tmp_path / "0", status), CONFIG)
    assert (found.done, found.why) == (False, why)
    assert standing(tmp_path / "1", CONFIG).why == "missing"


def test_earlier_tries_are_kept_aside(tmp_path: Path) -> None:
    for number in (1, 2):
        there = job(tmp_path / "3")
        (there / "metrics.json").write_text(f"{number}")
        make_room(there)
        assert not there.exists()
        assert (tmp_path / f"3.before-{number}" / "metrics.json").read_text() == f"{number}"


def test_a_try_that_left_no_more_than_its_record_is_removed(tmp_path: Path) -> None:
    there = job(tmp_path / "3", "failed")
    (there / "run.log").touch()
    make_room(there)
    assert not list(tmp_path.iterdir())
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / RECORD).touch()  # killed while it began
    make_room(tmp_path / "4")
    assert not list(tmp_path.iterdir())


def test_a_job_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    there = job(tmp_path / "3", "running", process=facts_of.process())
    with pytest.raises(CallError, match=f"3: the job is still running, as process {os.getpid()}"):
        make_room(there)
    elsewhere = job(tmp_path / "4", "running", process={**GONE, "host": "far-away"})
    with pytest.raises(CallError, match="runs on far-away, as far as can be told from here; if it does not, remove"):
        make_room(elsewhere)


def test_the_record_of_a_sweep(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    words = ["clustering.k=2,3", "embedding.workers=2"]
    assert begin(folder, "python run.py -m sweep.resume=last", words, [])
    record = load_sweep(folder)
    assert record["commands"] == ["python run.py -m clustering.k=2,3", "python run.py -m sweep.resume=last"]
    assert (record["overrides"], record["status"]) == (words, "running")
    with pytest.raises(CallError, match="holds another sweep"):
        begin(folder, "python run.py -m clustering.k=7,8", ["clustering.k=7,8"], [])


def test_how_a_resumed_sweep_is_done_is_no_difference_between_jobs(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    words = ["clustering.k=2", "embedding.workers=0", "embedding.timeout=9", "tracking=none", "seed=1"]
    assert words_of_the_job(folder, words) == ("clustering.k=2", "embedding.workers=0", "seed=1")


def test_the_sweep_that_is_meant(tmp_path: Path) -> None:
    first, last = sweep(tmp_path), sweep(tmp_path, "11-00-00-000000")
    assert sweep_to_resume("last", tmp_path / "last", tmp_path) == last
    assert sweep_to_resume("x", first, tmp_path) == first


def test_folders_that_are_not_meant(tmp_path: Path) -> None:
    folder = sweep(tmp_path)

    def said(given: Path, outputs: Path = tmp_path) -> str:
        with pytest.raises(CallError) as refused:
            sweep_to_resume("last" if given.name == "last" else str(given), given, outputs)
        return str(refused.value)

    assert f"no such folder; did you mean {folder}?" in said(folder.with_name("10-00-00-000009"))
    assert f"a job of a sweep; its sweep is {folder}" in said(job(folder / "0"))
    assert f"a run, not a sweep; the newest is {folder}" in said(job(tmp_path / "r"))
    assert "not the folder of a sweep: it has no sweep.json" in said(tmp_path)
    assert "sweep.resume=last: there is no sweep in" in said(Path("last"), tmp_path / "none")


def test_a_sweep_that_is_going_on(tmp_path: Path) -> None:
    folder = sweep(tmp_path, over=False)
    with pytest.raises(CallError, match=f"the sweep is still running, as process {os.getpid()}"):
        sweep_to_resume("x", folder, tmp_path)
    end(folder, "failed")
    job(folder / "7", "running", process=facts_of.process())
    with pytest.raises(CallError, match="7: the job is still running"):
        sweep_to_resume("x", folder, tmp_path)


def test_a_damaged_record(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    for text in ("{", "[]", '{"overrides": 1}'):
        (folder / "sweep.json").write_text(text)
        with pytest.raises(CallError, match="damaged"):
            sweep_to_resume("x", folder, tmp_path)
