"""The same projection, clustering and scores again with other seeds: how much of a score is chance."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.schema import Space, plain
from pipeline.stage import Facts, Stage, Workspace
from pipeline.stages.clustering import CLUSTER, asked_k
from pipeline.stages.projection import PROJECT, too_few
from pipeline.stages.side_by_side import run_all

SPACES = ("projection", "embedding", "labels")
KEY = "cluster_metrics/"  # of the scores that are repeated


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    neighbour_rows: np.ndarray,
    neighbour_distances: np.ndarray,
) -> dict[str, Any]:
    """`repeat_scores`: repeat (from 1; 0 is the run itself), projection_seed, clustering_seed, space, name, value."""
    folder = workspace.folder
    inputs = _inputs(folder, image_embeddings, neighbour_rows, neighbour_distances)
    np.save(folder / "labels.npy", pd.factorize(images["label"])[0])
    k = asked_k(settings.clustering, images)
    jobs = [
        Repeat(folder, inputs, r, _seeded(settings.projection, r, settings.seed), _seeded(settings.clustering, r, 0), k,
               _spaces(settings.experiment))
        for r in range(1, settings.experiment.repeats)
    ]  # fmt: skip
    run_all(jobs, len(images), workspace)
    rows = [row for job in jobs for row in json.loads(job.target.read_text(encoding="utf-8"))]
    return {"repeat_scores": pd.DataFrame(rows)}


@dataclass(frozen=True)
class Repeat:
    """One repetition. inputs: files of vectors, neighbours and their distances; spaces: those that are scored."""

    folder: Path
    inputs: tuple[str, str, str]
    number: int
    projection: Any
    clustering: Any
    k: int | None
    spaces: tuple[str, ...]

    @property
    def target(self) -> Path:
        return self.folder / f"repeat-{self.number}.json"

    def run(self) -> None:
        """The file appears complete or not at all; one that is there is left as it is."""
        if self.target.is_file():
            return
        vectors, *near = (np.load(file, mmap_mode="r") for file in self.inputs)
        projection = PROJECT[type(self.projection)](self.projection, vectors, (near[0], near[1]), Workspace(Path()))
        clustered = vectors if self.clustering.space is Space.embedding else projection
        clusters = CLUSTER[type(self.clustering)](self.clustering, clustered, self.k).clusters
        seeds = {
            "repeat": self.number,
            "projection_seed": getattr(self.projection, "seed", None),
            "clustering_seed": getattr(self.clustering, "seed", None),
        }
        rows = [
            {**seeds, "space": space, "name": name, "value": float(value)}
            for space, scores in self._scores(vectors, projection, clusters).items()
            for name, value in scores.items()
        ]
        scratch = self.target.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps(rows), encoding="utf-8")
        os.replace(scratch, self.target)

    def _scores(self, vectors: np.ndarray, projection: np.ndarray, clusters: np.ndarray) -> dict[str, dict[str, float]]:
        from pipeline.metrics.comparison import agreement
        from pipeline.stages.cluster_metrics import scores_in

        found = {}
        if "projection" in self.spaces:
            found["projection"], _ = scores_in(projection, clusters, "projection")
            found["projection"]["silhouette"] = found["projection"].pop("silhouette_euclidean")
        if "embedding" in self.spaces:
            found["embedding"], _ = scores_in(vectors, clusters, "embedding")
        labels = np.load(self.folder / "labels.npy")
        if "labels" in self.spaces and (labels >= 0).any():
            found["labels"] = agreement(labels, clusters)
        return found


def _seeded(chosen: Any, number: int, otherwise: int) -> Any:
    """The same settings with a seed of its own, where it takes one. otherwise: for a run that has none."""
    if not hasattr(chosen, "seed"):
        return chosen
    start = otherwise if chosen.seed is None else chosen.seed
    return replace(chosen, seed=(start + number) % 2**31)


def _spaces(experiment: Any) -> tuple[str, ...]:
    """Where the published scores are measured; in the projection and against labels where nothing was published."""
    scores = [key for row in experiment.published for key in row.scores if key.startswith(KEY)]
    found = {key.split("/")[1] for key in scores} or {"projection", "labels"}
    return tuple(space for space in SPACES if space in found)


def _inputs(folder: Path, *arrays: np.ndarray) -> tuple[str, str, str]:
    """Files of the arrays: their own where they are mapped from one, else copies."""
    files = []
    for number, array in enumerate(arrays):
        own = getattr(array, "filename", None)
        if own is None or np.load(own, mmap_mode="r").shape != array.shape:
            own = folder / f"input-{number}.npy"
            np.save(own, array)
        files.append(str(own))
    return files[0], files[1], files[2]


def keyed(settings: Any) -> dict[str, Any]:
    """Not what was published, but where it is measured."""
    return {
        "projection": plain(settings.projection),
        "clustering": plain(settings.clustering),
        "seed": settings.seed,
        "repeats": settings.experiment.repeats,
        "spaces": list(_spaces(settings.experiment)),
    }


def refuse(facts: Facts, settings: Any) -> str | None:
    """There must be more than one run, and something random in it."""
    chosen = settings.experiment
    if chosen.repeats < 2:
        return "experiment=none" if chosen.name == "none" else "experiment.repeats = 1"
    if not any(hasattr(part, "seed") for part in (settings.projection, settings.clustering)):
        both = f"projection={settings.projection.name} and clustering={settings.clustering.name}"
        return f"nothing is random with {both}: every seed would give the same"
    return too_few(settings.projection, facts.images)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """count: runs with other seeds."""
    return {"count": made["repeat_scores"]["repeat"].nunique()}


STAGE = Stage(
    name="repeats",
    needs=("images", "image_embeddings", "neighbour_rows", "neighbour_distances"),
    makes=("repeat_scores",),
    settings=("projection", "clustering", "seed", "experiment"),
    keyed=keyed,
    run=run,
    refuse=refuse,
    metrics=metrics,
    packages=("umap-learn", "numba", "openTSNE", "scikit-learn", "faiss-cpu", "numpy", "scipy"),
)
