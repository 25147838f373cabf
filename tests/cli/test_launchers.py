"""Sweeps whose jobs run in other processes, and those that search."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import three_blobs
from tests.cli.test_runs import _wait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ARI = "sweep.objective=cluster_metrics/labels/ari"


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Thirty vectors in three classes."""
    three_blobs(tmp_path)
    return (
        "dataset=table", f"dataset.path={tmp_path}/ids.csv", "encoder=precomputed",
        f"encoder.path={tmp_path}/given.npy", "projection=none", "stages=[cluster_metrics]",
    )  # fmt: skip


@pytest.mark.parametrize("launcher", [("joblib", "hydra.launcher.n_jobs=2"), ("submitit_local",)])
def test_jobs_in_other_processes(cli: Clipscope, given: tuple[str, ...], tmp_path: Path, launcher: tuple[str]) -> None:
    """Called from elsewhere: the processes find our modules and paths. A job that fails, and one that does not
    compose, change nothing for the others."""
    name, *words = launcher
    grid = "clustering.k=2,foo,99,3"
    result = cli("-m", *given, grid, f"hydra/launcher={name}", *words, cwd=tmp_path, status=1)
    assert "Traceback" not in result.out + result.err
    (sweep,) = cli.sweeps()
    rows = pd.read_csv(sweep / "comparison.csv")
    assert rows["status"].tolist() == ["complete", "failed", "failed", "complete"]
    assert "more clusters than images (30)" in rows["reason"][2]
    assert "must be a whole number" in rows["reason"][1]
    assert rows["cluster_metrics/labels/ari"][3] == 1
    runs = [load_run(sweep / number) for number in "03"]
    assert os.getpid() not in {run.record["process"]["pid"] for run in runs}
    assert all(run.record["command"].startswith("python run.py -m dataset=table") for run in runs)
    assert {run.record["sweep"]["job"] for run in runs} == {0, 3}
    caches = [s["cache"] for run in runs for s in run.record["stages"] if s["name"] == "embedding"]
    assert sorted(caches) == ["hit", "miss"], "one made the vectors, the other waited and found them"
    made = {number: (sweep / number / "run.json").read_bytes() for number in "03"}
    again = cli("-m", f"sweep.resume={sweep}", status=1)
    assert "resumed: 2 of 4 jobs are complete and stay as they are; again: 2 (failed), 1 (its " in again.out
    assert {number: (sweep / number / "run.json").read_bytes() for number in "03"} == made


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_an_interrupt_leaves_nothing_running(cli: Clipscope, given: tuple[str, ...], launcher: str) -> None:
    """Sent to the process alone, not to all of a terminal."""
    slow = ("significance=publication", "analysis=full", "projection=umap")  # a minute
    words = [word for word in given if not word.startswith(("stages", "projection"))]
    parallel = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    process = cli.start("-m", *words, *slow, "clustering.k=2,3", f"hydra/launcher={launcher}", *parallel)
    records = lambda: list(cli.place.glob("outputs/multirun/*/*/?/run.json"))  # noqa: E731
    _wait(lambda: len(records()) == 2 and all(file.stat().st_size for file in records()), process)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    _wait_until_none_runs(records())
    (sweep,) = cli.sweeps()
    assert set(pd.read_csv(sweep / "comparison.csv")["status"]) <= {"interrupted", "killed"}


def _wait_until_none_runs(files: list[Path]) -> None:
    for file in files:
        assert load_run(file.parent).record["status"] in ("interrupted", "killed"), file


def test_optuna_finds_the_number_of_classes(cli: Clipscope, given: tuple[str, ...]) -> None:
    """Jobs that fail are failed trials; the same seed looks at the same settings."""
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", ARI, "clustering.k=choice(3,99)")
    result = cli("-m", *given, *search, status=1)
    (sweep,) = [file.parent for file in cli.place.glob("outputs/multirun/*/*/optimization_results.yaml")]
    found = OmegaConf.load(sweep / "optimization_results.yaml")
    assert (found.best_params, found.best_value) == ({"clustering.k": 3}, 1.0)
    assert "best of 6 trials: clustering.k=3: cluster_metrics/labels/ari = 1 (the best of many is" in result.out
    rows = pd.read_csv(sweep / "comparison.csv")
    assert set(rows["status"]) == {"complete", "failed"}
    for word in ("Traceback", "[I 20", "Warning"):
        assert word not in result.out + result.err
    assert "keeps that in memory only" in cli("-m", f"sweep.resume={sweep}", status=2).err
    again = cli("-m", *given, *search, "hydra.sweeper.n_trials=2", status=None)
    other = max(cli.place.glob("outputs/multirun/*/*/comparison.csv"))
    assert other.parent != sweep
    k = [load_run(folder).record["sweep"]["overrides"][0] for folder in (sweep / "0", other.parent / "0")]
    assert k[0] == k[1], again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "sweep.objective: hydra/sweeper=optuna needs the score to look at, as in sweep.objective="),
        (("sweep.objective=a/arii",), "sweep.objective = a/arii: not known whether more or less of it is better: say"),
        ((ARI, "hydra.sweeper.direction=up"), "hydra.sweeper.direction = up: not allowed"),
        (
            ("sweep.objective=cluster_metrics/label/ari",),
            "job 0 has no such score; did you mean cluster_metrics/labels",
        ),
    ],
)
def test_searches_for_nothing(cli: Clipscope, given: tuple[str, ...], words: tuple[str, ...], said: str) -> None:
    result = cli("-m", *given, "hydra/sweeper=optuna", "clustering.k=range(2,4)", *words, status=2)
    assert said in result.err
    assert result.err.count("error:") == 1


def test_words_of_a_search_without_one(cli: Clipscope) -> None:
    assert "sweep.objective: has no effect without hydra/sweeper=optuna" in cli(ARI, status=2).err
    assert "a grid takes lists and ranges" in cli("-m", "clustering.k=interval(2,4)", status=2).err
    assert (
        "hydra/launcher=joblob: no such choice; did you mean joblib?"
        in cli("-m", "hydra/launcher=joblob", status=2).err
    )
