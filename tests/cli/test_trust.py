"""Clusters against clouds without any, and labels against structure, from the command line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import load_run, process_start
from tests.cli.command import Clipscope
from tests.making import waited_for

pytestmark = pytest.mark.slow

FEW = (
    "significance=quick",
    "significance.replicates=2",
    "significance.embedding_replicates=3",
    "significance.half_samples=2",
)
ARRAYS = ("half_rows", "null_half_rows", "sample_projection", "null_projections", "half_projections",
          "null_half_projections")  # fmt: skip
TABLES = ("null_scores", "cluster_support", "k_choice", "k_votes", "k_gate", "verdict")


def vectors(folder: Path, n: int, apart: float, count: int = 4, d: int = 24) -> list[str]:
    """Words of a call on made-up embeddings in `count` classes that lie `apart`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    labels = np.arange(n) % count
    made = (random.normal(size=(n, d)) + apart * np.eye(d)[labels]).astype(np.float32)
    np.save(folder / "vectors.npy", made)
    table = pd.DataFrame({"id": [f"{i:05d}" for i in range(n)], "label": [f"class {i}" for i in labels]})
    table.to_csv(folder / "table.csv", index=False)
    return ["dataset=table", f"dataset.path={folder / 'table.csv'}", "encoder=precomputed",
            f"encoder.path={folder / 'vectors.npy'}", "clustering.k=4"]  # fmt: skip


def children(pid: int) -> list[int]:
    """Processes of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def test_clusters_and_none_through_umap(cli: Clipscope, tmp_path: Path) -> None:
    stages = "stages=[label_structure,significance]"
    there = cli(*vectors(tmp_path / "four", 400, 8.0), stages, *FEW)
    run = load_run(there.folder)
    verdict = run["verdict"].iloc[0]
    assert verdict["verdict"] == "supported"
    assert verdict["sentence"] in there.out.replace("\n", " ")
    assert run["k_choice"]["k"].tolist() == list(range(2, 21))
    labels = run["label_structure"].set_index("name")
    assert labels.loc["ari", "value"] > 0.95 > 0.1 > labels.loc["ari", "permuted_mean"]
    assert labels.loc[["knn_accuracy", "probe_accuracy"], "value"].min() > 0.95

    not_there = cli(*vectors(tmp_path / "one", 400, 0.0), stages, *FEW)
    run = load_run(not_there.folder)
    assert run["verdict"].iloc[0]["verdict"] == "none"
    projected = run["null_scores"].query("space == 'projection' and name == 'silhouette'").iloc[0]
    assert projected["observed"] > 0.15  # of noise, through UMAP
    assert run.metrics["significance/embedding/silhouette_cosine/p"] > 0.05
    labels = run["label_structure"].set_index("name")
    assert labels.loc["probe_accuracy", "value"] == pytest.approx(0.25, abs=0.08)
    assert (labels["p"].drop("majority_share") > 0.05).sum() >= 5


def test_a_run_killed_in_replicates_resumes_to_the_same_numbers(cli: Clipscope, tmp_path: Path) -> None:
    """Its processes end with it. It is resumed on one core, and compared with an undisturbed run on all of them."""
    words = [*vectors(tmp_path / "four", 2000, 8.0), "stages=[significance]", *FEW]
    process = cli.start(*words)

    def under_way() -> bool:
        made = cli.place.glob(str(Path("cache/replicates/*.partial", "work", "null-0.npy")))
        return process.poll() is not None or any(made)

    assert waited_for(under_way, 200)
    assert process.poll() is None, process.communicate()
    pool = [(pid, process_start(pid)) for pid in children(process.pid)]
    cores = os.sched_getaffinity(0)
    assert len(cores) == 1 or len(pool) >= 2
    process.kill()
    process.communicate()
    assert waited_for(lambda: all(process_start(pid) != start for pid, start in pool), 30)
    assert load_run(cli.folders()[-1]).record["status"] == "killed"

    process = cli.start(*words, preexec_fn=lambda: os.sched_setaffinity(0, {min(cores)}))
    _, said = process.communicate(timeout=280)
    assert process.returncode == 0, said
    resumed, undisturbed = load_run(cli.folders()[-1]), load_run(Clipscope(tmp_path / "other")(*words).folder)
    for name in ARRAYS:
        np.testing.assert_array_equal(resumed[name], undisturbed[name], err_msg=name)
    for name in TABLES:
        pd.testing.assert_frame_equal(resumed[name], undisturbed[name])
