"""Which runs `analysis=compare` takes, and what it says of those that it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.comparison.finished import complete_runs
from pipeline.errors import CallError
from pipeline.run_dir import RECORD


def made(folder: Path, **record: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps({"status": "complete", "config": {}} | record), encoding="utf-8")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made(tmp_path / "run")
    made(tmp_path / "other")
    made(tmp_path / "failed", status="failed", reason="out of memory")
    made(tmp_path / "running", status="running", process={"host": "elsewhere", "pid": 1})
    made(tmp_path / "comparison", compared=["run", "other"])
    for number, status in enumerate(("complete", "failed", "complete")):
        made(tmp_path / "sweep" / str(number), status=status)
    made(tmp_path / "started" / "0", status="failed")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["run"], "runs: at least two complete runs are needed, as in runs=[outputs/a,outputs/b], not 1 complete run"),
        (["started"], "not 0 complete runs; {place}/started: 1 of 1 job are not complete"),
        (["run", "run"], "runs: {place}/run: named twice"),
        (["sweep", "sweep/0"], "runs: {place}/sweep/0: named twice"),
        (["run", "othr"], "runs: {place}/othr: no such folder; did you mean other?"),
        (["run", "nowhere/x"], "runs: {place}/nowhere/x: no such folder"),
        (["run", "empty"], "runs: {place}/empty: not a run folder: it has no run.json"),
        (["run", "failed"], "runs: {place}/failed: failed (out of memory): only complete runs are compared"),
        (["run", "running"], "runs: {place}/running: still running: only complete runs are compared"),
        (["run", "comparison"], "runs: {place}/comparison: is itself a comparison; name the runs that it compares"),
    ],
)
def test_what_cannot_be_taken(place: Path, names: list[str], said: str) -> None:
    with pytest.raises(CallError) as error:
        complete_runs([place / name for name in names])
    (problem,) = error.value.problems
    assert problem.endswith(said.format(place=place)) if said.startswith("not") else problem == said.format(place=place)


def test_a_sweep_is_all_of_its_jobs(place: Path) -> None:
    runs, left_out = complete_runs([place / "sweep", place / "run"])
    assert [run.folder.name for run in runs] == ["0", "2", "run"]
    assert left_out == [f"{place}/sweep: 1 of 3 jobs are not complete"]


def test_damaged_records(place: Path) -> None:
    (place / "other" / RECORD).write_text("{")
    with pytest.raises(CallError, match=r"runs: .*run\.json: damaged"):
        complete_runs([place / "run", place / "other"])
